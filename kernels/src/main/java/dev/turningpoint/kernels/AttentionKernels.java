package dev.turningpoint.kernels;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.Kernel;
import dev.turningpoint.gpu.Stream;

/**
 * Flash attention over the joint sequence ({@code attention.cu}), forward and backward, head dims 32, 64 and 128, any number of tokens. T is the storage type.
 *
 * <p>Products run on bf16 tensor cores with f32 sums. In bf16 storage the probabilities and their gradients are rounded to bf16 before the second product, as
 * bf16 frameworks do. In f32 storage every operand is split into the sum of two bf16 numbers and each product is three: errors are those of about 16
 * mantissa bits. Neither direction uses atomics: the same inputs give the same bits, whatever the batch.
 */
public final class AttentionKernels implements AutoCloseable {
    private static final int QUERIES = 64;

    private final PtxModule module;
    private final Kernel[] forward;
    private final Kernel[] backwardKeys;
    private final Kernel[] backwardQueries;
    private final PtxModule.Storages delta;

    public AttentionKernels(Device device) {
        module = new PtxModule(device, "attention");
        forward = shapes("attention");
        backwardKeys = shapes("attention_backward_keys");
        backwardQueries = shapes("attention_backward_queries");
        delta = module.storages("attention_delta");
    }

    /**
     * {@code out = softmax(scale * q k^T) v}, heads side by side in a row of the output. The first {@code tokensA} tokens go to one buffer (the image
     * stream), the rest to the other (the text stream).
     *
     * @param q    T [batch, heads, tokens, headDim]; likewise k, v
     * @param outA receives T [batch, tokensA, heads * headDim]
     * @param outB receives T [batch, tokens - tokensA, heads * headDim]; 0 leaves those queries out
     * @param lse  receives f32 [batch, heads, tokens], the logarithm of each softmax' denominator, for the backward; 0 where none follows
     */
    public void forward(Stream stream, DType type, long q, long k, long v, long outA, long outB, long lse,
                        int batch, int heads, int tokens, int headDim, int tokensA, float scale) {
        shape(batch, heads, tokens, headDim, tokensA);
        int queries = outB == 0 ? tokensA : tokens;
        Check.that(queries > 0, "no token has an output");
        pick(forward, type, headDim).grid(Check.blocks(queries, QUERIES), heads, batch).block(128).shared(0)
                .arg(q).arg(k).arg(v).arg(outA).arg(outB).arg(lse).arg(tokens).arg(tokensA).arg(scale).launch(stream);
    }

    /**
     * Backward of {@link #forward}: with P the probabilities and {@code delta = rowsum(dOut * out)}, {@code dv = P^T dOut},
     * {@code dS = P * (dOut v^T - delta)}, {@code dq = scale * dS k}, {@code dk = scale * dS^T q}.
     *
     * @param outA  what the forward wrote; likewise outB (0 if it was 0: those queries have no gradient, and dq is 0 there)
     * @param dOutA T, the shape of outA; likewise dOutB
     * @param lse   what the forward wrote
     * @param delta scratch, f32 [batch, heads, tokens]
     * @param dq    receives T [batch, heads, tokens, headDim]; likewise dk, dv
     */
    public void backward(Stream stream, DType type, long q, long k, long v, long outA, long outB, long dOutA, long dOutB, long lse, long delta,
                         long dq, long dk, long dv, int batch, int heads, int tokens, int headDim, int tokensA, float scale) {
        shape(batch, heads, tokens, headDim, tokensA);
        Check.address("lse", lse);
        Check.address("delta", delta);
        Check.that((outB == 0) == (dOutB == 0), "outB and dOutB must both be given or both be 0");
        this.delta.of(type).grid(Check.blocks((long) batch * tokens, 4), 1, 1).block(128).shared(0)
                .arg(outA).arg(outB).arg(dOutA).arg(dOutB).arg(delta).arg(batch).arg(heads).arg(tokens).arg(headDim).arg(tokensA).launch(stream);
        int keys = headDim == 128 && type == DType.F32 ? 16 : 64;
        pick(backwardKeys, type, headDim).grid(Check.blocks(tokens, keys), heads, batch).block(2 * keys).shared(0)
                .arg(q).arg(k).arg(v).arg(dOutA).arg(dOutB).arg(lse).arg(delta).arg(dk).arg(dv).arg(tokens).arg(tokensA).arg(scale).launch(stream);
        int queries = headDim == 128 && type == DType.F32 ? 32 : 64;
        pick(backwardQueries, type, headDim).grid(Check.blocks(tokens, queries), heads, batch).block(2 * queries).shared(0)
                .arg(q).arg(k).arg(v).arg(dOutA).arg(dOutB).arg(lse).arg(delta).arg(dq).arg(tokens).arg(tokensA).arg(scale).launch(stream);
    }

    @Override
    public void close() {
        module.close();
    }

    private Kernel[] shapes(String name) {
        Kernel[] kernels = new Kernel[6];
        for (int i = 0; i < 3; i++) {
            kernels[i] = module.kernel(name + "_" + (32 << i) + "_f32");
            kernels[3 + i] = module.kernel(name + "_" + (32 << i) + "_bf16");
        }
        return kernels;
    }

    private static Kernel pick(Kernel[] kernels, DType type, int headDim) {
        if (!(type == DType.F32 || type == DType.BF16)) {
            throw new IllegalArgumentException("attention stores f32 or bf16, not " + type);
        }
        return kernels[(type == DType.BF16 ? 3 : 0) + Integer.numberOfTrailingZeros(headDim) - 5];
    }

    private static void shape(int batch, int heads, int tokens, int headDim, int tokensA) {
        Check.positive("batch", batch);
        Check.positive("heads", heads);
        Check.positive("tokens", tokens);
        if (!(headDim == 32 || headDim == 64 || headDim == 128)) {
            throw new IllegalArgumentException("head dims are 32, 64 and 128, not " + headDim);
        }
        if (!(tokensA >= 0 && tokensA <= tokens)) {
            throw new IllegalArgumentException("tokensA (" + tokensA + ") must lie in 0.." + tokens);
        }
        if (!(heads < 65536 && batch < 65536)) {
            throw new IllegalArgumentException("at most 65535 heads and samples a launch, not " + heads + " and " + batch);
        }
    }
}
