package dev.turningpoint.softgpu.driver;

import static dev.turningpoint.softgpu.driver.CublasLtFunctions.R_16BF;
import static dev.turningpoint.softgpu.driver.CublasLtFunctions.R_32F;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_SHORT;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.turningpoint.softgpu.driver.Product.Shape;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The way of processors without bf16 products, on any processor. */
class WidenedMatmulTest {
    private final Arena arena = Arena.ofShared();
    private Context context;
    private StreamQueue stream;

    @BeforeEach
    void begin() {
        context = Context.retain();
        stream = new StreamQueue(context, false, false);
    }

    @AfterEach
    void end() {
        Context.release();   // waits for the stream
        arena.close();
    }

    private MemorySegment random(Random random, long count, int type) {
        var m = arena.allocate(count * Product.bytes(type), 64);
        for (long i = 0; i < count; i++) {
            int bits = Float.floatToRawIntBits(random.nextFloat() - 0.5f);
            if (type == R_16BF) m.setAtIndex(JAVA_SHORT, i, (short) (bits >>> 16));
            else m.setAtIndex(JAVA_FLOAT, i, Float.intBitsToFloat(bits));
        }
        return m;
    }

    private static double at(MemorySegment m, long i, int type) {
        return type == R_16BF ? Float.intBitsToFloat(m.getAtIndex(JAVA_SHORT, i) << 16) : m.getAtIndex(JAVA_FLOAT, i);
    }

    private void run(Shape shape, MemorySegment a, MemorySegment b, MemorySegment d, MemorySegment bias, long m, int batch) {
        var plan = new WidenedMatmul(shape);
        plan.prepare(m);
        Command command = stream.begin();
        Matmul.Arguments g = command.matmul(plan);
        g.a = a.address();
        g.b = b.address();
        g.c = g.d = d.address();
        g.ldc = shape.ldd();
        g.bias = shape.bias() == Shape.NO_BIAS ? 0 : bias.address();
        g.m = m;
        g.batch = batch;
        g.strideA = a.byteSize() / 2 / batch;
        g.strideB = b.byteSize() / 2 / batch;
        g.strideC = g.strideD = d.byteSize() / Product.bytes(shape.outputType()) / batch;
        stream.commit(command);
        stream.awaitAll();
        assertEquals(null, context.fault());
    }

    @ParameterizedTest
    @CsvSource({
        "50, 48, 40, false, true, 14, 1, 1, 0, 2", "97, 20, 64, false, false, 14, 1, 2, .5, 1", "30, 33, 17, true, false, 0, 2, 0, 1, 3", "70, 24, 900, true, false, 14, 1, 1, 0, 1",
        "24, 40, 700, true, true, 0, .5, 0, .25, 2"})
    void matchesFloat64(int m, int n, int k, boolean aTransposed, boolean bTransposed, int outputType, float alpha, int bias, float beta, int batch) {
        long lda = (aTransposed ? m : k) + 8, ldb = (bTransposed ? k : n) + 3, ldd = n + 5, seed = m * 31L + n;
        var shape = new Shape(n, k, aTransposed, lda, bTransposed, ldb, ldd, R_16BF, outputType, alpha, beta, bias, R_16BF, Shape.NO_ACTIVATION);
        var random = new Random(seed);
        long aSize = (aTransposed ? k : m) * lda, bSize = (bTransposed ? n : k) * ldb, dSize = m * ldd;
        var a = random(random, batch * aSize, R_16BF);
        var b = random(random, batch * bSize, R_16BF);
        var d = random(random, batch * dSize, outputType);
        var biases = random(random, Math.max(m, n), R_16BF);
        var before = arena.allocate(d.byteSize(), 64).copyFrom(d);
        run(shape, a, b, d, biases, m, batch);
        double unit = outputType == R_16BF ? 1 / 256.0 : 1e-6;   // half a unit in the last place of bf16
        for (int e = 0; e < batch; e++)
            for (int i = 0; i < m; i++)
                for (int j = 0; j < n; j++) {
                    double sum = 0, size = 1;
                    for (int p = 0; p < k; p++) {
                        double v = at(a, e * aSize + (aTransposed ? p * lda + i : i * lda + p), R_16BF) * at(b, e * bSize + (bTransposed ? j * ldb + p : p * ldb + j), R_16BF);
                        sum += v;
                        size += Math.abs(v);
                    }
                    long index = e * dSize + i * ldd + j;
                    double want = alpha * sum + beta * at(before, index, outputType) + (bias == Shape.NO_BIAS ? 0 : at(biases, bias == Shape.ROW_BIAS ? i : j, R_16BF));
                    double error = Math.abs(at(d, index, outputType) - want);
                    assertTrue(error <= unit * Math.abs(want) + 1e-6 * size, "seed " + seed + ", [" + e + ", " + i + ", " + j + "]: off by " + error + " from " + want);
                }
        for (int e = 0; e < batch; e++)
            for (int i = 0; i < m; i++)
                for (long j = n; j < ldd; j++) assertEquals(at(before, e * dSize + i * ldd + j, outputType), at(d, e * dSize + i * ldd + j, outputType), "between the rows nothing is written");
    }

    @Test
    void aRowHasTheSameBitsInAnyCompany() {
        int n = 96, k = 384;
        var shape = new Shape(n, k, false, k, true, k, n, R_16BF, R_16BF, 1, 0, Shape.COLUMN_BIAS, R_16BF, Shape.GELU);
        var random = new Random(3);
        MemorySegment a = random(random, 480L * k, R_16BF), b = random(random, (long) n * k, R_16BF), bias = random(random, n, R_16BF), all = random(random, 480L * n, R_16BF);
        run(shape, a, b, all, bias, 480, 1);
        for (int m : new int[] {1, 5, 47, 97}) {
            var few = random(random, (long) m * n, R_16BF);
            run(shape, a, b, few, bias, m, 1);
            assertEquals(-1, few.mismatch(all.asSlice(0, few.byteSize())), m + " rows");
        }
    }

    @Test
    void roundingIsToNearestEvenAndNanStays() {
        float[] values = {1, 1 + 0x1p-8f, 1 + 0x1p-8f + 0x1p-20f, 1 + 3 * 0x1p-8f, -1 - 0x1p-9f, Float.MAX_VALUE, Float.NaN, Float.intBitsToFloat(0x7f800001), Float.NEGATIVE_INFINITY, 0x1p-149f, -0f};
        int[] want = {0x3f80, 0x3f80, 0x3f81, 0x3f82, 0xbf80, 0x7f80, 0x7fc0, 0x7fc0, 0xff80, 0, 0x8000};
        var out = arena.allocate(2L * values.length);
        Bf16.store(values, new short[values.length], out.address(), values.length);
        for (int i = 0; i < values.length; i++) assertEquals(want[i], out.getAtIndex(JAVA_SHORT, i) & 0xffff, Float.toString(values[i]));
        float[] back = new float[values.length];
        Bf16.load(out.address(), new short[values.length], back, values.length);
        for (int i = 0; i < values.length; i++) assertEquals(want[i] << 16, Float.floatToRawIntBits(back[i]), Float.toString(values[i]));
    }
}
