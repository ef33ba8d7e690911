package dev.turningpoint.softgpu.jit;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.Random;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

/** Shuffles, barriers, shared, local and constant memory, atomics, block shapes. */
class RowKernelTest {
    @ParameterizedTest
    @CsvSource({"5,1024,256,1", "3,1000,128,2", "7,37,64,3", "2,96,32,4", "1,1,256,5", "4,300,1024,6"})
    void layerNorm(int rows, int n, int block, long seed) {
        var random = new Random(seed);
        float[] x = new float[rows * n], gain = new float[n];
        for (int i = 0; i < x.length; i++) x[i] = (float) random.nextGaussian() * 2 + 0.5f;
        for (int i = 0; i < n; i++) gain[i] = 1 + 0.1f * (float) random.nextGaussian();
        try (Arena a = Arena.ofConfined()) {
            var y = Launch.shorts(a, new short[rows * n + 32]);
            assertEquals(0, Launch.run("rows", "layer_norm", rows, block, Launch.floats(a, x), Launch.floats(a, gain), y, n, 1e-6f));
            for (int r = 0; r < rows; r++) {
                double s = 0, q = 0;
                for (int i = 0; i < n; i++) { s += x[r * n + i]; q += (double) x[r * n + i] * x[r * n + i]; }
                double mean = s / n, rstd = 1 / Math.sqrt(q / n - mean * mean + 1e-6);
                if (n == 1) continue;   // pure cancellation
                for (int i = 0; i < n; i++) {
                    double want = (x[r * n + i] - mean) * rstd * gain[i];
                    assertEquals(want, Launch.bf16(y.getAtIndex(ValueLayout.JAVA_SHORT, r * n + i)), 1e-4 + Math.abs(want) * 0.0045, "seed " + seed + " row " + r + " element " + i);
                }
            }
            for (int i = rows * n; i < rows * n + 32; i++) assertEquals(0, y.getAtIndex(ValueLayout.JAVA_SHORT, i));
        }
    }

    @ParameterizedTest
    @CsvSource({"3,1024,256,1", "2,1000,256,2", "5,36,64,3", "4,4,32,4"})
    void sdeStep(int rows, int n, int block, long seed) {
        var random = new Random(seed);
        float[] x = new float[rows * n], z = new float[rows * n];
        short[] v = new short[rows * n];
        for (int i = 0; i < x.length; i++) { x[i] = (float) random.nextGaussian(); z[i] = (float) random.nextGaussian(); v[i] = Launch.bf16((float) random.nextGaussian()); }
        try (Arena a = Arena.ofConfined()) {
            var next = Launch.floats(a, new float[rows * n]);
            var logp = Launch.floats(a, new float[rows]);
            assertEquals(0, Launch.run("rows", "sde_step", rows, block, Launch.floats(a, x), Launch.shorts(a, v), Launch.floats(a, z), next, logp, n / 4, 0.9f, -0.2f, 0.3f));
            for (int r = 0; r < rows; r++) {
                double sum = 0;
                for (int i = r * n; i < r * n + n; i++) {
                    float e = 0.3f * z[i], m = Math.fma(-0.2f, Launch.bf16(v[i]), 0.9f * x[i]);
                    assertEquals(m + e, next.getAtIndex(ValueLayout.JAVA_FLOAT, i), 2e-7f, "seed " + seed);
                    sum -= (double) e * e;
                }
                assertEquals(sum / n, logp.getAtIndex(ValueLayout.JAVA_FLOAT, r), Math.abs(sum / n) * 1e-5);
            }
        }
    }

    @ParameterizedTest
    @CsvSource({"16,16,50,70", "32,8,100,33", "8,8,64,64", "4,4,9,7", "5,7,23,31", "32,32,64,64"})
    void transpose(int bx, int by, int w, int h) {
        float[] in = new float[w * h];
        for (int i = 0; i < in.length; i++) in[i] = i;
        try (Arena a = Arena.ofConfined()) {
            var out = Launch.floats(a, new float[w * h]);
            assertEquals(0, Launch.run(Launch.module("rows"), "transpose", new int[]{(w + bx - 1) / bx, (h + by - 1) / by}, new int[]{bx, by}, (bx + 1L) * by * 4,
                    Launch.floats(a, in), out, w, h));
            for (int y = 0; y < h; y++) for (int x = 0; x < w; x++) assertEquals(y * w + x, out.getAtIndex(ValueLayout.JAVA_FLOAT, x * h + y), x + "," + y);
        }
    }

    @ParameterizedTest
    @CsvSource({"32,1,1", "64,1,1", "16,4,2", "8,8,8", "4,3,5", "33,1,1", "1,32,1", "2,2,2", "32,4,2", "64,2,1", "5,1,1", "8,2,6", "16,2,3", "96,2,1", "3,64,1"})
    void threadIndices(int bx, int by, int bz) {
        int threads = bx * by * bz, gx = 2, gy = 3, gz = 2;
        try (Arena a = Arena.ofConfined()) {
            var out = a.allocate(16L * threads * gx * gy * gz + 64, 64);
            assertEquals(0, Launch.run(Launch.module("rows"), "indices", new int[]{gx, gy, gz}, new int[]{bx, by, bz}, 0, out));
            for (int b = 0; b < gx * gy * gz; b++) for (int t = 0; t < threads; t++) {
                long at = 4L * ((long) b * threads + t);
                assertEquals(t % bx | t / bx % by << 8 | t / (bx * by) << 16, out.getAtIndex(ValueLayout.JAVA_INT, at), "thread " + t);
                assertEquals(t % 32, out.getAtIndex(ValueLayout.JAVA_INT, at + 1));
                assertEquals(b, out.getAtIndex(ValueLayout.JAVA_INT, at + 2));
                assertEquals(bx * 1000 + by * 10 + bz, out.getAtIndex(ValueLayout.JAVA_INT, at + 3));
            }
            assertEquals(0, out.getAtIndex(ValueLayout.JAVA_INT, 4L * threads * gx * gy * gz));
        }
    }

    @ParameterizedTest
    @CsvSource({"256,128,1", "100,64,2", "32,32,3"})
    void warpOperations(int n, int block, long seed) {
        int[] in = new Random(seed).ints(n, 0, 90).toArray();
        int blocks = (n + block - 1) / block;
        try (Arena a = Arena.ofConfined()) {
            var out = Launch.ints(a, new int[n * 8]);
            assertEquals(0, Launch.run("rows", "warp_ops", blocks, block, Launch.ints(a, in), out, n));
            for (int w = 0; w < blocks * block / 32; w++) {
                int[] v = new int[32];
                int ballot = 0, sum = 0, four = 0;
                for (int l = 0; l < 32; l++) {
                    v[l] = w * 32 + l < n ? in[w * 32 + l] : 0;
                    ballot |= (v[l] & 1) << l;
                    sum += v[l];
                    if ((v[l] & 4) != 0) four++;
                }
                int prefix = 0;
                for (int l = 0; l < 32 && w * 32 + l < n; l++) {
                    prefix += v[l];
                    int match = 0;
                    boolean any = false;
                    for (int q = 0; q < 32; q++) { if ((v[q] & 3) == (v[l] & 3)) match |= 1 << q; any |= v[q] == 77; }
                    int[] want = {prefix + ((v[l] & 4) != 0 ? four : 0), v[v[l] & 31], l % 8 + 3 < 8 ? v[l + 3] : v[l], v[5], v[l ^ l & 7], ballot, sum + (any ? 2 : 0) + 1, match};
                    for (int k = 0; k < 8; k++) assertEquals(want[k], out.getAtIndex(ValueLayout.JAVA_INT, (w * 32 + l) * 8L + k), "seed " + seed + " warp " + w + " lane " + l + " result " + k);
                }
            }
        }
    }

    @ParameterizedTest
    @CsvSource({"100,64,1", "33,32,2"})
    void localMemory(int n, int block, long seed) {
        int[] in = new Random(seed).ints(n * 12, -50, 50).toArray();
        try (Arena a = Arena.ofConfined()) {
            var out = Launch.ints(a, new int[n * 12]);
            assertEquals(0, Launch.run("rows", "local_sort", (n + block - 1) / block, block, Launch.ints(a, in), out, n));
            for (int i = 0; i < n; i++) {
                int[] v = Arrays.copyOfRange(in, i * 12, i * 12 + 12);
                Arrays.sort(v);
                int q = 0;
                for (int k = 0; k < 12; k++) q = q * 31 + v[(v[k] & 7) + 2];
                v[11] ^= q;
                assertArrayEquals(v, out.asSlice(i * 48L, 48).toArray(ValueLayout.JAVA_INT), "seed " + seed + " element " + i);
            }
        }
    }

    @Test
    void atomics() {
        int n = 1000, block = 128, blocks = (n + block - 1) / block;
        int[] in = new Random(9).ints(n, 0, 1 << 20).toArray();
        try (Arena a = Arena.ofConfined()) {
            int[] start = new int[20];
            start[17] = Integer.MAX_VALUE;
            var bins = Launch.ints(a, start);
            var sum = Launch.floats(a, 0f);
            var big = a.allocate(8, 8);
            var order = Launch.ints(a, new int[n]);
            var module = dev.turningpoint.softgpu.ptx.PtxParser.parse("rows", moduleText());
            assertEquals(0, Launch.run(module, "histogram", new int[]{blocks}, new int[]{block}, 0, Launch.ints(a, in), bins, sum, big, order, n));
            int[] want = new int[16];
            long total = 0;
            float f = 0;
            int xor = 0, min = Integer.MAX_VALUE, max = 0;
            for (int v : in) { want[v & 15]++; total += v; f += v & 3; xor ^= v; min = Math.min(min, v); max = Math.max(max, v); }
            assertArrayEquals(want, bins.asSlice(0, 64).toArray(ValueLayout.JAVA_INT));
            assertEquals(max, bins.getAtIndex(ValueLayout.JAVA_INT, 16));
            assertEquals(min, bins.getAtIndex(ValueLayout.JAVA_INT, 17));
            assertEquals(xor, bins.getAtIndex(ValueLayout.JAVA_INT, 18));
            assertEquals(3, bins.getAtIndex(ValueLayout.JAVA_INT, 19) & 15);
            assertEquals(total, big.get(ValueLayout.JAVA_LONG, 0));
            assertEquals(f, sum.get(ValueLayout.JAVA_FLOAT, 0));
            int[] got = order.toArray(ValueLayout.JAVA_INT);
            Arrays.sort(got);
            for (int i = 0; i < n; i++) assertEquals(5 + 2 * i, got[i]);
            assertEquals(5 + 2 * n, module.global("counter").get(ValueLayout.JAVA_INT, 0));
        }
    }

    private static String moduleText() {
        try (var in = Launch.class.getResourceAsStream("/dev/turningpoint/softgpu/rows.ptx")) {
            return new String(in.readAllBytes());
        } catch (java.io.IOException e) {
            throw new java.io.UncheckedIOException(e);
        }
    }

    @Test
    void structsAndConstants() {
        int n = 777;
        float[] x = new float[n];
        for (int i = 0; i < n; i++) x[i] = i * 0.25f;
        try (Arena a = Arena.ofConfined()) {
            var xs = Launch.floats(a, x);
            var y = Launch.floats(a, new float[n]);
            var s = java.nio.ByteBuffer.allocate(16).order(java.nio.ByteOrder.LITTLE_ENDIAN).putInt(n).putFloat(1.5f).putLong(xs.address()).array();
            assertEquals(0, Launch.run("rows", "structs", 3, 64, s, y));
            for (int i = 0; i < n; i++) assertEquals(Math.fma(x[i], 1.5f, (float) (1 << (i & 3))), y.getAtIndex(ValueLayout.JAVA_FLOAT, i));
        }
    }

    @Test
    void aRangeOfBlocksIsTheSameAsAllOfThem() {
        int rows = 9, n = 100;
        float[] x = new float[rows * n];
        for (int i = 0; i < x.length; i++) x[i] = i % 17;
        var module = Launch.module("rows");
        CompiledKernel k = Launch.COMPILER.compile(module, "layer_norm", 64, 1, 1, 0);
        try (Arena a = Arena.ofConfined()) {
            MemorySegment in = Launch.floats(a, x), gain = Launch.floats(a, x), whole = Launch.shorts(a, new short[rows * n]), parts = Launch.shorts(a, new short[rows * n]);
            Launch.call(k, module.kernel("layer_norm"), 0, rows, rows, 1, 1, in, gain, whole, n, 1e-6f);
            for (int[] r : new int[][]{{4, 9}, {0, 1}, {1, 4}, {2, 2}}) Launch.call(k, module.kernel("layer_norm"), r[0], r[1], rows, 1, 1, in, gain, parts, n, 1e-6f);
            assertEquals(-1, whole.mismatch(parts));
        }
    }

    @Test
    void gathersAreReported() {
        assertTrue(Launch.COMPILER.compile(Launch.module("rows"), "layer_norm", 256, 1, 1, 0).report().isEmpty(), "coalesced kernels have nothing to report");
    }
}
