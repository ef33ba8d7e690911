package dev.turningpoint.sampler;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.DeviceMemory;
import dev.turningpoint.gpu.HostMemory;
import dev.turningpoint.gpu.Stream;
import dev.turningpoint.kernels.SamplerKernels;
import dev.turningpoint.model.GlyphModel;
import dev.turningpoint.model.VelocityModel;
import dev.turningpoint.sampler.WavefrontSampler.Completions;
import dev.turningpoint.schedule.Schedule;
import dev.turningpoint.schedule.StepTable;
import dev.turningpoint.schedule.StepType;
import dev.turningpoint.schedule.Window;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The wavefront against finishing every branch by itself, and what its bits must not depend on. */
class WavefrontSamplerTest {
    static final long SEED = 77;
    static final int N = TestModel.SHAPE.latentSize(), TOKENS = TestModel.SHAPE.tokens(), BATCH = 5;
    static final int[] CONDITIONS = {1, 2, 3, 4, 0, 0, 5, 6, 1, 1, 2, 3, 2, 0, 0}, TRAJECTORIES = {3, 1000, 7, 0, 2_000_000_000};
    static Device device;
    static Stream stream;
    static SamplerKernels kernels;

    @BeforeAll
    static void open() {
        device = Device.open();
        stream = device.newStream();
        kernels = new SamplerKernels(device);
    }

    @AfterAll
    static void close() {
        kernels.close();
        stream.close();
        device.close();
    }

    record Rollout(float[] images, float[] latents, float[] logProbs) {
        /** One trajectory's part of everything. */
        float[] of(int trajectory, int batch, int branches, int window) {
            var out = new float[(branches + window + 1) * N + window];
            for (int b = 0; b < branches; b++) {
                System.arraycopy(images, (b * batch + trajectory) * N, out, b * N, N);
            }
            for (int s = 0; s <= window; s++) {
                System.arraycopy(latents, (s * batch + trajectory) * N, out, (branches + s) * N, N);
            }
            for (int s = 0; s < window; s++) {
                out[(branches + window + 1) * N + s] = logProbs[s * batch + trajectory];
            }
            return out;
        }
    }

    static StepTable steps(String type, int start, int end) {
        return StepTable.of(Schedule.shifted(6, 2), StepType.valueOf(type), 0.7, start, end);
    }

    static StepTable steps(StepType type, int steps, Window window, int stride) {
        var levels = new double[steps];
        Arrays.setAll(levels, i -> 0.3 + 0.4 * i / steps);
        return new StepTable(Schedule.shifted(steps, 2), type, levels, window, stride);
    }

    static Rollout run(VelocityModel model, StepTable steps, double guidance, int[] conditions, int[] trajectories, int capacity, int maxRows) {
        return run(model, steps, guidance, conditions, trajectories, capacity, maxRows, Completions.SHARED_NOISE);
    }

    static Rollout run(VelocityModel model, StepTable steps, double guidance, int[] conditions, int[] trajectories, int capacity, int maxRows, Completions completions) {
        try (var sampler = new WavefrontSampler(device, kernels, model, steps, guidance, capacity, completions, DType.F32, maxRows);
             var store = new TrajectoryStore(device, trajectories.length, steps.window(), N, false)) {
            sampler.run(stream, conditions, trajectories, SEED, store, 0);
            return new Rollout(floats(sampler.images(), sampler.branches() * trajectories.length * N), floats(store.latents().address(), (steps.window() + 1) * trajectories.length * N),
                    floats(store.logProbs().address(), steps.window() * trajectories.length));
        }
    }

    @ParameterizedTest
    @CsvSource({"CPS, 0, 5, F32, 1", "SDE, 1, 4, F32, 1", "CPS, 0, 6, BF16, 1", "CPS, 0, 3, F32, 2.5"})
    void everyBranchHasTheBitsOfFinishingItAlone(String type, int start, int end, DType storage, double guidance) {
        StepTable steps = steps(type, start, end);
        try (GlyphModel model = TestModel.inference(device, stream, storage, 64)) {
            Rollout wave = run(model, steps, guidance, CONDITIONS, TRAJECTORIES, BATCH, 0);
            int n = steps.window();
            // the trajectory: from x_T through the window, then ODE; and each completion from the stored latents
            for (int branch = 0; branch <= n; branch++) {
                int k = branch == 0 ? n : branch - 1;
                float[] from = Arrays.copyOfRange(wave.latents, k * BATCH * N, (k + 1) * BATCH * N);
                float[] image = ode(model, steps, start + k, from, guidance);
                assertArrayEquals(bits(image), bits(Arrays.copyOfRange(wave.images, branch * BATCH * N, (branch + 1) * BATCH * N)), "branch " + branch);
            }
            for (int s = 0; s < n; s++) {           // each stored step is one step of the sampler, its log-probability that of its replay
                float[] before = Arrays.copyOfRange(wave.latents, s * BATCH * N, (s + 1) * BATCH * N), after = Arrays.copyOfRange(wave.latents, (s + 1) * BATCH * N, (s + 2) * BATCH * N);
                assertArrayEquals(bits(replay(model, steps, start + s, before, after, guidance)), bits(Arrays.copyOfRange(wave.logProbs, s * BATCH, (s + 1) * BATCH)), "log-probability of step " + s);
                assertTrue(!Arrays.equals(before, after));
            }
        }
    }

    /** The procedure of the papers: the trajectory alone, then each branch by itself, a forward a step. */
    @ParameterizedTest
    @CsvSource({"CPS, 6, 0, 5", "SDE, 10, 2, 6", "DANCE, 2, 0, 2", "CPS, 100, 40, 48"})
    void theWaveHasTheBitsOfTheStepByStepProcedureInFewerForwards(StepType type, int count, int start, int end) {
        StepTable steps = steps(type, count, Window.fixed(start, end), 1);
        try (GlyphModel model = TestModel.inference(device, stream, DType.F32, 64)) {
            var wave = new Counted(model);
            var alone = new Counted(model);
            int n = steps.window();
            Rollout together = run(wave, steps, 1, CONDITIONS, TRAJECTORIES, BATCH, 0), trajectory = run(alone, steps, 1, CONDITIONS, TRAJECTORIES, BATCH, 0, Completions.NONE);
            assertArrayEquals(bits(trajectory.images), bits(Arrays.copyOf(together.images, BATCH * N)));
            assertArrayEquals(bits(trajectory.latents), bits(together.latents));
            assertArrayEquals(bits(trajectory.logProbs), bits(together.logProbs));
            for (int k = 0; k < n; k++) {
                float[] image = ode(alone, steps, start + k, Arrays.copyOfRange(trajectory.latents, k * BATCH * N, (k + 1) * BATCH * N), 1);
                assertArrayEquals(bits(image), bits(Arrays.copyOfRange(together.images, (k + 1) * BATCH * N, (k + 2) * BATCH * N)), "R_" + k);
            }
            assertEquals(count, wave.forwards, "one forward a sigma");
            assertEquals(BATCH * (count + n * (count - start - 1) - n * (n - 1) / 2), wave.rows, "a completion's first velocity is the trajectory's");
            assertEquals(count + n * (count - start) - n * (n - 1) / 2, alone.forwards);
        }
    }

    @ParameterizedTest
    @CsvSource({"0", "3"})
    void promptsWithWindowsOfTheirOwnHaveTheBitsOfRunningAlone(int maxRows) {
        var window = new Window(1, 6, 2, Window.Move.RANDOM, 1, 5, 2, 3);       // groups of 2 trajectories: keys 0 1, 2 3, 4 5
        int[] conditions = {1, 2, 3, 1, 2, 3, 4, 0, 0, 4, 0, 0, 5, 6, 1, 5, 6, 1}, trajectories = {0, 1, 2, 3, 4, 5};
        assertTrue(java.util.stream.IntStream.of(0, 2, 4).map(window::start).distinct().count() > 1, "the windows of this seed differ");
        try (GlyphModel model = TestModel.inference(device, stream, DType.F32, 64)) {
            Rollout all = run(model, steps(StepType.CPS, 6, window, 1), 1, conditions, trajectories, 6, maxRows);
            for (int i = 0; i < 6; i++) {
                int start = window.start(i);
                Rollout alone = run(model, steps(StepType.CPS, 6, Window.fixed(start, start + 2), 1), 1, Arrays.copyOfRange(conditions, i * TOKENS, (i + 1) * TOKENS), new int[] {i}, 1, 0);
                assertArrayEquals(bits(alone.of(0, 1, 3, 2)), bits(all.of(i, 6, 3, 2)), "trajectory " + i + ", window at " + start);
            }
        }
    }

    /** Branches that take several steps at once: to the next step where all meet, then from meeting to meeting. */
    @ParameterizedTest
    @CsvSource({"6, 2, 0, 5, 12", "7, 3, 1, 5, 10", "5, 5, 0, 4, 5"})
    void stridingCompletionsTakeFewerForwards(int count, int stride, int start, int end, int rows) {
        StepTable steps = steps(StepType.SDE, count, Window.fixed(start, end), stride), exact = steps(StepType.SDE, count, Window.fixed(start, end), 1);
        try (GlyphModel model = TestModel.inference(device, stream, DType.F32, 64)) {
            var counted = new Counted(model);
            Rollout wave = run(counted, steps, 1, CONDITIONS, TRAJECTORIES, BATCH, 0), precise = run(model, exact, 1, CONDITIONS, TRAJECTORIES, BATCH, 0);
            assertEquals(rows, counted.rows / BATCH, "forwards of a trajectory and its branches");
            assertArrayEquals(bits(precise.latents), bits(wave.latents), "the trajectory itself is as before");
            int n = steps.window();
            for (int k = 0; k < n; k++) {
                var jumps = new java.util.ArrayList<Integer>();
                for (int i = start + k; i < count; i = next(i, count, stride)) {
                    jumps.add(i);
                }
                float[] image = strides(model, steps, jumps, Arrays.copyOfRange(wave.latents, k * BATCH * N, (k + 1) * BATCH * N));
                float[] ours = Arrays.copyOfRange(wave.images, (k + 1) * BATCH * N, (k + 2) * BATCH * N), theirs = Arrays.copyOfRange(precise.images, (k + 1) * BATCH * N, (k + 2) * BATCH * N);
                assertArrayEquals(bits(image), bits(ours), "R_" + k);
                double difference = 0, size = 0;
                for (int i = 0; i < ours.length; i++) {
                    difference += Math.pow(ours[i] - theirs[i], 2);
                    size += Math.pow(theirs[i], 2);
                }
                assertTrue(difference < 0.05 * size, "R_" + k + " is an approximation, off by " + Math.sqrt(difference / size));
            }
        }
    }

    /** The means are those of the steps: what the latents after them have their noise around, by the log-probability. */
    @ParameterizedTest
    @CsvSource({"0", "4"})
    void keptMeansAreThoseOfTheSteps(int maxRows) {
        StepTable steps = steps("SDE", 1, 4);
        try (GlyphModel model = TestModel.inference(device, stream, DType.F32, 64);
             var sampler = new WavefrontSampler(device, kernels, model, steps, 1, BATCH, Completions.SHARED_NOISE, DType.F32, maxRows); var store = new TrajectoryStore(device, BATCH, 3, N, true)) {
            Rollout plain = run(model, steps, 1, CONDITIONS, TRAJECTORIES, BATCH, 0);
            sampler.run(stream, CONDITIONS, TRAJECTORIES, SEED, store, 0);
            float[] means = floats(store.means().address(), 3 * BATCH * N), latents = floats(store.latents().address(), 4 * BATCH * N);
            assertArrayEquals(bits(plain.latents), bits(latents), "keeping them changes nothing");
            for (int s = 0; s < 3; s++) {
                var c = steps.row(steps.trajectoryRow(1 + s));
                for (int b = 0; b < BATCH; b++) {
                    double squares = 0;
                    for (int i = (s * BATCH + b) * N; i < (s * BATCH + b + 1) * N; i++) {
                        squares += Math.pow(latents[i + BATCH * N] - means[i], 2) / N;
                    }
                    assertEquals(plain.logProbs[s * BATCH + b], c.logScale() * squares + c.logOffset(), 1e-5);
                }
            }
        }
    }

    /** As the published code keeps latents: each a bf16 value, its log-probability that of the value before rounding. */
    @Test
    void roundedLatentsMissTheirLogProbabilityByALittle() {
        StepTable steps = steps("CPS", 0, 5);
        try (GlyphModel model = TestModel.inference(device, stream, DType.F32, 64);
             var sampler = new WavefrontSampler(device, kernels, model, steps, 1, BATCH, Completions.OTHER_NOISE, DType.BF16, 0); var store = new TrajectoryStore(device, BATCH, 5, N, false)) {
            sampler.run(stream, CONDITIONS, TRAJECTORIES, SEED, store, 0);
            float[] latents = floats(store.latents().address(), 6 * BATCH * N), images = floats(sampler.images(), 6 * BATCH * N), logProbs = floats(store.logProbs().address(), 5 * BATCH);
            for (float[] values : new float[][] {latents, images}) {
                for (float v : values) {
                    assertEquals(0, Float.floatToRawIntBits(v) & 0xffff, v + " is a bf16 value");
                }
            }
            double worst = 0;
            for (int s = 0; s < 5; s++) {
                float[] replayed = replay(model, steps, s, Arrays.copyOfRange(latents, s * BATCH * N, (s + 1) * BATCH * N), Arrays.copyOfRange(latents, (s + 1) * BATCH * N, (s + 2) * BATCH * N), 1);
                for (int b = 0; b < BATCH; b++) {
                    worst = Math.max(worst, Math.abs(replayed[b] - logProbs[s * BATCH + b]));
                }
            }
            assertTrue(worst > 1e-6 && worst < 1e-2, "log-probabilities are off by up to " + worst);
        }
    }

    private static int next(int i, int count, int stride) {
        do {
            i++;
        } while ((count - i) % stride != 0);
        return i;
    }

    @ParameterizedTest
    @CsvSource({"0, 5", "2, 5"})
    void withOtherNoiseOnlyThePureOdeBranchChanges(int start, int end) {
        StepTable steps = steps("CPS", start, end);
        try (GlyphModel model = TestModel.inference(device, stream, DType.F32, 64)) {
            Rollout shared = run(model, steps, 1, CONDITIONS, TRAJECTORIES, BATCH, 0), other = run(model, steps, 1, CONDITIONS, TRAJECTORIES, BATCH, 0, Completions.OTHER_NOISE);
            assertArrayEquals(bits(shared.latents), bits(other.latents));
            for (int branch = 0; branch <= steps.window(); branch++) {
                float[] a = Arrays.copyOfRange(shared.images, branch * BATCH * N, (branch + 1) * BATCH * N), b = Arrays.copyOfRange(other.images, branch * BATCH * N, (branch + 1) * BATCH * N);
                assertEquals(branch != 1, Arrays.equals(a, b), "branch " + branch);
                if (branch == 1) {
                    try (var noise = new Single(model, steps, new float[BATCH * N], 1)) {
                        kernels.initialNoise(stream, noise.x, noise.upload(MemorySegment.ofArray(TRAJECTORIES)), ~SEED, BATCH, N);
                        assertArrayEquals(bits(ode(model, steps, 0, floats(noise.x, BATCH * N), 1)), bits(b), "the ODE from the other noise, from the first step on");
                    }
                }
            }
        }
    }

    @ParameterizedTest
    @CsvSource({"F32, 1", "BF16, 1", "F32, 3"})
    void noBitDependsOnHowTheWaveIsSplit(DType storage, double guidance) {
        StepTable steps = steps("CPS", 0, 5);
        try (GlyphModel model = TestModel.inference(device, stream, storage, 64); GlyphModel narrow = TestModel.inference(device, stream, storage, 3)) {
            Rollout whole = run(model, steps, guidance, CONDITIONS, TRAJECTORIES, BATCH, 0);
            for (int maxRows : new int[] {1, 4, 7, 29}) {
                Rollout split = run(maxRows == 4 ? narrow : model, steps, guidance, CONDITIONS, TRAJECTORIES, BATCH + maxRows % 3, maxRows);
                assertArrayEquals(bits(whole.images), bits(split.images), "images of parts of " + maxRows);
                assertArrayEquals(bits(whole.latents), bits(split.latents), "latents of parts of " + maxRows);
                assertArrayEquals(bits(whole.logProbs), bits(split.logProbs), "log-probabilities of parts of " + maxRows);
            }
            int[] order = {3, 0, 4, 2, 1}, conditions = new int[CONDITIONS.length], trajectories = new int[BATCH];
            for (int i = 0; i < BATCH; i++) {
                System.arraycopy(CONDITIONS, order[i] * TOKENS, conditions, i * TOKENS, TOKENS);
                trajectories[i] = TRAJECTORIES[order[i]];
            }
            Rollout shuffled = run(model, steps, guidance, conditions, trajectories, BATCH, 0);
            for (int i = 0; i < BATCH; i++) {       // nor on the order
                assertArrayEquals(bits(whole.of(order[i], BATCH, 6, 5)), bits(shuffled.of(i, BATCH, 6, 5)), "trajectory " + trajectories[i] + " at place " + i);
            }
            for (int i = 0; i < BATCH; i++) {       // nor on what else is in the batch
                Rollout alone = run(model, steps, guidance, Arrays.copyOfRange(CONDITIONS, i * TOKENS, (i + 1) * TOKENS), new int[] {TRAJECTORIES[i]}, 1, 0);
                assertArrayEquals(bits(whole.of(i, BATCH, 6, 5)), bits(alone.of(0, 1, 6, 5)), "trajectory " + TRAJECTORIES[i] + " alone");
            }
        }
    }

    @ParameterizedTest
    @CsvSource({"SDE", "CPS"})
    void storedStepsHaveTheSpreadOfTheirSchedule(String type) {
        StepTable steps = steps(type, 0, 5);
        int many = 64;
        int[] conditions = new int[many * TOKENS], trajectories = new int[many];
        Arrays.setAll(trajectories, i -> i);
        try (GlyphModel model = TestModel.inference(device, stream, DType.F32, 64)) {
            Rollout r = run(model, steps, 1, conditions, trajectories, many, 0);
            for (int s = 0; s < 5; s++) {
                var c = steps.row(steps.trajectoryRow(s));
                double mean = 0;
                for (int i = 0; i < many; i++) {
                    mean += (r.logProbs[s * many + i] - c.logOffset()) / c.logScale() / many;   // mean squared noise
                }
                assertEquals(1, mean / (c.spread() * c.spread()), 4 * Math.sqrt(2d / (many * N)), "variance of the noise of step " + s);
            }
        }
    }

    /** Deterministic steps from {@code first} to the end, a batch at a time. */
    static float[] ode(VelocityModel model, StepTable steps, int first, float[] from, double guidance) {
        try (var run = new Single(model, steps, from, guidance)) {
            for (int i = first; i < steps.steps(); i++) {
                run.velocities(i);
                kernels.step(stream, model.storage(), run.x, run.v, run.u, (float) guidance, run.x, 0, 0, 0, run.table, run.rows(steps.odeRow(i)), 0, run.rows(0), SEED, BATCH, N);
            }
            return floats(run.x, BATCH * N);
        }
    }

    /** One step of each of {@code jumps}, to the next of them. */
    static float[] strides(VelocityModel model, StepTable steps, List<Integer> jumps, float[] from) {
        try (var run = new Single(model, steps, from, 1)) {
            for (int i : jumps) {
                run.velocities(i);
                kernels.step(stream, model.storage(), run.x, run.v, 0, 1, run.x, 0, 0, 0, run.table, run.rows(steps.completionRow(i)), 0, run.rows(0), SEED, BATCH, N);
            }
            return floats(run.x, BATCH * N);
        }
    }

    static float[] replay(VelocityModel model, StepTable steps, int i, float[] before, float[] after, double guidance) {
        try (var run = new Single(model, steps, before, guidance)) {
            run.velocities(i);
            long logProb = run.upload(MemorySegment.ofArray(new float[BATCH]));
            kernels.replay(stream, model.storage(), run.x, run.v, run.u, (float) guidance, run.upload(MemorySegment.ofArray(after)), 0, logProb,
                    run.allocate(SamplerKernels.scratch(BATCH, N)), run.table, run.rows(steps.trajectoryRow(i)), BATCH, N);
            return floats(logProb, BATCH);
        }
    }

    /** A model that counts what is asked of it. */
    private static final class Counted implements VelocityModel {
        final VelocityModel model;
        int forwards, rows;

        Counted(VelocityModel model) {
            this.model = model;
        }

        @Override
        public int latentSize() {
            return model.latentSize();
        }

        @Override
        public int conditionTokens() {
            return model.conditionTokens();
        }

        @Override
        public DType storage() {
            return model.storage();
        }

        @Override
        public int maxBatch() {
            return model.maxBatch();
        }

        @Override
        public void velocity(Stream stream, long latents, long sigma, long conditions, long velocity, int batch) {
            forwards++;
            rows += batch;
            model.velocity(stream, latents, sigma, conditions, velocity, batch);
        }

        @Override
        public void referenceVelocity(Stream stream, long latents, long sigma, long conditions, long velocity, int batch) {
            throw new UnsupportedOperationException();
        }

        @Override
        public void close() {
        }
    }

    /** One batch on the device, stepped by hand. */
    private static final class Single implements AutoCloseable {
        final java.util.List<DeviceMemory> memory = new java.util.ArrayList<>();
        final VelocityModel model;
        final StepTable steps;
        final long x, v, u, table, words, none;

        Single(VelocityModel model, StepTable steps, float[] from, double guidance) {
            this.model = model;
            this.steps = steps;
            x = upload(MemorySegment.ofArray(from));
            v = allocate(4L * BATCH * N);
            u = guidance == 1 ? 0 : allocate(4L * BATCH * N);
            table = upload(MemorySegment.ofArray(steps.floats()));
            words = upload(MemorySegment.ofArray(CONDITIONS));
            none = upload(MemorySegment.ofArray(new int[BATCH * TOKENS]));
        }

        void velocities(int i) {
            var sigmas = new float[BATCH];
            Arrays.fill(sigmas, (float) steps.schedule().sigma(i));
            long sigma = upload(MemorySegment.ofArray(sigmas));
            model.velocity(stream, x, sigma, words, v, BATCH);
            if (u != 0) {
                model.velocity(stream, x, sigma, none, u, BATCH);
            }
        }

        long rows(int value) {
            var rows = new int[BATCH];
            Arrays.fill(rows, value);
            return upload(MemorySegment.ofArray(rows));
        }

        long allocate(long bytes) {
            memory.add(device.allocate(bytes, "a test"));
            return memory.getLast().address();
        }

        long upload(MemorySegment heap) {
            long address = allocate(heap.byteSize());
            try (HostMemory host = HostMemory.allocate(heap.byteSize())) {
                host.segment().asSlice(0, heap.byteSize()).copyFrom(heap);
                stream.copyToDevice(address, host.segment().asSlice(0, heap.byteSize()));
                stream.synchronize();
            }
            return address;
        }

        @Override
        public void close() {
            stream.synchronize();
            memory.forEach(DeviceMemory::close);
        }
    }

    static float[] floats(long address, int count) {
        try (HostMemory host = HostMemory.allocate(4L * count)) {
            MemorySegment segment = host.segment().asSlice(0, 4L * count);
            stream.copyToHost(segment, address);
            stream.synchronize();
            return segment.toArray(ValueLayout.JAVA_FLOAT);
        }
    }

    static int[] bits(float[] values) {
        var bits = new int[values.length];
        for (int i = 0; i < bits.length; i++) {
            bits[i] = Float.floatToRawIntBits(values[i]);
        }
        return bits;
    }
}
