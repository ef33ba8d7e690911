package dev.turningpoint.model;

import static dev.turningpoint.model.Activations.orZero;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.Stream;
import dev.turningpoint.kernels.NormKernels;
import dev.turningpoint.tensor.ParameterLayout.Slot;
import dev.turningpoint.tensor.Parameters;
import dev.turningpoint.tensor.Tensor;
import java.util.Map;

/**
 * One joint-attention (MMDiT) block. Image and text stream have weights of their own and meet in the attention:
 *
 * <pre>
 *   h = LN(x) (1 + scale_msa) + shift_msa          per stream; shift, scale, gate come from the condition
 *   q, k, v = heads(h Wqkv^T + b), q and k RMS-normalised per head; both streams side by side
 *   x += gate_msa * (attention(q, k, v) Wo^T + b)
 *   x += gate_mlp * (gelu((LN(x) (1 + scale_mlp) + shift_mlp) W1^T + b) W2^T + b)
 * </pre>
 *
 * <p>In the last block nobody reads the text stream afterwards: it only gives keys and values there.
 *
 * @see <a href="https://arxiv.org/abs/2403.03206">Scaling Rectified Flow Transformers for High-Resolution Image Synthesis</a>
 */
final class JointBlock {
    private final GlyphConfig config;
    private final DType type;
    private final NetKernels kernels;
    private final Parameters parameters;
    private final int modulationSize;
    private final StreamLayers image;
    private final StreamLayers text;

    /** The layers of one stream; {@code out} and what follows are null where the stream ends in this block. */
    private record StreamLayers(int tokens, int tokenOffset, int modulation, Linear qkv, Slot qNorm, Slot kNorm, Linear out, Linear up, Linear down) {
        boolean ends() {
            return out == null;
        }
    }

    /** @param linears receives the layers by name; who gives it closes them */
    JointBlock(Device device, NetKernels kernels, Parameters parameters, GlyphWeights weights, int index, Map<String, Linear> linears, boolean trains) {
        config = weights.config();
        type = parameters.storage();
        this.kernels = kernels;
        this.parameters = parameters;
        modulationSize = weights.modulationSize();
        String b = GlyphWeights.block(index);
        var make = new Object() {
            Linear linear(String name, int tokens) {
                var linear = new Linear(device, kernels, parameters, b + name, type, tokens, trains);
                linears.put(b + name, linear);
                return linear;
            }
        };
        int ni = config.imageTokens();
        int nt = config.tokens();
        boolean last = weights.isLast(index);
        var layout = weights.layout();
        image = new StreamLayers(ni, 0, weights.modulationOffset(b + "norm1.linear"), make.linear("attn.to_qkv", ni),
                layout.slot(b + "attn.norm_q.weight"), layout.slot(b + "attn.norm_k.weight"),
                make.linear("attn.to_out.0", ni), make.linear("ff.net.0.proj", ni), make.linear("ff.net.2", ni));
        text = new StreamLayers(nt, ni, weights.modulationOffset(b + "norm1_context.linear"), make.linear("attn.add_qkv_proj", nt),
                layout.slot(b + "attn.norm_added_q.weight"), layout.slot(b + "attn.norm_added_k.weight"),
                last ? null : make.linear("attn.to_add_out", nt), last ? null : make.linear("ff_context.net.0.proj", nt), last ? null : make.linear("ff_context.net.2", nt));
    }

    /** Both streams from {@code a.image().input()} and {@code a.text().input()} to their outputs. */
    void forward(Stream stream, Activations.Block a, Tensor modulation, int batch, Pass pass) {
        project(stream, image, a.image(), a, modulation, batch, pass);
        project(stream, text, a.text(), a, modulation, batch, pass);
        kernels.attention().forward(stream, type, a.q().address(), a.k().address(), a.v().address(), a.image().attended().address(),
                text.ends() ? 0 : a.text().attended().address(), orZero(a.lse()), batch, config.heads(), config.jointTokens(), config.headDim(), image.tokens, attentionScale());
        feed(stream, image, a.image(), modulation, batch, pass);
        if (!text.ends()) {
            feed(stream, text, a.text(), modulation, batch, pass);
        }
    }

    /** From the residual stream to this stream's part of q, k and v. */
    private void project(Stream stream, StreamLayers s, Activations.Stream a, Activations.Block joint, Tensor modulation, int batch, Pass pass) {
        int rows = batch * s.tokens;
        kernels.norm().adaptiveLayerNorm(stream, type, a.input().address(), chunk(modulation, s, 0), chunk(modulation, s, 1), modulationSize,
                a.normed().address(), orZero(a.stats()), rows, config.dim(), s.tokens, GlyphConfig.EPS);
        s.qkv.forward(stream, a.normed().address(), a.qkv().address(), rows, pass);
        kernels.norm().qkNormSplit(stream, type, a.qkv().address(), parameters.value(s.qNorm), parameters.value(s.kNorm), 0,
                joint.q().address(), joint.k().address(), joint.v().address(), split(s, batch));
    }

    /** From the attention's output to the residual stream, through the feed-forward layers and to the residual stream again. */
    private void feed(Stream stream, StreamLayers s, Activations.Stream a, Tensor modulation, int batch, Pass pass) {
        int rows = batch * s.tokens;
        int d = config.dim();
        s.out.forward(stream, a.attended().address(), a.projected().address(), rows, pass);
        kernels.mlp().gateResidual(stream, type, a.input().address(), chunk(modulation, s, 2), modulationSize, a.projected().address(), a.middle().address(), rows, d, s.tokens);
        kernels.norm().adaptiveLayerNorm(stream, type, a.middle().address(), chunk(modulation, s, 3), chunk(modulation, s, 4), modulationSize,
                a.normed2().address(), orZero(a.stats2()), rows, d, s.tokens, GlyphConfig.EPS);
        s.up.forward(stream, a.normed2().address(), a.hidden().address(), rows, pass);
        kernels.mlp().gelu(stream, type, a.hidden().address(), a.activated().address(), (long) rows * config.hidden());
        s.down.forward(stream, a.activated().address(), a.fed().address(), rows, pass);
        kernels.mlp().gateResidual(stream, type, a.middle().address(), chunk(modulation, s, 5), modulationSize, a.fed().address(), a.output().address(), rows, d, s.tokens);
    }

    /** From the gradients of both residual streams after the block to those before it, in place; parameter gradients are added, the modulation's are written. */
    void backward(Stream stream, Activations.Block a, Tensor modulation, Gradients g, int batch) {
        feedBackward(stream, image, a.image(), modulation, g, g.image, batch);
        if (!text.ends()) {
            feedBackward(stream, text, a.text(), modulation, g, g.text, batch);
        }
        boolean both = !text.ends();
        kernels.attention().backward(stream, type, a.q().address(), a.k().address(), a.v().address(), a.image().attended().address(), both ? a.text().attended().address() : 0,
                g.image.narrow2().address(), both ? g.text.narrow2().address() : 0, a.lse().address(), g.delta.address(),
                g.q.address(), g.k.address(), g.v.address(), batch, config.heads(), config.jointTokens(), config.headDim(), image.tokens, attentionScale());
        projectBackward(stream, image, a.image(), a, modulation, g, g.image, batch);
        projectBackward(stream, text, a.text(), a, modulation, g, g.text, batch);
    }

    /** Leaves the gradient of the attention's output in {@code d.narrow2()}. */
    private void feedBackward(Stream stream, StreamLayers s, Activations.Stream a, Tensor modulation, Gradients g, Gradients.Stream d, int batch) {
        int rows = batch * s.tokens;
        int dim = config.dim();
        long partials = g.partials.address();
        long residual = d.residual().address();
        long narrow = d.narrow().address();
        long wide = d.wide().address();
        kernels.mlp().gateResidualBackward(stream, type, residual, chunk(modulation, s, 5), modulationSize, a.fed().address(), narrow, chunk(g.modulation, s, 5), rows, dim, s.tokens);
        s.down.backwardWeight(stream, a.activated().address(), narrow, partials, rows);
        s.down.backwardInput(stream, a.activated().address(), narrow, wide, partials, rows);
        kernels.mlp().geluBackward(stream, type, a.hidden().address(), wide, wide, (long) rows * config.hidden());
        s.up.backwardWeight(stream, a.normed2().address(), wide, partials, rows);
        s.up.backwardInput(stream, a.normed2().address(), wide, narrow, partials, rows);
        kernels.norm().adaptiveLayerNormBackward(stream, type, a.middle().address(), chunk(modulation, s, 4), modulationSize, a.stats2().address(), narrow,
                residual, chunk(g.modulation, s, 3), chunk(g.modulation, s, 4), rows, dim, s.tokens);
        kernels.mlp().gateResidualBackward(stream, type, residual, chunk(modulation, s, 2), modulationSize, a.projected().address(), narrow, chunk(g.modulation, s, 2), rows, dim, s.tokens);
        s.out.backwardWeight(stream, a.attended().address(), narrow, partials, rows);
        s.out.backwardInput(stream, a.attended().address(), narrow, d.narrow2().address(), partials, rows);
    }

    private void projectBackward(Stream stream, StreamLayers s, Activations.Stream a, Activations.Block joint, Tensor modulation, Gradients g, Gradients.Stream d, int batch) {
        int rows = batch * s.tokens;
        long dqkv = d.qkv().address();
        long partials = g.partials.address();
        boolean trained = parameters.hasGradients();
        kernels.norm().qkNormSplitBackward(stream, type, a.qkv().address(), parameters.value(s.qNorm), parameters.value(s.kNorm), 0, g.q.address(), g.k.address(), g.v.address(),
                dqkv, trained ? parameters.gradient(s.qNorm) : 0, trained ? parameters.gradient(s.kNorm) : 0, partials, split(s, batch));
        s.qkv.backwardWeight(stream, a.normed().address(), dqkv, partials, rows);
        s.qkv.backwardInput(stream, a.normed().address(), dqkv, d.narrow().address(), partials, rows);
        kernels.norm().adaptiveLayerNormBackward(stream, type, a.input().address(), chunk(modulation, s, 1), modulationSize, a.stats().address(), d.narrow().address(),
                d.residual().address(), chunk(g.modulation, s, 0), chunk(g.modulation, s, 1), rows, config.dim(), s.tokens);
    }

    private NormKernels.HeadSplit split(StreamLayers s, int batch) {
        return new NormKernels.HeadSplit(batch, s.tokens, config.heads(), config.headDim(), s.tokenOffset, config.jointTokens(), GlyphConfig.EPS);
    }

    private long chunk(Tensor modulation, StreamLayers s, int chunk) {
        return modulation.address(s.modulation + (long) chunk * config.dim());
    }

    private float attentionScale() {
        return (float) (1 / Math.sqrt(config.headDim()));
    }
}
