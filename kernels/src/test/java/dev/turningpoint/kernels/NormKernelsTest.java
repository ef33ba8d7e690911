package dev.turningpoint.kernels;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;

import dev.turningpoint.gpu.DType;
import java.util.Arrays;
import java.util.Random;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/** Adaptive LayerNorm and q/k RMSNorm against float64, gradients against differences of it, for ragged shapes and both storage types. */
class NormKernelsTest {
    static final float EPS = 1e-6f;
    static DeviceFixture on;
    static NormKernels kernels;

    @BeforeAll
    static void open() {
        on = new DeviceFixture();
        kernels = new NormKernels(on.device);
    }

    @AfterAll
    static void close() {
        kernels.close();
        on.close();
    }

    static Stream<Arguments> rows() {  // batch, tokens, d
        return shapes(new int[][] {{1, 1, 4}, {2, 7, 96}, {3, 5, 33}, {1, 9, 31}, {2, 3, 130}, {1, 2, 260}, {4, 1, 64}});
    }

    static Stream<Arguments> heads() {  // batch, stream tokens, heads, head dim, offset, tokens
        return shapes(new int[][] {{1, 1, 1, 32, 0, 1}, {2, 5, 3, 32, 2, 9}, {1, 17, 2, 64, 0, 17}, {2, 3, 1, 128, 4, 7}, {3, 16, 2, 32, 1, 18}, {2, 19, 6, 32, 1, 21}, {1, 33, 9, 64, 0, 33}});
    }

    static Stream<Arguments> shapes(int[][] shapes) {
        return Arrays.stream(shapes).flatMap(s -> Stream.of(Arguments.of(s, DType.F32), Arguments.of(s, DType.BF16)));
    }

    /** One case: the modulation of a sample is 5 d wide, shift at d, scale at 3 d. */
    static final class Rows {
        final int batch, tokens, d, n;
        final DType type;
        final float[] x, modulation, dOut, dx;

        Rows(int[] shape, DType type, long seed) {
            batch = shape[0];
            tokens = shape[1];
            d = shape[2];
            n = batch * tokens * d;
            this.type = type;
            var random = new Random(seed);
            x = DeviceFixture.gaussian(random, DType.F32, n, 2);
            for (int i = 0; i < n; i++) {
                x[i] += 3;  // a mean that a one-pass variance would feel
            }
            modulation = DeviceFixture.gaussian(random, DType.F32, batch * 5 * d, 1);
            dOut = DeviceFixture.gaussian(random, type, n, 1);
            dx = DeviceFixture.gaussian(random, DType.F32, n, 1);
        }

        double[] forward(double[] x, double[] modulation) {
            double[] out = new double[n];
            for (int row = 0; row < batch * tokens; row++) {
                double mean = 0, squares = 0;
                for (int c = 0; c < d; c++) {
                    mean += x[row * d + c] / d;
                }
                for (int c = 0; c < d; c++) {
                    squares += (x[row * d + c] - mean) * (x[row * d + c] - mean) / d;
                }
                int mod = row / tokens * 5 * d;
                for (int c = 0; c < d; c++) {
                    out[row * d + c] = (x[row * d + c] - mean) / Math.sqrt(squares + EPS) * (1 + modulation[mod + 3 * d + c]) + modulation[mod + d + c];
                }
            }
            return out;
        }

        float[] run(int first, int count, long stats) {
            long m = on.f32(Arrays.copyOfRange(modulation, first * 5 * d, (first + count) * 5 * d));
            long at = on.f32(Arrays.copyOfRange(x, first * tokens * d, (first + count) * tokens * d)), out = on.allocate(type.bytes(count * tokens * d));
            kernels.adaptiveLayerNorm(on.stream, type, at, m + 4L * d, m + 12L * d, 5 * d, out, stats, count * tokens, d, tokens, EPS);
            return on.read(type, out, count * tokens * d);
        }
    }

    @ParameterizedTest @MethodSource("rows")
    void layerNormMatchesFloat64(int[] shape, DType type) {
        var c = new Rows(shape, type, 1);
        Expect.stored("out", type, c.forward(Expect.doubles(c.x), Expect.doubles(c.modulation)), c.run(0, c.batch, 0), 4e-6, 4e-6);
    }

    @ParameterizedTest @MethodSource("rows")
    void layerNormOfASampleDoesNotDependOnTheBatch(int[] shape, DType type) {
        var c = new Rows(shape, type, 2);
        float[] together = c.run(0, c.batch, 0);
        for (int b = 0; b < c.batch; b++) {
            assertArrayEquals(Arrays.copyOfRange(together, b * c.tokens * c.d, (b + 1) * c.tokens * c.d), c.run(b, 1, 0));
        }
    }

    @ParameterizedTest @MethodSource("rows")
    void layerNormGradientsMatchDifferences(int[] shape, DType type) {
        var c = new Rows(shape, type, 3);
        int rows = c.batch * c.tokens;
        long stats = on.allocate(8L * rows);
        c.run(0, c.batch, stats);
        double[] x = Expect.doubles(c.x), modulation = Expect.doubles(c.modulation), weight = Expect.doubles(c.dOut);
        double[] dx = Expect.differences(v -> c.forward(v, modulation), x, weight), dModulation = Expect.differences(v -> c.forward(x, v), modulation, weight);
        for (int i = 0; i < c.n; i++) {
            dx[i] += c.dx[i];
        }
        float[] before = new float[dModulation.length];
        Arrays.fill(before, 7);
        long m = on.f32(c.modulation), dm = on.f32(before), gradient = on.f32(c.dx), dOut = on.store(type, c.dOut), at = on.f32(c.x);
        kernels.adaptiveLayerNormBackward(on.stream, type, at, m + 12L * c.d, 5 * c.d, stats, dOut, gradient, dm + 4L * c.d, dm + 12L * c.d, rows, c.d, c.tokens);
        Expect.close("dx", dx, on.readF32(gradient, c.n), 1e-5, 1e-5);
        float[] got = on.readF32(dm, before.length);
        for (int i = 0; i < got.length; i++) {
            if (i / c.d % 5 != 1 && i / c.d % 5 != 3) {
                dModulation[i] = 7;  // not ours to touch
            }
        }
        Expect.close("dModulation", dModulation, got, 1e-5, 2e-5);
        long dm2 = on.f32(before), gradient2 = on.f32(c.dx);
        kernels.adaptiveLayerNormBackward(on.stream, type, at, m + 12L * c.d, 5 * c.d, stats, dOut, gradient2, dm2 + 4L * c.d, dm2 + 12L * c.d, rows, c.d, c.tokens);
        assertArrayEquals(got, on.readF32(dm2, got.length));
        assertArrayEquals(on.readF32(gradient, c.n), on.readF32(gradient2, c.n));
    }

    static final class Heads {
        final int batch, streamTokens, heads, d, offset, tokens;
        final DType type;
        final float[] qkv, qWeight, kWeight;
        final int in, out;

        Heads(int[] s, DType type, long seed) {
            batch = s[0];
            streamTokens = s[1];
            heads = s[2];
            d = s[3];
            offset = s[4];
            tokens = s[5];
            this.type = type;
            in = batch * streamTokens * 3 * heads * d;
            out = batch * heads * tokens * d;
            var random = new Random(seed);
            qkv = DeviceFixture.gaussian(random, type, in, 1.5);
            qWeight = DeviceFixture.gaussian(random, DType.F32, d, 1);
            kWeight = DeviceFixture.gaussian(random, DType.F32, d, 1);
        }

        NormKernels.HeadSplit split() {
            return new NormKernels.HeadSplit(streamTokens, heads, d, offset, tokens, EPS);
        }

        /** q, k and v one after another, zeros for the other stream's tokens. */
        double[] forward(double[] qkv, double[] weights) {
            double[] result = new double[3 * out];
            for (int b = 0; b < batch; b++) {
                for (int t = 0; t < streamTokens; t++) {
                    for (int part = 0; part < 3; part++) {
                        for (int h = 0; h < heads; h++) {
                            int from = (((b * streamTokens + t) * 3 + part) * heads + h) * d, to = part * out + ((b * heads + h) * tokens + offset + t) * d;
                            double squares = 0;
                            for (int c = 0; c < d; c++) {
                                squares += qkv[from + c] * qkv[from + c] / d;
                            }
                            for (int c = 0; c < d; c++) {
                                result[to + c] = part == 2 ? qkv[from + c] : qkv[from + c] / Math.sqrt(squares + EPS) * weights[part * d + c];
                            }
                        }
                    }
                }
            }
            return result;
        }

        double[] weights() {
            double[] w = Arrays.copyOf(Expect.doubles(qWeight), 2 * d);
            System.arraycopy(Expect.doubles(kWeight), 0, w, d, d);
            return w;
        }
    }

    @ParameterizedTest @MethodSource("heads")
    void headSplitMatchesFloat64(int[] shape, DType type) {
        var c = new Heads(shape, type, 4);
        long result = on.store(type, new float[3 * c.out]), part = type.bytes(c.out);
        kernels.qkNormSplit(on.stream, type, on.store(type, c.qkv), on.f32(c.qWeight), on.f32(c.kWeight), 0, result, result + part, result + 2 * part, c.batch, c.split());
        Expect.stored("q k v", type, c.forward(Expect.doubles(c.qkv), c.weights()), on.read(type, result, 3 * c.out), 2e-6, 1e-6);
    }

    @ParameterizedTest @EnumSource(value = DType.class, names = {"F32", "BF16"})
    void headSplitOfASampleDoesNotDependOnTheBatch(DType type) {
        var c = new Heads(new int[] {3, 6, 3, 32, 1, 8}, type, 5);
        long result = on.store(type, new float[3 * c.out]), alone = on.store(type, new float[c.out]), part = type.bytes(c.out), single = part / 3;
        long qkv = on.store(type, c.qkv), qw = on.f32(c.qWeight), kw = on.f32(c.kWeight);
        kernels.qkNormSplit(on.stream, type, qkv, qw, kw, 0, result, result + part, result + 2 * part, c.batch, c.split());
        kernels.qkNormSplit(on.stream, type, qkv + type.bytes(c.in / 3), qw, kw, 0, alone, alone + single, alone + 2 * single, 1, c.split());
        float[] all = on.read(type, result, 3 * c.out), one = on.read(type, alone, c.out);
        int n = c.out / 3;
        for (int p = 0; p < 3; p++) {
            assertArrayEquals(Arrays.copyOfRange(all, p * c.out + n, p * c.out + 2 * n), Arrays.copyOfRange(one, p * n, (p + 1) * n));
        }
    }

    @ParameterizedTest @MethodSource("heads")
    void headSplitGradientsMatchDifferences(int[] shape, DType type) {
        var c = new Heads(shape, type, 6);
        var random = new Random(7);
        float[] dOut = DeviceFixture.gaussian(random, type, 3 * c.out, 1), dWeights = DeviceFixture.gaussian(random, DType.F32, 2 * c.d, 1);
        double[] qkv = Expect.doubles(c.qkv), weights = c.weights(), weight = Expect.doubles(dOut);
        double[] expected = analytic(c, weight), expectedWeights = Expect.differences(v -> c.forward(qkv, v), weights, weight);
        if (c.in < 1000) {
            double[] byDifferences = Expect.differences(v -> c.forward(v, weights), qkv, weight);
            float[] rounded = new float[c.in];
            for (int i = 0; i < c.in; i++) {
                rounded[i] = (float) expected[i];
            }
            Expect.close("the formula", byDifferences, rounded, 1e-6, 1e-6);
        }
        for (int i = 0; i < expectedWeights.length; i++) {
            expectedWeights[i] += dWeights[i];
        }
        long at = on.store(type, c.qkv), gradients = on.store(type, dOut), part = type.bytes(c.out), dqkv = on.allocate(type.bytes(c.in));
        long qw = on.f32(c.qWeight), kw = on.f32(c.kWeight), scratch = on.allocate(NormKernels.qkNormScratch(c.batch, c.streamTokens, c.heads, c.d));
        float[][] results = new float[2][];
        for (int run = 0; run < 2; run++) {
            long dw = on.f32(dWeights);
            kernels.qkNormSplitBackward(on.stream, type, at, qw, kw, 0, gradients, gradients + part, gradients + 2 * part, dqkv, dw, dw + 4L * c.d, scratch, c.batch, c.split());
            results[run] = on.readF32(dw, 2 * c.d);
        }
        Expect.stored("dqkv", type, expected, on.read(type, dqkv, c.in), 1e-5, 1e-5);
        Expect.close("dWeights", expectedWeights, results[0], 1e-5, 2e-5);
        assertArrayEquals(results[0], results[1]);
    }

    /** Rotated, unnormalised or filled-up heads, forward and, by differences of the forward, backward. */
    @ParameterizedTest
    @CsvSource({"64, 64, true, true, F32", "128, 128, true, true, BF16", "32, 16, true, true, F32", "32, 16, false, true, F32", "64, 64, false, false, F32", "64, 40, true, false, F32"})
    void headsAreRotatedFilledUpOrLeftAsTheyAre(int d, int meanOf, boolean norm, boolean rope, DType type) {
        int batch = 2, streamTokens = 3, heads = 2, offset = 2, tokens = 6;
        var random = new Random(11);
        int in = batch * streamTokens * 3 * heads * d, out = batch * heads * tokens * d;
        float[] qkv = DeviceFixture.gaussian(random, type, in, 1.5), weights = DeviceFixture.gaussian(random, DType.F32, 2 * d, 1), turns = new float[tokens * d];
        for (int i = 0; i < in; i++) {
            if (i % d >= meanOf) qkv[i] = 0;
        }
        for (int i = 0; i < turns.length; i += 2) {
            double angle = 3 * random.nextGaussian();
            turns[i] = (float) Math.cos(angle);
            turns[i + 1] = (float) Math.sin(angle);
        }
        UnaryOperator<double[]> forward = x -> {
            double[] result = new double[3 * out];
            for (int row = 0; row < batch * streamTokens; row++) {
                int token = offset + row % streamTokens;
                for (int part = 0; part < 3; part++) {
                    for (int h = 0; h < heads; h++) {
                        int from = ((row * 3 + part) * heads + h) * d, to = part * out + ((row / streamTokens * heads + h) * tokens + token) * d;
                        double squares = 0;
                        for (int c = 0; c < d; c++) squares += x[from + c] * x[from + c] / meanOf;
                        double[] y = new double[d];
                        for (int c = 0; c < d; c++) y[c] = part == 2 || !norm ? x[from + c] : x[from + c] / Math.sqrt(squares + EPS) * weights[part * d + c];
                        for (int c = 0; c < d; c += 2) {
                            double cos = part < 2 && rope ? turns[token * d + c] : 1, sin = part < 2 && rope ? turns[token * d + c + 1] : 0;
                            result[to + c] = y[c] * cos - y[c + 1] * sin;
                            result[to + c + 1] = y[c + 1] * cos + y[c] * sin;
                        }
                    }
                }
            }
            return result;
        };
        var split = new NormKernels.HeadSplit(streamTokens, heads, d, meanOf, offset, tokens, EPS);
        long at = on.store(type, qkv), qw = norm ? on.f32(Arrays.copyOf(weights, d)) : 0, kw = norm ? on.f32(Arrays.copyOfRange(weights, d, 2 * d)) : 0;
        long turn = rope ? on.f32(turns) : 0, result = on.store(type, new float[3 * out]), part = type.bytes(out);
        kernels.qkNormSplit(on.stream, type, at, qw, kw, turn, result, result + part, result + 2 * part, batch, split);
        Expect.stored("q k v", type, forward.apply(Expect.doubles(qkv)), on.read(type, result, 3 * out), 2e-6, 2e-6);

        float[] dOut = DeviceFixture.gaussian(random, type, 3 * out, 1);
        double[] expected = Expect.differences(forward, Expect.doubles(qkv), Expect.doubles(dOut));
        long gradients = on.store(type, dOut), dqkv = on.allocate(type.bytes(in)), scratch = on.allocate(NormKernels.qkNormScratch(batch, streamTokens, heads, d));
        kernels.qkNormSplitBackward(on.stream, type, at, qw, kw, turn, gradients, gradients + part, gradients + 2 * part, dqkv, 0, 0, scratch, batch, split);
        Expect.stored("dqkv", type, expected, on.read(type, dqkv, in), 1e-5, 1e-5);
    }

    /** {@code dx = r (g - x r^2 mean(g x))}, g = dOut * weight. */
    static double[] analytic(Heads c, double[] dOut) {
        double[] result = new double[c.in], weights = c.weights();
        for (int b = 0; b < c.batch; b++) {
            for (int t = 0; t < c.streamTokens; t++) {
                for (int part = 0; part < 3; part++) {
                    for (int h = 0; h < c.heads; h++) {
                        int from = (((b * c.streamTokens + t) * 3 + part) * c.heads + h) * c.d, to = part * c.out + ((b * c.heads + h) * c.tokens + c.offset + t) * c.d;
                        double squares = 0, dot = 0;
                        for (int i = 0; i < c.d && part < 2; i++) {
                            squares += (double) c.qkv[from + i] * c.qkv[from + i] / c.d;
                            dot += dOut[to + i] * weights[part * c.d + i] * c.qkv[from + i] / c.d;
                        }
                        double r = 1 / Math.sqrt(squares + EPS);
                        for (int i = 0; i < c.d; i++) {
                            result[from + i] = part == 2 ? dOut[to + i] : r * (dOut[to + i] * weights[part * c.d + i] - c.qkv[from + i] * r * r * dot);
                        }
                    }
                }
            }
        }
        return result;
    }
}
