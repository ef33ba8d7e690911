package dev.turningpoint.softgpu.jit;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.stream.Stream;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

/** Atomic operations on short floats, pairs and vectors, with sums that every format holds exactly; matrices between lanes and shared memory. */
class AtomicTest {
    static Stream<?> ways() { return Way.all(); }

    @ParameterizedTest @MethodSource("ways")
    void sumsOfShortFloats(Way way) {
        int n = 72, sum = 0;   // a part of a warp at the end; sums stay below 256, which bf16 holds
        for (int i = 0; i < n; i++) sum += i % 4;
        try (Arena a = Arena.ofConfined()) {
            var h = Launch.shorts(a, new short[2]);
            var h2 = Launch.shorts(a, new short[4]);
            var b = Launch.shorts(a, new short[2]);
            var b2 = Launch.shorts(a, new short[4]);
            var s = Launch.shorts(a, (short) 7, (short) 9);
            way.run("atomics", "sums", 1, n, h, h2, b, b2, s);
            assertArrayEquals(new float[]{sum, 0}, floats(h.toArray(ValueLayout.JAVA_SHORT), true));
            assertArrayEquals(new float[]{n, sum, sum, n}, floats(h2.toArray(ValueLayout.JAVA_SHORT), true));
            assertArrayEquals(new float[]{sum, 0}, floats(b.toArray(ValueLayout.JAVA_SHORT), false));
            assertArrayEquals(new float[]{n, sum, 0, 0}, floats(b2.toArray(ValueLayout.JAVA_SHORT), false));
            assertArrayEquals(new short[]{(short) (7 + 3 * n), 9}, s.toArray(ValueLayout.JAVA_SHORT));
        }
    }

    private static float[] floats(short[] bits, boolean half) {
        float[] f = new float[bits.length];
        for (int i = 0; i < f.length; i++) f[i] = half ? Float.float16ToFloat(bits[i]) : Launch.bf16(bits[i]);
        return f;
    }

    @ParameterizedTest @MethodSource("ways")
    void vectorsOfFloats(Way way) {
        if (way.architecture().equals("sm_80")) return;   // of sm_90
        try (Arena a = Arena.ofConfined()) {
            var q = Launch.floats(a, 0, 0, 0, 0);
            var p = Launch.floats(a, 0, 0);
            var before = Launch.floats(a, new float[2 * 40]);
            way.run("atomics", "vectors", 1, 40, q, p, before);
            assertArrayEquals(new float[]{780, 40, 1560, 120}, q.toArray(ValueLayout.JAVA_FLOAT));
            assertArrayEquals(new float[]{40, 80}, p.toArray(ValueLayout.JAVA_FLOAT));
            float[] seen = before.toArray(ValueLayout.JAVA_FLOAT), firsts = new float[40];
            for (int i = 0; i < 40; i++) {
                assertEquals(2 * seen[2 * i], seen[2 * i + 1]);
                firsts[i] = seen[2 * i];
            }
            Arrays.sort(firsts);
            for (int i = 0; i < 40; i++) assertEquals(i, firsts[i], "each thread found another sum");
        }
    }

    @ParameterizedTest @MethodSource("ways")
    void matricesMovedAndStored(Way way) {
        try (Arena a = Arena.ofConfined()) {
            var out = Launch.ints(a, new int[128]);
            way.run("atomics", "moved", 1, 32, out);
            short[] v = out.toArray(ValueLayout.JAVA_SHORT);
            for (int r = 0; r < 8; r++) for (int c = 0; c < 8; c++) assertEquals(8 * c + r, v[8 * r + c]);   // element (r, c) was 8 r + c
            if (way.architecture().equals("sm_80")) return;   // stmatrix is of sm_90
            way.run("atomics", "stored", 1, 32, out);
            v = out.toArray(ValueLayout.JAVA_SHORT);
            for (int m = 0; m < 4; m++)
                for (int r = 0; r < 8; r++) for (int c = 0; c < 8; c++) assertEquals(64 * (m % 2) + (m < 2 ? 8 * r + c : 8 * c + r), v[64 * m + 8 * r + c], "matrix " + m);
        }
    }
}
