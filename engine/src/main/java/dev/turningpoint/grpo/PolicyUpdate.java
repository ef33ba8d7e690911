package dev.turningpoint.grpo;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.HostMemory;
import dev.turningpoint.gpu.Resources;
import dev.turningpoint.gpu.Stream;
import dev.turningpoint.kernels.GrpoKernels;
import dev.turningpoint.kernels.SamplerKernels;
import dev.turningpoint.model.TrainableVelocity;
import dev.turningpoint.sampler.TrajectoryStore;
import dev.turningpoint.schedule.StepTable;
import dev.turningpoint.tensor.Tensor;
import dev.turningpoint.tensor.Workspace;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;

/**
 * Accumulates the gradient of one update: every row (a trajectory at a step) counts the same, in micro-batches of any size. A row's log-probability has the bits
 * that the sampler recorded as long as the weights are the rollout's, so that its ratio is exactly 1. Where the store has the means of the steps, ratios are normalized
 * as in <a href="https://arxiv.org/abs/2510.22319">GRPO-Guard</a>.
 */
public final class PolicyUpdate implements AutoCloseable {

    /**
     * @param clipRange     c: the ratio is clipped to 1 - c .. 1 + c
     * @param advantageClip advantages are clipped to plus or minus this
     * @param kl            whether there is a KL to the reference model; without, that model is left out
     * @param guidance      as in the rollout; 1 for none
     */
    public record Settings(double clipRange, double advantageClip, boolean kl, double guidance) {
    }

    private final SamplerKernels samplerKernels;
    private final GrpoKernels kernels;
    private final TrainableVelocity model;
    private final StepTable steps;
    private final TrajectoryStore store;
    private final Settings settings;
    private final int microBatch;
    private final int maxRows;
    private final int passes;
    private final Resources resources = new Resources();
    private final Workspace memory = new Workspace("one micro-batch of the policy update");
    private final Tensor before, after, mean, velocity, reference, gradient, table, rowBefore, rowAfter, rowStep, sigma, condition, oldLogProb, advantage, stats;
    private final HostMemory staging;
    private final Staged staged;
    private final UpdateStatistics statistics = new UpdateStatistics();
    private MemorySegment statsOfUpdate = MemorySegment.NULL;

    /** Host memory of what an update's rows are, each as large as its tensor. */
    private record Staged(MemorySegment before, MemorySegment after, MemorySegment step, MemorySegment oldLogProb, MemorySegment advantage, MemorySegment sigma, MemorySegment words) {
        static Staged in(HostMemory memory, Tensor... of) {
            var parts = new MemorySegment[of.length];
            long at = 0;
            for (int i = 0; i < of.length; i++) {
                parts[i] = memory.segment().asSlice(at, of[i].bytes());
                at += roomFor(of[i]);
            }
            return new Staged(parts[0], parts[1], parts[2], parts[3], parts[4], parts[5], parts[6]);
        }

        static long roomFor(Tensor t) {
            return (t.bytes() + 63) / 64 * 64;
        }
    }

    /**
     * @param microBatch rows of one forward; with guidance each takes two rows of the model's batch
     * @param maxRows    most rows of one update
     */
    public PolicyUpdate(Device device, SamplerKernels samplerKernels, GrpoKernels kernels, TrainableVelocity model, StepTable steps, TrajectoryStore store,
                        Settings settings, int microBatch, int maxRows) {
        this.samplerKernels = samplerKernels;
        this.kernels = kernels;
        this.model = model;
        this.steps = steps;
        this.store = store;
        this.settings = settings;
        this.maxRows = maxRows;
        passes = settings.guidance == 1 ? 1 : 2;
        this.microBatch = Math.min(microBatch, maxRows);
        int batch = passes * this.microBatch, n = model.latentSize();
        if (batch > model.maxTrainBatch()) {
            throw new IllegalArgumentException("a micro-batch of " + this.microBatch + (passes == 2 ? " rows, twice for guidance," : " rows") + " is more than the "
                    + model.maxTrainBatch() + " that a training forward of the model holds");
        }
        before = memory.tensor("latents before the step", DType.F32, batch, n);
        after = memory.tensor("latents after the step", DType.F32, this.microBatch, n);
        mean = store.means() == null ? null : memory.tensor("means of the steps", DType.F32, this.microBatch, n);
        velocity = memory.tensor("velocity", model.storage(), batch, n);
        reference = settings.kl ? memory.tensor("velocity of the reference model", model.storage(), batch, n) : null;
        gradient = memory.tensor("gradient of the velocity", model.storage(), batch, n);
        table = memory.tensor("step coefficients", DType.F32, steps.rows(), SamplerKernels.STEP_FLOATS);
        rowBefore = memory.tensor("rows before the step", DType.I32, maxRows);
        rowAfter = memory.tensor("rows after the step", DType.I32, maxRows);
        rowStep = memory.tensor("step of each row", DType.I32, maxRows);
        sigma = memory.tensor("sigma of each row", DType.F32, (long) passes * maxRows);
        condition = memory.tensor("condition of each row", DType.I32, (long) passes * maxRows, model.conditionTokens());
        oldLogProb = memory.tensor("log-probability at sampling", DType.F32, maxRows);
        advantage = memory.tensor("advantage of each row", DType.F64, maxRows);
        stats = memory.tensor("statistics", DType.F64, maxRows, GrpoKernels.STATS);
        try {
            staging = resources.add(HostMemory.allocate(Math.max(stats.bytes(), Math.max(table.bytes(), store.logProbs().bytes()))));
            Tensor[] rows = {rowBefore, rowAfter, rowStep, oldLogProb, advantage, sigma, condition};
            staged = Staged.in(resources.add(HostMemory.allocate(Arrays.stream(rows).mapToLong(Staged::roomFor).sum())), rows);
            resources.add(memory.allocate(device));
            try (Stream stream = device.newStream()) {
                MemorySegment.copy(steps.floats(), 0, staging.segment(), ValueLayout.JAVA_FLOAT, 0, steps.rows() * SamplerKernels.STEP_FLOATS);
                table.copyFrom(staging.segment().asSlice(0, table.bytes()), stream);
                stream.synchronize();
            }
        } catch (RuntimeException | Error e) {
            resources.closeAfter(e);
            throw e;
        }
    }

    /**
     * Forwards of the network that the gradient of {@code trajectories} costs, in rows: a backward counts as two, guidance doubles all, and the KL asks the
     * reference model once more.
     */
    public long evaluations(int trajectories) {
        return (long) trajectories * store.window() * passes * (reference == null ? 3 : 4);
    }

    /** The log-probabilities that the sampler recorded, [n * trajectories], a row a step. */
    public float[] recordedLogProbs(Stream stream) {
        MemorySegment host = staging.segment().asSlice(0, store.logProbs().bytes());
        store.logProbs().copyTo(host, stream);
        stream.synchronize();
        return host.toArray(ValueLayout.JAVA_FLOAT);
    }

    /**
     * Sets the model's gradients to those of the mean loss over the steps of the given trajectories, and waits for them.
     *
     * @param trajectories which rows of the store
     * @param conditions   [all trajectories * tokens]
     * @param recorded     {@link #recordedLogProbs}
     * @param advantages   [all trajectories * n]
     * @param klBeta       weight of the KL to the reference model
     * @return statistics of this update, until the next fills them anew
     */
    public UpdateStatistics accumulate(Stream stream, int[] trajectories, int[] conditions, float[] recorded, double[] advantages, double klBeta) {
        int n = model.latentSize(), window = store.window(), rows = trajectories.length * window;
        if (rows < 1 || rows > maxRows) {
            throw new IllegalArgumentException("an update of " + rows + " rows: this one holds 1 to " + maxRows);
        }
        stage(stream, trajectories, conditions, recorded, advantages);
        model.zeroGradients(stream);
        DType type = model.storage();
        for (int from = 0; from < rows; from += microBatch) {
            int part = Math.min(microBatch, rows - from);
            long sigmas = sigma.address((long) passes * from), words = condition.address((long) passes * from * model.conditionTokens()), half = type.bytes((long) part * n);
            samplerKernels.gatherRows(stream, store.latents().address(), rowBefore.address(from), before.address(), part, n);
            samplerKernels.gatherRows(stream, store.latents().address(), rowAfter.address(from), after.address(), part, n);
            if (mean != null) {
                samplerKernels.gatherRows(stream, store.means().address(), rowBefore.address(from), mean.address(), part, n);
            }
            if (passes == 2) {
                stream.copyOnDevice(before.address((long) part * n), before.address(), DType.F32.bytes((long) part * n));
            }
            model.trainVelocity(stream, before.address(), sigmas, words, velocity.address(), passes * part);
            if (reference != null) {
                model.referenceVelocity(stream, before.address(), sigmas, words, reference.address(), passes * part);
            }
            boolean guided = passes == 2;
            kernels.lossAndGradient(stream, type, before.address(), after.address(), velocity.address(), guided ? velocity.address() + half : 0, (float) settings.guidance,
                    reference == null ? 0 : reference.address(), reference == null || !guided ? 0 : reference.address() + half, mean == null ? 0 : mean.address(), table.address(), rowStep.address(from),
                    oldLogProb.address(from), advantage.address(from), (float) settings.advantageClip, (float) settings.clipRange, (float) klBeta, 1f / rows,
                    gradient.address(), guided ? gradient.address() + half : 0, stats.address((long) from * GrpoKernels.STATS), part, n);
            model.backward(stream, gradient.address(), passes * part);
        }
        long read = DType.F64.bytes((long) rows * GrpoKernels.STATS);
        if (statsOfUpdate.byteSize() != read) {   // updates of one size, which is all but a few, allocate nothing
            statsOfUpdate = staging.segment().asSlice(0, read);
        }
        stream.copyToHost(statsOfUpdate, stats.address());
        stream.synchronize();
        statistics.fill(statsOfUpdate, rows);
        return statistics;
    }

    /** Row r is step r / trajectories of trajectory r % trajectories: neighbours share their sigma. Conditional rows of a micro-batch come before its unconditional ones. */
    private void stage(Stream stream, int[] trajectories, int[] conditions, float[] recorded, double[] advantages) {
        int window = store.window(), count = trajectories.length, rows = count * window, tokens = model.conditionTokens();
        staged.words.fill((byte) 0);                                             // the unconditional pass keeps zeros
        for (int r = 0; r < rows; r++) {
            int step = r / count, trajectory = trajectories[r % count], i = store.windowStart(trajectory) + step, part = r / microBatch * microBatch, partRows = Math.min(microBatch, rows - part);
            staged.before.setAtIndex(ValueLayout.JAVA_INT, r, store.row(step, trajectory));
            staged.after.setAtIndex(ValueLayout.JAVA_INT, r, store.row(step + 1, trajectory));
            staged.step.setAtIndex(ValueLayout.JAVA_INT, r, steps.trajectoryRow(i));
            staged.oldLogProb.setAtIndex(ValueLayout.JAVA_FLOAT, r, recorded[store.row(step, trajectory)]);
            staged.advantage.setAtIndex(ValueLayout.JAVA_DOUBLE, r, advantages[trajectory * window + step]);
            int at = passes * part + (r - part);
            for (int pass = 0; pass < passes; pass++) {
                staged.sigma.setAtIndex(ValueLayout.JAVA_FLOAT, at + pass * partRows, (float) steps.schedule().sigma(i));
            }
            MemorySegment.copy(conditions, trajectory * tokens, staged.words, ValueLayout.JAVA_INT, 4L * at * tokens, tokens);
        }
        rowBefore.copyFrom(staged.before, stream);
        rowAfter.copyFrom(staged.after, stream);
        rowStep.copyFrom(staged.step, stream);
        oldLogProb.copyFrom(staged.oldLogProb, stream);
        advantage.copyFrom(staged.advantage, stream);
        sigma.copyFrom(staged.sigma, stream);
        condition.copyFrom(staged.words, stream);
        stream.synchronize();
    }

    @Override
    public void close() {
        resources.close();
    }
}
