package dev.turningpoint.model;

import static dev.turningpoint.model.BlockActivations.orZero;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Stream;
import dev.turningpoint.kernels.NormKernels.HeadSplit;
import dev.turningpoint.tensor.ParameterLayout.Slot;
import dev.turningpoint.tensor.Parameters;
import dev.turningpoint.tensor.Tensor;

/**
 * One joint-attention (MMDiT) block. Image and text stream have weights of their own and meet in the attention:
 *
 * <pre>
 *   h = LN(x) (1 + scale_msa) + shift_msa          per stream; shift, scale, gate come from the condition
 *   q, k, v = heads(h Wqkv^T + b), q and k RMS-normalised per head and rotated; both streams side by side
 *   x += gate_msa * (attention(q, k, v) Wo^T + b)
 *   x += gate_msa2 * (attention of the image alone)                         where the block has a second attention (SD3.5)
 *   x += gate_mlp * (gelu((LN(x) (1 + scale_mlp) + shift_mlp) W1^T + b) W2^T + b)
 * </pre>
 *
 * <p>Where a stream ends, nobody reads it afterwards: it only gives keys and values.
 *
 * @see <a href="https://arxiv.org/abs/2403.03206">Scaling Rectified Flow Transformers for High-Resolution Image Synthesis</a>
 */
final class JointBlock implements Block {
    /** Modulation chunks of a stream: shift, scale, gate for attention, then for the feed-forward, then for the second attention. */
    private static final int SHIFT = 0, SCALE = 1, GATE = 2, SHIFT_MLP = 3, SCALE_MLP = 4, GATE_MLP = 5, SHIFT_2 = 6, SCALE_2 = 7, GATE_2 = 8;

    private final BlockShape shape;
    private final DType type;
    private final NetKernels kernels;
    private final Parameters parameters;
    private final int modulationSize;
    private final StreamLayers image;
    private final StreamLayers text;
    private final Attention second;
    private final Tensor rope;

    /**
     * What differs between blocks.
     *
     * @param textEnds        whether nobody reads the text stream afterwards
     * @param textScaleFirst  whether the modulation of a text stream that ends is (scale, shift), not (shift, scale)
     * @param secondAttention whether the image has a second attention of its own
     * @param qkNorm          whether queries and keys are normalised
     */
    record Kind(boolean textEnds, boolean textScaleFirst, boolean secondAttention, boolean qkNorm) {
    }

    /** Projections of an attention, how its heads lie in the sequence, and the weights of its norms, null without them. */
    private record Attention(Linear qkv, HeadSplit split, Slot qNorm, Slot kNorm, Linear out) {
    }

    /** The layers of one stream; {@code up} and {@code down} are null where the stream ends in this block, and so is the attention's output. */
    private record StreamLayers(int tokens, int modulation, int shift, int scale, Attention attention, Linear up, Linear down) {
        boolean ends() {
            return up == null;
        }
    }

    /**
     * @param layers makes a linear layer by name and the rows that one sample gives it
     * @param rope   f32 [joint tokens, headDim / 2, 2], or null
     */
    JointBlock(NetKernels kernels, Parameters parameters, TransformerWeights weights, BlockShape shape, String prefix, Kind kind, Layers layers, Tensor rope) {
        this.shape = shape;
        this.kernels = kernels;
        this.parameters = parameters;
        this.rope = rope;
        type = parameters.storage();
        modulationSize = weights.modulationSize();
        int ni = shape.imageTokens(), nt = shape.textTokens();
        boolean ends = kind.textEnds;
        image = new StreamLayers(ni, weights.modulationOffset(prefix + "norm1.linear"), SHIFT, SCALE,
                attention(weights, kind, prefix, "attn.to_qkv", "attn.norm_q", "attn.norm_k", layers.linear(prefix + "attn.to_out.0", ni), shape.split(ni, 0, shape.jointTokens()), layers),
                layers.linear(prefix + "ff.net.0.proj", ni), layers.linear(prefix + "ff.net.2", ni));
        text = new StreamLayers(nt, weights.modulationOffset(prefix + "norm1_context.linear"), ends && kind.textScaleFirst ? 1 : 0, ends && kind.textScaleFirst ? 0 : 1,
                attention(weights, kind, prefix, "attn.add_qkv_proj", "attn.norm_added_q", "attn.norm_added_k", ends ? null : layers.linear(prefix + "attn.to_add_out", nt), shape.split(nt, ni, shape.jointTokens()), layers),
                ends ? null : layers.linear(prefix + "ff_context.net.0.proj", nt), ends ? null : layers.linear(prefix + "ff_context.net.2", nt));
        second = kind.secondAttention
                ? attention(weights, kind, prefix, "attn2.to_qkv", "attn2.norm_q", "attn2.norm_k", layers.linear(prefix + "attn2.to_out.0", ni), shape.split(ni, 0, ni), layers) : null;
    }

    /** Who makes linear layers, and closes them. */
    interface Layers {
        Linear linear(String name, int rowsPerSample);
    }

    private static Attention attention(TransformerWeights weights, Kind kind, String prefix, String qkv, String qNorm, String kNorm, Linear out, HeadSplit split, Layers layers) {
        return new Attention(layers.linear(prefix + qkv, split.streamTokens()), split, kind.qkNorm ? weights.layout().slot(prefix + qNorm + ".weight") : null,
                kind.qkNorm ? weights.layout().slot(prefix + kNorm + ".weight") : null, out);
    }

    @Override
    public void forward(Stream stream, BlockActivations a, Tensor modulation, int batch, Pass pass) {
        project(stream, image, a.image(), a, modulation, batch, pass);
        project(stream, text, a.text(), a, modulation, batch, pass);
        kernels.attention().forward(stream, type, a.q().address(), a.k().address(), a.v().address(), a.image().attended().address(),
                text.ends() ? 0 : a.text().attended().address(), orZero(a.lse()), batch, shape.heads(), shape.jointTokens(), shape.headDim(), image.tokens, shape.attentionScale());
        if (second != null) {
            secondForward(stream, a, modulation, batch, pass);   // before the residual stream, which it reads, may be updated in place
        }
        feed(stream, image, a.image(), second == null ? null : a.second(), modulation, batch, pass);
        if (!text.ends()) {
            feed(stream, text, a.text(), null, modulation, batch, pass);
        }
    }

    /** From the residual stream to this stream's part of q, k and v. */
    private void project(Stream stream, StreamLayers s, BlockActivations.Stream a, BlockActivations joint, Tensor modulation, int batch, Pass pass) {
        int rows = batch * s.tokens;
        kernels.norm().adaptiveLayerNorm(stream, type, a.input().address(), chunk(modulation, s, s.shift), chunk(modulation, s, s.scale), modulationSize,
                a.normed().address(), orZero(a.stats()), rows, shape.width(), s.tokens, BlockShape.EPS);
        s.attention.qkv.forward(stream, a.normed().address(), a.qkv().address(), rows, pass);
        kernels.norm().qkNormSplit(stream, type, a.qkv().address(), weight(s.attention.qNorm), weight(s.attention.kNorm), orZero(rope),
                joint.q().address(), joint.k().address(), joint.v().address(), batch, s.attention.split);
    }

    /** The second attention up to its projection. */
    private void secondForward(Stream stream, BlockActivations a, Tensor modulation, int batch, Pass pass) {
        BlockActivations.Second s = a.second();
        int rows = batch * image.tokens;
        kernels.norm().adaptiveLayerNorm(stream, type, a.image().input().address(), chunk(modulation, image, SHIFT_2), chunk(modulation, image, SCALE_2), modulationSize,
                s.normed().address(), orZero(s.stats()), rows, shape.width(), image.tokens, BlockShape.EPS);
        second.qkv.forward(stream, s.normed().address(), s.qkv().address(), rows, pass);
        kernels.norm().qkNormSplit(stream, type, s.qkv().address(), weight(second.qNorm), weight(second.kNorm), 0, s.q().address(), s.k().address(), s.v().address(), batch, second.split);
        kernels.attention().forward(stream, type, s.q().address(), s.k().address(), s.v().address(), s.attended().address(), 0, orZero(s.lse()), batch, shape.heads(), image.tokens,
                shape.headDim(), image.tokens, shape.attentionScale());
        second.out.forward(stream, s.attended().address(), s.projected().address(), rows, pass);
    }

    /** From the attention's output to the residual stream, through the feed-forward layers and to the residual stream again. */
    private void feed(Stream stream, StreamLayers s, BlockActivations.Stream a, BlockActivations.Second also, Tensor modulation, int batch, Pass pass) {
        int rows = batch * s.tokens;
        int d = shape.width();
        s.attention.out.forward(stream, a.attended().address(), a.projected().address(), rows, pass);
        kernels.mlp().gateResidual(stream, type, a.input().address(), chunk(modulation, s, GATE), modulationSize, a.projected().address(), a.middle().address(), rows, d, s.tokens);
        if (also != null) {
            kernels.mlp().gateResidual(stream, type, a.middle().address(), chunk(modulation, s, GATE_2), modulationSize, also.projected().address(), a.middle().address(), rows, d, s.tokens);
        }
        kernels.norm().adaptiveLayerNorm(stream, type, a.middle().address(), chunk(modulation, s, SHIFT_MLP), chunk(modulation, s, SCALE_MLP), modulationSize,
                a.normed2().address(), orZero(a.stats2()), rows, d, s.tokens, BlockShape.EPS);
        s.up.forward(stream, a.normed2().address(), a.hidden().address(), rows, pass);
        kernels.mlp().gelu(stream, type, a.hidden().address(), a.activated().address(), (long) rows * shape.hidden());
        s.down.forward(stream, a.activated().address(), a.fed().address(), rows, pass);
        kernels.mlp().gateResidual(stream, type, a.middle().address(), chunk(modulation, s, GATE_MLP), modulationSize, a.fed().address(), a.output().address(), rows, d, s.tokens);
    }

    @Override
    public void backward(Stream stream, BlockActivations a, Tensor modulation, BlockGradients g, int batch, boolean input) {
        feedBackward(stream, image, a.image(), modulation, g, g.image(), batch);
        boolean both = !text.ends();
        if (both) {
            feedBackward(stream, text, a.text(), modulation, g, g.text(), batch);
        }
        if (second != null) {
            secondBackward(stream, a, modulation, g, batch, input);
        }
        kernels.attention().backward(stream, type, a.q().address(), a.k().address(), a.v().address(), a.image().attended().address(), both ? a.text().attended().address() : 0,
                g.image().narrow2().address(), both ? g.text().narrow2().address() : 0, a.lse().address(), g.delta().address(),
                g.q().address(), g.k().address(), g.v().address(), batch, shape.heads(), shape.jointTokens(), shape.headDim(), image.tokens, shape.attentionScale());
        projectBackward(stream, image, a.image(), modulation, g, g.image(), batch, input);
        projectBackward(stream, text, a.text(), modulation, g, g.text(), batch, input);
    }

    /** Leaves the gradient of the attention's output in {@code d.narrow2()}. */
    private void feedBackward(Stream stream, StreamLayers s, BlockActivations.Stream a, Tensor modulation, BlockGradients g, BlockGradients.Stream d, int batch) {
        int rows = batch * s.tokens;
        int dim = shape.width();
        long partials = g.partials().address();
        long residual = d.residual().address();
        long narrow = d.narrow().address();
        long wide = d.wide().address();
        kernels.mlp().gateResidualBackward(stream, type, residual, chunk(modulation, s, GATE_MLP), modulationSize, a.fed().address(), narrow, gradient(g, s, GATE_MLP), rows, dim, s.tokens);
        s.down.backwardWeight(stream, a.activated().address(), narrow, partials, rows);
        s.down.backwardInput(stream, a.activated().address(), narrow, wide, rows);
        kernels.mlp().geluBackward(stream, type, a.hidden().address(), wide, wide, (long) rows * shape.hidden());
        s.up.backwardWeight(stream, a.normed2().address(), wide, partials, rows);
        s.up.backwardInput(stream, a.normed2().address(), wide, narrow, rows);
        kernels.norm().adaptiveLayerNormBackward(stream, type, a.middle().address(), chunk(modulation, s, SCALE_MLP), modulationSize, a.stats2().address(), narrow,
                residual, gradient(g, s, SHIFT_MLP), gradient(g, s, SCALE_MLP), rows, dim, s.tokens);
        kernels.mlp().gateResidualBackward(stream, type, residual, chunk(modulation, s, GATE), modulationSize, a.projected().address(), narrow, gradient(g, s, GATE), rows, dim, s.tokens);
        s.attention.out.backwardWeight(stream, a.attended().address(), narrow, partials, rows);
        s.attention.out.backwardInput(stream, a.attended().address(), narrow, d.narrow2().address(), rows);
    }

    /** Adds the second attention's part to the gradient of the image before the block; {@code narrow2} is not touched. */
    private void secondBackward(Stream stream, BlockActivations a, Tensor modulation, BlockGradients g, int batch, boolean input) {
        BlockActivations.Second s = a.second();
        BlockGradients.Stream d = g.image();
        int rows = batch * image.tokens;
        int dim = shape.width();
        long partials = g.partials().address(), narrow = d.narrow().address(), wide = d.wide().address(), dqkv = d.qkv().address();
        kernels.mlp().gateResidualBackward(stream, type, d.residual().address(), chunk(modulation, image, GATE_2), modulationSize, s.projected().address(), narrow,
                gradient(g, image, GATE_2), rows, dim, image.tokens);
        second.out.backwardWeight(stream, s.attended().address(), narrow, partials, rows);
        second.out.backwardInput(stream, s.attended().address(), narrow, wide, rows);
        kernels.attention().backward(stream, type, s.q().address(), s.k().address(), s.v().address(), s.attended().address(), 0, wide, 0, s.lse().address(), g.delta().address(),
                g.q().address(), g.k().address(), g.v().address(), batch, shape.heads(), image.tokens, shape.headDim(), image.tokens, shape.attentionScale());
        kernels.norm().qkNormSplitBackward(stream, type, s.qkv().address(), weight(second.qNorm), weight(second.kNorm), 0, g.q().address(), g.k().address(), g.v().address(), dqkv,
                gradient(second.qNorm), gradient(second.kNorm), partials, batch, second.split);
        second.qkv.backwardWeight(stream, s.normed().address(), dqkv, partials, rows);
        throughNorm(stream, second.qkv, s.normed(), s.stats(), a.image().input(), dqkv, SHIFT_2, SCALE_2, image, modulation, g, d, batch, input);
    }

    private void projectBackward(Stream stream, StreamLayers s, BlockActivations.Stream a, Tensor modulation, BlockGradients g, BlockGradients.Stream d, int batch, boolean input) {
        long dqkv = d.qkv().address();
        long partials = g.partials().address();
        kernels.norm().qkNormSplitBackward(stream, type, a.qkv().address(), weight(s.attention.qNorm), weight(s.attention.kNorm), orZero(rope), g.q().address(), g.k().address(),
                g.v().address(), dqkv, gradient(s.attention.qNorm), gradient(s.attention.kNorm), partials, batch, s.attention.split);
        s.attention.qkv.backwardWeight(stream, a.normed().address(), dqkv, partials, batch * s.tokens);
        throughNorm(stream, s.attention.qkv, a.normed(), a.stats(), a.input(), dqkv, s.shift, s.scale, s, modulation, g, d, batch, input);
    }

    /** From the gradient of a projection to that of the residual stream; where neither that nor the modulation's is asked for, to the adapter's alone. */
    private void throughNorm(Stream stream, Linear qkv, Tensor normed, Tensor stats, Tensor x, long dqkv, int shift, int scale, StreamLayers s, Tensor modulation, BlockGradients g,
                             BlockGradients.Stream d, int batch, boolean input) {
        int rows = batch * s.tokens;
        if (!input && g.modulation() == null) {
            qkv.backwardAdapter(stream, normed.address(), dqkv, 0, rows);
            return;
        }
        qkv.backwardInput(stream, normed.address(), dqkv, d.narrow().address(), rows);
        kernels.norm().adaptiveLayerNormBackward(stream, type, x.address(), chunk(modulation, s, scale), modulationSize, stats.address(), d.narrow().address(), d.residual().address(),
                gradient(g, s, shift), gradient(g, s, scale), rows, shape.width(), s.tokens);
    }

    private long weight(Slot norm) {
        return norm == null ? 0 : parameters.value(norm);
    }

    private long gradient(Slot norm) {
        return norm == null || !parameters.hasGradients() ? 0 : parameters.gradient(norm);
    }

    private long chunk(Tensor modulation, StreamLayers s, int chunk) {
        return modulation.address(s.modulation + (long) chunk * shape.width());
    }

    private long gradient(BlockGradients g, StreamLayers s, int chunk) {
        return g.modulation() == null ? 0 : chunk(g.modulation(), s, chunk);
    }
}
