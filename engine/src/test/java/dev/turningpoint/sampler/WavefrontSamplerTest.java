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
import dev.turningpoint.schedule.Schedule;
import dev.turningpoint.schedule.StepTable;
import dev.turningpoint.schedule.StepType;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
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
        return new StepTable(Schedule.shifted(6, 2), StepType.valueOf(type), 0.7, start, end);
    }

    static Rollout run(GlyphModel model, StepTable steps, double guidance, int[] conditions, int[] trajectories, int capacity, int maxRows) {
        try (var sampler = new WavefrontSampler(device, kernels, model, steps, guidance, capacity, true, maxRows);
             var store = new TrajectoryStore(device, trajectories.length, steps.window(), N)) {
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
    static float[] ode(GlyphModel model, StepTable steps, int first, float[] from, double guidance) {
        try (var run = new Single(model, steps, from, guidance)) {
            for (int i = first; i < steps.steps(); i++) {
                run.velocities(i);
                kernels.step(stream, model.storage(), run.x, run.v, run.u, (float) guidance, run.x, 0, 0, 0, run.table, run.rows(steps.odeRow(i)), 0, run.rows(0), SEED, BATCH, N);
            }
            return floats(run.x, BATCH * N);
        }
    }

    static float[] replay(GlyphModel model, StepTable steps, int i, float[] before, float[] after, double guidance) {
        try (var run = new Single(model, steps, before, guidance)) {
            run.velocities(i);
            long logProb = run.upload(MemorySegment.ofArray(new float[BATCH]));
            kernels.replay(stream, model.storage(), run.x, run.v, run.u, (float) guidance, run.upload(MemorySegment.ofArray(after)), 0, logProb,
                    run.allocate(SamplerKernels.scratch(BATCH, N)), run.table, run.rows(steps.trajectoryRow(i)), BATCH, N);
            return floats(logProb, BATCH);
        }
    }

    /** One batch on the device, stepped by hand. */
    private static final class Single implements AutoCloseable {
        final java.util.List<DeviceMemory> memory = new java.util.ArrayList<>();
        final GlyphModel model;
        final StepTable steps;
        final long x, v, u, table, words, none;

        Single(GlyphModel model, StepTable steps, float[] from, double guidance) {
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
