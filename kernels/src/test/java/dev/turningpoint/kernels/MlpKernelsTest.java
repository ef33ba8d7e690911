package dev.turningpoint.kernels;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.turningpoint.gpu.DType;
import java.util.Arrays;
import java.util.Random;
import java.util.function.DoubleUnaryOperator;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/** Activations, gates, column sums and casts against float64, for ragged sizes and both storage types. */
class MlpKernelsTest {
    static DeviceFixture on;
    static MlpKernels kernels;

    @BeforeAll
    static void open() {
        on = new DeviceFixture();
        kernels = new MlpKernels(on.device);
    }

    @AfterAll
    static void close() {
        kernels.close();
        on.close();
    }

    static double gelu(double x) {
        return 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x)));
    }

    static double silu(double x) {
        return x / (1 + Math.exp(-x));
    }

    static double slope(DoubleUnaryOperator f, double x) {
        return (f.applyAsDouble(x + 1e-6) - f.applyAsDouble(x - 1e-6)) / 2e-6;
    }

    /** n values about 2 wide, with the ends of the curve among them. */
    static float[] inputs(DType type, int n, long seed) {
        float[] x = DeviceFixture.gaussian(new Random(seed), type, n, 2);
        float[] ends = {0, -0f, 8, -8, 60, -60, 4000, -4000, 1e-20f, -1e-3f};
        for (int i = 0; i < n && i < ends.length && n > 100; i++) {
            x[i * (n / ends.length)] = DeviceFixture.round(type, ends[i]);
        }
        return x;
    }

    static Stream<Arguments> sizes() {
        return Stream.of(1, 7, 256, 2047, 2048, 5003).flatMap(n -> Stream.of(Arguments.of(n, DType.F32), Arguments.of(n, DType.BF16)));
    }

    @ParameterizedTest @MethodSource("sizes")
    void activationsMatchFloat64(int n, DType type) {
        float[] x = inputs(type, n, 1);
        double[] geluExpected = Arrays.stream(Expect.doubles(x)).map(MlpKernelsTest::gelu).toArray();
        double[] siluExpected = Arrays.stream(Expect.doubles(x)).map(MlpKernelsTest::silu).toArray();
        long at = on.store(type, x), y = on.store(type, new float[n + 8]);
        kernels.gelu(on.stream, type, at, y, n);
        float[] got = on.read(type, y, n + 8);
        Expect.stored("gelu", type, geluExpected, got, 3e-6, 1e-7);
        assertArrayEquals(new float[8], Arrays.copyOfRange(got, n, n + 8), "beyond the end");
        kernels.silu(on.stream, type, at, y, n);
        Expect.stored("silu", type, siluExpected, on.read(type, y, n), 2e-6, 1e-7);
        kernels.gelu(on.stream, type, at, at, n);
        assertArrayEquals(Arrays.copyOf(got, n), on.read(type, at, n), "in place");
    }

    @ParameterizedTest @MethodSource("sizes")
    void activationGradientsMatchDifferences(int n, DType type) {
        float[] x = inputs(type, n, 2), dy = DeviceFixture.gaussian(new Random(3), type, n, 1);
        double[] geluExpected = new double[n], siluExpected = new double[n];
        for (int i = 0; i < n; i++) {
            geluExpected[i] = dy[i] * slope(MlpKernelsTest::gelu, x[i]);
            siluExpected[i] = dy[i] * slope(MlpKernelsTest::silu, x[i]);
        }
        long at = on.store(type, x), g = on.store(type, dy), dx = on.store(type, new float[n]);
        kernels.geluBackward(on.stream, type, at, g, dx, n);
        Expect.stored("geluBackward", type, geluExpected, on.read(type, dx, n), 1e-5, 2e-6);
        kernels.siluBackward(on.stream, type, at, g, dx, n);
        Expect.stored("siluBackward", type, siluExpected, on.read(type, dx, n), 1e-5, 2e-6);
    }

    /** Far out, where x^3 is large and the exponential 0 or infinite, the slope is 0 or 1. */
    @ParameterizedTest @EnumSource(value = DType.class, names = {"F32", "BF16"})
    void slopesEndAtZeroAndOne(DType type) {
        float[] x = {-20, -1e3f, -1e10f, -1e12f, 20, 1e3f, 1e10f, 1e12f}, slopes = {0, 0, 0, 0, 1, 1, 1, 1};
        float[] dy = new float[x.length];
        Arrays.fill(dy, 1);
        long at = on.store(type, x), g = on.store(type, dy), dx = on.store(type, new float[x.length]);
        kernels.geluBackward(on.stream, type, at, g, dx, x.length);
        assertArrayEquals(slopes, on.read(type, dx, x.length), 1e-20f);
        kernels.siluBackward(on.stream, type, at, g, dx, x.length);
        assertArrayEquals(slopes, on.read(type, dx, x.length), 1e-6f);
    }

    static Stream<Arguments> rows() {  // batch, tokens, d
        return NormKernelsTest.shapes(new int[][] {{1, 1, 4}, {2, 9, 96}, {3, 17, 33}, {1, 5, 131}, {2, 8, 64}});
    }

    @ParameterizedTest @MethodSource("rows")
    void gateAndItsGradients(int[] shape, DType type) {
        int batch = shape[0], tokens = shape[1], d = shape[2], n = batch * tokens * d, rows = batch * tokens;
        var random = new Random(4);
        float[] x = DeviceFixture.gaussian(random, DType.F32, n, 1), y = DeviceFixture.gaussian(random, type, n, 1), gate = DeviceFixture.gaussian(random, DType.F32, batch * 2 * d, 1);
        float[] dOut = DeviceFixture.gaussian(random, DType.F32, n, 1);
        double[] out = new double[n], dy = new double[n], dGate = new double[batch * 2 * d];
        for (int i = 0; i < n; i++) {
            int g = i / (tokens * d) * 2 * d + i % d;
            out[i] = x[i] + (double) gate[g] * y[i];
            dy[i] = (double) gate[g] * dOut[i];
            dGate[g] += (double) dOut[i] * y[i];
        }
        long at = on.f32(x), g = on.f32(gate), v = on.store(type, y), result = on.f32(new float[n]), gradient = on.f32(dOut), dv = on.store(type, new float[n]);
        kernels.gateResidual(on.stream, type, at, g, 2 * d, v, result, rows, d, tokens);
        float[] together = on.readF32(result, n);
        Expect.close("out", out, together, 1e-6, 1e-6);
        kernels.gateResidual(on.stream, type, at + 4L * (n - n / batch), g + 8L * d * (batch - 1), 2 * d, v + type.bytes(n - n / batch), result, tokens, d, tokens);
        assertArrayEquals(Arrays.copyOfRange(together, n - n / batch, n), on.readF32(result, n / batch), "the last sample alone");
        float[][] runs = new float[2][];
        for (int run = 0; run < 2; run++) {
            long dg = on.f32(new float[batch * 2 * d]);
            kernels.gateResidualBackward(on.stream, type, gradient, g, 2 * d, v, dv, dg, rows, d, tokens);
            runs[run] = on.readF32(dg, batch * 2 * d);
        }
        Expect.stored("dy", type, dy, on.read(type, dv, n), 1e-6, 1e-7);
        Expect.close("dGate", dGate, runs[0], 1e-5, 1e-5);
        assertArrayEquals(runs[0], runs[1]);
    }

    static Stream<Arguments> columns() {  // rows, n
        return NormKernelsTest.shapes(new int[][] {{1, 1}, {5, 31}, {128, 96}, {129, 97}, {300, 130}, {1000, 384}, {1025, 64}, {2, 256}});
    }

    @ParameterizedTest @MethodSource("columns")
    void biasGradientMatchesFloat64(int[] shape, DType type) {
        int rows = shape[0], n = shape[1];
        var random = new Random(5);
        float[] dY = DeviceFixture.gaussian(random, type, rows * n, 1), before = DeviceFixture.gaussian(random, DType.F32, n, 1);
        double[] sums = new double[n];
        for (int i = 0; i < dY.length; i++) {
            sums[i % n] += dY[i];
        }
        long at = on.store(type, dY), bias = on.f32(before), scratch = on.allocate(MlpKernels.biasGradientScratch(rows, n));
        kernels.biasGradient(on.stream, type, at, bias, scratch, rows, n, false);
        float[] first = on.readF32(bias, n);
        Expect.close("dBias", sums, first, 1e-6, 1e-6 * Math.sqrt(rows) + 1e-6);
        kernels.biasGradient(on.stream, type, at, bias, scratch, rows, n, true);
        for (int i = 0; i < n; i++) {
            sums[i] *= 2;
        }
        Expect.close("twice dBias", sums, on.readF32(bias, n), 1e-6, 2e-6 * Math.sqrt(rows) + 1e-6);
        kernels.biasGradient(on.stream, type, at, bias, scratch, rows, n, false);
        assertArrayEquals(first, on.readF32(bias, n));
    }

    @ParameterizedTest @MethodSource("sizes")
    void castsRoundToNearestEven(int n, DType type) {
        var random = new Random(6);
        float[] x = new float[n];
        for (int i = 0; i < n; i++) {
            x[i] = (float) random.nextGaussian();
            if (i % 3 == 0) {
                x[i] = Float.intBitsToFloat(Float.floatToRawIntBits(x[i]) & 0xffff0000 | 0x8000);  // a tie
            }
        }
        long wide = on.f32(x), narrow = on.store(DType.BF16, new float[n]), back = on.f32(new float[n]);
        kernels.cast(on.stream, DType.F32, wide, DType.BF16, narrow, n);
        kernels.cast(on.stream, DType.BF16, narrow, DType.F32, back, n);
        float[] got = on.readF32(back, n);
        for (int i = 0; i < n; i++) {
            assertEquals(DeviceFixture.round(DType.BF16, x[i]), got[i], "cast of " + x[i]);
        }
    }

    @ParameterizedTest @EnumSource(value = DType.class, names = {"F32", "BF16"})
    void addIsExactToRounding(DType type) {
        int n = 3001;
        float[] a = DeviceFixture.gaussian(new Random(7), type, n, 1), b = DeviceFixture.gaussian(new Random(8), type, n, 1), sum = new float[n];
        for (int i = 0; i < n; i++) {
            sum[i] = DeviceFixture.round(type, a[i] + b[i]);
        }
        long out = on.store(type, new float[n]);
        kernels.add(on.stream, type, on.store(type, a), on.store(type, b), out, n);
        assertArrayEquals(sum, on.read(type, out, n));
    }
}
