package dev.turningpoint.softgpu.driver;

import static dev.turningpoint.bindings.onednn.OneDnn.*;

import dev.turningpoint.bindings.NativeLibrary;
import dev.turningpoint.bindings.OpenMp;
import dev.turningpoint.bindings.onednn.dnnl_exec_arg_t;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.concurrent.atomic.AtomicReferenceArray;

/**
 * One oneDNN matmul of fixed shape, {@code d[m,n] = epilogue(alpha a b + beta d)}, for one thread at a time of each compute thread: oneDNN's own threads are
 * switched off (its OpenMP pool collapses when cores are shared), and its scratchpad is ours, so that threads may run the same primitive at once.
 */
final class Product {
    /** What does not change between products of one family; strides in elements. */
    record Shape(long n, long k, boolean aTransposed, long lda, boolean bTransposed, long ldb, long ldd, int inputType, int outputType,
                 float alpha, float beta, int bias, int biasType, int activation) {
        static final int NO_BIAS = 0, COLUMN_BIAS = 1, ROW_BIAS = 2;
        static final int NO_ACTIVATION = 0, RELU = 1, GELU = 2;

        Shape with(long k, float alpha, float beta, long ldd, int outputType, int bias, int activation) {
            return new Shape(n, k, aTransposed, lda, bTransposed, ldb, ldd, inputType, outputType, alpha, beta, bias, biasType, activation);
        }

        Shape withTypes(int inputType, int outputType, int biasType) {
            return new Shape(n, k, aTransposed, lda, bTransposed, ldb, ldd, inputType, outputType, alpha, beta, bias, biasType, activation);
        }
    }

    private static final class Bf16Support {
        static final boolean SERVED = tried();

        /** A layer's product, which oneDNN refuses where it has no bf16 instructions to build on. */
        private static boolean tried() {
            try {
                new Product(new Shape(16, 16, false, 16, true, 16, 16, CublasLtFunctions.R_16BF, CublasLtFunctions.R_16BF, 1, 0, Shape.COLUMN_BIAS, CublasLtFunctions.R_16BF, Shape.NO_ACTIVATION), 16);
                return true;
            } catch (DriverError e) {
                if (e.code != CublasLtFunctions.NOT_SUPPORTED) throw e;
                return false;
            }
        }
    }

    /** Whether oneDNN multiplies bf16 on this processor. */
    static boolean servesBf16() { return Bf16Support.SERVED; }

    private static final int MOST_THREADS = 1024;
    private static final Engine ENGINE = new Engine();

    final Shape shape;
    final long m;
    private final MemorySegment primitive;
    private final MemorySegment aDesc, bDesc, dDesc, biasDesc, scratchDesc;
    private final boolean biasIsPostOp;
    private final int biasArgument;
    final long scratchBytes;
    private final AtomicReferenceArray<Bound> bound = new AtomicReferenceArray<>(MOST_THREADS);

    private static final class Engine {
        final MemorySegment engine;
        private final AtomicReferenceArray<MemorySegment> streams = new AtomicReferenceArray<>(MOST_THREADS);

        Engine() {
            NativeLibrary.ONEDNN.load();
            try (var arena = Arena.ofConfined()) {
                var out = arena.allocate(ValueLayout.ADDRESS);
                check(dnnl_engine_create(out, dnnl_cpu(), 0), "dnnl_engine_create");
                engine = out.get(ValueLayout.ADDRESS, 0);
            }
        }

        MemorySegment stream(int slot) {
            MemorySegment s = streams.get(slot);
            if (s != null) return s;
            try (var arena = Arena.ofConfined()) {
                var out = arena.allocate(ValueLayout.ADDRESS);
                check(dnnl_stream_create(out, engine, dnnl_stream_in_order()), "dnnl_stream_create");
                s = out.get(ValueLayout.ADDRESS, 0);
            }
            streams.set(slot, s);
            return s;
        }
    }

    /** oneDNN's objects for one thread; they hold the addresses of the call in progress. */
    private static final class Bound {
        MemorySegment a, b, d, bias, scratch, arguments, stream;
        int count;
    }

    static int type(int dnnlOrCuda) {
        return dnnlOrCuda == CublasLtFunctions.R_16BF ? dnnl_bf16() : dnnl_f32();
    }

    static long bytes(int cudaType) {
        return cudaType == CublasLtFunctions.R_16BF ? 2 : 4;
    }

    Product(Shape shape, long m) {
        this.shape = shape;
        this.m = m;
        OpenMp.setThreads(1);
        try (var arena = Arena.ofConfined()) {
            var out = arena.allocate(ValueLayout.ADDRESS);
            aDesc = matrix(arena, m, shape.k, shape.aTransposed, shape.lda, type(shape.inputType));
            bDesc = matrix(arena, shape.k, shape.n, shape.bTransposed, shape.ldb, type(shape.inputType));
            dDesc = matrix(arena, m, shape.n, false, shape.ldd, type(shape.outputType));
            biasIsPostOp = shape.bias == Shape.ROW_BIAS || shape.bias == Shape.COLUMN_BIAS && (shape.alpha != 1 || shape.beta != 0);
            biasDesc = switch (shape.bias) {
                case Shape.COLUMN_BIAS -> matrix(arena, 1, shape.n, false, shape.n, type(shape.biasType));
                case Shape.ROW_BIAS -> matrix(arena, m, 1, false, 1, type(shape.biasType));
                default -> MemorySegment.NULL;
            };
            check(dnnl_primitive_attr_create(out), "dnnl_primitive_attr_create");
            var attributes = out.get(ValueLayout.ADDRESS, 0);
            check(dnnl_primitive_attr_set_scratchpad_mode(attributes, dnnl_scratchpad_mode_user()), "dnnl_primitive_attr_set_scratchpad_mode");
            check(dnnl_post_ops_create(out), "dnnl_post_ops_create");
            var post = out.get(ValueLayout.ADDRESS, 0);
            int posts = 0, biasAt = 0;
            if (shape.alpha != 1) {
                check(dnnl_post_ops_append_eltwise(post, dnnl_eltwise_linear(), shape.alpha, 0), "dnnl_post_ops_append_eltwise");
                posts++;
            }
            if (shape.beta != 0) {
                check(dnnl_post_ops_append_sum(post, shape.beta, 0, dnnl_data_type_undef()), "dnnl_post_ops_append_sum");
                posts++;
            }
            if (biasIsPostOp) {
                check(dnnl_post_ops_append_binary(post, dnnl_binary_add(), biasDesc), "dnnl_post_ops_append_binary");
                biasAt = posts++;
            }
            if (shape.activation != Shape.NO_ACTIVATION)
                check(dnnl_post_ops_append_eltwise(post, shape.activation == Shape.RELU ? dnnl_eltwise_relu() : dnnl_eltwise_gelu_tanh(), 0, 0), "dnnl_post_ops_append_eltwise");
            check(dnnl_primitive_attr_set_post_ops(attributes, post), "dnnl_primitive_attr_set_post_ops");
            biasArgument = biasIsPostOp ? DNNL_ARG_ATTR_MULTIPLE_POST_OP_BASE() * (biasAt + 1) | DNNL_ARG_SRC_1() : DNNL_ARG_BIAS();

            int status = dnnl_matmul_primitive_desc_create(out, ENGINE.engine, aDesc, bDesc, biasIsPostOp ? MemorySegment.NULL : biasDesc, dDesc, attributes);
            dnnl_post_ops_destroy(post);
            dnnl_primitive_attr_destroy(attributes);
            if (status != 0) throw new DriverError(CublasLtFunctions.NOT_SUPPORTED, "oneDNN has no product for " + shape + " with m = " + m + " (status " + status + ")");
            var description = out.get(ValueLayout.ADDRESS, 0);
            check(dnnl_primitive_create(out, description), "dnnl_primitive_create");
            primitive = out.get(ValueLayout.ADDRESS, 0);
            check(dnnl_memory_desc_clone(out, dnnl_primitive_desc_query_md(description, dnnl_query_scratchpad_md(), 0)), "dnnl_memory_desc_clone");
            scratchDesc = out.get(ValueLayout.ADDRESS, 0);
            scratchBytes = dnnl_memory_desc_get_size(scratchDesc);
            dnnl_primitive_desc_destroy(description);
        }
    }

    private static MemorySegment matrix(Arena arena, long rows, long columns, boolean transposed, long leading, int type) {
        var out = arena.allocate(ValueLayout.ADDRESS);
        var dims = arena.allocateFrom(ValueLayout.JAVA_LONG, rows, columns);
        var strides = transposed ? arena.allocateFrom(ValueLayout.JAVA_LONG, 1, leading) : arena.allocateFrom(ValueLayout.JAVA_LONG, leading, 1);
        check(dnnl_memory_desc_create_with_strides(out, 2, dims, type, strides), "dnnl_memory_desc_create_with_strides");
        return out.get(ValueLayout.ADDRESS, 0);
    }

    private Bound bind(ComputeThread thread) {
        Bound b = bound.get(thread.slot);
        if (b != null) return b;
        b = new Bound();
        b.stream = ENGINE.stream(thread.slot);
        b.a = memory(aDesc);
        b.b = memory(bDesc);
        b.d = memory(dDesc);
        b.scratch = memory(scratchDesc);
        b.arguments = Arena.ofAuto().allocate(dnnl_exec_arg_t.layout(), 5);
        argument(b, DNNL_ARG_SRC(), b.a);
        argument(b, DNNL_ARG_WEIGHTS(), b.b);
        argument(b, DNNL_ARG_DST(), b.d);
        argument(b, DNNL_ARG_SCRATCHPAD(), b.scratch);
        if (shape.bias != Shape.NO_BIAS) argument(b, biasArgument, b.bias = memory(biasDesc));
        bound.set(thread.slot, b);
        return b;
    }

    private static MemorySegment memory(MemorySegment description) {
        try (var arena = Arena.ofConfined()) {
            var out = arena.allocate(ValueLayout.ADDRESS);
            check(dnnl_memory_create(out, description, ENGINE.engine, MemorySegment.NULL), "dnnl_memory_create");
            return out.get(ValueLayout.ADDRESS, 0);
        }
    }

    private static void argument(Bound b, int kind, MemorySegment memory) {
        var slot = dnnl_exec_arg_t.asSlice(b.arguments, b.count++);
        dnnl_exec_arg_t.arg(slot, kind);
        dnnl_exec_arg_t.memory(slot, memory);
    }

    /** @param scratch {@link #scratchBytes} bytes of the thread's own, 64-byte aligned */
    void run(ComputeThread thread, long a, long b, long d, long bias, long scratch) {
        thread.withoutOpenMp();
        Bound bound = bind(thread);
        point(bound.a, a);
        point(bound.b, b);
        point(bound.d, d);
        point(bound.scratch, scratch);
        if (bound.bias != null) point(bound.bias, bias);
        int status = dnnl_primitive_execute(primitive, bound.stream, bound.count, bound.arguments);
        if (status != 0) throw new DriverError(CublasLtFunctions.EXECUTION_FAILED, "oneDNN failed with " + status + " on " + shape + ", m = " + m);
    }

    private static void point(MemorySegment memory, long address) {
        dnnl_memory_set_data_handle(memory, MemorySegment.ofAddress(address));
    }

    private static void check(int status, String call) {
        if (status != 0) throw new DriverError(CublasLtFunctions.INTERNAL_ERROR, call + " returned " + status);
    }
}
