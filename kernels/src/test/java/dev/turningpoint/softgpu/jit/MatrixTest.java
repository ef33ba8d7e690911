package dev.turningpoint.softgpu.jit;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.Random;

import static org.junit.jupiter.api.Assertions.assertEquals;

/** {@code mma.sync}, {@code ldmatrix}, {@code cp.async} against float64. */
class MatrixTest {
    @ParameterizedTest
    @CsvSource({"16,16,32,1", "32,48,40,2", "48,112,72,3"})
    void bf16(int m, int k, int n, long seed) {
        var random = new Random(seed);
        short[] a = new short[m * k], b = new short[k * n];
        for (int i = 0; i < a.length; i++) a[i] = Launch.bf16((float) random.nextGaussian());
        for (int i = 0; i < b.length; i++) b[i] = Launch.bf16((float) random.nextGaussian());
        try (Arena arena = Arena.ofConfined()) {
            var c = Launch.floats(arena, new float[m * n]);
            assertEquals(0, Launch.run(Launch.module("matrix"), "matmul", new int[]{(n + 31) / 32, m / 16}, new int[]{64}, 0, Launch.shorts(arena, a), Launch.shorts(arena, b), c, k, n));
            for (int r = 0; r < m; r++) for (int q = 0; q < n; q++) {
                double want = 0, size = 0;
                for (int j = 0; j < k; j++) { double p = (double) Launch.bf16(a[r * k + j]) * Launch.bf16(b[j * n + q]); want += p; size += Math.abs(p); }
                assertEquals(want, c.getAtIndex(ValueLayout.JAVA_FLOAT, r * n + q), size * 1e-6, "seed " + seed + " at " + r + "," + q);
            }
        }
    }

    @Test
    void tf32() {
        var random = new Random(4);
        float[] a = new float[16 * 8], b = new float[8 * 8];
        for (int i = 0; i < a.length; i++) a[i] = (float) random.nextGaussian();
        for (int i = 0; i < b.length; i++) b[i] = (float) random.nextGaussian();
        try (Arena arena = Arena.ofConfined()) {
            var c = Launch.floats(arena, new float[16 * 8]);
            assertEquals(0, Launch.run("matrix", "tf32", 1, 32, Launch.floats(arena, a), Launch.floats(arena, b), c));
            for (int r = 0; r < 16; r++) for (int q = 0; q < 8; q++) {
                double want = 0;
                for (int j = 0; j < 8; j++) want += (double) cut(a[r * 8 + j]) * cut(b[q * 8 + j]);
                assertEquals(want, c.getAtIndex(ValueLayout.JAVA_FLOAT, r * 8 + q), 1e-5);
            }
        }
    }

    private static float cut(float x) { return Float.intBitsToFloat(Float.floatToRawIntBits(x) + 0x1000 & ~0x1fff); }
}
