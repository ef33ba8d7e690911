package dev.turningpoint.kernels;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.Kernel;
import dev.turningpoint.gpu.Stream;

/**
 * The low-rank branch of a linear layer ({@code lora.cu}): {@code y += scale * (x A^T) B^T}, forward and backward, rank at most 64. T is the storage type of
 * activations and of A and B (the compute copy); parameter gradients are f32. A row's bits do not depend on the other rows.
 */
public final class LoraKernels implements AutoCloseable {
    /** Largest rank. */
    public static final int MAX_RANK = 64;
    private static final int ROWS_PER_BLOCK = 128;
    /** Rows whose parameter gradients become one slice of {@code partials}. */
    private static final int ROWS_PER_PARTIAL = 512;

    private final PtxModule module;
    private final PtxModule.Storages transposed;
    private final PtxModule.Storages plain;
    private final PtxModule.Storages outer;
    private final Kernel sum;

    public LoraKernels(Device device) {
        module = new PtxModule(device, "lora");
        transposed = module.storages("lora_times_transposed");
        plain = module.storages("lora_times");
        outer = module.storages("lora_outer");
        sum = module.kernel("lora_sum_partials");
    }

    /**
     * {@code down = x A^T}; then {@code y += scale * down B^T}.
     *
     * @param x    T [rows, in]
     * @param a    T [rank, in]
     * @param b    T [out, rank]
     * @param down receives T [rows, rank]; the backward reads it
     * @param y    T [rows, out], the base layer's output, added to
     * @param ldY  elements from a row of y to the next: out, or more where y is some columns of a wider matrix
     */
    public void forward(Stream stream, DType type, long x, long a, long b, long down, long y, int ldY, int rows, int in, int out, int rank, float scale) {
        shape(rows, in, out, rank, ldY);
        product(stream, transposed.of(type), x, a, down, rows, in, rank, in, rank, 1f, false);
        product(stream, transposed.of(type), down, b, y, rows, rank, out, rank, ldY, scale, true);
    }

    /**
     * Backward of {@link #forward}: {@code dDown = scale * dY B}, {@code dB += scale * dY^T down}, {@code dA += dDown^T x}, {@code dx += dDown A}.
     *
     * @param dY       T [rows, out], rows ldY elements apart
     * @param dDown    scratch, T [rows, rank]
     * @param dA       f32 [rank, in], added to
     * @param dB       f32 [out, rank], added to
     * @param dx       T [rows, in], added to; 0 where no gradient is asked for
     * @param partials scratch of {@link #scratch} bytes
     */
    public void backward(Stream stream, DType type, long x, long a, long b, long down, long dY, int ldY, long dDown, long dA, long dB, long dx, long partials,
                         int rows, int in, int out, int rank, float scale) {
        shape(rows, in, out, rank, ldY);
        Check.address("partials of the adapter gradients", partials);
        product(stream, plain.of(type), dY, b, dDown, rows, out, rank, ldY, rank, scale, false);
        outer(stream, type, dY, ldY, down, dB, partials, rows, out, rank, scale);
        outer(stream, type, dDown, rank, x, dA, partials, rows, rank, in, 1f);
        if (dx != 0) {
            product(stream, plain.of(type), dDown, a, dx, rows, rank, in, rank, in, 1f, true);
        }
    }

    /** Bytes of scratch that {@link #backward} needs. */
    public static long scratch(int rows, int in, int out, int rank) {
        return (long) Check.blocks(rows, ROWS_PER_PARTIAL) * Math.max(in, out) * rank * Float.BYTES;
    }

    @Override
    public void close() {
        module.close();
    }

    /** {@code c[rows, n] (+)= scale * x[rows, k] w}, w being [n, k] (transposed) or [k, n] (plain). */
    private static void product(Stream stream, Kernel kernel, long x, long w, long c, int rows, int k, int n, int ldX, int ldC, float scale, boolean accumulate) {
        kernel.grid(Check.blocks(n, 32), Check.blocks(rows, ROWS_PER_BLOCK), 1).block(128).shared(0)
                .arg(x).arg(w).arg(c).arg(rows).arg(k).arg(n).arg(ldX).arg(ldC).arg(scale).arg(accumulate ? 1 : 0).launch(stream);
    }

    /** {@code c[m, n] += scale * sum over rows of p[row, m] q[row, n]}. */
    private void outer(Stream stream, DType type, long p, int ldP, long q, long c, long partials, int rows, int m, int n, float scale) {
        int chunks = Check.blocks(rows, ROWS_PER_PARTIAL);
        outer.of(type).grid(Check.blocks(n, 32), Check.blocks(m, 32), chunks).block(128).shared(0)
                .arg(p).arg(q).arg(partials).arg(rows).arg(m).arg(n).arg(ldP).launch(stream);
        sum.grid(Check.blocks((long) m * n, 256), 1, 1).block(256).shared(0).arg(partials).arg(c).arg(chunks).arg(m * n).arg(scale).launch(stream);
    }

    private static void shape(int rows, int in, int out, int rank, int ldY) {
        Check.that(ldY >= out, "rows of " + out + " elements lie at least as far apart, not " + ldY);
        Check.positive("rows", rows);
        Check.positive("in", in);
        Check.positive("out", out);
        if (!(rank > 0 && rank <= MAX_RANK)) {
            throw new IllegalArgumentException("the rank must lie in 1.." + MAX_RANK + ", not " + rank);
        }
    }
}
