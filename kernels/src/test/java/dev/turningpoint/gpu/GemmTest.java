package dev.turningpoint.gpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.EnumSource;

/** Matrix products against float64, with random and ragged sizes, and the promise that a row's bits do not depend on its company. */
class GemmTest {

    private static Device device;
    private static Stream stream;

    @BeforeAll
    static void open() {
        device = Device.open();
        stream = device.newStream();
    }

    @AfterAll
    static void close() {
        stream.close();
        assertEquals("", device.outstanding());
        device.close();
    }

    record Case(DType in, DType out, boolean transA, boolean transB, int m, int n, int k, boolean bias, float alpha, float beta, long seed) {}

    /** Leading dimensions are multiples of 8 elements, so that every row starts at 16 bytes in bf16 too. */
    static List<Case> cases() {
        var random = new Random(11);
        var cases = new ArrayList<Case>();
        for (var types : List.of(List.of(DType.F32, DType.F32), List.of(DType.BF16, DType.F32), List.of(DType.BF16, DType.BF16)))
            for (int i = 0; i < 8; i++) {
                boolean bias = random.nextBoolean();
                cases.add(new Case(types.get(0), types.get(1), (i & 1) != 0, (i & 2) != 0, 1 + random.nextInt(200), 8 * (1 + random.nextInt(24)), 8 * (1 + random.nextInt(24)), bias,
                        i < 4 ? 1f : (float) random.nextGaussian(), (i & 4) != 0 ? 1f : 0f, random.nextLong()));
            }
        return cases;
    }

    @ParameterizedTest
    @MethodSource("cases")
    void matchesFloat64(Case c) {
        int lda = up(c.transA ? c.m : c.k), ldb = up(c.transB ? c.k : c.n);
        var a = round(random((c.transA ? c.k : c.m) * lda, c.seed), c.in);
        var b = round(random((c.transB ? c.n : c.k) * ldb, c.seed + 1), c.in);
        var before = round(random(c.m * c.n, c.seed + 2), c.out);
        var bias = round(random(c.n, c.seed + 3), c.out);
        try (var gemm = Gemm.of(device, c.in, c.in, c.out, c.transA, c.transB, c.n, c.k, c.m, c.bias);
             var da = upload(a, c.in); var db = upload(b, c.in); var dc = upload(before, c.out); var dbias = upload(bias, c.out)) {
            gemm.run(stream, c.m, da.address(), lda, db.address(), ldb, dc.address(), c.n, c.bias ? dbias.address() : 0, c.alpha, c.beta);
            var got = download(dc, c.m * c.n, c.out);
            for (int i = 0; i < c.m; i++)
                for (int j = 0; j < c.n; j++) {
                    double sum = 0, size = 0;
                    for (int p = 0; p < c.k; p++) {
                        double term = (double) a[c.transA ? p * lda + i : i * lda + p] * b[c.transB ? j * ldb + p : p * ldb + j];
                        sum += term;
                        size += Math.abs(term);
                    }
                    double product = c.alpha * sum + (c.bias ? bias[j] : 0), wanted = product + c.beta * before[i * c.n + j];
                    // half a unit of bf16 for the result, and as much for the product where a GPU rounds it before it adds c
                    double rounding = c.out == DType.F32 ? 0 : Math.abs(wanted) / 256 + (c.beta == 0 ? 0 : Math.abs(product) / 256);
                    double tolerance = 1e-6 * (Math.abs(c.alpha) * size + 1) + rounding;
                    assertEquals(wanted, got[i * c.n + j], tolerance, "row " + i + ", column " + j + " of " + c);
                }
        }
    }

    @ParameterizedTest
    @EnumSource(names = {"F32", "BF16"})
    void aRowDoesNotDependOnHowManyThereAre(DType type) {
        int rows = 24, n = 96, k = 96;
        var x = round(random(40 * rows * k, 21), type);
        var w = round(random(n * k, 22), type);
        try (var gemm = Gemm.of(device, type, type, type, false, true, n, k, rows, false); var dx = upload(x, type); var dw = upload(w, type);
             var dy = device.allocate(type.bytes(40L * rows * n), "y")) {
            gemm.run(stream, 40 * rows, dx.address(), k, dw.address(), k, dy.address(), n, 0, 1, 0);
            var all = download(dy, 40 * rows * n, type);
            for (int samples : new int[] {1, 2, 3, 7, 39})
                for (int start : new int[] {0, 1}) {
                    gemm.run(stream, samples * rows, dx.address() + type.bytes((long) start * rows * k), k, dw.address(), k, dy.address(), n, 0, 1, 0);
                    var some = download(dy, samples * rows * n, type);
                    assertArrayEquals(Arrays.copyOfRange(all, start * rows * n, (start + samples) * rows * n), some, samples + " samples from " + start);
                }
        }
    }

    /** What cuBLASLt proposes first for few rows may serve no others. */
    @ParameterizedTest
    @CsvSource({"F32, true", "F32, false", "BF16, true"})
    void anAlgorithmChosenForOneRowServesEveryNumber(DType type, boolean bias) {
        int n = 96, k = 128;
        var x = round(random(300 * k, 51), type);
        var w = round(random(n * k, 52), type);
        try (var gemm = Gemm.of(device, type, type, type, false, true, n, k, 1, bias); var dx = upload(x, type); var dw = upload(w, type); var db = upload(new float[n], type);
             var dy = device.allocate(type.bytes(300L * n), "y")) {
            gemm.run(stream, 300, dx.address(), k, dw.address(), k, dy.address(), n, db.address(), 1, 0);
            var all = download(dy, 300 * n, type);
            for (int rows : new int[] {1, 2, 3, 16, 17, 96, 299}) {
                gemm.run(stream, rows, dx.address(), k, dw.address(), k, dy.address(), n, db.address(), 1, 0);
                assertArrayEquals(Arrays.copyOf(all, rows * n), download(dy, rows * n, type), rows + " rows");
            }
        }
    }

    /** The last rows of many may be computed beside those before them, by another thread. */
    @ParameterizedTest
    @CsvSource({"F32, F32, false", "F32, F32, true", "BF16, F32, false", "BF16, F32, true", "BF16, BF16, false", "BF16, BF16, true"})
    void aRaggedNumberOfRowsHasTheSameBitsEveryTime(DType in, DType out, boolean transA) {
        int m = 119, n = 120, k = 200;
        var a = round(random(m * k + k, 41), in);
        var b = round(random(n * k, 42), in);
        try (var gemm = Gemm.of(device, in, in, out, transA, true, n, k, m, false); var da = upload(a, in); var db = upload(b, in); var dc = device.allocate(out.bytes((long) m * n), "c")) {
            float[] first = null;
            for (int i = 0; i < 100; i++) {
                gemm.run(stream, m, da.address(), transA ? up(m) : k, db.address(), k, dc.address(), n, 0, 1, 0);
                var got = download(dc, m * n, out);
                if (first == null) first = got;
                assertArrayEquals(first, got, "run " + i);
            }
        }
    }

    @Test
    void aBatchOfProductsIsEachOfThem() {
        int m = 17, n = 24, k = 40, count = 5;
        var a = random(count * m * k, 31);
        var b = random(count * k * n, 32);
        try (var gemm = Gemm.of(device, DType.F32, DType.F32, DType.F32, false, false, n, k, m, false); var da = upload(a, DType.F32); var db = upload(b, DType.F32);
             var dc = device.allocate(4L * count * m * n, "c")) {
            gemm.batched(count, m * k, k * n, m * n).run(stream, m, da.address(), k, db.address(), n, dc.address(), n, 0, 1, 0);
            var together = download(dc, count * m * n, DType.F32);
            gemm.batched(1, 0, 0, 0);
            for (int i = 0; i < count; i++) {
                for (int r = 0; r < m; r++)
                    for (int c = 0; c < n; c++) {
                        double sum = 0;
                        for (int p = 0; p < k; p++) sum += (double) a[(i * m + r) * k + p] * b[(i * k + p) * n + c];
                        assertEquals(sum, together[(i * m + r) * n + c], 1e-4);
                    }
            }
        }
    }

    @Test
    void refusesWhatItCannotDo() {
        var types = assertThrows(IllegalArgumentException.class, () -> Gemm.of(device, DType.F32, DType.BF16, DType.F32, false, true, 8, 8, 8, false));
        assertTrue(types.getMessage().startsWith("no product of F32 and BF16 into F32"), types.getMessage());
        try (var gemm = Gemm.of(device, DType.F32, DType.F32, DType.F32, false, true, 8, 8, 8, false); var memory = device.allocate(4096, "operands")) {
            long p = memory.address();
            assertThrows(IllegalArgumentException.class, () -> gemm.run(stream, 8, p, 7, p, 8, p, 8, 0, 1, 0));
            assertThrows(IllegalArgumentException.class, () -> gemm.run(stream, 8, p + 4, 8, p, 8, p, 8, 0, 1, 0));
            gemm.run(stream, 0, p, 8, p, 8, p, 8, 0, 1, 0);
        }
    }

    private static int up(int n) {
        return (n + 7) / 8 * 8;
    }

    private static float[] random(int n, long seed) {
        var random = new Random(seed);
        var values = new float[n];
        for (int i = 0; i < n; i++) values[i] = (float) random.nextGaussian();
        return values;
    }

    private static float[] round(float[] values, DType type) {
        if (type == DType.BF16) for (int i = 0; i < values.length; i++) values[i] = Float.intBitsToFloat(bf16(values[i]) << 16);
        return values;
    }

    private static int bf16(float value) {
        int bits = Float.floatToRawIntBits(value);
        return bits + 0x7fff + (bits >>> 16 & 1) >>> 16;
    }

    private static DeviceMemory upload(float[] values, DType type) {
        var memory = device.allocate(type.bytes(values.length), "operand");
        try (var host = HostMemory.allocate(memory.bytes())) {
            MemorySegment s = host.segment();
            for (int i = 0; i < values.length; i++)
                if (type == DType.F32) s.setAtIndex(ValueLayout.JAVA_FLOAT, i, values[i]);
                else s.setAtIndex(ValueLayout.JAVA_SHORT, i, (short) bf16(values[i]));
            memory.copyFrom(s, 0, stream);
            stream.synchronize();
        }
        return memory;
    }

    private static float[] download(DeviceMemory memory, int count, DType type) {
        try (var host = HostMemory.allocate(type.bytes(count))) {
            memory.copyTo(host.segment(), 0, stream);
            stream.synchronize();
            var values = new float[count];
            for (int i = 0; i < count; i++)
                values[i] = type == DType.F32 ? host.segment().getAtIndex(ValueLayout.JAVA_FLOAT, i) : Float.intBitsToFloat(host.segment().getAtIndex(ValueLayout.JAVA_SHORT, i) << 16);
            return values;
        }
    }
}
