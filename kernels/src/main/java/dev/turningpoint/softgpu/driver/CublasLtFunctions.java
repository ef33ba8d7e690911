package dev.turningpoint.softgpu.driver;

import dev.turningpoint.softgpu.driver.Product.Shape;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * The functions of cuBLASLt that are served; each returns a cublasStatus_t. Products of f32 or bf16 matrices with f32 accumulation, any order, transposition,
 * leading dimensions and strided batches, scaled, with a bias and ReLU or GELU.
 *
 * <p>Every layout is a matrix with one contiguous dimension. The result is taken row-major: where it is column-major, as with most callers, its transpose
 * is computed from the transposed operands, and the bias, one per row for the caller, runs along our columns.
 */
public final class CublasLtFunctions {
    static final int NOT_INITIALIZED = 1, INVALID_VALUE = 7, EXECUTION_FAILED = 13, INTERNAL_ERROR = 14, NOT_SUPPORTED = 15;
    static final int R_32F = 0, R_16BF = 14;
    private static final long VERSION = 130000;
    private static final long ALGORITHM = 0x54504745_4d4d0001L;
    private static final int HEURISTIC_BYTES = 96;

    private static final MemorySegment[] NAMES = new MemorySegment[17];

    static {
        String[] names = {"CUBLAS_STATUS_SUCCESS", "CUBLAS_STATUS_NOT_INITIALIZED", null, "CUBLAS_STATUS_ALLOC_FAILED", null, null, null, "CUBLAS_STATUS_INVALID_VALUE",
            "CUBLAS_STATUS_ARCH_MISMATCH", null, null, "CUBLAS_STATUS_MAPPING_ERROR", null, "CUBLAS_STATUS_EXECUTION_FAILED", "CUBLAS_STATUS_INTERNAL_ERROR",
            "CUBLAS_STATUS_NOT_SUPPORTED", "CUBLAS_STATUS_LICENSE_ERROR"};
        for (int i = 0; i < names.length; i++) NAMES[i] = Arena.global().allocateFrom(names[i] == null ? "CUBLAS_STATUS_UNKNOWN" : names[i]);
    }

    private CublasLtFunctions() {}

    /** What {@code cublasLtCreate} makes. */
    private record Library(Context context) {}

    private static final class Layout {
        int type, order, batch = 1;
        long rows, columns, leading, batchStride;
    }

    private static final class Operation {
        int compute, scale, pointerMode, transA, transB, transC, fill, epilogue = 1, biasType = -1;
        long bias, biasStride;
        /** Of the last call: most calls repeat it, and then make no garbage. */
        volatile Matmul plan;

        Shape shape(long n, long k, boolean aTransposed, long lda, boolean bTransposed, long ldb, long ldd, int input, int output, float alpha, float beta, int bias, int biasType, int activation) {
            Matmul last = plan;
            Shape s = last == null ? null : last.shape;
            if (s != null && s.n() == n && s.k() == k && s.aTransposed() == aTransposed && s.lda() == lda && s.bTransposed() == bTransposed && s.ldb() == ldb && s.ldd() == ldd
                    && s.inputType() == input && s.outputType() == output && s.alpha() == alpha && s.beta() == beta && s.bias() == bias && s.biasType() == biasType
                    && s.activation() == activation) return s;
            return new Shape(n, k, aTransposed, lda, bTransposed, ldb, ldd, input, output, alpha, beta, bias, biasType, activation);
        }

        Matmul plan(Shape wanted) {
            Matmul last = plan;
            if (last != null && last.shape == wanted) return last;
            return plan = Matmul.plan(wanted);
        }
    }

    private static final class Preference {
        long workspace;
    }

    private static DriverError invalid(String why) {
        return new DriverError(INVALID_VALUE, why);
    }

    private static DriverError unsupported(String why) {
        return new DriverError(NOT_SUPPORTED, why);
    }

    private static <T> T get(long handle, Class<T> type) {
        T found = Handles.find(handle, type);
        if (found == null) throw invalid(Handles.describe(handle, type));
        return found;
    }

    private static Library library(long handle) {
        Library found = Handles.find(handle, Library.class);
        if (found == null) throw new DriverError(NOT_INITIALIZED, Handles.describe(handle, Library.class));
        return found;
    }

    private static int give(long out, Object object) {
        if (out == 0) throw invalid("the pointer to the result is null");
        Raw.putLong(out, Handles.add(object));
        return 0;
    }

    private static int take(long handle, Class<?> type) {
        get(handle, type);
        Handles.remove(handle, type);
        return 0;
    }

    // ---- library

    static int cublasLtCreate(long out) {
        try {
            return give(out, new Library(Context.current()));
        } catch (DriverError e) {
            throw e.code == INVALID_VALUE ? e : new DriverError(NOT_INITIALIZED, e.getMessage());
        }
    }

    static int cublasLtDestroy(long library) {
        library(library);
        return take(library, Library.class);
    }

    static long cublasLtGetVersion() { return VERSION; }

    static long cublasLtGetStatusName(int status) { return NAMES[status < 0 || status >= NAMES.length ? 2 : status].address(); }

    static long cublasLtGetStatusString(int status) { return cublasLtGetStatusName(status); }

    // ---- descriptions

    private static long value(long buffer, long size, int expected) {
        if (buffer == 0) throw invalid("the attribute's value is null");
        if (size != expected) throw invalid("the attribute has " + expected + " bytes, given are " + size);
        return expected == 8 ? Raw.getLong(buffer) : Raw.getInt(buffer);
    }

    static int cublasLtMatrixLayoutCreate(long out, int type, long rows, long columns, long leading) {
        var l = new Layout();
        l.type = type;
        l.rows = rows;
        l.columns = columns;
        l.leading = leading;
        return give(out, l);
    }

    static int cublasLtMatrixLayoutDestroy(long layout) { return take(layout, Layout.class); }

    static int cublasLtMatrixLayoutSetAttribute(long layout, int attribute, long buffer, long size) {
        Layout l = get(layout, Layout.class);
        switch (attribute) {
            case 0 -> l.type = (int) value(buffer, size, 4);
            case 1 -> {
                int order = (int) value(buffer, size, 4);
                if (order != 0 && order != 1) throw unsupported("matrix order " + order + ": columns (0) and rows (1) are served");
                l.order = order;
            }
            case 2 -> l.rows = value(buffer, size, 8);
            case 3 -> l.columns = value(buffer, size, 8);
            case 4 -> l.leading = value(buffer, size, 8);
            case 5 -> l.batch = (int) value(buffer, size, 4);
            case 6 -> l.batchStride = value(buffer, size, 8);
            case 7 -> throw unsupported("planar complex matrices");
            default -> throw invalid("layout attribute " + attribute);
        }
        return 0;
    }

    static int cublasLtMatmulDescCreate(long out, int compute, int scale) {
        // CUBLAS_COMPUTE_32F, its pedantic form, and those that allow less precise products than we make
        if (compute != 68 && compute != 69 && compute != 74 && compute != 75 && compute != 77 || scale != R_32F)
            throw unsupported("compute type " + compute + " with scale type " + scale + ": f32 is served");
        var o = new Operation();
        o.compute = compute;
        o.scale = scale;
        return give(out, o);
    }

    static int cublasLtMatmulDescDestroy(long operation) { return take(operation, Operation.class); }

    static int cublasLtMatmulDescSetAttribute(long operation, int attribute, long buffer, long size) {
        Operation o = get(operation, Operation.class);
        switch (attribute) {
            case 0 -> o.compute = (int) value(buffer, size, 4);
            case 1 -> o.scale = (int) value(buffer, size, 4);
            case 2 -> {
                if ((o.pointerMode = (int) value(buffer, size, 4)) != 0) throw unsupported("alpha and beta in device memory");
            }
            case 3 -> o.transA = (int) value(buffer, size, 4);
            case 4 -> o.transB = (int) value(buffer, size, 4);
            case 5 -> {
                if ((o.transC = (int) value(buffer, size, 4)) != 0) throw unsupported("a transposed c");
            }
            case 7 -> o.epilogue = (int) value(buffer, size, 4);
            case 8 -> o.bias = value(buffer, size, 8);
            case 10 -> o.biasStride = value(buffer, size, 8);
            case 26 -> o.biasType = (int) value(buffer, size, 4);
            case 15, 25 -> { }  // multiprocessors to use, fast accumulation: nothing to decide here
            default -> throw attribute < 0 || attribute > 40 ? invalid("matmul attribute " + attribute) : unsupported("matmul attribute " + attribute);
        }
        return 0;
    }

    static int cublasLtMatmulPreferenceCreate(long out) { return give(out, new Preference()); }

    static int cublasLtMatmulPreferenceDestroy(long preference) { return take(preference, Preference.class); }

    static int cublasLtMatmulPreferenceSetAttribute(long preference, int attribute, long buffer, long size) {
        Preference p = get(preference, Preference.class);
        switch (attribute) {
            case 1 -> p.workspace = value(buffer, size, 8);
            case 0, 3, 5, 6, 7, 8, 9 -> value(buffer, size, 4);   // search, reductions, alignments, waves: both algorithms meet them all
            case 12 -> value(buffer, size, 8);                    // kinds of implementation
            default -> throw invalid("preference attribute " + attribute);
        }
        return 0;
    }

    // ---- algorithms: one needs no workspace, and its rows do not depend on how many there are. Before it, an f32 product with few columns is offered one that serves 2 to
    // 16 of them only: on an H100 cuBLASLt's first proposal is of this kind (its algorithm 11), and who takes it for every number of rows must not find that out there.

    private static final long FEWEST_OF_FEW = 2, MOST_OF_FEW = 16;

    static int cublasLtMatmulAlgoGetHeuristic(long library, long operation, long a, long b, long c, long d, long preference, int wanted, long results, long count) {
        library(library);
        if (results == 0 || count == 0 || wanted < 1) throw invalid("room for " + wanted + " results");
        Raw.putInt(count, 0);
        Layout result = get(d, Layout.class);
        Call.shape(get(operation, Operation.class), get(a, Layout.class), get(b, Layout.class), get(c, Layout.class), result, 1, 0);
        int found = 0;
        if (result.type == R_32F && get(a, Layout.class).type == R_32F && servedByFew(result)) algorithm(results + (long) HEURISTIC_BYTES * found++, true);
        if (found < wanted) algorithm(results + (long) HEURISTIC_BYTES * found++, false);
        Raw.putInt(count, found);
        return 0;
    }

    private static boolean servedByFew(Layout result) { return result.columns >= FEWEST_OF_FEW && result.columns <= MOST_OF_FEW; }

    private static void algorithm(long result, boolean few) {
        Raw.fill(result, 0, 1, HEURISTIC_BYTES);
        Raw.putLong(result, ALGORITHM);
        Raw.putLong(result + 8, Matmul.BASE);
        Raw.putLong(result + 16, few ? 1 : 0);
        if (Planning.ON) Raw.putLong(result + 64, Planning.GEMM_WORKSPACE);
        Raw.putFloat(result + 76, 1);
    }

    static int cublasLtMatmulAlgoCheck(long library, long operation, long a, long b, long c, long d, long algorithm, long result) {
        library(library);
        Layout of = get(d, Layout.class);
        requireAlgorithm(algorithm);
        Call.shape(get(operation, Operation.class), get(a, Layout.class), get(b, Layout.class), get(c, Layout.class), of, 1, 0);
        requireServed(algorithm, of);
        if (result != 0) algorithm(result, isForFew(algorithm));
        return 0;
    }

    private static void requireAlgorithm(long algorithm) {
        if (algorithm == 0 || Raw.getLong(algorithm) != ALGORITHM || Raw.getLong(algorithm + 8) != Matmul.BASE)
            throw unsupported("an algorithm that cublasLtMatmulAlgoGetHeuristic of this device did not give");
    }

    private static boolean isForFew(long algorithm) { return Raw.getLong(algorithm + 16) == 1; }

    private static void requireServed(long algorithm, Layout result) {
        if (isForFew(algorithm) && !servedByFew(result))
            throw unsupported("an algorithm that serves " + FEWEST_OF_FEW + " to " + MOST_OF_FEW + " columns of d, for " + result.columns + ": ask cublasLtMatmulAlgoCheck before it is used for another shape");
    }

    static int cublasLtMatmulAlgoConfigGetAttribute(long algorithm, int attribute, long buffer, long size, long written) {
        requireAlgorithm(algorithm);
        if (attribute < 0 || attribute > 8) throw invalid("algorithm attribute " + attribute);
        int bytes = attribute >= 7 ? 2 : 4;
        if (size == 0) {
            if (written == 0) throw invalid("null");
            Raw.putLong(written, bytes);
            return 0;
        }
        if (buffer == 0 || size < bytes) throw invalid("the attribute has " + bytes + " bytes");
        Raw.fill(buffer, 0, 1, bytes);
        if (attribute == 2) Raw.putInt(buffer, 1);
        if (written != 0) Raw.putLong(written, bytes);
        return 0;
    }

    // ---- the product

    static int cublasLtMatmul(long library, long operation, long alpha, long a, long aLayout, long b, long bLayout, long beta, long c, long cLayout, long d, long dLayout,
                              long algorithm, long workspace, long workspaceBytes, long stream) {
        Library l = library(library);
        Operation o = get(operation, Operation.class);
        Layout la = get(aLayout, Layout.class), lb = get(bLayout, Layout.class), ld = get(dLayout, Layout.class), lc = cLayout == 0 ? ld : get(cLayout, Layout.class);
        if (alpha == 0 || beta == 0 || a == 0 || b == 0 || d == 0)
            throw invalid((alpha == 0 ? "alpha" : beta == 0 ? "beta" : a == 0 ? "a" : b == 0 ? "b" : "d") + " is null");
        if (workspaceBytes != 0 && workspace == 0) throw invalid("a workspace of " + workspaceBytes + " bytes at null");
        if (algorithm != 0) {
            requireAlgorithm(algorithm);
            requireServed(algorithm, ld);
        }
        float factor = Raw.getFloat(alpha), keep = Raw.getFloat(beta);
        if (keep != 0 && c == 0) throw invalid("beta is " + keep + " and c null");
        Shape shape = Call.shape(o, la, lb, lc, ld, factor, keep);
        boolean transposed = ld.order == 0;
        long m = transposed ? ld.columns : ld.rows;
        if (m == 0 || shape.n() == 0) return 0;
        Call.checkMemory(shape, o, la, lb, lc, ld, a, b, c, d);
        Matmul plan = o.plan(shape);
        if (shape.activation() != Shape.NO_ACTIVATION && !plan.servesActivation()) throw unsupported("an activation on a product with a long sum and a transposed left side");
        plan.prepare(m);
        try {
            StreamQueue s = Context.current().stream(stream);
            if (s.context != l.context) throw Code.INVALID_CONTEXT.error("the library was created in another context");
            Command command = s.begin();
            Matmul.Arguments g = command.matmul(plan);
            g.a = transposed ? b : a;
            g.b = transposed ? a : b;
            g.strideA = transposed ? lb.batchStride : la.batchStride;
            g.strideB = transposed ? la.batchStride : lb.batchStride;
            g.c = keep == 0 ? d : c;
            g.ldc = lc.leading;
            g.strideC = lc.batchStride;
            g.d = d;
            g.strideD = ld.batchStride;
            g.bias = shape.bias() == Shape.NO_BIAS ? 0 : o.bias;
            g.strideBias = o.biasStride;
            g.m = m;
            g.batch = ld.batch;
            s.commit(command);
        } catch (DriverError e) {
            throw new DriverError(EXECUTION_FAILED, e.getMessage());
        }
        return 0;
    }

    /** From descriptors to one row-major shape. */
    private static final class Call {
        static Shape shape(Operation o, Layout a, Layout b, Layout c, Layout d, float alpha, float beta) {
            boolean ta = o.transA != 0, tb = o.transB != 0;
            long m = ta ? a.columns : a.rows, ka = ta ? a.rows : a.columns, kb = tb ? b.columns : b.rows, n = tb ? b.rows : b.columns;
            if (d.rows != m || d.columns != n || ka != kb || c.rows != m || c.columns != n)
                throw invalid("shapes do not fit: op(a) " + m + " x " + ka + ", op(b) " + kb + " x " + n + ", c " + c.rows + " x " + c.columns + ", d " + d.rows + " x " + d.columns);
            check(a, d);
            check(b, d);
            check(c, d);
            check(d, d);
            if (ka < 1) throw invalid("k = " + ka);
            if (a.type != b.type || a.type != R_32F && a.type != R_16BF || c.type != d.type || d.type != R_32F && (d.type != R_16BF || a.type != R_16BF))
                throw unsupported("types " + a.type + " x " + b.type + " + " + c.type + " -> " + d.type + ": f32 (0) and bf16 (14) operands with results of the same type, or f32, are served");
            if (c.order != d.order) throw unsupported("c and d in different orders");
            boolean transposed = d.order == 0;
            int bias = switch (o.epilogue) {
                case 1, 2, 32 -> Shape.NO_BIAS;
                case 4, 6, 36 -> transposed ? Shape.COLUMN_BIAS : Shape.ROW_BIAS;
                default -> throw unsupported("epilogue " + o.epilogue + ": default, bias, ReLU and GELU are served");
            };
            int activation = (o.epilogue & 2) != 0 ? Shape.RELU : (o.epilogue & 32) != 0 ? Shape.GELU : Shape.NO_ACTIVATION;
            int biasType = o.biasType < 0 ? d.type : o.biasType;
            if (bias != Shape.NO_BIAS && biasType != R_32F && biasType != R_16BF) throw unsupported("a bias of type " + biasType);
            // Is the first dimension of op(x) the contiguous one?
            boolean aRowsContiguous = (a.order == 0) != ta, bRowsContiguous = (b.order == 0) != tb;
            return transposed
                    ? o.shape(m, ka, !bRowsContiguous, b.leading, !aRowsContiguous, a.leading, d.leading, a.type, d.type, alpha, beta, bias, biasType, activation)
                    : o.shape(n, ka, aRowsContiguous, a.leading, bRowsContiguous, b.leading, d.leading, a.type, d.type, alpha, beta, bias, biasType, activation);
        }

        private static void check(Layout l, Layout d) {
            if (l.leading < (l.order == 0 ? l.rows : l.columns)) throw invalid("leading dimension " + l.leading + " of a matrix " + l.rows + " x " + l.columns);
            if (l.batch != d.batch || l.batch < 1) throw invalid("batches of " + l.batch + " and " + d.batch);
        }

        static void checkMemory(Shape shape, Operation o, Layout la, Layout lb, Layout lc, Layout ld, long a, long b, long c, long d) {
            check("a", la, a);
            check("b", lb, b);
            check("d", ld, d);
            requireApart("a", la, a, ld, d);
            requireApart("b", lb, b, ld, d);
            if (shape.beta() != 0) {
                check("c", lc, c);
                if (c != d) requireApart("c", lc, c, ld, d);
                else if (lc.leading != ld.leading || lc.batch > 1 && lc.batchStride != ld.batchStride)
                    throw invalid("c and d are one matrix, with leading dimensions " + lc.leading + " and " + ld.leading + ", strides " + lc.batchStride + " and " + ld.batchStride);
            }
            if (shape.bias() != Shape.NO_BIAS) {
                if (o.bias == 0) throw invalid("the bias is null");
                long bytes = (ld.rows + (ld.batch - 1) * Math.max(0, o.biasStride)) * Product.bytes(shape.biasType());
                if (!Memory.onDevice(o.bias, bytes)) throw invalid("the bias: " + Memory.DEVICE.describe(o.bias, bytes));
            }
        }

        private static void check(String name, Layout l, long address) {
            long bytes = bytes(l);
            if (!Memory.onDevice(address, bytes)) throw invalid(name + ": " + Memory.DEVICE.describe(address, bytes));
            if (address % Product.bytes(l.type) != 0) throw invalid(name + ", 0x" + Long.toHexString(address) + ", is not aligned to its type's " + Product.bytes(l.type) + " bytes");
        }

        /** From the first element to the last. */
        private static long bytes(Layout l) {
            long lines = l.order == 0 ? l.columns : l.rows, line = l.order == 0 ? l.rows : l.columns;
            return ((lines - 1) * l.leading + line + (l.batch - 1) * Math.max(0, l.batchStride)) * Product.bytes(l.type);
        }

        /** An operand that the product would overwrite while it is read. Matrices side by side in wider rows are apart. */
        private static void requireApart(String name, Layout l, long address, Layout ld, long d) {
            if (address >= d + bytes(ld) || d >= address + bytes(l)) return;
            boolean interleaved = l.leading * Product.bytes(l.type) == ld.leading * Product.bytes(ld.type) && l.order == ld.order && apart(l, address, ld, d);
            if (!interleaved) throw invalid(name + ", " + bytes(l) + " bytes at 0x" + Long.toHexString(address) + ", overlaps d, " + bytes(ld) + " bytes at 0x" + Long.toHexString(d));
        }

        private static boolean apart(Layout l, long address, Layout ld, long d) {
            long stride = l.leading * Product.bytes(l.type), offset = Math.floorMod(d - address, stride);
            long line = (l.order == 0 ? l.rows : l.columns) * Product.bytes(l.type), lineD = (ld.order == 0 ? ld.rows : ld.columns) * Product.bytes(ld.type);
            return offset >= line && offset + lineD <= stride;
        }
    }
}
