package dev.turningpoint.softgpu.driver;

import static dev.turningpoint.bindings.cublaslt.CublasLt.*;
import static dev.turningpoint.softgpu.driver.DriverTest.ok;
import static java.lang.foreign.ValueLayout.*;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.turningpoint.bindings.cublaslt.cublasLtMatmulAlgo_t;
import dev.turningpoint.bindings.cublaslt.cublasLtMatmulHeuristicResult_t;
import dev.turningpoint.bindings.cuda.Cuda;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Matrix products through cuBLASLt's C functions, against sums in double precision. */
@Timeout(120)
class CublasLtTest {
    static {
        System.setProperty("turningpoint.device", "software");
    }

    private final Arena arena = Arena.ofConfined();
    private final MemorySegment out = arena.allocate(64);
    private MemorySegment library;
    private MemorySegment stream;
    private final List<Long> allocations = new ArrayList<>();

    @BeforeEach
    void open() {
        ok(Cuda.cuInit(0));
        ok(Cuda.cuDevicePrimaryCtxRetain(out, 0));
        ok(Cuda.cuCtxSetCurrent(out.get(ADDRESS, 0)));
        ok(Cuda.cuStreamCreate(out, 1));
        stream = out.get(ADDRESS, 0);
        ok(cublasLtCreate(out));
        library = out.get(ADDRESS, 0);
    }

    @AfterEach
    void close() {
        ok(cublasLtDestroy(library));
        ok(Cuda.cuDevicePrimaryCtxRelease_v2(0));
        ok(Cuda.cuCtxSetCurrent(MemorySegment.NULL));
        arena.close();
    }

    /** A product as a caller describes it. */
    record Case(int m, int n, int k, boolean rowOrder, boolean transA, boolean transB, int type, int outType, int padA, int padB, int padD, int batch,
                float alpha, float beta, int epilogue, boolean ownC, long seed) {
        static Case random(long seed) {
            var r = new Random(seed);
            int in = r.nextBoolean() ? CUDA_R_32F() : CUDA_R_16BF();
            int out = in == CUDA_R_16BF() && r.nextBoolean() ? CUDA_R_16BF() : CUDA_R_32F();
            boolean deep = seed % 4 == 3;
            int[] epilogues = deep ? new int[] {1, 4} : new int[] {1, 1, 4, 4, 2, 36};
            return new Case(1 + r.nextInt(seed % 2 == 0 ? 300 : 150), 1 + r.nextInt(deep ? 60 : 200), deep ? 500 + r.nextInt(3000) : 1 + r.nextInt(300), r.nextBoolean(), deep || r.nextBoolean(),
                    !deep && r.nextBoolean(), in, out, r.nextInt(3) * 8, r.nextInt(3) * 8, r.nextInt(3) * 8, 1 + r.nextInt(3), r.nextInt(3) == 0 ? 0.5f : 1, r.nextInt(3) == 0 ? 0.25f : 0,
                    epilogues[r.nextInt(epilogues.length)], r.nextInt(4) == 0, seed);
        }
    }

    /** A device matrix and its values as doubles. */
    private final class Matrix {
        final MemorySegment layout;
        final long address;
        final int rows, columns, leading, batch, type;
        final boolean rowOrder;
        final double[] values;

        Matrix(int rows, int columns, boolean rowOrder, int pad, int batch, int type, Random random) {
            this.rows = rows;
            this.columns = columns;
            this.rowOrder = rowOrder;
            this.batch = batch;
            this.type = type;
            leading = (rowOrder ? columns : rows) + pad;
            values = new double[batch * stride()];
            var host = Arena.ofAuto().allocate(Math.max(1, values.length) * (long) bytes());
            for (int i = 0; i < values.length; i++) {
                float v = random.nextFloat() - 0.5f;
                if (type == CUDA_R_16BF()) {
                    short s = (short) (Float.floatToRawIntBits(v) >>> 16);
                    host.setAtIndex(JAVA_SHORT, i, s);
                    v = Float.intBitsToFloat(s << 16);
                } else {
                    host.setAtIndex(JAVA_FLOAT, i, v);
                }
                values[i] = v;
            }
            ok(Cuda.cuMemAlloc_v2(out, host.byteSize()));
            address = out.get(JAVA_LONG, 0);
            allocations.add(address);
            ok(Cuda.cuMemcpyHtoD_v2(address, host, host.byteSize()));
            ok(cublasLtMatrixLayoutCreate(out, type, rows, columns, leading));
            layout = out.get(ADDRESS, 0);
            if (rowOrder) set(CUBLASLT_MATRIX_LAYOUT_ORDER(), CUBLASLT_ORDER_ROW(), 4);
            if (batch > 1) {
                set(CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT(), batch, 4);
                set(CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET(), stride(), 8);
            }
        }

        int bytes() { return type == CUDA_R_16BF() ? 2 : 4; }

        int stride() { return leading * (rowOrder ? rows : columns); }

        void set(int attribute, long value, int size) {
            var v = arena.allocate(8);
            v.set(JAVA_LONG, 0, value);
            ok(cublasLtMatrixLayoutSetAttribute(layout, attribute, v, size));
        }

        int index(int b, int i, int j) { return b * stride() + (rowOrder ? i * leading + j : j * leading + i); }

        double at(int b, int i, int j) { return values[index(b, i, j)]; }

        double[] read() {
            var host = Arena.ofAuto().allocate(values.length * (long) bytes());
            ok(Cuda.cuMemcpyDtoHAsync_v2(host, address, host.byteSize(), stream));
            var read = new double[values.length];
            for (int i = 0; i < read.length; i++) read[i] = type == CUDA_R_16BF() ? Float.intBitsToFloat(host.getAtIndex(JAVA_SHORT, i) << 16) : host.getAtIndex(JAVA_FLOAT, i);
            return read;
        }
    }

    private MemorySegment operation(boolean transA, boolean transB, int epilogue, long bias) {
        ok(cublasLtMatmulDescCreate(out, CUBLAS_COMPUTE_32F(), CUDA_R_32F()));
        var op = out.get(ADDRESS, 0);
        set(op, CUBLASLT_MATMUL_DESC_TRANSA(), transA ? CUBLAS_OP_T() : CUBLAS_OP_N(), 4);
        set(op, CUBLASLT_MATMUL_DESC_TRANSB(), transB ? CUBLAS_OP_T() : CUBLAS_OP_N(), 4);
        set(op, CUBLASLT_MATMUL_DESC_EPILOGUE(), epilogue, 4);
        if (bias != 0) set(op, CUBLASLT_MATMUL_DESC_BIAS_POINTER(), bias, 8);
        return op;
    }

    private void set(MemorySegment op, int attribute, long value, int size) {
        var v = arena.allocate(8);
        v.set(JAVA_LONG, 0, value);
        ok(cublasLtMatmulDescSetAttribute(op, attribute, v, size));
    }

    private MemorySegment heuristic(MemorySegment op, Matrix a, Matrix b, Matrix c, Matrix d) {
        ok(cublasLtMatmulPreferenceCreate(out));
        var preference = out.get(ADDRESS, 0);
        var result = arena.allocate(cublasLtMatmulHeuristicResult_t.layout());
        ok(cublasLtMatmulAlgoGetHeuristic(library, op, a.layout, b.layout, c.layout, d.layout, preference, 1, result, out));
        assertEquals(1, out.get(JAVA_INT, 0));
        ok(cublasLtMatmulPreferenceDestroy(preference));
        var algorithm = arena.allocate(cublasLtMatmulAlgo_t.layout());
        return algorithm.copyFrom(cublasLtMatmulHeuristicResult_t.algo(result));
    }

    /** As on an H100: what is proposed first for few columns serves no more of them, and says so before it is used. */
    @Test
    void aProposalForFewColumnsServesNoMore() {
        var random = new Random(3);
        Matrix w = new Matrix(128, 96, false, 0, 1, CUDA_R_32F(), random), few = new Matrix(128, 16, false, 0, 1, CUDA_R_32F(), random), many = new Matrix(128, 17, false, 0, 1, CUDA_R_32F(), random);
        Matrix fewOut = new Matrix(96, 16, false, 0, 1, CUDA_R_32F(), random), manyOut = new Matrix(96, 17, false, 0, 1, CUDA_R_32F(), random);
        var op = operation(true, false, 1, 0);
        ok(cublasLtMatmulPreferenceCreate(out));
        var preference = out.get(ADDRESS, 0);
        var results = cublasLtMatmulHeuristicResult_t.allocateArray(4, arena);
        ok(cublasLtMatmulAlgoGetHeuristic(library, op, w.layout, few.layout, fewOut.layout, fewOut.layout, preference, 4, results, out));
        assertEquals(2, out.get(JAVA_INT, 0));
        var narrow = cublasLtMatmulHeuristicResult_t.algo(cublasLtMatmulHeuristicResult_t.asSlice(results, 0));
        var general = cublasLtMatmulHeuristicResult_t.algo(cublasLtMatmulHeuristicResult_t.asSlice(results, 1));
        ok(cublasLtMatmulAlgoCheck(library, op, w.layout, few.layout, fewOut.layout, fewOut.layout, narrow, MemorySegment.NULL));
        multiply(op, w, few, fewOut, fewOut, 1, 0, narrow);
        assertEquals(CUBLAS_STATUS_NOT_SUPPORTED(), cublasLtMatmulAlgoCheck(library, op, w.layout, many.layout, manyOut.layout, manyOut.layout, narrow, MemorySegment.NULL));
        var factors = arena.allocateFrom(JAVA_FLOAT, 1, 0);
        assertEquals(CUBLAS_STATUS_NOT_SUPPORTED(), cublasLtMatmul(library, op, factors, MemorySegment.ofAddress(w.address), w.layout, MemorySegment.ofAddress(many.address), many.layout,
                factors.asSlice(4), MemorySegment.ofAddress(manyOut.address), manyOut.layout, MemorySegment.ofAddress(manyOut.address), manyOut.layout, narrow, MemorySegment.NULL, 0, stream));
        ok(cublasLtMatmulAlgoCheck(library, op, w.layout, many.layout, manyOut.layout, manyOut.layout, general, MemorySegment.NULL));
        multiply(op, w, many, manyOut, manyOut, 1, 0, general);
        ok(cublasLtMatmulAlgoGetHeuristic(library, op, w.layout, many.layout, manyOut.layout, manyOut.layout, preference, 4, results, out));
        assertEquals(1, out.get(JAVA_INT, 0));
        ok(cublasLtMatmulPreferenceDestroy(preference));
    }

    private void multiply(MemorySegment op, Matrix a, Matrix b, Matrix c, Matrix d, float alpha, float beta, MemorySegment algorithm) {
        var factors = arena.allocateFrom(JAVA_FLOAT, alpha, beta);
        ok(cublasLtMatmul(library, op, factors, MemorySegment.ofAddress(a.address), a.layout, MemorySegment.ofAddress(b.address), b.layout, factors.asSlice(4),
                MemorySegment.ofAddress(c.address), c.layout, MemorySegment.ofAddress(d.address), d.layout, algorithm, MemorySegment.NULL, 0, stream));
    }

    static List<Case> randomCases() {
        return IntStream.range(0, 48).mapToObj(Case::random).toList();
    }

    @ParameterizedTest
    @MethodSource("randomCases")
    void productsMatchFloat64(Case t) {
        var random = new Random(t.seed ^ 99);
        var a = new Matrix(t.transA ? t.k : t.m, t.transA ? t.m : t.k, t.rowOrder, t.padA, t.batch, t.type, random);
        var b = new Matrix(t.transB ? t.n : t.k, t.transB ? t.k : t.n, !t.rowOrder && t.seed % 5 == 0 || t.rowOrder, t.padB, t.batch, t.type, random);
        var d = new Matrix(t.m, t.n, t.rowOrder, t.padD, t.batch, t.outType, random);
        var c = t.ownC ? new Matrix(t.m, t.n, t.rowOrder, t.padD + 8, t.batch, t.outType, random) : d;
        boolean hasBias = (t.epilogue & 4) != 0;
        var bias = new Matrix(t.m, 1, false, 0, 1, t.outType, random);
        var op = operation(t.transA, t.transB, t.epilogue, hasBias ? bias.address : 0);
        multiply(op, a, b, c, d, t.alpha, t.beta, t.seed % 2 == 0 ? MemorySegment.NULL : heuristic(op, a, b, c, d));
        double[] got = d.read();
        double tolerance = (t.outType == CUDA_R_16BF() ? 1 / 128.0 : 1e-5);
        for (int e = 0; e < t.batch; e++) {
            for (int i = 0; i < t.m; i++) {
                for (int j = 0; j < t.n; j++) {
                    double sum = 0, size = 0;
                    for (int p = 0; p < t.k; p++) {
                        double v = (t.transA ? a.at(e, p, i) : a.at(e, i, p)) * (t.transB ? b.at(e, j, p) : b.at(e, p, j));
                        sum += v;
                        size += Math.abs(v);
                    }
                    double want = t.alpha * sum + t.beta * c.at(e, i, j) + (hasBias ? bias.at(0, i, 0) : 0);
                    if ((t.epilogue & 2) != 0) want = Math.max(0, want);
                    if ((t.epilogue & 32) != 0) want = 0.5 * want * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (want + 0.044715 * want * want * want)));
                    double allowed = tolerance * Math.abs(want) + 1e-6 * (1 + size) + (t.epilogue >= 32 ? 1e-5 : 0);
                    int at = d.index(e, i, j);
                    if (!(Math.abs(got[at] - want) <= allowed)) throw new AssertionError(t + ": [" + at + "] is " + got[at] + ", not " + want);
                    got[at] = d.values[at];
                }
            }
        }
        assertArrayEquals(d.values, got, "between the rows nothing is written");
    }

    static List<int[]> layerShapes() {  // n, k
        return List.of(new int[] {288, 96}, new int[] {96, 96}, new int[] {384, 96}, new int[] {96, 384}, new int[] {16, 96}, new int[] {96, 16}, new int[] {576, 96}, new int[] {100, 52});
    }

    @ParameterizedTest
    @MethodSource("layerShapes")
    void aRowHasTheSameBitsInAnyCompany(int[] shape) {
        int n = shape[0], k = shape[1];
        for (int type : new int[] {CUDA_R_32F(), CUDA_R_16BF()}) {
            double[] first = null;
            MemorySegment algorithm = null;
            for (int m : new int[] {96, 1, 5, 30, 47, 97, 480, 1900}) {
                var random = new Random(5);
                // column-major: y^T[n,m] = w[k,n]^T x^T[k,m], the rows of y being our samples
                var w = new Matrix(k, n, false, 0, 1, type, random);
                var x = new Matrix(k, m, false, 0, 1, type, random);
                var bias = new Matrix(n, 1, false, 0, 1, type, new Random(6));
                var y = new Matrix(n, m, false, 0, 1, type, random);
                var op = operation(true, false, CUBLASLT_EPILOGUE_BIAS(), bias.address);
                if (algorithm == null) algorithm = heuristic(op, w, x, y, y);
                multiply(op, w, x, y, y, 1, 0, algorithm);
                double[] got = y.read();
                if (first == null) first = got;
                for (int i = 0; i < Math.min(first.length, got.length); i++) assertEquals(first[i], got[i], "m = " + m + ", element " + i);
            }
        }
    }

    @Test
    void whatIsNotServedIsRefused() {
        var random = new Random(1);
        var a = new Matrix(8, 8, false, 0, 1, CUDA_R_32F(), random);
        var b = new Matrix(9, 8, false, 0, 1, CUDA_R_32F(), random);
        var op = operation(false, false, 1, 0);
        var factors = arena.allocateFrom(JAVA_FLOAT, 1, 0);
        assertEquals(CUBLAS_STATUS_INVALID_VALUE(), cublasLtMatmul(library, op, factors, MemorySegment.ofAddress(a.address), a.layout, MemorySegment.ofAddress(b.address), b.layout,
                factors.asSlice(4), MemorySegment.ofAddress(a.address), a.layout, MemorySegment.ofAddress(a.address), a.layout, MemorySegment.NULL, MemorySegment.NULL, 0, stream));
        assertEquals(CUBLAS_STATUS_INVALID_VALUE(), cublasLtMatmul(library, op, factors, MemorySegment.ofAddress(a.address + 4), a.layout, MemorySegment.ofAddress(a.address), a.layout,
                factors.asSlice(4), MemorySegment.ofAddress(a.address), a.layout, MemorySegment.ofAddress(a.address), a.layout, MemorySegment.NULL, MemorySegment.NULL, 0, stream));
        assertEquals(CUBLAS_STATUS_NOT_SUPPORTED(), cublasLtMatmulDescCreate(out, CUBLAS_COMPUTE_64F(), CUDA_R_64F()));
        assertEquals(CUBLAS_STATUS_INVALID_VALUE(), cublasLtMatmulDescDestroy(a.layout));
    }

    @Test
    void productsAreCapturedWithTheirFactors() {
        var random = new Random(2);
        var a = new Matrix(64, 64, false, 0, 1, CUDA_R_32F(), random);
        var d = new Matrix(64, 64, false, 0, 1, CUDA_R_32F(), random);
        var op = operation(false, false, 1, 0);
        multiply(op, a, a, d, d, 1, 0, MemorySegment.NULL);
        double[] direct = d.read();
        ok(Cuda.cuMemsetD8_v2(d.address, (byte) 0, 64 * 64 * 4));
        ok(Cuda.cuStreamBeginCapture_v2(stream, 1));
        multiply(op, a, a, d, d, 1, 0, MemorySegment.NULL);
        ok(Cuda.cuStreamEndCapture(stream, out));
        ok(Cuda.cuGraphInstantiateWithFlags(out, out.get(ADDRESS, 0), 0));
        var graph = out.get(ADDRESS, 0);
        for (double v : d.read()) assertEquals(0, v);
        ok(Cuda.cuGraphLaunch(graph, stream));
        assertArrayEquals(direct, d.read());
    }
}
