package dev.turningpoint.model;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Gemm;
import dev.turningpoint.gpu.GemmWorkspace;
import dev.turningpoint.gpu.Resources;
import dev.turningpoint.gpu.Stream;
import dev.turningpoint.tensor.ParameterLayout.Slot;
import dev.turningpoint.tensor.Parameters;
import dev.turningpoint.tensor.Tensor;

/**
 * The low-rank branch beside a layer, {@code y += scale (x A^T) B^T} with A [rank, in] and B [columns, rank], on some columns of y; and its backward. Each step is one product,
 * scale and sum included. A row's bits do not depend on the other rows.
 */
final class LowRank implements AutoCloseable {
    private final Parameters parameters;
    private final Slot a;
    private final Slot b;
    private final int in;
    private final int rank;
    private final int columns;
    private final int out;
    private final float scale;
    private final long offset;
    private final Tensor kept;
    private final Tensor scratch;
    private final Tensor gradient;
    private final Resources resources = new Resources();
    private final Gemm down;
    private final Gemm up;
    private final Gemm downGradient;
    private final Gemm inputGradient;
    private final OverRows aGradient;
    private final OverRows bGradient;

    /**
     * @param out           width of the layer's output, of which B gives some columns
     * @param column        of the output, the first that it adds to, a multiple of 16 bytes; as many as B has rows
     * @param kept          {@code x A^T} of a training forward, [rows, rank] in storage type
     * @param scratch       the same of other forwards
     * @param gradient      that of {@code x A^T}, as large as kept
     * @param rowsPerSample rows that one image gives this layer
     */
    LowRank(GemmWorkspace workspace, Parameters parameters, Slot a, Slot b, float scale, int out, int column, int rowsPerSample, Tensor kept, Tensor scratch, Tensor gradient) {
        this.parameters = parameters;
        this.a = a;
        this.b = b;
        this.scale = scale;
        this.out = out;
        this.kept = kept;
        this.scratch = scratch;
        this.gradient = gradient;
        rank = Math.toIntExact(a.shape()[0]);
        in = Math.toIntExact(a.shape()[1]);
        columns = Math.toIntExact(b.shape()[0]);
        DType storage = parameters.storage();
        offset = storage.bytes(column);
        try {
            down = resources.add(Gemm.of(workspace, storage, storage, storage, false, true, rank, in, rowsPerSample, false));
            up = resources.add(Gemm.of(workspace, storage, storage, storage, false, true, columns, rank, rowsPerSample, false));
            boolean trains = parameters.hasGradients();
            downGradient = trains ? resources.add(Gemm.of(workspace, storage, storage, storage, false, false, rank, columns, rowsPerSample, false)) : null;
            inputGradient = trains ? resources.add(Gemm.of(workspace, storage, storage, storage, false, false, in, rank, rowsPerSample, false)) : null;
            aGradient = resources.add(new OverRows(workspace, storage, rank, in));
            bGradient = resources.add(new OverRows(workspace, storage, columns, rank));
        } catch (RuntimeException | Error e) {
            resources.closeAfter(e);
            throw e;
        }
    }

    /** @param keep whether a backward follows */
    void forward(Stream stream, long x, long y, int rows, boolean keep) {
        long low = (keep ? kept : scratch).address();
        down.run(stream, rows, x, in, parameters.compute(a), in, low, rank, 0, 1f, 0f);
        up.run(stream, rows, low, rank, parameters.compute(b), rank, y + offset, out, 0, scale, 1f);
    }

    /**
     * {@code dA += dLow^T x}, {@code dB += scale dy^T low}, {@code dx += dLow A} with {@code dLow = scale dy B}.
     *
     * @param dx 0 where its gradient is not asked for
     */
    void backward(Stream stream, long x, long dy, long dx, int rows) {
        downGradient.run(stream, rows, dy + offset, out, parameters.compute(b), rank, gradient.address(), rank, 0, scale, 0f);
        bGradient.add(stream, dy + offset, out, kept.address(), parameters.gradient(b), rows, scale);
        aGradient.add(stream, gradient.address(), rank, x, parameters.gradient(a), rows, 1f);
        if (dx != 0) {
            inputGradient.run(stream, rows, gradient.address(), rank, parameters.compute(a), in, dx, in, 0, 1f, 1f);
        }
    }

    @Override
    public void close() {
        resources.close();
    }
}
