package dev.turningpoint.credit;

import dev.turningpoint.credit.CreditOptions.Balancing;
import dev.turningpoint.credit.CreditOptions.Normalization;
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
import java.util.Comparator;
import java.util.stream.IntStream;

/**
 * Runs the credit kernels on one iteration's rewards. The kernels add in the order of the trajectories and break ties by it, so they get them in an order that the
 * rewards alone decide: where a trajectory stood in the rollout, or on which rank, changes no bit.
 */
public final class CreditAssigner implements AutoCloseable {
    private final CreditKernels kernels;
    private final CreditOptions options;
    private final int trajectories;
    private final int steps;
    private final Resources resources = new Resources();
    private final Workspace memory = new Workspace("credit of one iteration");
    private final Tensor rewards, group, batch, reward, indicator, main, bonus, scratch, advantage, deviation;
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
        deviation = memory.tensor("std of the steps", DType.F64, steps);
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
        int[] order = canonical(R, groupOf);
        boolean together = options.normalization() == Normalization.GLOBAL;
        var ordered = new float[R.length];
        var orderedGroups = new int[trajectories];
        for (int i = 0; i < trajectories; i++) {
            System.arraycopy(R, order[i] * (steps + 1), ordered, i * (steps + 1), steps + 1);
            orderedGroups[i] = together ? 0 : groupOf[order[i]];
        }
        upload(stream, rewards, MemorySegment.ofArray(ordered));
        upload(stream, group, MemorySegment.ofArray(orderedGroups));
        batch.clear(stream);
        kernels.stepRewards(stream, rewards.address(), options.balancing() == Balancing.NONE ? 0 : batch.address(), 1, reward.address(), indicator.address(), main.address(),
                bonus.address(), scratch.address(), trajectories, steps, options.flags(), options.eta());
        kernels.advantages(stream, reward.address(), group.address(), advantage.address(), options.normalization() == Normalization.GROUP ? 0 : deviation.address(),
                trajectories, steps, together ? 1 : groups, options.clip());
        return new Credit(floats(stream, reward, order), floats(stream, indicator, order), floats(stream, bonus, order), doubles(stream, advantage, order));
    }

    /** The trajectories by their gains d_1, d_2, ..., then by R_n, then by their group: also what all rewards of a prompt have in common changes no bit. */
    private int[] canonical(float[] R, int[] groupOf) {
        Comparator<Integer> order = (a, b) -> {
            int i = a * (steps + 1), j = b * (steps + 1), sign = 0;
            for (int t = 1; t <= steps && sign == 0; t++) {
                sign = Float.compare(R[i + t] - R[i + t - 1], R[j + t] - R[j + t - 1]);
            }
            return sign != 0 ? sign : Float.compare(R[i + steps], R[j + steps]);
        };
        return IntStream.range(0, trajectories).boxed().sorted(order.thenComparing(b -> groupOf[b])).mapToInt(b -> b).toArray();
    }

    private void upload(Stream stream, Tensor target, MemorySegment heap) {
        MemorySegment host = staging.segment().asSlice(0, target.bytes());
        host.copyFrom(heap);
        target.copyFrom(host, stream);
        stream.synchronize();
    }

    /** Row i of a tensor is that of trajectory {@code order[i]}. */
    private float[] floats(Stream stream, Tensor source, int[] order) {
        MemorySegment rows = download(stream, source);
        var out = new float[trajectories * steps];
        for (int i = 0; i < trajectories; i++) {
            MemorySegment.copy(rows, ValueLayout.JAVA_FLOAT, 4L * i * steps, out, order[i] * steps, steps);
        }
        return out;
    }

    private double[] doubles(Stream stream, Tensor source, int[] order) {
        MemorySegment rows = download(stream, source);
        var out = new double[trajectories * steps];
        for (int i = 0; i < trajectories; i++) {
            MemorySegment.copy(rows, ValueLayout.JAVA_DOUBLE, 8L * i * steps, out, order[i] * steps, steps);
        }
        return out;
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
