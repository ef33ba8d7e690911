package dev.turningpoint.softgpu.driver;

import dev.turningpoint.softgpu.driver.Product.Shape;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicIntegerArray;

/**
 * Matrix products of one family, any number of rows: {@code d[m,n] = epilogue(alpha a[m,k] b[k,n] + beta c)}, row-major.
 *
 * <p><b>By rows.</b> Rows are cut into chunks that the workers share. The bits of a row must not depend on how many rows there are, and they do not: the chunk of
 * {@link #BASE} rows defines them, and another chunk size is used only after it gave the same bits on random numbers (what could differ is how oneDNN
 * blocks the sum over k, and that would show in nearly every element). What is left over at the end is computed by a chunk that begins in the one before, or padded with zeros.
 *
 * <p><b>By depth.</b> A weight gradient has few rows and a long sum over tokens: both operands are read with the summed dimension outermost. It is cut along that
 * sum into pieces, which the workers share, and the partial results are added in order. Bits depend on the shape alone, never on the number of threads.
 */
class Matmul {
    static final int BASE = 96;
    private static final int[] SIZES = {16, 32, 48, 64, 96, 192, 256, 384, 512, 768, 1024};
    private static final int BASE_INDEX = 4;
    private static final long CACHED_BYTES = 512 << 10;
    /** The length from which a sum is cut, and bounds of its pieces: a quarter of the sum, so that few tokens keep several cores busy too. */
    private static final long DEEP = 512, SHORTEST_PIECE = 256, LONGEST_PIECE = 1024;
    private static final long MOST_PARTIAL_BYTES = 64L << 20;
    private static final Map<Shape, Matmul> PLANS = new ConcurrentHashMap<>();

    /** One call's addresses and sizes; strides in elements. */
    static final class Arguments {
        long a, b, c, d, bias;
        long m, ldc;
        int batch;
        long strideA, strideB, strideC, strideD, strideBias;
    }

    final Shape shape;
    private final boolean byDepth;
    /** Of exact sizes: pieces of a long sum, tiles of a transposed left side. */
    private volatile Product[] products = {};
    /** Product by index of {@link #SIZES}; DIFFERS where its bits are not those of the base. */
    private final Object[] sized = new Object[SIZES.length];
    private static final Object DIFFERS = new Object();
    private volatile float nanosPerPiece;

    Matmul(Shape shape) {
        this.shape = shape;
        byDepth = shape.aTransposed() && shape.k() >= DEEP;
    }

    static Matmul plan(Shape shape) {
        return PLANS.computeIfAbsent(shape, s -> s.inputType() == CublasLtFunctions.R_16BF && !Product.servesBf16() ? new WidenedMatmul(s) : new Matmul(s));
    }

    /** Makes what {@code m} rows need now, so that a failure is the caller's and not the stream's. */
    void prepare(long m) {
        if (byDepth) {
            long length = pieceLength(m), tile = tileRows(m);
            product(tile, length);
            if (m % tile != 0) product(m % tile, length);
            long rest = shape.k() % length;
            if (rest != 0) {
                product(tile, rest);
                if (m % tile != 0) product(m % tile, rest);
            }
        } else {
            chunk(m);
        }
    }

    // ---- by rows

    /** The product that serves m rows soonest on all threads: large chunks cost less a row, small ones share evenly. */
    private Product chunk(long m) {
        if (shape.aTransposed()) {
            long rows = Math.min(m, BASE);
            if (m % rows != 0) product(m % rows, shape.k());
            return product(rows, shape.k());
        }
        long overhead = copying();
        double uneven = Workers.THREADS == 1 ? 0 : 0.5;   // of a chunk is waited for at the end
        int best = BASE_INDEX;
        double soonest = Double.MAX_VALUE;
        for (int i = 0; i < SIZES.length; i++) {
            long chunks = (m + SIZES[i] - 1) / SIZES[i];
            double time = ((chunks + Workers.THREADS - 1) / Workers.THREADS + uneven) * (SIZES[i] + overhead);
            if (time < soonest) {
                soonest = time;
                best = i;
            }
        }
        Object p = sized(best);
        return p == DIFFERS ? base() : (Product) p;
    }

    /**
     * What a chunk costs beside its rows, in rows: oneDNN copies the right side each time, unless it can multiply f32 as it lies. One that is in cache is copied in the time of a few rows,
     * a larger one at the speed of memory, which is the time of more rows of bf16 than of f32.
     */
    private long copying() {
        boolean bf16 = shape.inputType() == CublasLtFunctions.R_16BF;
        if (shape.n() * shape.k() * Product.bytes(shape.inputType()) <= CACHED_BYTES) return shape.bTransposed() ? 8 : 3;
        return bf16 ? 50 : shape.bTransposed() ? 30 : 3;
    }

    private Product base() {
        return (Product) sized(BASE_INDEX);
    }

    private Object sized(int index) {
        Object p = sized[index];
        return p != null ? p : makeSized(index);
    }

    private synchronized Object makeSized(int index) {
        if (sized[index] != null) return sized[index];
        Product p = new Product(shape, SIZES[index]);
        Object result = SIZES[index] == BASE || sameBits(p, base()) ? p : DIFFERS;
        if (result == DIFFERS) DriverLog.note("products of " + SIZES[index] + " rows differ from those of " + BASE + " for " + shape, false);
        return sized[index] = result;
    }

    /** Runs both on the same random rows. */
    private boolean sameBits(Product p, Product base) {
        long rows = (p.m + base.m - 1) / base.m * base.m, in = Product.bytes(shape.inputType()), out = Product.bytes(shape.outputType()), biasBytes = Product.bytes(shape.biasType());
        long aBytes = round(rows * shape.lda() * in), bBytes = round((shape.bTransposed() ? shape.n() : shape.k()) * shape.ldb() * in);
        long dBytes = round(rows * shape.ldd() * out), biasSize = round(Math.max(rows, shape.n()) * biasBytes);
        long memory = Memory.alignedAlloc(4096, aBytes + bBytes + 2 * dBytes + biasSize + round(Math.max(p.scratchBytes, base.scratchBytes)));
        if (memory == 0) return false;
        var thread = new ComputeThread("software-gpu-probe") {
            boolean same = true;

            @Override
            public void run() {
                long a = memory, b = a + aBytes, d = b + bBytes, e = d + dBytes, bias = e + dBytes, scratch = bias + biasSize;
                var random = new java.util.SplittableRandom(1);
                for (long at = memory; at < scratch; at += in) {
                    float v = random.nextFloat() - 0.5f;
                    if (in == 4) Raw.putFloat(at, v);
                    else Raw.ALL.set(ValueLayout.JAVA_SHORT_UNALIGNED, at, (short) (Float.floatToRawIntBits(v) >>> 16));
                }
                Raw.copy(e, d, dBytes);
                p.run(this, a, b, d, bias, scratch);
                for (long r = 0; r < p.m; r += base.m) base.run(this, a + r * shape.lda() * in, b, e + r * shape.ldd() * out, bias + (shape.bias() == Shape.ROW_BIAS ? r * biasBytes : 0), scratch);
                for (long r = 0; r < p.m; r++)
                    if (MemorySegment.mismatch(Raw.ALL, d + r * shape.ldd() * out, d + (r * shape.ldd() + shape.n()) * out, Raw.ALL, e + r * shape.ldd() * out, e + (r * shape.ldd() + shape.n()) * out) >= 0) same = false;
                release();
            }
        };
        thread.start();
        try {
            thread.join();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            return false;
        } finally {
            if (!thread.isAlive()) Memory.free0(memory);
        }
        return thread.same;
    }

    private static long round(long bytes) {
        return (bytes + 4095) / 4096 * 4096;
    }

    // ---- by depth

    private Product product(long rows, long depth) {
        for (Product p : products)
            if (p.m == rows && p.shape.k() == depth) return p;
        return makeProduct(rows, depth);
    }

    private synchronized Product makeProduct(long rows, long depth) {
        for (Product p : products)
            if (p.m == rows && p.shape.k() == depth) return p;
        Product made = new Product(byDepth ? shape.with(depth, 1, 0, shape.n(), CublasLtFunctions.R_32F, Shape.NO_BIAS, Shape.NO_ACTIVATION) : shape, rows);
        Product[] more = Arrays.copyOf(products, products.length + 1);
        more[more.length - 1] = made;
        products = more;
        return made;
    }

    private static long tileRows(long m) {
        return m <= 128 ? m : m % 96 == 0 ? 96 : 128;
    }

    /** Longer pieces where the partial results would be too large. */
    private long pieceLength(long m) {
        long most = Math.max(1, MOST_PARTIAL_BYTES / (m * shape.n() * 4));
        long length = Math.clamp((shape.k() / 4 + 15) / 16 * 16, SHORTEST_PIECE, LONGEST_PIECE);
        while ((shape.k() + length - 1) / length > most) length *= 2;
        return Math.min(length, shape.k());
    }

    // ---- running

    void execute(StreamQueue.Executor self, Arguments arguments) {
        Phase phase = self.matmulPhase;
        phase.plan = this;
        phase.arguments = arguments;
        try {
            if (byDepth) {
                phase.tile = tileRows(arguments.m);
                phase.tiles = (arguments.m + phase.tile - 1) / phase.tile;
                phase.length = pieceLength(arguments.m);
                phase.pieces = (shape.k() + phase.length - 1) / phase.length;
                phase.partial = self.scratch(phase.pieces * arguments.m * shape.n() * 4);
                phase.kind = Phase.PARTIAL;
                for (phase.element = 0; phase.element < arguments.batch; phase.element++) {
                    phase.expect(Math.toIntExact(phase.tiles));
                    self.job.run(self, phase, phase.tiles * phase.pieces);
                }
            } else {
                phase.product = chunk(arguments.m);
                phase.tiles = (arguments.m + phase.product.m - 1) / phase.product.m;
                phase.kind = Phase.ROWS;
                self.job.run(self, phase, phase.tiles * arguments.batch);
            }
            if (Memory.CHECKER != null) written(arguments);
        } finally {
            phase.plan = null;
            phase.arguments = null;
        }
    }

    /** In words where the first byte lies that the product reads and nobody wrote; null if there is none. For a checked device. */
    String unwritten(Arguments g) {
        long in = Product.bytes(shape.inputType()), out = Product.bytes(shape.outputType()), bias = Product.bytes(shape.biasType());
        String found = null;
        for (long e = 0; e < g.batch && found == null; e++) {
            found = unwritten(g.a + e * g.strideA * in, shape.aTransposed() ? shape.k() : g.m, (shape.aTransposed() ? g.m : shape.k()) * in, shape.lda() * in);
            if (found == null) found = unwritten(g.b + e * g.strideB * in, shape.bTransposed() ? shape.n() : shape.k(), (shape.bTransposed() ? shape.k() : shape.n()) * in, shape.ldb() * in);
            if (found == null && shape.beta() != 0) found = unwritten(g.c + e * g.strideC * out, g.m, shape.n() * out, g.ldc * out);
            if (found == null && g.bias != 0) found = unwritten(g.bias + e * g.strideBias * bias, 1, (shape.bias() == Shape.ROW_BIAS ? g.m : shape.n()) * bias, 0);
        }
        return found;
    }

    private static String unwritten(long from, long rows, long bytes, long stride) {
        String found = null;
        for (long r = 0; r < rows && found == null; r++) found = Memory.CHECKER.allocations().unwritten(from + r * stride, bytes);
        return found;
    }

    private void written(Arguments g) {
        long out = Product.bytes(shape.outputType());
        for (long element = 0; element < g.batch; element++)
            for (long row = 0; row < g.m; row++) Memory.written(g.d + (element * g.strideD + row * shape.ldd()) * out, shape.n() * out);
    }

    /** What the workers share of the product in progress; one per stream. */
    static final class Phase implements Task {
        static final int ROWS = 0, PARTIAL = 1;

        private Matmul plan;
        private Arguments arguments;
        private int kind;
        private Product product;
        private long tile, tiles, length, pieces, partial, element;
        /** Pieces done of each tile. */
        private AtomicIntegerArray done = new AtomicIntegerArray(16);

        private void expect(int tiles) {
            if (done.length() < tiles) done = new AtomicIntegerArray(tiles * 2);
            for (int i = 0; i < tiles; i++) done.setPlain(i, 0);
        }

        @Override
        public int run(ComputeThread thread, long first, long end) {
            for (long i = first; i < end; i++) {
                if (kind == ROWS) {
                    plan.rows(thread, arguments, product, i / tiles, i % tiles);
                } else {
                    long of = i / pieces;
                    plan.partial(thread, this, of, i % pieces);
                    if (done.incrementAndGet((int) of) == pieces) plan.sum(thread, this, of);  // whoever ends a tile adds it up: no second round of waiting
                }
            }
            return 0;
        }

        @Override
        public float nanosPerPiece() {
            return plan.nanosPerPiece;
        }

        @Override
        public void nanosPerPiece(float nanos) {
            plan.nanosPerPiece = nanos;
        }
    }

    private void rows(ComputeThread thread, Arguments g, Product p, long element, long chunk) {
        long in = Product.bytes(shape.inputType()), out = Product.bytes(shape.outputType());
        long first = chunk * p.m, rows = Math.min(p.m, g.m - first);
        boolean copied = shape.beta() != 0 && g.c != g.d;
        if (rows < p.m && shape.aTransposed()) p = product(rows, shape.k());
        // The last rows of many are computed together with some of the chunk before, which spares a copy of a. Those are not written: the thread that owns them may be at work on
        // them, and oneDNN keeps sums in d meanwhile.
        long again = rows < p.m && g.m >= p.m && shape.beta() == 0 ? p.m - rows : 0;
        long start = first - again;
        long a = g.a + (element * g.strideA + (shape.aTransposed() ? start : start * shape.lda())) * in;
        long b = g.b + element * g.strideB * in;
        long d = g.d + (element * g.strideD + first * shape.ldd()) * out;
        long bias = g.bias == 0 ? 0 : g.bias + (element * g.strideBias + (shape.bias() == Shape.ROW_BIAS ? start : 0)) * Product.bytes(shape.biasType());
        if (copied)
            for (long r = 0; r < rows; r++) Raw.copy(d + r * shape.ldd() * out, g.c + (element * g.strideC + (first + r) * g.ldc) * out, shape.n() * out);
        if (rows == p.m) {
            p.run(thread, a, b, d, bias, thread.staging(p.scratchBytes));
            return;
        }
        // oneDNN sees full chunks, the caller's memory only the rows it has: what is missing at the end are rows of the chunk before, or zeros.
        long scratch = round(p.scratchBytes), aBytes = again > 0 ? 0 : round(p.m * shape.lda() * in), dBytes = round(p.m * shape.ldd() * out), biasBytes = round(p.m * 4);
        long staging = thread.staging(scratch + aBytes + dBytes + biasBytes);
        long stagedA = staging + scratch, stagedD = stagedA + aBytes, stagedBias = stagedD + dBytes;
        if (again == 0) {
            for (long r = 0; r < p.m; r++) {
                if (r < rows) Raw.copy(stagedA + r * shape.lda() * in, a + r * shape.lda() * in, shape.k() * in);
                else Raw.fill(stagedA + r * shape.lda() * in, 0, 1, shape.k() * in);
                if (shape.beta() == 0) continue;
                if (r < rows) Raw.copy(stagedD + r * shape.ldd() * out, d + r * shape.ldd() * out, shape.n() * out);
                else Raw.fill(stagedD + r * shape.ldd() * out, 0, 1, shape.n() * out);
            }
            if (shape.bias() == Shape.ROW_BIAS) {
                Raw.fill(stagedBias, 0, 1, p.m * 4);
                Raw.copy(stagedBias, bias, rows * Product.bytes(shape.biasType()));
                bias = stagedBias;
            }
        }
        p.run(thread, again > 0 ? a : stagedA, b, stagedD, bias, staging);
        for (long r = 0; r < rows; r++) Raw.copy(d + r * shape.ldd() * out, stagedD + (again + r) * shape.ldd() * out, shape.n() * out);
    }

    private void partial(ComputeThread thread, Phase phase, long tile, long piece) {
        Arguments g = phase.arguments;
        long in = Product.bytes(shape.inputType());
        long row = tile * phase.tile, rows = Math.min(phase.tile, g.m - row);
        long from = piece * phase.length, depth = Math.min(phase.length, shape.k() - from);
        Product p = product(rows, depth);
        long a = g.a + (phase.element * g.strideA + row + from * shape.lda()) * in;
        long b = g.b + (phase.element * g.strideB + (shape.bTransposed() ? from : from * shape.ldb())) * in;
        p.run(thread, a, b, phase.partial + (piece * g.m + row) * shape.n() * 4, 0, thread.staging(p.scratchBytes));
    }

    /** Adds the partial results of a tile in order, then the epilogue. */
    private void sum(ComputeThread thread, Phase phase, long tile) {
        Arguments g = phase.arguments;
        int n = Math.toIntExact(shape.n());
        float[] sums = thread.sums(n), addends = thread.addends(n);
        long out = Product.bytes(shape.outputType());
        for (long row = tile * phase.tile, end = Math.min(g.m, row + phase.tile); row < end; row++) {
            for (long piece = 0; piece < phase.pieces; piece++) {
                long at = phase.partial + (piece * g.m + row) * n * 4L;
                if (piece == 0) {
                    MemorySegment.copy(Raw.ALL, ValueLayout.JAVA_FLOAT_UNALIGNED, at, sums, 0, n);
                } else {
                    MemorySegment.copy(Raw.ALL, ValueLayout.JAVA_FLOAT_UNALIGNED, at, addends, 0, n);
                    add(sums, addends, n);
                }
            }
            if (shape.alpha() != 1) for (int i = 0; i < n; i++) sums[i] *= shape.alpha();
            if (shape.beta() != 0) {
                load(thread, g.c + (phase.element * g.strideC + row * g.ldc) * out, shape.outputType(), addends, n);
                for (int i = 0; i < n; i++) sums[i] += shape.beta() * addends[i];
            }
            if (shape.bias() == Shape.COLUMN_BIAS) {
                load(thread, g.bias + phase.element * g.strideBias * Product.bytes(shape.biasType()), shape.biasType(), addends, n);
                add(sums, addends, n);
            } else if (shape.bias() == Shape.ROW_BIAS) {
                load(thread, g.bias + (phase.element * g.strideBias + row) * Product.bytes(shape.biasType()), shape.biasType(), addends, 1);
                float bias = addends[0];
                for (int i = 0; i < n; i++) sums[i] += bias;
            }
            store(thread, g.d + (phase.element * g.strideD + row * shape.ldd()) * out, shape.outputType(), sums, n);
        }
    }

    private static void add(float[] sums, float[] addends, int n) {
        for (int i = 0; i < n; i++) sums[i] += addends[i];
    }

    private static void load(ComputeThread thread, long from, int type, float[] to, int n) {
        if (type == CublasLtFunctions.R_32F) MemorySegment.copy(Raw.ALL, ValueLayout.JAVA_FLOAT_UNALIGNED, from, to, 0, n);
        else Bf16.load(from, thread.halves(n), to, n);
    }

    private static void store(ComputeThread thread, long to, int type, float[] from, int n) {
        if (type == CublasLtFunctions.R_32F) MemorySegment.copy(from, 0, Raw.ALL, ValueLayout.JAVA_FLOAT_UNALIGNED, to, n);
        else Bf16.store(from, thread.halves(n), to, n);
    }

    @Override
    public String toString() {
        return "product n " + shape.n() + " k " + shape.k() + (shape.aTransposed() ? " a^T" : "") + (shape.bTransposed() ? " b^T" : "") + (shape.inputType() == CublasLtFunctions.R_32F ? " f32" : " bf16");
    }

    boolean servesActivation() {
        return !byDepth;
    }
}
