package dev.turningpoint.optim;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.HostMemory;
import dev.turningpoint.gpu.Resources;
import dev.turningpoint.gpu.Stream;
import dev.turningpoint.kernels.OptimKernels;
import dev.turningpoint.tensor.Parameters;
import dev.turningpoint.tensor.Tensor;
import dev.turningpoint.tensor.Workspace;
import java.lang.foreign.ValueLayout;

/** AdamW over the flat buffers of a model's trained parameters, which hold its moments and, if kept, the running average. */
public final class AdamW implements AutoCloseable {

    /**
     * @param beta1       decay of the first moment
     * @param beta2       decay of the second moment
     * @param weightDecay decoupled
     * @param maxNorm     the gradient is scaled down to this norm; 0 for no limit
     * @param emaDecay    of the running average, at most: it grows as (1 + t) / (10 + t) towards this
     * @param emaInterval steps between two updates of the average
     */
    public record Settings(double beta1, double beta2, double eps, double weightDecay, double maxNorm, double emaDecay, int emaInterval) {
    }

    private final OptimKernels kernels;
    private final Parameters parameters;
    private final Settings settings;
    private final Resources resources = new Resources();
    private final Workspace memory = new Workspace("the gradient norm");
    private final Tensor norm, scratch;
    private final HostMemory host;
    private long step;

    public AdamW(Device device, OptimKernels kernels, Parameters parameters, Settings settings) {
        this.kernels = kernels;
        this.parameters = parameters;
        this.settings = settings;
        norm = memory.tensor("norm", DType.F64, 1);
        scratch = memory.tensor("scratch", DType.U8, OptimKernels.scratch(parameters.size()));
        try {
            host = resources.add(HostMemory.allocate(Double.BYTES));
            resources.add(memory.allocate(device));
        } catch (RuntimeException | Error e) {
            resources.closeAfter(e);
            throw e;
        }
    }

    /** Steps done. */
    public long steps() {
        return step;
    }

    /** Goes on as after {@code steps} steps: for a run that resumes. */
    public void resumeAt(long steps) {
        step = steps;
    }

    /**
     * One step, unless the gradient's norm is not finite: then nothing changes.
     *
     * @return the norm of the gradient before clipping; the caller refuses one that is not finite
     */
    public double step(Stream stream, double learningRate) {
        long n = parameters.size();
        kernels.gradNorm(stream, parameters.gradients().address(), norm.address(), scratch.address(), n);
        norm.copyTo(host.segment(), stream);
        stream.synchronize();
        double value = host.segment().get(ValueLayout.JAVA_DOUBLE, 0);
        if (!Double.isFinite(value)) {
            return value;
        }
        step++;
        boolean averages = parameters.hasAverage() && step % settings.emaInterval == 0;
        kernels.adamW(stream, parameters.values().address(), parameters.gradients().address(), parameters.firstMoment().address(), parameters.secondMoment().address(),
                averages ? parameters.average().address() : 0, parameters.computeCopy(), norm.address(), settings.maxNorm, learningRate, settings.beta1, settings.beta2, settings.eps,
                settings.weightDecay, emaDecay(step - 1, settings.emaDecay), step, n);
        return value;
    }

    /** Decay of the running average after {@code t} steps: short at first, so that the start is forgotten. */
    public static double emaDecay(long t, double most) {
        return Math.min((1d + t) / (10 + t), most);
    }

    @Override
    public void close() {
        resources.close();
    }
}
