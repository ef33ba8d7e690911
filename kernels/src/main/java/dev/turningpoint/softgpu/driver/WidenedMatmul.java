package dev.turningpoint.softgpu.driver;

import dev.turningpoint.softgpu.driver.Product.Shape;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * A bf16 product where the processor multiplies none (oneDNN asks for AVX-512): the operands are widened to f32, which is exact, the f32 product runs with bias and
 * activation, and its result is rounded once. As all of this goes by element, a row has the same bits in any company here too.
 */
final class WidenedMatmul extends Matmul {
    private final Matmul wide;

    WidenedMatmul(Shape shape) {
        super(shape);
        wide = new Matmul(shape.withTypes(CublasLtFunctions.R_32F, CublasLtFunctions.R_32F, CublasLtFunctions.R_32F));
    }

    @Override
    void prepare(long m) {
        wide.prepare(m);
    }

    @Override
    void execute(StreamQueue.Executor self, Arguments g) {
        Conversion conversion = self.conversion;
        Arguments w = conversion.arguments;
        long aRows = shape.aTransposed() ? shape.k() : g.m, bRows = shape.bTransposed() ? shape.n() : shape.k();
        long aColumns = shape.aTransposed() ? g.m : shape.k(), bColumns = shape.bTransposed() ? shape.k() : shape.n();
        boolean narrows = shape.outputType() == CublasLtFunctions.R_16BF, widensBias = shape.bias() != Shape.NO_BIAS && shape.biasType() == CublasLtFunctions.R_16BF;
        long biasCount = shape.bias() == Shape.ROW_BIAS ? g.m : shape.n();
        long aBytes = bytes(aRows * shape.lda()), bBytes = bytes(bRows * shape.ldb()), dBytes = narrows ? bytes(g.m * shape.ldd()) : 0;
        w.a = self.widened(aBytes + bBytes + dBytes + bytes(biasCount));
        w.b = w.a + aBytes;
        w.m = g.m;
        w.batch = 1;
        for (long e = 0; e < g.batch; e++) {
            long c = g.c + e * g.strideC * Product.bytes(shape.outputType()), d = g.d + e * g.strideD * Product.bytes(shape.outputType());
            conversion.widen(self, g.a + 2 * e * g.strideA, shape.lda(), w.a, shape.lda(), aRows, aColumns);
            conversion.widen(self, g.b + 2 * e * g.strideB, shape.ldb(), w.b, shape.ldb(), bRows, bColumns);
            w.d = narrows ? w.b + bBytes : d;
            w.c = c;
            w.ldc = g.ldc;
            if (narrows) {
                w.c = w.d;
                w.ldc = shape.ldd();
                if (shape.beta() != 0) conversion.widen(self, c, g.ldc, w.d, shape.ldd(), g.m, shape.n());
            }
            w.bias = g.bias == 0 ? 0 : g.bias + e * g.strideBias * Product.bytes(shape.biasType());
            if (widensBias) {
                long from = w.bias;
                w.bias = w.b + bBytes + dBytes;
                conversion.widen(self, from, biasCount, w.bias, biasCount, 1, biasCount);
            }
            wide.execute(self, w);
            if (narrows) conversion.narrow(self, w.d, shape.ldd(), d, shape.ldd(), g.m, shape.n());
        }
    }

    @Override
    boolean servesActivation() {
        return wide.servesActivation();
    }

    private static long bytes(long floats) {
        return (floats * 4 + 4095) / 4096 * 4096;
    }

    /** Rows of one type written as the other, shared by the workers; one per stream. */
    static final class Conversion implements Task {
        private final Arguments arguments = new Arguments();
        private boolean widens;
        private long from, fromRow, to, toRow, columns;
        private volatile float nanosPerRow;

        /** @param fromRow elements from a row to the next; likewise {@code toRow} */
        private void widen(StreamQueue.Executor self, long from, long fromRow, long to, long toRow, long rows, long columns) {
            run(self, true, from, fromRow, to, toRow, rows, columns);
        }

        private void narrow(StreamQueue.Executor self, long from, long fromRow, long to, long toRow, long rows, long columns) {
            run(self, false, from, fromRow, to, toRow, rows, columns);
        }

        private void run(StreamQueue.Executor self, boolean widens, long from, long fromRow, long to, long toRow, long rows, long columns) {
            this.widens = widens;
            this.from = from;
            this.fromRow = fromRow;
            this.to = to;
            this.toRow = toRow;
            this.columns = columns;
            nanosPerRow = columns;   // about one element a nanosecond
            self.job.run(self, this, rows);
        }

        @Override
        public int run(ComputeThread thread, long first, long end) {
            int n = Math.toIntExact(columns), in = widens ? 2 : 4, out = widens ? 4 : 2;
            float[] wide = thread.sums(n);
            short[] narrow = thread.halves(n);
            for (long row = first; row < end; row++) {
                long source = from + row * fromRow * in, target = to + row * toRow * out;
                if (widens) {
                    Bf16.load(source, narrow, wide, n);
                    MemorySegment.copy(wide, 0, Raw.ALL, ValueLayout.JAVA_FLOAT_UNALIGNED, target, n);
                } else {
                    MemorySegment.copy(Raw.ALL, ValueLayout.JAVA_FLOAT_UNALIGNED, source, wide, 0, n);
                    Bf16.store(wide, narrow, target, n);
                }
            }
            return 0;
        }

        @Override
        public float nanosPerPiece() {
            return nanosPerRow;
        }

        @Override
        public void nanosPerPiece(float nanos) { }
    }
}
