package dev.turningpoint.gpu;

import dev.turningpoint.bindings.NativeLibrary;
import dev.turningpoint.bindings.cublaslt.CublasLt;
import dev.turningpoint.bindings.cublaslt.cublasLtMatmulAlgo_t;
import dev.turningpoint.bindings.cublaslt.cublasLtMatmulHeuristicResult_t;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;

/**
 * One shape family of matrix products by cuBLASLt, with f32 accumulation; descriptors and algorithm are made once, a run allocates nothing on the Java heap.
 *
 * <p>The bits of a row do not depend on how many rows there are: the algorithm is chosen once, for the rows of one sample, and used for every number of
 * rows; algorithms that split the sum over k, or do not serve every number of rows, are left out. With {@code transA}, where rows are a weight's and not samples', the
 * algorithm serves the number it is made for.
 *
 * <p>For one thread at a time.
 */
public final class Gemm implements AutoCloseable {

    /** Operands start at multiples of this; what our memory plans keep. */
    private static final int ALIGNMENT = 16;
    /** An algorithm chosen for fewer rows may be one for vectors only. */
    private static final long FEWEST_ROWS = 16;
    /** How many of cuBLASLt's proposals are looked at. Some serve no other number of rows than the one they are proposed for. */
    private static final int PROPOSALS = 32;

    /** cublasLtMatmul with device addresses as plain integers: as {@link MemorySegment}s each run would make some. */
    private static final class Call {
        static final MethodHandle MATMUL = Linker.nativeLinker().downcallHandle(NativeLibrary.CUBLASLT.symbols().findOrThrow("cublasLtMatmul"),
                FunctionDescriptor.of(ValueLayout.JAVA_INT, ValueLayout.ADDRESS, ValueLayout.ADDRESS,
                        ValueLayout.ADDRESS, ValueLayout.JAVA_LONG, ValueLayout.ADDRESS, ValueLayout.JAVA_LONG, ValueLayout.ADDRESS,
                        ValueLayout.ADDRESS, ValueLayout.JAVA_LONG, ValueLayout.ADDRESS, ValueLayout.JAVA_LONG, ValueLayout.ADDRESS,
                        ValueLayout.ADDRESS, ValueLayout.JAVA_LONG, ValueLayout.JAVA_LONG, ValueLayout.ADDRESS));
    }

    private final DType a, b, out;
    private final boolean transA, transB, bias;
    private final long n, k;
    private final MemorySegment library;
    // cuBLAS counts in columns: its first factor is our b, its second our a, its result our c, each read transposed.
    private final MemorySegment operation, first, second, result;
    private final MemorySegment algorithm;
    private final MemorySegment scales;  // alpha, beta
    private final MemorySegment alpha, beta;
    private final MemorySegment number;  // the attribute being set
    private final Resources resources = new Resources();
    private final long workspaceAddress, workspaceBytes;
    private final Shape firstShape, secondShape, resultShape;
    private long biasAddress;
    private int batch = 1;
    private long strideA, strideB, strideC;
    private boolean closed;

    /** Rows, columns and leading dimension as the descriptor has them now. */
    private static final class Shape {
        long rows, columns, leading, stride;
        int batch = 1;
    }

    /**
     * Row-major {@code c[m,n] = alpha op(a) op(b) (+ bias[n]) + beta c}; op(a) is [m,k], op(b) is [k,n].
     *
     * @param a            type of a: f32 or bf16, that of b too
     * @param out          type of c and of the bias: f32, or bf16 for bf16 operands
     * @param transA       whether a is stored as [k,m]
     * @param transB       whether b is stored as [n,k], as the weights of a layer are
     * @param rowsPerSample the m for which the algorithm is chosen; without transA it is then used for every m, so that a row's bits do not depend on m
     * @throws GpuException if cuBLASLt has no algorithm for it
     */
    public static Gemm of(Device device, DType a, DType b, DType out, boolean transA, boolean transB, long n, long k, long rowsPerSample, boolean bias) {
        var own = new GemmWorkspace(device);
        try {
            Gemm made = of(own, a, b, out, transA, transB, n, k, rowsPerSample, bias);
            made.resources.add(own);
            return made;
        } catch (RuntimeException | Error e) {
            own.close();
            throw e;
        }
    }

    /**
     * The same with scratch that is shared.
     *
     * @param workspace outlives the product
     */
    public static Gemm of(GemmWorkspace workspace, DType a, DType b, DType out, boolean transA, boolean transB, long n, long k, long rowsPerSample, boolean bias) {
        return new Gemm(workspace, a, b, out, transA, transB, n, k, rowsPerSample, bias);
    }

    private Gemm(GemmWorkspace workspace, DType a, DType b, DType out, boolean transA, boolean transB, long n, long k, long rowsPerSample, boolean bias) {
        if (a != b || a != DType.F32 && a != DType.BF16 || out != DType.F32 && out != a)
            throw new IllegalArgumentException("no product of " + a + " and " + b + " into " + out + ": both operands are f32 or both bf16, the result is of their type or f32");
        if (n <= 0 || k <= 0 || rowsPerSample <= 0) throw new IllegalArgumentException("a product of n = " + n + ", k = " + k + ", rows = " + rowsPerSample);
        this.a = a;
        this.b = b;
        this.out = out;
        this.transA = transA;
        this.transB = transB;
        this.n = n;
        this.k = k;
        this.bias = bias;
        library = workspace.device().cublas();
        var arena = Arena.ofAuto();
        scales = arena.allocate(ValueLayout.JAVA_FLOAT, 2);
        alpha = scales.asSlice(0, 4);
        beta = scales.asSlice(4, 4);
        number = arena.allocate(ValueLayout.JAVA_LONG);
        algorithm = arena.allocate(cublasLtMatmulAlgo_t.layout());
        firstShape = new Shape();
        secondShape = new Shape();
        resultShape = new Shape();
        MemorySegment pointer = arena.allocate(ValueLayout.ADDRESS);

        try {
            check(CublasLt.cublasLtMatmulDescCreate(pointer, CublasLt.CUBLAS_COMPUTE_32F(), CublasLt.CUDA_R_32F()), "cublasLtMatmulDescCreate");
            operation = pointer.get(ValueLayout.ADDRESS, 0);
            resources.add(() -> check(CublasLt.cublasLtMatmulDescDestroy(operation), "cublasLtMatmulDescDestroy"));
            describe(CublasLt.CUBLASLT_MATMUL_DESC_TRANSA(), transB ? CublasLt.CUBLAS_OP_T() : CublasLt.CUBLAS_OP_N());
            describe(CublasLt.CUBLASLT_MATMUL_DESC_TRANSB(), transA ? CublasLt.CUBLAS_OP_T() : CublasLt.CUBLAS_OP_N());
            if (bias) {
                describe(CublasLt.CUBLASLT_MATMUL_DESC_EPILOGUE(), CublasLt.CUBLASLT_EPILOGUE_BIAS());
                biasTo(ALIGNMENT);  // cuBLASLt chooses no algorithm for a bias that is nowhere
            }

            long rows = transA ? rowsPerSample : Math.max(rowsPerSample, FEWEST_ROWS);
            first = layout(pointer, b, firstShape, transB ? k : n, transB ? n : k, transB ? k : n);
            second = layout(pointer, a, secondShape, transA ? rows : k, transA ? k : rows, transA ? rows : k);
            result = layout(pointer, out, resultShape, n, rows, n);

            workspaceBytes = choose(pointer);
            workspaceAddress = workspace.address(workspaceBytes);
        } catch (RuntimeException | Error e) {
            resources.closeAfter(e);
            throw e;
        }
    }

    private MemorySegment layout(MemorySegment pointer, DType type, Shape shape, long rows, long columns, long leading) {
        int kind = type == DType.F32 ? CublasLt.CUDA_R_32F() : CublasLt.CUDA_R_16BF();
        check(CublasLt.cublasLtMatrixLayoutCreate(pointer, kind, rows, columns, leading), "cublasLtMatrixLayoutCreate(" + rows + " x " + columns + ")");
        shape.rows = rows;
        shape.columns = columns;
        shape.leading = leading;
        MemorySegment layout = pointer.get(ValueLayout.ADDRESS, 0);
        resources.add(() -> check(CublasLt.cublasLtMatrixLayoutDestroy(layout), "cublasLtMatrixLayoutDestroy"));
        return layout;
    }

    /** Takes the algorithm that cuBLASLt thinks fastest of those that serve every number of rows, with {@code transA} this one; returns the workspace it needs. */
    private long choose(MemorySegment pointer) {
        check(CublasLt.cublasLtMatmulPreferenceCreate(pointer), "cublasLtMatmulPreferenceCreate");
        MemorySegment preference = pointer.get(ValueLayout.ADDRESS, 0);
        try (var chosen = new Resources(); var arena = Arena.ofConfined()) {
            chosen.add(() -> check(CublasLt.cublasLtMatmulPreferenceDestroy(preference), "cublasLtMatmulPreferenceDestroy"));
            prefer(preference, CublasLt.CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES(), GemmWorkspace.BYTES, 8);
            prefer(preference, CublasLt.CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK(), CublasLt.CUBLASLT_REDUCTION_SCHEME_NONE(), 4);
            prefer(preference, CublasLt.CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES(), ALIGNMENT, 4);
            prefer(preference, CublasLt.CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES(), ALIGNMENT, 4);
            prefer(preference, CublasLt.CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES(), ALIGNMENT, 4);
            prefer(preference, CublasLt.CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES(), ALIGNMENT, 4);
            MemorySegment proposals = cublasLtMatmulHeuristicResult_t.allocateArray(PROPOSALS, arena), count = arena.allocate(ValueLayout.JAVA_INT);
            int status = CublasLt.cublasLtMatmulAlgoGetHeuristic(library, operation, first, second, result, result, preference, PROPOSALS, proposals, count);
            if (status != 0) throw GpuException.cublas(status, "choosing an algorithm for " + this);
            int proposed = count.get(ValueLayout.JAVA_INT, 0);
            long rows = resultShape.columns;
            long many = Math.max(rows, Math.min(257 * rows, Integer.MAX_VALUE / Math.max(n, k)));  // as many as 2^31 elements of an operand have
            long[] probes = transA ? new long[] {rows} : new long[] {1, 2, rows, rows + 1, 2 * rows, 16 * rows, many};
            MemorySegment answer = cublasLtMatmulHeuristicResult_t.allocate(arena);
            for (int i = 0; i < proposed; i++) {
                MemorySegment proposal = cublasLtMatmulHeuristicResult_t.algo(cublasLtMatmulHeuristicResult_t.asSlice(proposals, i));
                long bytes = cublasLtMatmulHeuristicResult_t.workspaceSize(cublasLtMatmulHeuristicResult_t.asSlice(proposals, i));
                for (int j = 0; j < probes.length && bytes >= 0; j++) bytes = serves(proposal, probes[j], answer) ? Math.max(bytes, cublasLtMatmulHeuristicResult_t.workspaceSize(answer)) : -1;
                if (bytes < 0 || bytes > GemmWorkspace.BYTES) continue;
                algorithm.copyFrom(proposal);
                return bytes;
            }
            throw new GpuException("cuBLASLt has no algorithm for " + this + (transA ? " with " + rows + " rows" : " with every number of rows") + "; it proposed " + proposed + ".");
        }
    }

    private boolean serves(MemorySegment proposal, long rows, MemorySegment answer) {
        shape(first, firstShape, transB ? k : n, transB ? n : k, transB ? k : n, 0);
        shape(second, secondShape, transA ? rows : k, transA ? k : rows, transA ? rows : k, 0);
        shape(result, resultShape, n, rows, n, 0);
        int status = CublasLt.cublasLtMatmulAlgoCheck(library, operation, first, second, result, result, proposal, answer);
        if (status != 0 && status != CublasLt.CUBLAS_STATUS_NOT_SUPPORTED() && status != CublasLt.CUBLAS_STATUS_ARCH_MISMATCH() && status != CublasLt.CUBLAS_STATUS_INVALID_VALUE()) check(status, "cublasLtMatmulAlgoCheck");
        return status == 0;
    }

    private void prefer(MemorySegment preference, int attribute, long value, int size) {
        number.set(ValueLayout.JAVA_LONG, 0, value);
        check(CublasLt.cublasLtMatmulPreferenceSetAttribute(preference, attribute, number, size), "cublasLtMatmulPreferenceSetAttribute");
    }

    private void describe(int attribute, int value) {
        number.set(ValueLayout.JAVA_INT, 0, value);
        check(CublasLt.cublasLtMatmulDescSetAttribute(operation, attribute, number, 4), "cublasLtMatmulDescSetAttribute");
    }

    /**
     * Makes every following run do {@code count} products at once, whose operands lie so many elements apart.
     * A count of 1 ends that. Not together with a bias.
     */
    public Gemm batched(int count, long strideA, long strideB, long strideC) {
        if (count < 1 || count > 1 && bias) throw new IllegalArgumentException(this + ": a batch of " + count + (bias ? " with a bias" : ""));
        batch = count;
        this.strideA = strideA;
        this.strideB = strideB;
        this.strideC = strideC;
        return this;
    }

    /**
     * Launches one product on the stream.
     *
     * @param m         rows of the result; 0 does nothing. With {@code transA} as many as {@link #of} was told: the algorithm is chosen for those alone
     * @param a         address of a, a multiple of 16, as b and c
     * @param lda       elements from one row of a to the next, as stored: the width of a row, or a multiple of 16 bytes; likewise ldb, ldc
     * @param biasRow   address of the bias, [n] of the result's type; unused without bias
     * @param alphaFactor factor of the product
     * @param betaFactor  factor of what c holds; 0 never reads it. Where c is bf16, a GPU may round the product, factor and bias included, before it adds (cuBLASLt 13 does on an H100)
     */
    public void run(Stream stream, long m, long a, long lda, long b, long ldb, long c, long ldc, long biasRow, float alphaFactor, float betaFactor) {
        if (closed) throw new IllegalStateException(this + " is closed");
        if (m < 0 || lda < (transA ? m : k) || ldb < (transB ? k : n) || ldc < n)
            throw new IllegalArgumentException(this + ": m = " + m + ", lda = " + lda + ", ldb = " + ldb + ", ldc = " + ldc);
        if (((a | b | c) & ALIGNMENT - 1) != 0) throw new IllegalArgumentException(this + ": an operand is not aligned to " + ALIGNMENT + " bytes");
        if (m == 0) return;
        shape(first, firstShape, transB ? k : n, transB ? n : k, ldb, strideB);
        shape(second, secondShape, transA ? m : k, transA ? k : m, lda, strideA);
        shape(result, resultShape, n, m, ldc, strideC);
        if (bias && biasRow != biasAddress) biasTo(biasRow);
        alpha.set(ValueLayout.JAVA_FLOAT, 0, alphaFactor);
        beta.set(ValueLayout.JAVA_FLOAT, 0, betaFactor);
        int status;
        try {
            status = (int) Call.MATMUL.invokeExact(library, operation, alpha, b, first, a, second, beta, c, result, c, result, algorithm, workspaceAddress, workspaceBytes, stream.handle());
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable e) {
            throw new AssertionError(e);
        }
        if (status != 0) throw GpuException.cublas(status, this + " with m = " + m + ", lda = " + lda + ", ldb = " + ldb + ", ldc = " + ldc + (batch > 1 ? ", batch = " + batch : ""));
    }

    private void biasTo(long address) {
        number.set(ValueLayout.JAVA_LONG, 0, address);
        check(CublasLt.cublasLtMatmulDescSetAttribute(operation, CublasLt.CUBLASLT_MATMUL_DESC_BIAS_POINTER(), number, 8), "cublasLtMatmulDescSetAttribute");
        biasAddress = address;
    }

    private void shape(MemorySegment layout, Shape now, long rows, long columns, long leading, long stride) {
        if (now.rows != rows) set(layout, CublasLt.CUBLASLT_MATRIX_LAYOUT_ROWS(), now.rows = rows, 8);
        if (now.columns != columns) set(layout, CublasLt.CUBLASLT_MATRIX_LAYOUT_COLS(), now.columns = columns, 8);
        if (now.leading != leading) set(layout, CublasLt.CUBLASLT_MATRIX_LAYOUT_LD(), now.leading = leading, 8);
        if (now.batch != batch) set(layout, CublasLt.CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT(), now.batch = batch, 4);
        if (now.stride != stride) set(layout, CublasLt.CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET(), now.stride = stride, 8);
    }

    private void set(MemorySegment layout, int attribute, long value, int size) {
        number.set(ValueLayout.JAVA_LONG, 0, value);
        check(CublasLt.cublasLtMatrixLayoutSetAttribute(layout, attribute, number, size), "cublasLtMatrixLayoutSetAttribute");
    }

    private void check(int status, String call) {
        if (status != 0) throw GpuException.cublas(status, call + " for " + this);
    }

    @Override
    public void close() {
        if (closed) return;
        closed = true;
        resources.close();
    }

    @Override
    public String toString() {
        return "product c[m," + n + "] = a" + (transA ? "^T" : "") + "[m," + k + "] b" + (transB ? "^T" : "") + "[" + k + "," + n + "]" + (bias ? " + bias" : "")
                + " of " + a.suffix() + " into " + out.suffix();
    }
}
