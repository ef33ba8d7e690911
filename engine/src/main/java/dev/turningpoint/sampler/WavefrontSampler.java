package dev.turningpoint.sampler;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.HostMemory;
import dev.turningpoint.gpu.Resources;
import dev.turningpoint.gpu.Stream;
import dev.turningpoint.kernels.SamplerKernels;
import dev.turningpoint.model.VelocityModel;
import dev.turningpoint.schedule.StepTable;
import dev.turningpoint.tensor.Tensor;
import dev.turningpoint.tensor.Workspace;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;

/**
 * The wavefront sampler: at every sigma one forward serves the trajectories, the pure ODE branch from the same x_T and all ODE completions begun at earlier
 * steps. They share sigma, so T launches of a growing batch replace the T^2 / 2 of finishing each completion by itself. A completion begins where the trajectory is,
 * so the trajectory's velocity there is its own too: its first step costs no forward.
 *
 * <p>The wave is a stack of branches, each of one latent per trajectory, in the order they begin: branch 0 the trajectories, branch 1 the pure ODE branch
 * (which leaves the trajectory where the window starts: before that the two are one), branch 1 + k the completion after k stochastic steps. Every row's bits
 * depend on (seed, trajectory, condition) alone, not on the batch, on the other branches, or on how the wave is split to fit memory. Where windows differ from
 * prompt to prompt, each has a wave of its own.
 *
 * <p>{@link #rewardIndex} translates: the image in branch {@code b} is the one whose reward is R_{rewardIndex(b)}.
 */
public final class WavefrontSampler implements AutoCloseable {
    private final StepTable steps;
    private final VelocityModel model;
    private final SamplerKernels kernels;
    private final float guidance;
    private final Completions completions;
    private final boolean rounds;
    private final int capacity;
    private final int branches;
    private final int maxRows;
    private final Resources resources = new Resources();
    private final Workspace memory = new Workspace("the wave of latents");
    private final Tensor table, wave, collected, velocity, unconditional, partials, sigma, rowStep, trajectory, condition, noCondition;
    private final HostMemory staging;
    private int tabulated, tabulatedStart;
    private long evaluations;

    /** What runs beside the trajectories. */
    public enum Completions {
        /** Nothing. */
        NONE,
        /** The ODE branches, the pure one from the trajectory's own x_T, as TP-GRPO defines R_0. */
        SHARED_NOISE,
        /** The same with the pure ODE branch from an x_T of its own, as TP-GRPO's published code has it. */
        OTHER_NOISE
    }

    /**
     * @param guidance classifier-free guidance; 1 for none
     * @param capacity most trajectories of one rollout
     * @param latents  F32; or BF16: latents are rounded to it after every step, as TP-GRPO's published code keeps them, but the log-probability is that of the unrounded ones,
     *                 so that the first ratio on a rollout is not exactly 1
     * @param maxRows  most rows of one forward, 0 for the whole wave; changes memory, no result
     */
    public WavefrontSampler(Device device, SamplerKernels kernels, VelocityModel model, StepTable steps, double guidance, int capacity, Completions completions, DType latents,
                            int maxRows) {
        this.steps = steps;
        this.model = model;
        this.kernels = kernels;
        this.guidance = (float) guidance;
        this.completions = completions;
        rounds = latents == DType.BF16;
        this.capacity = capacity;
        branches = completions != Completions.NONE && steps.window() > 0 ? 1 + steps.window() : 1;
        int rows = Math.multiplyExact(branches, capacity), n = model.latentSize(), tokens = model.conditionTokens();
        this.maxRows = Math.min(rows, maxRows == 0 ? rows : maxRows);
        table = memory.tensor("step coefficients", DType.F32, steps.rows(), SamplerKernels.STEP_FLOATS);
        wave = memory.tensor("latents", DType.F32, rows, n);
        collected = steps.windowsDiffer() ? memory.tensor("images", DType.F32, rows, n) : null;
        velocity = memory.tensor("velocity", model.storage(), this.maxRows, n);
        unconditional = guided() ? memory.tensor("unconditional velocity", model.storage(), this.maxRows, n) : null;
        noCondition = guided() ? memory.tensor("empty conditions", DType.I32, this.maxRows, tokens) : null;
        partials = memory.tensor("partial sums", DType.U8, SamplerKernels.scratch(this.maxRows, n));
        sigma = memory.tensor("sigmas", DType.F32, steps.steps(), this.maxRows);
        rowStep = memory.tensor("step of each row", DType.I32, steps.steps(), rows);
        trajectory = memory.tensor("trajectory of each row", DType.I32, rows);
        condition = memory.tensor("condition of each row", DType.I32, rows, tokens);
        try {
            staging = resources.add(HostMemory.allocate(Math.max(Math.max(table.bytes(), Math.max(sigma.bytes(), rowStep.bytes())), Math.max(trajectory.bytes(), condition.bytes()))));
            resources.add(memory.allocate(device));
            try (Stream stream = device.newStream()) {
                fillTables(stream);
            }
        } catch (RuntimeException | Error e) {
            resources.closeAfter(e);
            throw e;
        }
    }

    /** Branches of the wave at the end: 1 + n with completions, else 1. */
    public int branches() {
        return branches;
    }

    public int capacity() {
        return capacity;
    }

    public StepTable steps() {
        return steps;
    }

    /** Rows that went through the network since this sampler was opened; with guidance a row counts twice. */
    public long evaluations() {
        return evaluations;
    }

    /** k of the R_k that the image in branch {@code branch} earns: the trajectory's own is R_n, the pure ODE branch's R_0. */
    public int rewardIndex(int branch) {
        return branch == 0 ? steps.window() : branch - 1;
    }

    /** Latents of all branches, f32 [branches, batch, latent] after a rollout of {@code batch}; sigma is 0, they are the images. */
    public long images() {
        return collected == null ? wave.address() : collected.address();
    }

    /** Address of the step coefficients, as the loss reads them. */
    public long stepTable() {
        return table.address();
    }

    /**
     * Runs trajectories and branches from noise to images.
     *
     * @param conditions   [batch * tokens], the condition of each trajectory
     * @param trajectories [batch], keys of their noise, each its own within a run
     * @param seed         of the run
     * @param store        receives latents and log-probabilities of the window at trajectories {@code first} and on; null: not kept
     */
    public void run(Stream stream, int[] conditions, int[] trajectories, long seed, TrajectoryStore store, int first) {
        int batch = trajectories.length, n = model.latentSize(), tokens = model.conditionTokens();
        if (batch < 1 || batch > capacity || conditions.length != batch * tokens) {
            throw new IllegalArgumentException("a rollout of " + batch + " trajectories and " + conditions.length + " condition tokens: this sampler holds 1 to " + capacity
                    + " trajectories with " + tokens + " tokens each");
        }
        for (int from = 0, to; from < batch; from = to) {       // a wave for each stretch of trajectories with the same window
            int start = steps.windowStart(trajectories[from]);
            for (to = from + 1; to < batch && steps.windowStart(trajectories[to]) == start; ) {
                to++;
            }
            boolean all = to - from == batch;
            wave(stream, all ? conditions : Arrays.copyOfRange(conditions, from * tokens, to * tokens), all ? trajectories : Arrays.copyOfRange(trajectories, from, to), start, seed, store, first + from);
            for (int branch = 0; collected != null && branch < branches; branch++) {
                stream.copyOnDevice(collected.address(((long) branch * batch + from) * n), wave.address((long) branch * (to - from) * n), DType.F32.bytes((long) (to - from) * n));
            }
        }
    }

    private void wave(Stream stream, int[] conditions, int[] trajectories, int start, long seed, TrajectoryStore store, int first) {
        int batch = trajectories.length, n = model.latentSize(), end = start + steps.window(), open = 1;
        tabulate(stream, batch, start);
        stage(stream, trajectory, trajectories, branches);
        stage(stream, condition, conditions, branches);
        kernels.initialNoise(stream, wave.address(), trajectory.address(), seed, batch, n);
        round(stream, 0, batch);
        boolean otherNoise = completions == Completions.OTHER_NOISE;
        if (branches > 1 && otherNoise) {
            kernels.initialNoise(stream, wave.address((long) batch * n), trajectory.address(), ~seed, batch, n);
            round(stream, batch, batch);
            open++;
        }
        for (int i = 0; i < steps.steps(); i++) {
            boolean inside = i >= start && i < end, begins = branches > 1 && inside && !(otherNoise && i == start);
            if (inside && store != null) {
                copyTrajectories(stream, store.latentAddress(i - start, first), batch);
            }
            long logProbs = inside && store != null ? store.logProbAddress(i - start, first) : 0, means = logProbs == 0 ? 0 : store.meanAddress(i - start, first);
            int rows = i == 0 || steps.completionsMeet(i) ? open * batch : batch;      // at first there are branches of step 0 only
            advance(stream, i, rows, batch, begins ? open * batch : 0, seed, logProbs, means);
            open += begins ? 1 : 0;
            if (i + 1 == end && store != null) {
                copyTrajectories(stream, store.latentAddress(steps.window(), first), batch);
            }
        }
        for (int i = 0; store != null && i < batch; i++) {
            store.windowStarts(first + i, start);
        }
    }

    /**
     * One sigma for the first {@code rows} rows, of which those below {@code batch} are trajectories, in parts of at most {@code maxRows}.
     *
     * @param beginning first row of the branch that begins here, with the latents and the velocity of the trajectories; 0: none does
     * @param logProbs  receives f32 [batch] of the trajectories; 0 where they are not wanted
     * @param means     receives f32 [batch, latent] of the trajectories; 0 where they are not wanted
     */
    private void advance(Stream stream, int step, int rows, int batch, int beginning, long seed, long logProbs, long means) {
        int n = model.latentSize(), tokens = model.conditionTokens();
        evaluations += (long) rows * (guided() ? 2 : 1);
        for (int from = 0; from < rows; from += maxRows) {
            int part = Math.min(maxRows, rows - from), own = Math.clamp(batch - from, 0, part), recorded = logProbs == 0 ? 0 : own;
            long x = wave.address((long) from * n), sigmas = sigma.address((long) step * maxRows);
            model.velocity(stream, x, sigmas, condition.address((long) from * tokens), velocity.address(), part);
            if (guided()) {
                model.velocity(stream, x, sigmas, noCondition.address(), unconditional.address(), part);
            }
            if (beginning > 0) {                                                       // before the trajectories leave
                step(stream, step, from, beginning + from, 0, own, seed, 0, 0);
                round(stream, beginning + from, own);
            }
            step(stream, step, from, from, 0, recorded, seed, logProbs == 0 ? 0 : logProbs + DType.F32.bytes(from), means == 0 ? 0 : means + DType.F32.bytes((long) from * n));
            step(stream, step, from + recorded, from + recorded, recorded, part - recorded, seed, 0, 0);
            round(stream, from, part);
        }
    }

    private void round(Stream stream, int from, int rows) {
        if (rounds && rows > 0) {
            kernels.roundToBf16(stream, wave.address((long) from * model.latentSize()), rows, model.latentSize());
        }
    }

    /** The step of {@code rows} rows of the wave from {@code row} on, by the velocities from {@code at} on, into the wave from {@code to} on: the step is that of the rows there. */
    private void step(Stream stream, int step, int row, int to, int at, int rows, long seed, long logProbs, long means) {
        if (rows == 0) {
            return;
        }
        int n = model.latentSize();
        long first = (long) at * n;
        kernels.step(stream, model.storage(), wave.address((long) row * n), velocity.address(first), guided() ? unconditional.address(first) : 0, guidance,
                wave.address((long) to * n), means, logProbs, partials.address(), table.address(), rowStep.address((long) step * branches * capacity + to), 0, trajectory.address(to), seed, rows, n);
    }

    /** The table row of every wave row at every step, for a wave of {@code batch} trajectories whose window begins at {@code start}: they come first, ODE branches follow. */
    private void tabulate(Stream stream, int batch, int start) {
        if (batch == tabulated && start == tabulatedStart) {
            return;
        }
        int rows = branches * capacity;
        for (int i = 0; i < steps.steps(); i++) {
            boolean inside = i >= start && i < start + steps.window();
            int own = inside ? steps.trajectoryRow(i) : steps.odeRow(i);
            for (int row = 0; row < rows; row++) {
                staging.segment().setAtIndex(ValueLayout.JAVA_INT, (long) i * rows + row, row < batch ? own : steps.completionRow(i));
            }
        }
        upload(stream, rowStep);
        tabulated = batch;
        tabulatedStart = start;
    }

    private boolean guided() {
        return guidance != 1f;
    }

    private void copyTrajectories(Stream stream, long to, int batch) {
        stream.copyOnDevice(to, wave.address(), DType.F32.bytes((long) batch * model.latentSize()));
    }

    private void fillTables(Stream stream) {
        MemorySegment host = staging.segment();
        MemorySegment.copy(steps.floats(), 0, host, ValueLayout.JAVA_FLOAT, 0, steps.rows() * SamplerKernels.STEP_FLOATS);
        upload(stream, table);
        for (int i = 0; i < steps.steps(); i++) {
            for (int row = 0; row < maxRows; row++) {
                host.setAtIndex(ValueLayout.JAVA_FLOAT, (long) i * maxRows + row, (float) steps.schedule().sigma(i));
            }
        }
        upload(stream, sigma);
        if (guided()) {
            noCondition.clear(stream);
        }
        stream.synchronize();
    }

    /** {@code values} once per branch. */
    private void stage(Stream stream, Tensor target, int[] values, int times) {
        for (int i = 0; i < times; i++) {
            MemorySegment.copy(values, 0, staging.segment(), ValueLayout.JAVA_INT, (long) i * values.length * Integer.BYTES, values.length);
        }
        stream.copyToDevice(target.address(), staging.segment().asSlice(0, (long) times * values.length * Integer.BYTES));
        stream.synchronize();
    }

    private void upload(Stream stream, Tensor target) {
        target.copyFrom(staging.segment().asSlice(0, target.bytes()), stream);
        stream.synchronize();
    }

    @Override
    public void close() {
        resources.close();
    }
}
