package dev.turningpoint.kernels;

import static dev.turningpoint.kernels.CreditKernels.*;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.Random;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Credit assignment against the definitions written out in Java, on rewards full of ties and zeros; advantages against float64. */
class CreditKernelsTest {
    static final int CONSISTENT = BONUS | FIRST | FIRST_CONSISTENT | INNER_CONSISTENT | TREND | SUFFIX | DROP_MAIN, PLAIN = BONUS | FIRST | TREND | SUFFIX | DROP_MAIN;
    static DeviceFixture on;
    static CreditKernels kernels;

    @BeforeAll
    static void open() {
        on = new DeviceFixture();
        kernels = new CreditKernels(on.device);
    }

    @AfterAll
    static void close() {
        kernels.close();
        on.close();
    }

    record Steps(float[] reward, float[] indicator, float[] main, float[] bonus) {
    }

    static Steps run(float[] rewards, int[] rowBatch, int batch, int n, int flags, float eta) {
        long bytes = 4L * batch * n, reward = on.allocate(bytes), indicator = on.allocate(bytes), main = on.allocate(bytes), bonus = on.allocate(bytes);
        kernels.stepRewards(on.stream, on.f32(rewards), rowBatch == null ? 0 : on.i32(rowBatch), rowBatch == null ? 0 : java.util.Arrays.stream(rowBatch).max().orElseThrow() + 1, reward, indicator, main, bonus, on.allocate(scratch(batch, n)), batch, n,
                flags, eta);
        return new Steps(on.readF32(reward, batch * n), on.readF32(indicator, batch * n), on.readF32(main, batch * n), on.readF32(bonus, batch * n));
    }

    static float[] rewards(Random random, int batch, int n, int levels) {
        var r = new float[batch * (n + 1)];
        for (int i = 0; i < r.length; i++) {
            r[i] = levels == 0 ? random.nextFloat() : random.nextInt(levels) / (float) (levels - 1);
        }
        return r;
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 3, 5, 7, 8, 10, 15, 16, 30, 31, 32, 33, 64, 100})
    void turningPointsFollowTheirDefinitions(int n) {
        var random = new Random(n);
        int batch = 1 + random.nextInt(300);
        float[] r = rewards(random, batch, n, n % 2 == 0 ? 0 : 4);
        for (int flags : new int[] {PLAIN, CONSISTENT, CONSISTENT & ~TREND}) {   // the last, a run's default, is compiled for itself
            boolean consistent = (flags & INNER_CONSISTENT) != 0;
            Steps out = run(r, null, batch, n, flags, 1);
            for (int b = 0; b < batch; b++) {
                float[] R = java.util.Arrays.copyOfRange(r, b * (n + 1), (b + 1) * (n + 1));
                for (int t = 1; t <= n; t++) {
                    float d = R[t] - R[t - 1], trend = R[n] - R[0], rest = R[n] - R[t];
                    boolean turn = t == 1 ? d * trend > 0 : (R[t - 1] - R[t - 2]) * trend < 0 && d * trend > 0;
                    if (consistent) {
                        turn = (t == 1 || turn) && d * rest > 0;
                    }
                    int i = b * n + t - 1;
                    assertEquals(turn ? 1 : 0, out.indicator[i], "turning point " + t + " of " + java.util.Arrays.toString(R));
                    assertEquals(turn ? R[n] - R[t - 1] : d, out.reward[i]);
                }
            }
        }
    }

    @Test
    void outcomeAndIncremental() {
        int n = 7, batch = 50;
        float[] r = rewards(new Random(3), batch, n, 0);
        Steps outcome = run(r, null, batch, n, OUTCOME, 1), incremental = run(r, null, batch, n, 0, 1);
        for (int b = 0; b < batch; b++) {
            for (int t = 0; t < n; t++) {
                assertEquals(r[b * (n + 1) + n], outcome.reward[b * n + t]);
                assertEquals(r[b * (n + 1) + t + 1] - r[b * (n + 1) + t], incremental.reward[b * n + t]);
            }
        }
    }

    /** In each sampling batch equally many of either sign stay, the largest by magnitude of the assigned bonus; nothing else changes. */
    @ParameterizedTest
    @ValueSource(ints = {1, 2, 3, 4, 5, 6})
    void balancingKeepsTheLargestOfEitherSign(int seed) {
        var random = new Random(100 + seed);
        int n = 2 + random.nextInt(8), batch = 60 + random.nextInt(100);
        float[] r = rewards(random, batch, n, seed % 2 == 0 ? 0 : 5);
        int[] rowBatch = random.ints(batch, 0, 3).toArray();
        Steps free = run(r, null, batch, n, PLAIN, 1), balanced = run(r, rowBatch, batch, n, PLAIN, 1);
        var expected = new float[batch * n];
        for (int group = 0; group < 3; group++) {
            var positive = new ArrayList<Integer>();
            var negative = new ArrayList<Integer>();
            for (int i = 0; i < batch * n; i++) {
                if (rowBatch[i / n] == group && free.bonus[i] != 0) {
                    (free.bonus[i] > 0 ? positive : negative).add(i);
                }
                if (rowBatch[i / n] == group) {
                    expected[i] = free.indicator[i];
                }
            }
            int keep = Math.min(positive.size(), negative.size());
            for (int i = 0; keep > 0 && i < batch * n; i++) {
                expected[i] = rowBatch[i / n] == group ? 0 : expected[i];
            }
            for (var side : java.util.List.of(positive, negative)) {
                side.sort(Comparator.comparingDouble(i -> -Math.abs(free.bonus[i])));
                side.subList(0, keep == 0 ? side.size() : keep).forEach(i -> expected[i] = 1);
            }
        }
        assertArrayEquals(expected, balanced.indicator);
        for (int i = 0; i < batch * n; i++) {
            float d = r[i / n * (n + 1) + i % n + 1] - r[i / n * (n + 1) + i % n];
            assertEquals(expected[i] > 0 ? free.bonus[i] : d, balanced.reward[i]);
        }
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void advantagesMatchFloat64(boolean global) {
        var random = new Random(9);
        int n = 5, batch = 131, groups = 7;
        float[] reward = rewards(random, batch, n - 1, 0);
        int[] group = random.ints(batch, 0, groups).toArray();
        for (double clip : new double[] {Double.POSITIVE_INFINITY, 0.8}) {
            long advantage = on.allocate(8L * batch * n);
            kernels.advantages(on.stream, on.f32(reward), on.i32(group), advantage, global ? on.allocate(8L * n) : 0, batch, n, groups, clip);
            double[] a = on.readF64(advantage, batch * n);
            for (int i = 0; i < batch * n; i++) {
                double mean = moment(reward, group, group[i / n], i % n, n, 0, 1), centre = global ? moment(reward, group, -1, i % n, n, 0, 1) : mean;
                double std = Math.sqrt(moment(reward, group, global ? -1 : group[i / n], i % n, n, centre, 2));
                assertEquals(Math.clamp((reward[i] - mean) / (std + 1e-4), -clip, clip), a[i], 1e-12 * Math.max(1, Math.abs(a[i])) + 1e-13);
            }
        }
    }

    @Test
    void equalRewardsGiveExactlyZero() {
        int batch = 77;
        var reward = new float[batch];
        java.util.Arrays.fill(reward, 0.1f);
        long advantage = on.allocate(8L * batch);
        kernels.advantages(on.stream, on.f32(reward), on.i32(new int[batch]), advantage, 0, batch, 1, 1, 5);
        for (double a : on.readF64(advantage, batch)) {
            assertTrue(a == 0, "an advantage of a group of equal rewards is " + a);
        }
    }

    private static double moment(float[] reward, int[] group, int of, int t, int n, double centre, int power) {
        double sum = 0, count = 0;
        for (int b = 0; b < group.length; b++) {
            if (of < 0 || group[b] == of) {
                sum += Math.pow(reward[b * n + t] - centre, power);
                count++;
            }
        }
        return sum / count;
    }
}
