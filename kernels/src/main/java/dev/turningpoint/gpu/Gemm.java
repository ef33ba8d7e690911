package dev.turningpoint.gpu;

/** One shape family of matrix products by cuBLASLt. (Signatures only; the library calls follow.) */
public final class Gemm implements AutoCloseable {
    /**
     * Row-major {@code c[m,n] = alpha op(a) op(b) (+ bias[n]) + beta c}; op(a) is [m,k], op(b) is [k,n].
     *
     * @param rowsPerSample the m for which the algorithm is chosen; it is then used for every m, so that a row's bits do not depend on m
     */
    public static Gemm of(Device device, DType a, DType b, DType out, boolean transA, boolean transB, long n, long k, long rowsPerSample, boolean bias) {
        throw new UnsupportedOperationException();
    }

    public void run(Stream stream, long m, long a, long lda, long b, long ldb, long c, long ldc, long bias, float alpha, float beta) {
        throw new UnsupportedOperationException();
    }

    @Override
    public void close() {
        throw new UnsupportedOperationException();
    }
}
