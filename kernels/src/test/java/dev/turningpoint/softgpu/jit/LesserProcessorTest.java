package dev.turningpoint.softgpu.jit;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Random;

import static org.junit.jupiter.api.Assertions.assertEquals;

/** Code for a processor with less gives the same bits, and every matrix product the same numbers. */
class LesserProcessorTest {
    private static final int N = 640;

    private static KernelCompiler without(String features) {
        NativeCompiler llvm = NativeCompiler.get();
        return new KernelCompiler(llvm.with(llvm.target().without(features)), Arena.global());
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {"integers|avx512", "bits|avx512", "wide|avx512", "compares|avx512", "floats|avx512", "functions|avx512", "philox|avx512", "conversions|avx512",
            "conversions|avx512bf16", "halves|avx512bf16"})
    void operationsHaveTheSameBits(String entry, String features) {
        var random = new Random(entry.hashCode());
        int[][] in = new int[3][N];
        for (int[] v : in) for (int i = 0; i < N; i++) {
            v[i] = i % 3 == 0 ? Float.floatToRawIntBits((float) (random.nextGaussian() * Math.pow(2, random.nextInt(30) - 15))) : random.nextInt();
            if ((v[i] & 0x7f800000) == 0) v[i] |= 0x3f800000;   // bf16 instructions flush what is subnormal
            if ((v[i] & 0x7f80) == 0) v[i] |= 0x3f80;
        }
        var module = Launch.module("ops");
        try (Arena a = Arena.ofConfined()) {
            MemorySegment[] out = {Launch.ints(a, new int[N * 24]), Launch.ints(a, new int[N * 24])};
            KernelCompiler[] compilers = {Launch.COMPILER, without(features)};
            for (int c = 0; c < 2; c++)
                assertEquals(0, Launch.call(compilers[c].compile(module, entry, 64, 1, 1, 0), module.kernel(entry), 0, N / 64, N / 64, 1, 1,
                        Launch.ints(a, in[0]), Launch.ints(a, in[1]), Launch.ints(a, in[2]), out[c], N));
            for (int i = 0; i < N * 24; i++) {
                int x = out[0].getAtIndex(ValueLayout.JAVA_INT, i), y = out[1].getAtIndex(ValueLayout.JAVA_INT, i), k = i % 24;
                if (x == y || Float.isNaN(Float.intBitsToFloat(x)) && Float.isNaN(Float.intBitsToFloat(y))) continue;
                if (entry.equals("halves") && subnormal(x, y)) continue;
                assertEquals(Integer.toHexString(x), Integer.toHexString(y), entry + " result " + k + " of element " + i / 24);
            }
        }
    }

    /** One of the two bf16 halves may be subnormal, or NaN with other bits. */
    private static boolean subnormal(int x, int y) {
        for (int s = 0; s < 32; s += 16) {
            int p = x >> s & 0xffff, q = y >> s & 0xffff;
            if (p != q && (q & 0x7f80) != 0 && !((p & 0x7f80) == 0x7f80 && (q & 0x7f80) == 0x7f80)) return false;
        }
        return true;
    }

    @ParameterizedTest
    @CsvSource({"avx512", "avx512bf16"})
    void matrixProduct(String features) {
        int m = 32, k = 48, n = 40;
        var random = new Random(5);
        short[] a = new short[m * k], b = new short[k * n];
        for (int i = 0; i < a.length; i++) a[i] = Launch.bf16((float) random.nextGaussian());
        for (int i = 0; i < b.length; i++) b[i] = Launch.bf16((float) random.nextGaussian());
        var module = Launch.module("matrix");
        try (Arena arena = Arena.ofConfined()) {
            var c = Launch.floats(arena, new float[m * n]);
            assertEquals(0, Launch.call(without(features).compile(module, "matmul", 64, 1, 1, 0), module.kernel("matmul"), 0, 4, 2, 2, 1, Launch.shorts(arena, a), Launch.shorts(arena, b), c, k, n));
            for (int r = 0; r < m; r++) for (int q = 0; q < n; q++) {
                double want = 0, size = 0;
                for (int j = 0; j < k; j++) { double p = (double) Launch.bf16(a[r * k + j]) * Launch.bf16(b[j * n + q]); want += p; size += Math.abs(p); }
                assertEquals(want, c.getAtIndex(ValueLayout.JAVA_FLOAT, r * n + q), size * 1e-6, r + "," + q);
            }
        }
    }
}
