package dev.turningpoint.model;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Gemm;
import dev.turningpoint.gpu.Resources;
import dev.turningpoint.gpu.Stream;
import dev.turningpoint.kernels.MlpKernels;
import dev.turningpoint.tensor.ParameterLayout.Slot;
import dev.turningpoint.tensor.Parameters;
import dev.turningpoint.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;

/**
 * {@code y = x W^T + b} with W [out, in], and its backward; optionally with a low-rank branch beside it. Products are cuBLASLt's, with one algorithm per layer whatever
 * the number of rows.
 */
final class Linear implements AutoCloseable {
    private final NetKernels kernels;
    private final Parameters parameters;
    private final Slot weight;
    private final Slot bias;
    private final DType storage;
    private final int rowsPerSample;
    private final int in;
    private final int out;
    private final Resources resources = new Resources();
    private final Gemm forward;
    private final Gemm inputGradient;
    private final Gemm inputGradientF32;
    private final boolean biasInStorage;
    private final OverRows weightGradient;
    private final List<LowRank> adapters = new ArrayList<>();

    /**
     * @param name          of the layer; its parameters are {@code name.weight} and, where there is one, {@code name.bias}
     * @param y             type of the output: the storage type, or f32 where a kernel wants it so
     * @param rowsPerSample rows that one image gives this layer
     * @param trains        whether a backward follows
     */
    Linear(NetKernels kernels, Parameters parameters, String name, DType y, int rowsPerSample, boolean trains) {
        this(kernels, parameters, parameters.layout().slot(name + ".weight"), biasOf(parameters, name), y, rowsPerSample, trains);
    }

    Linear(NetKernels kernels, Parameters parameters, Slot weight, Slot bias, DType y, int rowsPerSample, boolean trains) {
        this.kernels = kernels;
        this.parameters = parameters;
        this.weight = weight;
        this.bias = bias;
        this.rowsPerSample = rowsPerSample;
        storage = parameters.storage();
        out = Math.toIntExact(weight.shape()[0]);
        in = Math.toIntExact(weight.shape()[1]);
        try {
            forward = resources.add(Gemm.of(kernels.products(), storage, storage, y, false, true, out, in, rowsPerSample, bias != null));
            inputGradient = trains ? resources.add(Gemm.of(kernels.products(), storage, storage, storage, false, false, in, out, rowsPerSample, false)) : null;
            weightGradient = resources.add(new OverRows(kernels.products(), storage, out, in));
            inputGradientF32 = trains && storage != DType.F32 ? resources.add(Gemm.of(kernels.products(), storage, storage, DType.F32, false, false, in, out, rowsPerSample, false)) : inputGradient;
        } catch (RuntimeException | Error e) {
            resources.closeAfter(e);
            throw e;
        }
        biasInStorage = y == storage;
    }

    private static Slot biasOf(Parameters parameters, String name) {
        return parameters.layout().contains(name + ".bias") ? parameters.layout().slot(name + ".bias") : null;
    }

    /**
     * Gives it a low-rank branch.
     *
     * @param column of the output, the first that the branch adds to
     * @param kept   see {@link LowRank}; likewise scratch and gradient
     */
    void adapt(Parameters low, Slot a, Slot b, float scale, int column, Tensor kept, Tensor scratch, Tensor gradient) {
        adapters.add(resources.add(new LowRank(kernels.products(), low, a, b, scale, out, column, rowsPerSample, kept, scratch, gradient)));
    }

    int rowsPerSample() {
        return rowsPerSample;
    }

    int in() {
        return in;
    }

    int out() {
        return out;
    }

    /** {@code y = x W^T + b (+ y)}. */
    void forward(Stream stream, long x, long y, int rows, boolean accumulate) {
        long b = bias == null ? 0 : biasInStorage ? parameters.compute(bias) : parameters.value(bias);
        forward.run(stream, rows, x, in, parameters.compute(weight), in, y, out, b, 1f, accumulate ? 1f : 0f);
    }

    /**
     * {@code y = x W^T + b}, and the low-rank branch where there is one and it is on.
     *
     * @param pass what is kept and whether adapters are on
     */
    void forward(Stream stream, long x, long y, int rows, Pass pass) {
        forward(stream, x, y, rows, false);
        if (pass == Pass.REFERENCE) {
            return;
        }
        for (int i = 0; i < adapters.size(); i++) {
            adapters.get(i).forward(stream, x, y, rows, pass == Pass.TRAIN);
        }
    }

    /** {@code dx = dy W}, and the adapter's gradients with its part of dx; dx is of the storage type. */
    void backwardInput(Stream stream, long x, long dy, long dx, int rows) {
        inputGradient.run(stream, rows, dy, out, parameters.compute(weight), in, dx, in, 0, 1f, 0f);
        backwardAdapter(stream, x, dy, dx, rows);
    }

    /** As {@link #backwardInput}, added to dx. */
    void addBackwardInput(Stream stream, long x, long dy, long dx, int rows) {
        inputGradient.run(stream, rows, dy, out, parameters.compute(weight), in, dx, in, 0, 1f, 1f);
        backwardAdapter(stream, x, dy, dx, rows);
    }

    /** The adapter's gradients alone, where dx is not asked for (0) or already has the base layer's part. */
    void backwardAdapter(Stream stream, long x, long dy, long dx, int rows) {
        for (int i = 0; i < adapters.size(); i++) {
            adapters.get(i).backward(stream, x, dy, dx, rows);
        }
    }

    /** {@code dx += dy W} with dx in f32. */
    void backwardInputF32(Stream stream, long dy, long dx, int rows) {
        inputGradientF32.run(stream, rows, dy, out, parameters.compute(weight), in, dx, in, 0, 1f, 1f);
    }

    /** {@code dW += dy^T x} and {@code db += column sums of dy}, where the layer's own parameters are trained. */
    void backwardWeight(Stream stream, long x, long dy, long partials, int rows) {
        if (!parameters.hasGradients()) {
            return;
        }
        weightGradient.add(stream, dy, out, x, parameters.gradient(weight), rows, 1f);
        if (bias != null) {
            kernels.mlp().biasGradient(stream, storage, dy, parameters.gradient(bias), partials, rows, out, true);
        }
    }

    /** Bytes of scratch that a backward of this layer needs for so many rows. */
    long scratch(int rows) {
        return MlpKernels.biasGradientScratch(rows, out);
    }

    @Override
    public void close() {
        resources.close();
    }
}
