package dev.turningpoint.model;

import static dev.turningpoint.model.BlockActivations.orZero;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Stream;
import dev.turningpoint.kernels.NormKernels.HeadSplit;
import dev.turningpoint.tensor.ParameterLayout.Slot;
import dev.turningpoint.tensor.Parameters;
import dev.turningpoint.tensor.Tensor;

/**
 * One of FLUX's single blocks: both streams pass the same layers, and attention and feed-forward work side by side.
 *
 * <pre>
 *   h = LN(x) (1 + scale) + shift
 *   x += gate * (attention(heads(h Wqkv^T + b)) Wa^T + gelu(h W1^T + b) Wm^T + b)
 * </pre>
 */
final class SingleBlock implements Block {
    private static final int SHIFT = 0, SCALE = 1, GATE = 2;

    private final BlockShape shape;
    private final DType type;
    private final NetKernels kernels;
    private final Parameters parameters;
    private final int modulationSize;
    private final int modulation;
    private final Slot qNorm, kNorm;
    private final StreamLayers image, text;
    private final Tensor rope;

    /** The layers as one stream uses them: the weights are the other's too. */
    private record StreamLayers(int tokens, HeadSplit split, Linear qkv, Linear up, Linear outAttention, Linear outMlp) {
    }

    /** @param rope f32 [joint tokens, headDim / 2, 2] */
    SingleBlock(NetKernels kernels, Parameters parameters, TransformerWeights weights, BlockShape shape, String prefix, JointBlock.Layers layers, Tensor rope) {
        this.shape = shape;
        this.kernels = kernels;
        this.parameters = parameters;
        this.rope = rope;
        type = parameters.storage();
        modulationSize = weights.modulationSize();
        modulation = weights.modulationOffset(prefix + "norm.linear");
        qNorm = weights.layout().slot(prefix + "attn.norm_q.weight");
        kNorm = weights.layout().slot(prefix + "attn.norm_k.weight");
        image = stream(prefix, layers, shape.imageTokens(), 0);
        text = stream(prefix, layers, shape.textTokens(), shape.imageTokens());
    }

    private StreamLayers stream(String prefix, JointBlock.Layers layers, int tokens, int offset) {
        return new StreamLayers(tokens, shape.split(tokens, offset, shape.jointTokens()), layers.linear(prefix + "attn.to_qkv", tokens), layers.linear(prefix + "proj_mlp", tokens),
                layers.linear(prefix + FluxWeights.OUT_ATTENTION, tokens), layers.linear(prefix + FluxWeights.OUT_MLP, tokens));
    }

    @Override
    public void forward(Stream stream, BlockActivations a, Tensor modulation, int batch, Pass pass) {
        project(stream, image, a.image(), a, modulation, batch, pass);
        project(stream, text, a.text(), a, modulation, batch, pass);
        kernels.attention().forward(stream, type, a.q().address(), a.k().address(), a.v().address(), a.image().attended().address(), a.text().attended().address(), orZero(a.lse()), batch,
                shape.heads(), shape.jointTokens(), shape.headDim(), image.tokens, shape.attentionScale());
        join(stream, image, a.image(), modulation, batch, pass);
        join(stream, text, a.text(), modulation, batch, pass);
    }

    private void project(Stream stream, StreamLayers s, BlockActivations.Stream a, BlockActivations joint, Tensor modulation, int batch, Pass pass) {
        int rows = batch * s.tokens;
        kernels.norm().adaptiveLayerNorm(stream, type, a.input().address(), chunk(modulation, SHIFT), chunk(modulation, SCALE), modulationSize, a.normed().address(), orZero(a.stats()),
                rows, shape.width(), s.tokens, BlockShape.EPS);
        s.qkv.forward(stream, a.normed().address(), a.qkv().address(), rows, pass);
        s.up.forward(stream, a.normed().address(), a.hidden().address(), rows, pass);
        kernels.mlp().gelu(stream, type, a.hidden().address(), a.activated().address(), (long) rows * shape.hidden());
        kernels.norm().qkNormSplit(stream, type, a.qkv().address(), parameters.value(qNorm), parameters.value(kNorm), rope.address(), joint.q().address(), joint.k().address(),
                joint.v().address(), batch, s.split);
    }

    private void join(Stream stream, StreamLayers s, BlockActivations.Stream a, Tensor modulation, int batch, Pass pass) {
        int rows = batch * s.tokens;
        s.outAttention.forward(stream, a.attended().address(), a.fed().address(), rows, pass);
        s.outMlp.forward(stream, a.activated().address(), a.fed().address(), rows, true);
        kernels.mlp().gateResidual(stream, type, a.input().address(), chunk(modulation, GATE), modulationSize, a.fed().address(), a.output().address(), rows, shape.width(), s.tokens);
    }

    @Override
    public void backward(Stream stream, BlockActivations a, Tensor modulation, BlockGradients g, int batch, boolean input) {
        joinBackward(stream, image, a.image(), modulation, g, g.image(), batch, false);
        joinBackward(stream, text, a.text(), modulation, g, g.text(), batch, true);
        kernels.attention().backward(stream, type, a.q().address(), a.k().address(), a.v().address(), a.image().attended().address(), a.text().attended().address(),
                g.image().narrow2().address(), g.text().narrow2().address(), a.lse().address(), g.delta().address(), g.q().address(), g.k().address(), g.v().address(), batch,
                shape.heads(), shape.jointTokens(), shape.headDim(), image.tokens, shape.attentionScale());
        projectBackward(stream, image, a.image(), modulation, g, g.image(), batch, input, false);
        projectBackward(stream, text, a.text(), modulation, g, g.text(), batch, input, true);
    }

    /** Leaves the gradient of the attention's output in {@code d.narrow2()} and the feed-forward's part of that of the norm in {@code d.narrow()}. */
    private void joinBackward(Stream stream, StreamLayers s, BlockActivations.Stream a, Tensor modulation, BlockGradients g, BlockGradients.Stream d, int batch, boolean ofText) {
        int rows = batch * s.tokens;
        long partials = g.partials().address(), narrow = d.narrow().address(), wide = d.wide().address();
        kernels.mlp().gateResidualBackward(stream, type, d.residual().address(), chunk(modulation, GATE), modulationSize, a.fed().address(), narrow, gradient(g, ofText, GATE), rows,
                shape.width(), s.tokens);
        s.outAttention.backwardWeight(stream, a.attended().address(), narrow, partials, rows);
        s.outAttention.backwardInput(stream, a.attended().address(), narrow, d.narrow2().address(), rows);
        s.outMlp.backwardWeight(stream, a.activated().address(), narrow, partials, rows);
        s.outMlp.backwardInput(stream, a.activated().address(), narrow, wide, rows);
        kernels.mlp().geluBackward(stream, type, a.hidden().address(), wide, wide, (long) rows * shape.hidden());
        s.up.backwardWeight(stream, a.normed().address(), wide, partials, rows);
        s.up.backwardInput(stream, a.normed().address(), wide, narrow, rows);
    }

    private void projectBackward(Stream stream, StreamLayers s, BlockActivations.Stream a, Tensor modulation, BlockGradients g, BlockGradients.Stream d, int batch, boolean input,
                                 boolean ofText) {
        int rows = batch * s.tokens;
        long dqkv = d.qkv().address(), partials = g.partials().address();
        boolean trained = parameters.hasGradients();
        kernels.norm().qkNormSplitBackward(stream, type, a.qkv().address(), parameters.value(qNorm), parameters.value(kNorm), rope.address(), g.q().address(), g.k().address(),
                g.v().address(), dqkv, trained ? parameters.gradient(qNorm) : 0, trained ? parameters.gradient(kNorm) : 0, partials, batch, s.split);
        s.qkv.backwardWeight(stream, a.normed().address(), dqkv, partials, rows);
        if (!input && g.modulation() == null) {
            s.qkv.backwardAdapter(stream, a.normed().address(), dqkv, 0, rows);
            return;
        }
        s.qkv.addBackwardInput(stream, a.normed().address(), dqkv, d.narrow().address(), rows);
        kernels.norm().adaptiveLayerNormBackward(stream, type, a.input().address(), chunk(modulation, SCALE), modulationSize, a.stats().address(), d.narrow().address(),
                d.residual().address(), gradient(g, ofText, SHIFT), gradient(g, ofText, SCALE), rows, shape.width(), s.tokens);
    }

    private long chunk(Tensor modulation, int chunk) {
        return modulation.address(this.modulation + (long) chunk * shape.width());
    }

    /** Both streams read one modulation; the text's part of its gradient has a buffer of its own. */
    private long gradient(BlockGradients g, boolean ofText, int chunk) {
        return g.modulation() == null ? 0 : chunk(ofText ? g.textModulation() : g.modulation(), chunk);
    }
}
