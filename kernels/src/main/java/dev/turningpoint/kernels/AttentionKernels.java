package dev.turningpoint.kernels;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.Kernel;
import dev.turningpoint.gpu.Resources;
import dev.turningpoint.gpu.Stream;

/**
 * Flash attention over the joint sequence, forward and backward, head dims 32, 64 and 128, any number of tokens. T is the storage type.
 *
 * <p>In bf16 storage ({@code attention_bf16.cu}) products run on bf16 tensor cores with f32 sums, and the probabilities and their gradients are rounded to bf16 before
 * the second product, as bf16 frameworks do. In f32 storage ({@code attention_f32.cu}) all is f32, products too: training is done in bf16 where there are tensor cores,
 * and f32 is for machines without them and for reference. Neither uses atomics: the same inputs give the same bits, whatever the batch.
 */
public final class AttentionKernels implements AutoCloseable {
    private final Resources modules = new Resources();
    private final Kernel[] forward;
    private final Kernel[] backwardKeys;
    private final Kernel[] backwardQueries;
    private final Kernel[] delta;

    public AttentionKernels(Device device) {
        try {
            PtxModule f32 = modules.add(new PtxModule(device, "attention_f32")), bf16 = modules.add(new PtxModule(device, "attention_bf16"));
            forward = shapes(f32, bf16, "attention");
            backwardKeys = shapes(f32, bf16, "attention_backward_keys");
            backwardQueries = shapes(f32, bf16, "attention_backward_queries");
            delta = new Kernel[] {f32.kernel("attention_delta_f32"), bf16.kernel("attention_delta_bf16")};
        } catch (RuntimeException | Error e) {
            modules.closeAfter(e);
            throw e;
        }
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
        launch(pick(forward, type, headDim), type, queries, 1, heads, batch, headDim)
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
        this.delta[storage(type)].grid(Check.blocks((long) batch * tokens, 4), 1, 1).block(128).shared(0)
                .arg(outA).arg(outB).arg(dOutA).arg(dOutB).arg(delta).arg(batch).arg(heads).arg(tokens).arg(headDim).arg(tokensA).launch(stream);
        launch(pick(backwardKeys, type, headDim), type, tokens, 2, heads, batch, headDim)
                .arg(q).arg(k).arg(v).arg(dOutA).arg(dOutB).arg(lse).arg(delta).arg(dk).arg(dv).arg(tokens).arg(tokensA).arg(scale).launch(stream);
        launch(pick(backwardQueries, type, headDim), type, tokens, 2, heads, batch, headDim)
                .arg(q).arg(k).arg(v).arg(dOutA).arg(dOutB).arg(lse).arg(delta).arg(dq).arg(tokens).arg(tokensA).arg(scale).launch(stream);
    }

    @Override
    public void close() {
        modules.close();
    }

    /** By head dim in f32, then in bf16. */
    private static Kernel[] shapes(PtxModule f32, PtxModule bf16, String name) {
        Kernel[] kernels = new Kernel[6];
        for (int i = 0; i < 3; i++) {
            kernels[i] = f32.kernel(name + "_" + (32 << i) + "_f32");
            kernels[3 + i] = bf16.kernel(name + "_" + (32 << i) + "_bf16");
        }
        return kernels;
    }

    private static Kernel pick(Kernel[] kernels, DType type, int headDim) {
        return kernels[3 * storage(type) + Integer.numberOfTrailingZeros(headDim) - 5];
    }

    private static int storage(DType type) {
        if (!(type == DType.F32 || type == DType.BF16)) {
            throw new IllegalArgumentException("attention stores f32 or bf16, not " + type);
        }
        return type == DType.BF16 ? 1 : 0;
    }

    /** In bf16 a block has 4 warps of 16 rows; in f32 warps of 32 rows, as many as have room for the operands of their rows in shared memory. */
    private static Kernel launch(Kernel kernel, DType type, int rows, int operands, int heads, int batch, int headDim) {
        int own = type == DType.BF16 ? 64 : 32 * Math.clamp(256 / (headDim * operands), 1, 4);
        return kernel.grid(Check.blocks(rows, own), heads, batch).block(type == DType.BF16 ? 128 : own).shared(0);
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
