package dev.turningpoint.kernels;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.turningpoint.gpu.DType;
import java.util.Arrays;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/** Flash attention and its gradients against float64, every head dimension, ragged lengths, both storage types. */
class AttentionKernelsTest {
    static DeviceFixture on;
    static AttentionKernels kernels;

    @BeforeAll
    static void open() {
        on = new DeviceFixture();
        kernels = new AttentionKernels(on.device);
    }

    @AfterAll
    static void close() {
        kernels.close();
        on.close();
    }

    static Stream<Arguments> shapes() {  // batch, heads, tokens, head dim, tokensA
        return NormKernelsTest.shapes(new int[][] {{1, 1, 1, 32, 1}, {2, 3, 101, 32, 96}, {1, 2, 37, 32, 5}, {2, 1, 16, 64, 0}, {1, 2, 64, 64, 64}, {1, 2, 129, 64, 70},
            {1, 1, 150, 32, 17}, {1, 1, 300, 32, 290}, {1, 1, 33, 128, 20}, {2, 1, 100, 128, 99}, {1, 1, 200, 64, 100}});
    }

    /** What rounds where: nothing, or what a flash attention in bf16 rounds (probabilities and their gradients before the second product). */
    enum Rounding {
        NONE, BF16;

        double of(double x) {
            return this == NONE ? x : DeviceFixture.round(DType.BF16, (float) x);
        }
    }

    static final class Case {
        final int batch, heads, tokens, d, tokensA, n;
        final double scale;
        final DType type;
        final float[] q, k, v, dOut;  // dOut as [batch, heads, tokens, d]
        double[] out, lse, dq, dk, dv;

        Case(int[] s, DType type, double spread, long seed) {
            batch = s[0];
            heads = s[1];
            tokens = s[2];
            d = s[3];
            tokensA = s[4];
            this.type = type;
            scale = (float) (1 / Math.sqrt(d));
            n = batch * heads * tokens * d;
            var random = new Random(seed);
            q = DeviceFixture.gaussian(random, type, n, spread);
            k = DeviceFixture.gaussian(random, type, n, spread);
            v = DeviceFixture.gaussian(random, type, n, 1);
            dOut = DeviceFixture.gaussian(random, type, n, 1);
        }

        /** Forward and, for queries below {@code withGradient}, backward in double. */
        void reference(Rounding r, int withGradient) {
            out = new double[n];
            lse = new double[batch * heads * tokens];
            dq = new double[n];
            dk = new double[n];
            dv = new double[n];
            double[] p = new double[tokens], s = new double[tokens];
            for (int bh = 0; bh < batch * heads; bh++) {
                int base = bh * tokens * d;
                for (int i = 0; i < tokens; i++) {
                    int qi = base + i * d;
                    double top = Double.NEGATIVE_INFINITY, sum = 0;
                    for (int j = 0; j < tokens; j++) {
                        s[j] = 0;
                        for (int c = 0; c < d; c++) {
                            s[j] += (double) q[qi + c] * k[base + j * d + c];
                        }
                        s[j] *= scale;
                        top = Math.max(top, s[j]);
                    }
                    for (int j = 0; j < tokens; j++) {
                        sum += Math.exp(s[j] - top);
                    }
                    lse[bh * tokens + i] = top + Math.log(sum);
                    for (int j = 0; j < tokens; j++) {
                        double e = r.of(Math.exp(s[j] - top));
                        for (int c = 0; c < d; c++) {
                            out[qi + c] += e * v[base + j * d + c] / sum;
                        }
                        p[j] = Math.exp(s[j] - lse[bh * tokens + i]);
                    }
                    if (i >= withGradient) {
                        continue;
                    }
                    double delta = 0;
                    for (int c = 0; c < d; c++) {
                        delta += dOut[qi + c] * r.of(out[qi + c]);
                    }
                    for (int j = 0; j < tokens; j++) {
                        int kj = base + j * d;
                        double dp = 0;
                        for (int c = 0; c < d; c++) {
                            dp += (double) dOut[qi + c] * v[kj + c];
                        }
                        double ds = r.of(p[j] * (dp - delta)), rounded = r.of(p[j]);
                        for (int c = 0; c < d; c++) {
                            dv[kj + c] += rounded * dOut[qi + c];
                            dq[qi + c] += scale * ds * k[kj + c];
                            dk[kj + c] += scale * ds * q[qi + c];
                        }
                    }
                }
            }
        }

        /** [batch, heads, tokens, d] to the two outputs, one after another: [batch, tokensA, heads d], [batch, tokens - tokensA, heads d]. */
        double[] joint(double[] byHead) {
            double[] result = new double[n];
            for (int i = 0; i < n; i++) {
                int c = i % d, t = i / d % tokens, h = i / d / tokens % heads, b = i / d / tokens / heads;
                int row = t < tokensA ? b * tokensA + t : batch * tokensA + b * (tokens - tokensA) + t - tokensA;
                result[(row * heads + h) * d + c] = byHead[i];
            }
            return result;
        }

        float[] joint(float[] byHead) {
            double[] result = joint(Expect.doubles(byHead));
            float[] f = new float[n];
            for (int i = 0; i < n; i++) {
                f[i] = (float) result[i];
            }
            return f;
        }
    }

    /** One case on the device: outputs, then gradients. */
    static final class Run {
        float[] out, lse, dq, dk, dv;

        Run(Case c, boolean textOutput, boolean backward) {
            int stats = c.batch * c.heads * c.tokens;
            long q = on.store(c.type, c.q), k = on.store(c.type, c.k), v = on.store(c.type, c.v);
            float[] marks = new float[c.n + 64];
            Arrays.fill(marks, 7);
            long joint = on.store(c.type, marks), logs = on.f32(new float[stats]);
            long a = joint, b = textOutput ? joint + c.type.bytes((long) c.batch * c.tokensA * c.heads * c.d) : 0;
            kernels.forward(on.stream, c.type, q, k, v, a, b, logs, c.batch, c.heads, c.tokens, c.d, c.tokensA, (float) c.scale);
            out = on.read(c.type, joint, c.n + 64);
            for (int i = c.n; i < c.n + 64; i++) {
                assertTrue(out[i] == 7, "wrote beyond the end");
            }
            lse = on.readF32(logs, stats);
            if (backward) {
                long gradient = on.store(c.type, c.joint(c.dOut)), delta = on.allocate(4L * stats);
                long da = gradient, db = textOutput ? gradient + b - a : 0;
                long dq = on.store(c.type, marks), dk = on.store(c.type, marks), dv = on.store(c.type, marks);
                kernels.backward(on.stream, c.type, q, k, v, a, b, da, db, logs, delta, dq, dk, dv, c.batch, c.heads, c.tokens, c.d, c.tokensA, (float) c.scale);
                this.dq = on.read(c.type, dq, c.n);
                this.dk = on.read(c.type, dk, c.n);
                this.dv = on.read(c.type, dv, c.n + 64);
                for (int i = c.n; i < c.n + 64; i++) {
                    assertTrue(this.dv[i] == 7, "wrote beyond the end");
                }
            }
        }
    }

    static double largest(double[] values) {
        return Arrays.stream(values).map(Math::abs).max().orElse(0);
    }

    /** f32: that of f32 sums. bf16: at most twice the error of an attention that rounds only probabilities, their gradients and results. */
    static void compare(String what, Case c, double[] exact, double[] rounded, float[] got) {
        if (c.type == DType.F32) {
            Expect.close(what, exact, got, 2e-6, 2e-6 * largest(exact) + 2e-7);
            return;
        }
        float[] framework = new float[exact.length];
        for (int i = 0; i < exact.length; i++) {
            framework[i] = DeviceFixture.round(DType.BF16, (float) rounded[i]);
        }
        double mine = Expect.rms(exact, Arrays.copyOf(got, exact.length)), theirs = Expect.rms(exact, framework);
        assertTrue(mine <= 2 * theirs + 1e-6, what + ": error " + mine + ", a bf16 framework's " + theirs);
        Expect.close(what, exact, got, 0.01, 0.015 * largest(exact) + 1e-5);
    }

    @ParameterizedTest @MethodSource("shapes")
    void forwardAndGradientsMatchFloat64(int[] shape, DType type) {
        var c = new Case(shape, type, 1.3, 1);
        c.reference(Rounding.BF16, c.tokens);
        double[] out = c.joint(c.out), dq = c.dq, dk = c.dk, dv = c.dv;
        c.reference(Rounding.NONE, c.tokens);
        var run = new Run(c, c.tokensA < c.tokens, true);
        Expect.close("lse", c.lse, run.lse, 2e-5, 2e-5);
        compare("out", c, c.joint(c.out), out, run.out);
        compare("dv", c, c.dv, dv, run.dv);
        compare("dq", c, c.dq, dq, run.dq);
        compare("dk", c, c.dk, dk, run.dk);
    }

    @Test
    void theReferenceItselfMatchesDifferences() {
        var c = new Case(new int[] {1, 2, 5, 4, 5}, DType.F32, 1, 2);
        c.reference(Rounding.NONE, c.tokens);
        double[] dq = c.dq, dk = c.dk, dv = c.dv;
        float[][] inputs = {c.q, c.k, c.v};
        double[][] gradients = {dq, dk, dv};
        for (int which = 0; which < 3; which++) {
            for (int i = 0; i < c.n; i += 7) {
                float x = inputs[which][i];
                double[] loss = new double[2];
                float[] points = {x + 1e-2f, x - 1e-2f};
                for (int side = 0; side < 2; side++) {
                    inputs[which][i] = points[side];
                    c.reference(Rounding.NONE, 0);
                    loss[side] = Expect.dot(c.out, Expect.doubles(c.dOut));
                }
                inputs[which][i] = x;
                double slope = (loss[0] - loss[1]) / ((double) points[0] - points[1]);
                assertTrue(Math.abs(slope - gradients[which][i]) < 1e-3 * (1 + Math.abs(slope)), slope + " is not " + gradients[which][i]);
            }
        }
    }

    @ParameterizedTest @EnumSource(value = DType.class, names = {"F32", "BF16"})
    void withoutTextOutputTheTextQueriesHaveNoGradient(DType type) {
        var c = new Case(new int[] {2, 3, 101, 32, 96}, type, 1, 3);
        c.reference(Rounding.BF16, 96);
        double[] out = c.joint(c.out), dq = c.dq, dk = c.dk, dv = c.dv;
        c.reference(Rounding.NONE, 96);
        var run = new Run(c, false, true);
        int image = c.batch * 96 * c.heads * c.d;
        compare("out", c, Arrays.copyOf(c.joint(c.out), image), Arrays.copyOf(out, image), run.out);
        for (int i = image; i < c.n; i++) {
            assertTrue(run.out[i] == 7, "a text output was written");
        }
        compare("dq", c, c.dq, dq, run.dq);
        compare("dk", c, c.dk, dk, run.dk);
        compare("dv", c, c.dv, dv, run.dv);
    }

    @ParameterizedTest @EnumSource(value = DType.class, names = {"F32", "BF16"})
    void aSampleDoesNotDependOnTheBatchAndTwoRunsAgree(DType type) {
        var c = new Case(new int[] {3, 2, 101, 32, 96}, type, 1, 4);
        var one = new Case(new int[] {1, 2, 101, 32, 96}, type, 1, 4);
        int n = one.n;
        System.arraycopy(c.q, n, one.q, 0, n);
        System.arraycopy(c.k, n, one.k, 0, n);
        System.arraycopy(c.v, n, one.v, 0, n);
        System.arraycopy(c.dOut, n, one.dOut, 0, n);
        var all = new Run(c, true, true);
        var again = new Run(c, true, true);
        var alone = new Run(one, true, true);
        assertArrayEquals(all.dq, again.dq);
        assertArrayEquals(all.dk, again.dk);
        assertArrayEquals(all.dv, again.dv);
        int imageRow = 96 * 2 * 32, textRow = 5 * 2 * 32;
        assertArrayEquals(Arrays.copyOfRange(all.out, imageRow, 2 * imageRow), Arrays.copyOf(alone.out, imageRow));
        assertArrayEquals(Arrays.copyOfRange(all.out, 3 * imageRow + textRow, 3 * imageRow + 2 * textRow), Arrays.copyOfRange(alone.out, imageRow, imageRow + textRow));
        assertArrayEquals(Arrays.copyOfRange(all.lse, 202, 404), alone.lse);
        assertArrayEquals(Arrays.copyOfRange(all.dq, n, 2 * n), alone.dq);
        assertArrayEquals(Arrays.copyOfRange(all.dk, n, 2 * n), alone.dk);
        assertArrayEquals(Arrays.copyOfRange(all.dv, n, 2 * n), Arrays.copyOf(alone.dv, n));
    }

    @ParameterizedTest @EnumSource(value = DType.class, names = {"F32", "BF16"})
    void largeScoresStayFinite(DType type) {
        var c = new Case(new int[] {1, 1, 77, 32, 77}, type, 12, 5);  // scores of several hundred: probabilities are 0 and 1
        c.reference(Rounding.NONE, c.tokens);
        var run = new Run(c, false, true);
        Expect.close("out", c.joint(c.out), run.out, 0.02, 0.03);
        for (float[] gradient : new float[][] {run.dq, run.dk, run.dv}) {
            for (float g : gradient) {
                assertTrue(Float.isFinite(g), "a gradient is " + g);
            }
        }
    }
}
