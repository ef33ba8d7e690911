package dev.turningpoint.kernels;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.turningpoint.gpu.DType;
import java.util.Random;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The policy loss and its gradient against a float64 loss and its finite differences; the ratio's bits. */
class GrpoKernelsTest {
    static final float ADVANTAGE_CLIP = 1.5f, BETA = 0.7f;
    static GrpoKernels kernels;

    @BeforeAll
    static void open() {
        SamplerKernelsTest.open();
        kernels = new GrpoKernels(SamplerKernelsTest.on.device);
    }

    @AfterAll
    static void close() {
        kernels.close();
        SamplerKernelsTest.close();
    }

    /** The loss of one row in double as a function of its conditional (or unconditional) velocity. */
    record Loss(SamplerKernelsTest.Case c, SamplerKernelsTest.Case reference, SamplerKernelsTest.Case rollout, float[] next, float[] old, double[] advantage, float clip) {

        double[] of(int row, double[] v, double[] u) {
            double squares = 0, kl = 0, moved = 0;
            for (int i = 0; i < c.n; i++) {
                int k = row * c.n + i;
                double velocity = u == null ? v[i] : u[i] + (double) c.guidance * (v[i] - u[i]);
                double mean = c.step(row, 0) * (double) c.x[k] + c.step(row, 1) * velocity, e = next[k] - mean;
                squares += e * e;
                if (rollout != null) {
                    moved += Math.pow(mean - (float) rollout.mean(row, i), 2);
                }
                if (reference != null) {
                    kl += Math.pow(mean - reference.mean(row, i), 2);
                }
            }
            double logProb = c.step(row, 3) * squares / c.n + c.step(row, 4), difference = logProb - old[row], weight = 1;
            if (rollout != null) {      // GRPO-Guard: the drift of the mean is added back, the log ratio scaled by the spread, the step weighed by 1 / -dt
                difference = c.step(row, 6) * (difference - c.step(row, 3) * moved / c.n);
                weight = c.step(row, 7);
            }
            double ratio = Math.exp(difference);
            double a = Math.clamp(advantage[row], -ADVANTAGE_CLIP, ADVANTAGE_CLIP);
            double policy = weight * Math.max(-a * ratio, -a * Math.clamp(ratio, 1 - clip, 1 + clip));
            return new double[] {policy + (reference == null ? 0 : BETA * c.step(row, 5) * kl / c.n), logProb, ratio, policy, c.step(row, 5) * kl / c.n, difference};
        }
    }

    @ParameterizedTest
    @CsvSource({"6, 36, F32, false, false, false, 0.2, 1", "5, 1536, F32, true, true, false, 0.2, 2", "9, 516, BF16, false, true, false, 0.01, 3", "4, 4100, BF16, true, false, false, 0.2, 4",
        "6, 36, F32, false, false, true, 0.2, 5", "7, 1536, F32, true, true, true, 0.05, 6", "9, 516, BF16, false, true, true, 0.01, 7", "3, 10244, F32, true, true, true, 0.1, 8"})
    void lossAndGradientMatchFloat64(int batch, int n, DType type, boolean guided, boolean withKl, boolean normalized, float clip, long seed) {
        var on = SamplerKernelsTest.on;
        var c = new SamplerKernelsTest.Case(batch, n, type, guided, seed);
        var random = new Random(seed + 100);
        var reference = withKl ? shifted(c, type, random) : null;
        var rollout = normalized ? shifted(c, type, random) : null;
        float[] next = DeviceFixture.gaussian(random, DType.F32, batch * n, 1), old = new float[batch];
        var advantage = new double[batch];
        for (int row = 0; row < batch; row++) {
            double away = (row % 3 == 0 ? 0.4 * clip : 2.5 * clip) * (row % 2 == 0 ? 1 : -1);      // of the log ratio from 0, so that some are clipped
            if (normalized) {
                double moved = 0;
                for (int i = 0; i < n; i++) {
                    moved += Math.pow(c.mean(row, i) - rollout.mean(row, i), 2) / n;
                }
                old[row] = (float) (c.logProb(row, next) - c.step(row, 3) * moved - away / c.step(row, 6));
            } else {
                old[row] = (float) (c.logProb(row, next) + away);
            }
            advantage[row] = 2 * random.nextGaussian();
        }
        int count = batch * n;
        long gradV = on.allocate(type.bytes(count)), gradU = guided ? on.allocate(type.bytes(count)) : 0, stats = on.allocate(8L * 8 * batch);
        float scale = 1f / batch;
        kernels.lossAndGradient(on.stream, type, on.f32(c.x), on.f32(next), c.velocityAddress(), c.unconditionalAddress(), c.guidance,
                withKl ? on.store(type, reference.v) : 0, withKl && guided ? on.store(type, reference.u) : 0, normalized ? on.f32(means(rollout)) : 0, on.f32(c.steps), on.i32(c.rowStep), on.f32(old),
                on.f64(advantage), ADVANTAGE_CLIP, clip, BETA, scale, gradV, gradU, stats, batch, n);
        float[] gv = on.read(type, gradV, count), gu = guided ? on.read(type, gradU, count) : null;
        double[] s = on.readF64(stats, 8 * batch);
        var loss = new Loss(c, reference, rollout, next, old, advantage, clip);
        for (int row = 0; row < batch; row++) {
            double[] v = row(c.v, row, n), u = guided ? row(c.u, row, n) : null, expected = loss.of(row, v, u);
            int at = 8 * row;
            double close = 3e-5 * (1 + Math.abs(expected[1]));
            assertEquals(expected[1], s[at + GrpoKernels.LOG_PROB], close, "log-probability");
            assertEquals(expected[2], s[at + GrpoKernels.RATIO], expected[2] * 2 * close, "ratio");
            assertEquals(expected[3], s[at + GrpoKernels.POLICY_LOSS], Math.abs(expected[3]) * 2 * close + 1e-12, "policy loss");
            assertEquals(expected[4], s[at + GrpoKernels.KL], 1e-5 * expected[4] + 1e-12, "KL");
            assertEquals(s[at + GrpoKernels.RATIO] - 1 > clip ? 1 : 0, s[at + GrpoKernels.CLIPPED_ABOVE]);
            assertEquals(1 - s[at + GrpoKernels.RATIO] > clip ? 1 : 0, s[at + GrpoKernels.CLIPPED_BELOW]);
            assertEquals(s[at + GrpoKernels.CLIPPED_ABOVE] + s[at + GrpoKernels.CLIPPED_BELOW], s[at + GrpoKernels.CLIPPED]);
            assertEquals(0.5 * Math.pow(expected[5], 2), s[at + GrpoKernels.APPROX_KL], 1e-4, "approximate KL");
            double largest = 0;
            for (int i = 0; i < n; i++) {
                largest = Math.max(largest, Math.abs(gv[row * n + i]));
            }
            for (int probe = 0; probe < 12; probe++) {
                int i = random.nextInt(n);
                double tolerance = (type == DType.F32 ? 2e-4 : 6e-3) * Math.max(largest, 1e-9);
                assertEquals(scale * difference(loss, row, v, u, v, i), gv[row * n + i], tolerance, "gradient to v");
                if (guided) {
                    assertEquals(scale * difference(loss, row, v, u, u, i), gu[row * n + i], tolerance, "gradient to the unconditional velocity");
                }
            }
        }
    }

    @ParameterizedTest
    @CsvSource({"F32, false", "BF16, false", "F32, true", "BF16, true"})
    void ratioIsExactlyOneBeforeAnyUpdate(DType type, boolean guided) {
        var on = SamplerKernelsTest.on;
        var c = new SamplerKernelsTest.Case(23, 1540, type, guided, 31);
        var rollout = SamplerKernelsTest.run(c, false, false);
        for (int[] rows : new int[][] {{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22}, {22, 7}, {4}}) {
            var part = c.rows(rows);
            float[] next = SamplerKernelsTest.Case.pick(rollout.next(), rows, c.n), old = SamplerKernelsTest.Case.pick(rollout.logProb(), rows, 1);
            var ones = new double[rows.length];
            java.util.Arrays.fill(ones, 1);
            long bytes = type.bytes((long) rows.length * c.n), stats = on.allocate(64L * rows.length);
            kernels.lossAndGradient(on.stream, type, on.f32(part.x), on.f32(next), part.velocityAddress(), part.unconditionalAddress(), part.guidance, 0, 0, 0, on.f32(c.steps),
                    on.i32(part.rowStep), on.f32(old), on.f64(ones), 5, 1e-4f, 0, 1, on.allocate(bytes), guided ? on.allocate(bytes) : 0, stats, rows.length, c.n);
            double[] s = on.readF64(stats, 8 * rows.length), ratios = new double[rows.length];
            for (int i = 0; i < rows.length; i++) {
                ratios[i] = s[8 * i + GrpoKernels.RATIO];
            }
            assertArrayEquals(ones, ratios, "ratio");
        }
    }

    private static float[] means(SamplerKernelsTest.Case c) {
        var means = new float[c.batch * c.n];
        for (int i = 0; i < means.length; i++) {
            means[i] = (float) c.mean(i / c.n, i % c.n);
        }
        return means;
    }

    private static SamplerKernelsTest.Case shifted(SamplerKernelsTest.Case c, DType type, Random random) {
        var other = c.rows(java.util.stream.IntStream.range(0, c.batch).toArray());
        for (float[] velocity : c.u == null ? new float[][] {other.v} : new float[][] {other.v, other.u}) {
            for (int i = 0; i < velocity.length; i++) {
                velocity[i] = DeviceFixture.round(type, velocity[i] + 0.3f * (float) random.nextGaussian());
            }
        }
        return other;
    }

    private static double difference(Loss loss, int row, double[] v, double[] u, double[] of, int i) {
        double at = of[i], h = 1e-4;
        of[i] = at + h;
        double above = loss.of(row, v, u)[0];
        of[i] = at - h;
        double below = loss.of(row, v, u)[0];
        of[i] = at;
        return (above - below) / (2 * h);
    }

    private static double[] row(float[] values, int row, int n) {
        var out = new double[n];
        for (int i = 0; i < n; i++) {
            out[i] = values[row * n + i];
        }
        return out;
    }
}
