package dev.turningpoint.kernels;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.turningpoint.gpu.DType;
import java.util.Random;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Gradient norm, AdamW and moving average against float64. */
class OptimKernelsTest {
    static DeviceFixture on;
    static OptimKernels kernels;

    @BeforeAll
    static void open() {
        on = new DeviceFixture();
        kernels = new OptimKernels(on.device);
    }

    @AfterAll
    static void close() {
        kernels.close();
        on.close();
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 3, 4, 1023, 8192, 8193, 100_003})
    void gradNormMatchesFloat64(int n) {
        float[] g = DeviceFixture.gaussian(new Random(n), DType.F32, n, 3);
        double squares = 0;
        for (float x : g) {
            squares += (double) x * x;
        }
        long norm = on.allocate(8);
        kernels.gradNorm(on.stream, on.f32(g), norm, on.allocate(OptimKernels.scratch(n)), n);
        assertEquals(Math.sqrt(squares), on.readF64(norm, 1)[0], 1e-6 * Math.sqrt(squares));
    }

    @ParameterizedTest
    @CsvSource({"1, 1, 1.0", "5, 3, 0", "4099, 4, 0.5", "2048, 2, 1000"})
    void adamWMatchesFloat64(int n, int steps, double maxNorm) {
        var random = new Random(n);
        double lr = 3e-3, b1 = 0.9, b2 = 0.999, eps = 1e-8, wd = 1e-2, decay = 0.95;
        float[] start = DeviceFixture.gaussian(random, DType.F32, n, 1);
        double[] p = new double[n], m = new double[n], v = new double[n], ema = new double[n];
        for (int i = 0; i < n; i++) {
            ema[i] = p[i] = start[i];
        }
        long parameters = on.f32(start), dm = on.f32(new float[n]), dv = on.f32(new float[n]), average = on.f32(start), copy = on.allocate(2L * n), norm = on.allocate(8);
        long scratch = on.allocate(OptimKernels.scratch(n));
        for (int step = 1; step <= steps; step++) {
            float[] g = DeviceFixture.gaussian(random, DType.F32, n, step == 2 ? 0.001 : 1);
            double total = 0;
            for (float x : g) {
                total += (double) x * x;
            }
            double clip = maxNorm == 0 ? 1 : Math.min(1, maxNorm / (Math.sqrt(total) + 1e-6));
            for (int i = 0; i < n; i++) {
                double d = g[i] * clip;
                p[i] *= 1 - lr * wd;
                m[i] += (1 - b1) * (d - m[i]);
                v[i] = b2 * v[i] + (1 - b2) * d * d;
                p[i] -= lr / (1 - Math.pow(b1, step)) * m[i] / (Math.sqrt(v[i]) / Math.sqrt(1 - Math.pow(b2, step)) + eps);
                ema[i] += (1 - decay) * (p[i] - ema[i]);
            }
            long gradients = on.f32(g);
            kernels.gradNorm(on.stream, gradients, norm, scratch, n);
            kernels.adamW(on.stream, parameters, gradients, dm, dv, average, copy, norm, maxNorm, lr, b1, b2, eps, wd, decay, step, n);
        }
        float[] dp = on.readF32(parameters, n), de = on.readF32(average, n), m32 = on.readF32(dm, n), v32 = on.readF32(dv, n), rounded = on.read(DType.BF16, copy, n);
        for (int i = 0; i < n; i++) {
            assertEquals(p[i], dp[i], 2e-6 * (1 + Math.abs(p[i])), "parameter");
            assertEquals(ema[i], de[i], 2e-6 * (1 + Math.abs(p[i])), "moving average");
            assertEquals(m[i], m32[i], 1e-5 * (0.1 + Math.abs(m[i])), "first moment");
            assertEquals(v[i], v32[i], 1e-5 * Math.abs(v[i]) + 1e-9, "second moment");
            assertEquals(DeviceFixture.round(DType.BF16, dp[i]), rounded[i], "bf16 copy");
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {3, 1024, 4097})
    void emaMatchesFloat64(int n) {
        var random = new Random(n);
        float[] average = DeviceFixture.gaussian(random, DType.F32, n, 1), p = DeviceFixture.gaussian(random, DType.F32, n, 1);
        long a = on.f32(average);
        kernels.ema(on.stream, a, on.f32(p), 0.9, n);
        float[] out = on.readF32(a, n);
        for (int i = 0; i < n; i++) {
            assertEquals(average[i] + 0.1 * (p[i] - (double) average[i]), out[i], 1e-6);
        }
    }
}
