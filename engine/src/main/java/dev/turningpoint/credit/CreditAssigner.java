package dev.turningpoint.credit;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.HostMemory;
import dev.turningpoint.gpu.Resources;
import dev.turningpoint.gpu.Stream;
import dev.turningpoint.kernels.CreditKernels;
import dev.turningpoint.tensor.Tensor;
import dev.turningpoint.tensor.Workspace;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** Runs the credit kernels on one iteration's rewards. */
public final class CreditAssigner implements AutoCloseable {
    private final CreditKernels kernels;
    private final CreditOptions options;
    private final int trajectories;
    private final int steps;
    private final Resources resources = new Resources();
    private final Workspace memory = new Workspace("credit of one iteration");
    private final Tensor rewards, group, batch, reward, indicator, main, bonus, scratch, advantage;
    private final HostMemory staging;

    /**
     * Of one iteration, all [trajectories * steps], a row a trajectory.
     *
     * @param reward    step rewards
     * @param indicator 1 at turning points
     * @param bonus     the part of the step rewards that comes from turning points
     * @param advantage of every step
     */
    public record Credit(float[] reward, float[] indicator, float[] bonus, double[] advantage) {
    }

    public CreditAssigner(Device device, CreditKernels kernels, CreditOptions options, int trajectories, int steps) {
        this.kernels = kernels;
        this.options = options;
        this.trajectories = trajectories;
        this.steps = steps;
        rewards = memory.tensor("rewards", DType.F32, trajectories, steps + 1);
        group = memory.tensor("prompt groups", DType.I32, trajectories);
        batch = memory.tensor("sampling batches", DType.I32, trajectories);
        reward = memory.tensor("step rewards", DType.F32, trajectories, steps);
        indicator = memory.tensor("turning points", DType.F32, trajectories, steps);
        main = memory.tensor("main part", DType.F32, trajectories, steps);
        bonus = memory.tensor("bonus", DType.F32, trajectories, steps);
        scratch = memory.tensor("scratch", DType.U8, CreditKernels.scratch(trajectories, steps));
        advantage = memory.tensor("advantages", DType.F64, trajectories, steps);
        try {
            staging = resources.add(HostMemory.allocate(Math.max(rewards.bytes(), advantage.bytes())));
            resources.add(memory.allocate(device));
        } catch (RuntimeException | Error e) {
            resources.closeAfter(e);
            throw e;
        }
    }

    /**
     * Step rewards and advantages.
     *
     * @param R       [trajectories * (steps + 1)], R_0 .. R_n of each trajectory
     * @param groupOf [trajectories], prompt group 0 .. groups - 1; the trajectories of the iteration are one sampling batch for balancing
     */
    public Credit assign(Stream stream, float[] R, int[] groupOf, int groups) {
        if (R.length != trajectories * (steps + 1) || groupOf.length != trajectories) {
            throw new IllegalArgumentException(R.length + " rewards and " + groupOf.length + " groups for " + trajectories + " trajectories of " + steps + " steps");
        }
        upload(stream, rewards, MemorySegment.ofArray(R));
        upload(stream, group, MemorySegment.ofArray(groupOf));
        batch.clear(stream);
        kernels.stepRewards(stream, rewards.address(), options.balancing() ? batch.address() : 0, reward.address(), indicator.address(), main.address(), bonus.address(),
                scratch.address(), trajectories, steps, options.flags(), options.eta());
        kernels.advantages(stream, reward.address(), group.address(), advantage.address(), trajectories, steps, groups, options.globalStd(), options.clip());
        return new Credit(floats(stream, reward), floats(stream, indicator), floats(stream, bonus),
                download(stream, advantage).toArray(ValueLayout.JAVA_DOUBLE));
    }

    private void upload(Stream stream, Tensor target, MemorySegment heap) {
        MemorySegment host = staging.segment().asSlice(0, target.bytes());
        host.copyFrom(heap);
        target.copyFrom(host, stream);
        stream.synchronize();
    }

    private float[] floats(Stream stream, Tensor source) {
        return download(stream, source).toArray(ValueLayout.JAVA_FLOAT);
    }

    private MemorySegment download(Stream stream, Tensor source) {
        MemorySegment host = staging.segment().asSlice(0, source.bytes());
        source.copyTo(host, stream);
        stream.synchronize();
        return host;
    }

    @Override
    public void close() {
        resources.close();
    }
}
