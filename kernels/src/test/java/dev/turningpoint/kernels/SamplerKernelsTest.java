package dev.turningpoint.kernels;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.turningpoint.gpu.DType;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The denoising step, its replay, noise and flow matching against float64, and the bits they promise. */
class SamplerKernelsTest {
    static final long SEED = 0x1234_5678_9abc_def0L;
    static DeviceFixture on;
    static SamplerKernels kernels;

    @BeforeAll
    static void open() {
        on = new DeviceFixture();
        kernels = new SamplerKernels(on.device);
    }

    @AfterAll
    static void close() {
        kernels.close();
        on.close();
    }

    /** A batch whose rows name coefficients of a table; the float64 result of every row. */
    static final class Case {
        final int batch, n;
        final DType type;
        final float guidance;
        final float[] x, v, u, noise, steps;
        final int[] rowStep, trajectory;

        Case(int batch, int n, DType type, boolean guided, long seed) {
            var random = new Random(seed);
            this.batch = batch;
            this.n = n;
            this.type = type;
            guidance = guided ? 4.5f : 1f;
            x = DeviceFixture.gaussian(random, DType.F32, batch * n, 1);
            v = DeviceFixture.gaussian(random, type, batch * n, 1.4);
            u = guided ? DeviceFixture.gaussian(random, type, batch * n, 1.4) : null;
            noise = DeviceFixture.gaussian(random, DType.F32, batch * n, 1);
            steps = new float[7 * SamplerKernels.STEP_FLOATS];
            for (int s = 0; s < 7; s++) {
                float spread = s == 6 ? 0 : 0.1f + random.nextFloat();
                float[] c = {0.6f + random.nextFloat(), -random.nextFloat(), spread, spread == 0 ? 0 : -0.5f / (spread * spread), spread == 0 ? 0 : random.nextFloat() - 0.5f,
                    spread == 0 ? 0 : 0.3f, spread == 0 ? 1 : spread, 1 / (0.2f + spread)};
                System.arraycopy(c, 0, steps, s * SamplerKernels.STEP_FLOATS, c.length);
            }
            rowStep = random.ints(batch, 0, 7).toArray();
            trajectory = random.ints(batch, 0, 1 << 30).toArray();
        }

        float step(int row, int field) {
            return steps[rowStep[row] * SamplerKernels.STEP_FLOATS + field];
        }

        double mean(int row, int i) {
            int k = row * n + i;
            double velocity = u == null ? v[k] : u[k] + (double) guidance * (v[k] - (double) u[k]);
            return step(row, 0) * (double) x[k] + step(row, 1) * velocity;
        }

        /** The log-probability of next latents, in double. */
        double logProb(int row, float[] next) {
            double squares = 0;
            for (int i = 0; i < n; i++) {
                double e = next[row * n + i] - mean(row, i);
                squares += e * e;
            }
            return step(row, 3) * squares / n + step(row, 4);
        }

        long velocityAddress() {
            return on.store(type, v);
        }

        long unconditionalAddress() {
            return u == null ? 0 : on.store(type, u);
        }

        /** The same rows in another order or number. */
        Case rows(int... rows) {
            return new Case(this, rows);
        }

        private Case(Case from, int[] rows) {
            batch = rows.length;
            n = from.n;
            type = from.type;
            guidance = from.guidance;
            steps = from.steps;
            x = pick(from.x, rows, n);
            v = pick(from.v, rows, n);
            u = from.u == null ? null : pick(from.u, rows, n);
            noise = pick(from.noise, rows, n);
            rowStep = Arrays.stream(rows).map(r -> from.rowStep[r]).toArray();
            trajectory = Arrays.stream(rows).map(r -> from.trajectory[r]).toArray();
        }

        static float[] pick(float[] from, int[] rows, int n) {
            var out = new float[rows.length * n];
            for (int i = 0; i < rows.length; i++) {
                System.arraycopy(from, rows[i] * n, out, i * n, n);
            }
            return out;
        }
    }

    record Result(float[] next, float[] mean, float[] logProb) {
    }

    static Result run(Case c, boolean given, boolean inPlace) {
        long x = on.f32(c.x), next = inPlace ? x : on.allocate(4L * c.x.length), mean = on.allocate(4L * c.x.length), logProb = on.allocate(4L * c.batch);
        kernels.step(on.stream, c.type, x, c.velocityAddress(), c.unconditionalAddress(), c.guidance, next, mean, logProb, on.allocate(SamplerKernels.scratch(c.batch, c.n)),
                on.f32(c.steps), on.i32(c.rowStep), given ? on.f32(c.noise) : 0, on.i32(c.trajectory), SEED, c.batch, c.n);
        return new Result(on.readF32(next, c.x.length), on.readF32(mean, c.x.length), on.readF32(logProb, c.batch));
    }

    static float[] replay(Case c, float[] next) {
        long logProb = on.allocate(4L * c.batch);
        kernels.replay(on.stream, c.type, on.f32(c.x), c.velocityAddress(), c.unconditionalAddress(), c.guidance, on.f32(next), 0, logProb,
                on.allocate(SamplerKernels.scratch(c.batch, c.n)), on.f32(c.steps), on.i32(c.rowStep), c.batch, c.n);
        return on.readF32(logProb, c.batch);
    }

    @ParameterizedTest
    @CsvSource({"1, 4, F32, false, 1", "3, 36, F32, true, 2", "2, 512, BF16, false, 3", "5, 516, BF16, true, 4", "7, 1536, F32, false, 5", "4, 5004, BF16, false, 6", "2, 18436, F32, true, 7"})
    void stepMatchesFloat64(int batch, int n, DType type, boolean guided, long seed) {
        var c = new Case(batch, n, type, guided, seed);
        for (boolean given : new boolean[] {true, false}) {
            Result out = run(c, given, seed % 2 == 0);
            for (int row = 0; row < batch; row++) {
                float[] drawn = NoiseReference.normals(SEED, c.trajectory[row], c.rowStep[row], 0, n);
                for (int i = 0; i < n; i++) {
                    double mean = c.mean(row, i), z = given ? c.noise[row * n + i] : drawn[i], scale = 1e-6 * (1 + Math.abs(mean) + c.guidance * 4);
                    assertEquals(mean, out.mean[row * n + i], scale, "mean");
                    assertEquals(mean + c.step(row, 2) * z, out.next[row * n + i], 2 * scale, "next");
                }
                double expected = c.logProb(row, out.next);
                assertEquals(expected, out.logProb[row], 2e-5 * (1 + Math.abs(expected)), "log-probability");
            }
        }
    }

    @ParameterizedTest
    @CsvSource({"F32, 1536", "BF16, 1536", "F32, 2052"})
    void logProbDoesNotDependOnTheBatch(DType type, int n) {
        var c = new Case(37, n, type, false, 11);
        Result all = run(c, false, false);
        for (int[] rows : new int[][] {{0}, {36}, {5, 4, 3}, {30, 1, 30, 2, 9, 17, 22, 8}}) {
            Result some = run(c.rows(rows), false, false);
            for (int i = 0; i < rows.length; i++) {
                assertEquals(Float.floatToRawIntBits(all.logProb[rows[i]]), Float.floatToRawIntBits(some.logProb[i]), "log-probability of row " + rows[i]);
                assertArrayEquals(Arrays.copyOfRange(all.next, rows[i] * n, (rows[i] + 1) * n), Arrays.copyOfRange(some.next, i * n, (i + 1) * n), "latents of row " + rows[i]);
            }
        }
    }

    @ParameterizedTest
    @CsvSource({"F32, false", "F32, true", "BF16, false", "BF16, true"})
    void replayHasTheBitsOfTheStep(DType type, boolean guided) {
        var c = new Case(9, 1540, type, guided, 12);
        Result out = run(c, false, false);
        assertArrayEquals(bits(out.logProb), bits(replay(c, out.next)));
        var other = new Case(9, 1540, type, guided, 13);
        float[] given = replay(c, other.x);
        for (int row = 0; row < c.batch; row++) {
            double expected = c.logProb(row, other.x);
            assertEquals(expected, given[row], 2e-5 * (1 + Math.abs(expected)));
        }
    }

    /** Random123's known answers, and then every bit that the kernel draws. */
    @Test
    void noiseIsPhiloxBoxMuller() {
        assertArrayEquals(new int[] {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}, NoiseReference.philox(0, 0, 0, 0, 0, 0));
        assertArrayEquals(new int[] {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}, NoiseReference.philox(-1, -1, -1, -1, -1, -1));
        int[] trajectories = {0, 1, 123456789, Integer.MAX_VALUE};
        int n = 20_004;
        long x = on.allocate(4L * n * trajectories.length);
        kernels.initialNoise(on.stream, x, on.i32(trajectories), SEED, trajectories.length, n);
        float[] drawn = on.readF32(x, n * trajectories.length);
        double sum = 0, squares = 0, fourth = 0;
        for (int row = 0; row < trajectories.length; row++) {
            float[] row32 = Arrays.copyOfRange(drawn, row * n, (row + 1) * n);
            assertArrayEquals(bits(NoiseReference.normals(SEED, trajectories[row], NoiseReference.INITIAL, 0, n)), bits(row32));
            double[] exact = NoiseReference.exactNormals(SEED, trajectories[row], NoiseReference.INITIAL, 0, n);
            for (int i = 0; i < n; i++) {
                assertEquals(exact[i], row32[i], 2e-6);
                sum += exact[i];
                squares += exact[i] * exact[i];
                fourth += Math.pow(exact[i], 4);
            }
        }
        double count = (double) n * trajectories.length;
        assertEquals(0, sum / count, 4 / Math.sqrt(count));
        assertEquals(1, squares / count, 4 * Math.sqrt(2 / count));
        assertEquals(3, fourth / count, 4 * Math.sqrt(96 / count));
    }

    @ParameterizedTest
    @CsvSource({"3, 1536, F32", "5, 516, BF16"})
    void flowMatchingMatchesFloat64(int batch, int n, DType type) {
        var random = new Random(21);
        float[] x0 = DeviceFixture.gaussian(random, DType.F32, batch * n, 0.5), v = DeviceFixture.gaussian(random, type, batch * n, 1), sigma = new float[batch];
        for (int b = 0; b < batch; b++) {
            sigma[b] = random.nextFloat();
        }
        int[] sample = random.ints(batch, 0, 1 << 20).toArray();
        long images = on.f32(x0), samples = on.i32(sample), x = on.allocate(4L * batch * n), gradient = on.allocate(type.bytes((long) batch * n)), loss = on.allocate(4L * batch);
        kernels.flowMatchingNoise(on.stream, images, on.f32(sigma), samples, x, SEED, batch, n);
        kernels.flowMatchingLoss(on.stream, type, on.store(type, v), images, samples, gradient, loss, on.allocate(SamplerKernels.scratch(batch, n)), SEED, 1f / batch, batch, n);
        float[] xs = on.readF32(x, batch * n), g = on.read(type, gradient, batch * n), l = on.readF32(loss, batch);
        double ulp = type == DType.F32 ? 1e-6 : 4e-3;
        for (int b = 0; b < batch; b++) {
            double[] eps = NoiseReference.exactNormals(SEED, sample[b], 0, 1, n);
            double squares = 0;
            for (int i = 0; i < n; i++) {
                int k = b * n + i;
                assertEquals((1 - (double) sigma[b]) * x0[k] + sigma[b] * eps[i], xs[k], 5e-6);
                double e = v[k] - (eps[i] - x0[k]), expected = 2 * e / n / batch;
                squares += e * e;
                assertEquals(expected, g[k], ulp * Math.abs(expected) + 1e-5 / n / batch);
            }
            assertEquals(squares / n, l[b], 1e-5 * squares / n);
        }
    }

    @Test
    void gatherRowsCollectsRowsInAnyOrder() {
        int n = 1028;
        float[] all = DeviceFixture.gaussian(new Random(5), DType.F32, 9 * n, 1);
        int[] rows = {8, 0, 3, 3};
        long out = on.allocate(4L * rows.length * n);
        kernels.gatherRows(on.stream, on.f32(all), on.i32(rows), out, rows.length, n);
        assertArrayEquals(Case.pick(all, rows, n), on.readF32(out, rows.length * n));
    }

    @Test
    void roundsToTheNearestBf16() {
        int n = 1028;
        float[] x = DeviceFixture.gaussian(new Random(6), DType.F32, 3 * n, 1), expected = new float[3 * n];
        x[0] = Float.intBitsToFloat(0x3f808000);                  // halfway: to the even neighbour below
        x[1] = Float.intBitsToFloat(0x3f818000);                  // and above
        for (int i = 0; i < x.length; i++) {
            expected[i] = DeviceFixture.round(DType.BF16, x[i]);
        }
        long address = on.f32(x);
        kernels.roundToBf16(on.stream, address, 3, n);
        assertArrayEquals(expected, on.readF32(address, 3 * n));
        assertEquals(0x3f800000, Float.floatToRawIntBits(expected[0]));
        assertEquals(0x3f820000, Float.floatToRawIntBits(expected[1]));
    }

    @ParameterizedTest
    @ValueSource(ints = {0, 6, -4})
    void latentsThatNoVectorCoversAreRefused(int n) {
        var error = assertThrows(IllegalArgumentException.class, () -> kernels.initialNoise(on.stream, 16, 16, 0, 1, n));
        assertTrue(error.getMessage().contains("multiple of 4"), error.getMessage());
    }

    static int[] bits(float[] values) {
        var bits = new int[values.length];
        for (int i = 0; i < bits.length; i++) {
            bits[i] = Float.floatToRawIntBits(values[i]);
        }
        return bits;
    }
}
