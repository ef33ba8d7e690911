package dev.turningpoint.softgpu.jit;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.Random;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

/** Lanes that go different ways compute what each would compute alone. */
class ControlFlowTest {
    private static final int GUARD = 0x7eadbeef;

    @ParameterizedTest
    @CsvSource({"1,32,1", "31,32,2", "1000,128,3", "4096,256,4", "777,64,5", "50,37,6", "333,100,7", "64,1,8"})
    void stress(int n, int block, long seed) {
        var random = new Random(seed);
        int[] in = random.ints(n, 0, 100000).toArray();
        try (Arena a = Arena.ofConfined()) {
            var pi = Launch.ints(a, in);
            var po = Launch.ints(a, filled(n + 64));
            var pf = a.allocate(n * 4L + 256, 64);
            assertEquals(0, Launch.run("flow", "stress", (n + block - 1) / block, block, pi, po, pf, n));
            int[] out = po.toArray(ValueLayout.JAVA_INT);
            for (int i = 0; i < n; i++) {
                long want = stressReference(in[i]);
                assertEquals((int) (want >> 32), out[i], "seed " + seed + " element " + i + " of input " + in[i]);
                assertEquals((int) want, pf.getAtIndex(ValueLayout.JAVA_INT, i), "seed " + seed + " float " + i);
            }
            for (int i = n; i < n + 64; i++) assertEquals(GUARD, out[i], "written past the end");
        }
    }

    @Test
    void withoutClustersABlockIsAClusterOfItsOwn() {
        String[] names = {"clusterid.x", "clusterid.y", "clusterid.z", "nclusterid.x", "nclusterid.y", "nclusterid.z", "cluster_ctarank", "cluster_nctarank", "cluster_nctaid.y"};
        var text = new StringBuilder(".version 9.0\n.target sm_90\n.address_size 64\n.entry f(.param .u64 o) { .reg .b64 %a; .reg .b32 %r; ld.param.u64 %a, [o];\n");
        for (int i = 0; i < names.length; i++) text.append("mov.u32 %r, %").append(names[i]).append("; st.global.u32 [%a+").append(4 * i).append("], %r;\n");
        var module = dev.turningpoint.softgpu.ptx.PtxParser.parse("clusters", text.append("ret; }").toString());
        int[] grid = {5, 3, 2}, want = {4, 2, 1, 5, 3, 2, 0, 1, 1};   // what the last block in linear order leaves
        try (Arena a = Arena.ofConfined()) {
            var compiled = Launch.ints(a, new int[names.length]);
            var interpreted = Launch.ints(a, new int[names.length]);
            assertEquals(0, Launch.run(module, "f", grid, new int[]{1}, 0, compiled));
            Launch.interpret(module, "f", grid, new int[]{1}, 0, interpreted);
            assertArrayEquals(want, compiled.toArray(ValueLayout.JAVA_INT));
            assertArrayEquals(want, interpreted.toArray(ValueLayout.JAVA_INT));
        }
    }

    private static int[] filled(int n) {
        int[] v = new int[n];
        java.util.Arrays.fill(v, GUARD);
        return v;
    }

    private static long stressReference(int x) {
        int acc = 0;
        float f = 1;
        if (x % 7 == 3) return pack(-1, 0.5f);
        done:
        for (int k = 0; k < x % 13; k++) {
            long y = Integer.toUnsignedLong(x + k);
            int steps = 0;
            while (y > 1) {
                if ((y & 1) != 0) { y = 3 * y + 1; if (y > 100000) break; } else y >>= 1;
                if (++steps > 60) break;
                if (steps % 5 == 4) continue;
                acc += (int) (y & 3);
            }
            switch (steps & 3) {
                case 0: f = Math.fma(f, 1.5f, 1f); break;
                case 1: f = f * 0.5f; if (k == 3) break done; break;
                case 2: acc ^= steps;
                default: f += (float) steps;
            }
            if (f > 1000) f *= 0.01f;
        }
        return pack(acc, f);
    }

    private static long pack(int i, float f) { return (long) i << 32 | Float.floatToRawIntBits(f) & 0xffffffffL; }

    @ParameterizedTest
    @CsvSource({"32,32,10,1", "1000,128,17,2", "4096,256,40,3", "90,45,12,4"})
    void uniformCountersSurviveDivergence(int n, int block, int rounds, long seed) {
        int[] in = new Random(seed).ints(Math.max(n, rounds), 0, 200).toArray();
        try (Arena a = Arena.ofConfined()) {
            var out = Launch.ints(a, new int[n]);
            assertEquals(0, Launch.run("flow", "mixed", (n + block - 1) / block, block, Launch.ints(a, in), out, n, rounds));
            int[] want = new int[n];
            for (int i = 0; i < n; i++) {
                int v = in[i], sum = 0;
                for (int k = 0; k < rounds; k++) {
                    int w = in[k];
                    if (((v ^ w) & 1) != 0) { sum += w; if (sum > 1000) break; }
                    else if ((v & 2) != 0) { v = v * 3 + k; continue; }
                    sum ^= k;
                    v += sum;
                }
                want[i] = sum + v;
            }
            assertArrayEquals(want, out.toArray(ValueLayout.JAVA_INT), "seed " + seed);
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 32, 500, 4000})
    void jumpTable(int n) {
        int[] in = new Random(n).ints(n, -1000, 1000000).toArray();
        try (Arena a = Arena.ofConfined()) {
            var out = Launch.ints(a, new int[n]);
            assertEquals(0, Launch.run("flow", "table", (n + 127) / 128, 128, Launch.ints(a, in), out, n));
            int[] want = new int[n];
            for (int i = 0; i < n; i++) {
                int v = in[i], r = 0;
                for (int k = 0; k < 3; k++) switch (v & 7) {
                    case 0 -> { r += Integer.bitCount(v); v = v * 5 + 1; }
                    case 1 -> { r ^= v; v >>= 1; }
                    case 2 -> { r -= 3; v += r; }
                    case 3 -> { r = r * 7 + k; v ^= 0x55; }
                    case 4 -> r += v;
                    case 5 -> { r = Math.max(r, v); v = v / 3; }
                    case 6 -> { r = ~r; v -= 11; }
                    default -> { r += Integer.numberOfLeadingZeros(v); v = -v; }
                }
                want[i] = r + v;
            }
            assertArrayEquals(want, out.toArray(ValueLayout.JAVA_INT));
        }
    }

    @Test
    void trapIsReported() {
        try (Arena a = Arena.ofConfined()) {
            var out = Launch.ints(a, new int[64]);
            assertEquals(CompiledKernel.TRAP, Launch.run("rows", "traps", 1, 64, out, 40));
            assertEquals(CompiledKernel.OK, Launch.run("rows", "traps", 1, 64, out, 64));
        }
    }
}
