package dev.turningpoint.softgpu.driver;

import dev.turningpoint.softgpu.interpreter.KernelFault;
import dev.turningpoint.softgpu.jit.CompiledKernel;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;

/**
 * One thing a stream does. Streams reuse the commands of their ring, so a launch allocates nothing; a captured command lives as long as its graph and never changes.
 */
final class Command implements Task {
    enum Kind { NONE, KERNEL, COPY, FILL, HOST, RECORD, WAIT, GRAPH, MATMUL, FREE, STOP }

    private static final long COPY_PIECE = 1 << 20;
    private static final MethodHandle HOST_CALL = Linker.nativeLinker().downcallHandle(FunctionDescriptor.ofVoid(ValueLayout.JAVA_LONG));

    private final boolean keepsForGraph;
    Kind kind = Kind.NONE;

    // kernel
    private Function.Variant code;
    private int gx, gy, gz;
    private boolean cooperative;
    private long params, paramsCapacity;
    private MemorySegment graphParams;  // keeps a captured command's parameters alive

    // copy: target, source, bytes; fill: target, value, width, count; host: function, data
    private long target, source, bytes;
    private int value, width;

    private Object object;
    Matmul.Arguments matmul;

    Command(boolean keepsForGraph) {
        this.keepsForGraph = keepsForGraph;
    }

    /** Room for parameters or staged bytes, aligned to 64. */
    private long buffer(long size) {
        if (keepsForGraph) {
            graphParams = Arena.ofAuto().allocate(Math.max(size, 64), 64);
            return params = graphParams.address();
        }
        if (size > paramsCapacity) {
            release();
            long capacity = Math.max(256, Long.highestOneBit(size * 2 - 1));
            params = Memory.alignedAlloc(64, capacity);
            if (params == 0) throw Code.OUT_OF_MEMORY.error("no " + capacity + " bytes for launch parameters");
            paramsCapacity = capacity;
        }
        return params;
    }

    void release() {
        if (!keepsForGraph && params != 0) Memory.free0(params);
        params = paramsCapacity = 0;
    }

    /** @param pointers C array of a pointer per parameter; 0 if {@code packed} is given instead */
    void kernel(Function.Variant code, int gx, int gy, int gz, long pointers, long packed, long packedBytes) {
        this.code = code;
        this.gx = gx;
        this.gy = gy;
        this.gz = gz;
        var list = code.function.kernel.params();
        long to = buffer(code.function.kernel.bufferBytes());
        if (pointers == 0) {
            Raw.copy(to, packed, Math.min(packedBytes, code.function.kernel.paramBytes()));
        } else {
            for (int i = 0; i < list.size(); i++) {
                var p = list.get(i);
                long from = Raw.getLong(pointers + 8L * i);
                if (from == 0) throw Code.INVALID_VALUE.error("parameter " + i + " of " + code.function.kernel.name() + " has a null pointer");
                if (p.size() == 8) Raw.putLong(to + p.offset(), Raw.getLong(from));
                else if (p.size() == 4) Raw.putInt(to + p.offset(), Raw.getInt(from));
                else Raw.copy(to + p.offset(), from, p.size());
            }
        }
        if (code.function.kernel.syncsGrid()) Raw.putLong(to + code.function.kernel.workspaceOffset(), 0);
        cooperative = false;
        kind = Kind.KERNEL;
    }

    /** The blocks of the kernel run side by side. */
    void cooperative() { cooperative = true; }

    /** @param stage whether the source may change as soon as the call returns */
    void copy(long target, long source, long bytes, boolean stage) {
        this.target = target;
        this.source = source;
        this.bytes = bytes;
        if (stage) {
            this.source = buffer(bytes);
            Raw.copy(this.source, source, bytes);
        }
        kind = Kind.COPY;
    }

    void fill(long target, int value, int width, long count) {
        this.target = target;
        this.value = value;
        this.width = width;
        this.bytes = count * width;
        kind = Kind.FILL;
    }

    void host(long function, long data) {
        object = MemorySegment.ofAddress(function);
        source = data;
        kind = Kind.HOST;
    }

    /** @param sequence of this command */
    void record(Event event, long sequence) {
        object = event;
        bytes = sequence;
        kind = Kind.RECORD;
    }

    void await(StreamQueue stream, long sequence) {
        object = stream;
        bytes = sequence;
        kind = Kind.WAIT;
    }

    void graph(Graph.Executable graph) {
        object = graph;
        kind = Kind.GRAPH;
    }

    /** The caller fills {@link #matmul}. */
    Matmul.Arguments matmul(Matmul plan) {
        object = plan;
        if (matmul == null) matmul = new Matmul.Arguments();
        kind = Kind.MATMUL;
        return matmul;
    }

    void free(long address) {
        target = address;
        kind = Kind.FREE;
    }

    void stop() {
        kind = Kind.STOP;
    }

    /** Runs on the stream's thread. A fault poisons the context. */
    void execute(StreamQueue.Executor self) {
        if (Planning.drops(kind)) return;
        if (!Profile.ON || kind == Kind.GRAPH || isBookkeeping()) {
            run(self);
            return;
        }
        long began = Profile.now();
        run(self);
        Profile.add(switch (kind) {
            case KERNEL -> code.function.kernel.name();
            case MATMUL -> object.toString();
            default -> kind.name().toLowerCase(java.util.Locale.ROOT);
        }, Profile.now() - began);
    }

    private void run(StreamQueue.Executor self) {
        switch (kind) {
            case KERNEL -> {
                int fault;
                if (!code.function.module.isLoaded()) throw Code.INVALID_HANDLE.error("a graph launches " + code.function.kernel.name() + ", whose module was unloaded");
                try {
                    fault = cooperative && code.function.kernel.syncsGrid() ? code.launchTogether(self, gx, gy, gz, params) : code.launch(self, this, gx, gy, gz, params);
                } catch (KernelFault e) {
                    failKernel(self.stream().context, code(e.kind()), e.getMessage());
                    return;
                }
                if (fault != 0) failKernel(self.stream().context, fault == CompiledKernel.ASSERTION ? Code.ASSERT : Code.LAUNCH_FAILED, CompiledKernel.faultText(fault));
            }
            case COPY -> {
                self.job.run(self, this, (bytes + COPY_PIECE - 1) / COPY_PIECE);
                Memory.copied(target, source, bytes);
            }
            case FILL -> {
                self.job.run(self, this, (bytes + COPY_PIECE - 1) / COPY_PIECE);
                Memory.written(target, bytes);
            }
            case HOST -> callHost(self);
            case RECORD -> ((Event) object).happened(self.stream(), bytes);
            case WAIT -> ((StreamQueue) object).await(bytes);
            case GRAPH -> {
                Context context = self.stream().context;
                var graph = (Graph.Executable) object;
                StreamOrder drawn = StreamOrder.current();
                int[] order = drawn == null ? null : drawn.order(graph);
                for (int i = 0; i < graph.nodes.length && context.fault() == null; i++) graph.nodes[order == null ? i : order[i]].execute(self);
            }
            case MATMUL -> {
                String unwritten = Memory.CHECKER == null ? null : ((Matmul) object).unwritten(matmul);
                ((Matmul) object).execute(self, matmul);
                if (unwritten != null) self.stream().context.fail(Code.LAUNCH_FAILED, "uninitialised read: " + object + ": nobody wrote the byte " + unwritten);
            }
            case FREE -> {
                self.stream().context.freeing.remove(target);
                Memory.DEVICE.free(target);
            }
            case NONE, STOP -> { }
        }
    }

    /** Whether what it waits for has happened. */
    boolean isReady() {
        return kind != Kind.WAIT || ((StreamQueue) object).completed() >= bytes;
    }

    /** Whether the command must run even in a poisoned context. */
    boolean isBookkeeping() {
        return kind == Kind.RECORD || kind == Kind.WAIT || kind == Kind.FREE;
    }

    /** Objects a finished command need not keep alive. */
    void forget() {
        object = null;
        code = null;
    }

    @Override
    public int run(ComputeThread thread, long first, long end) {
        switch (kind) {
            case KERNEL -> {
                return code.run(thread, params, first, end, gx, gy, gz);
            }
            case COPY -> {
                long from = first * COPY_PIECE;
                Raw.copy(target + from, source + from, Math.min(bytes, end * COPY_PIECE) - from);
            }
            case FILL -> {
                long from = first * COPY_PIECE;
                Raw.fill(target + from, value, width, (Math.min(bytes, end * COPY_PIECE) - from) / width);
            }
            default -> throw new IllegalStateException(kind.name());
        }
        return 0;
    }

    @Override
    public float nanosPerPiece() {
        return kind == Kind.KERNEL ? code.nanosPerBlock : 100_000;
    }

    @Override
    public void nanosPerPiece(float nanos) {
        if (kind == Kind.KERNEL) code.nanosPerBlock = nanos;
    }

    private void callHost(StreamQueue.Executor self) {
        StreamOrder order = StreamOrder.current();
        if (order != null) order.goOutside(self.stream());
        self.inHostFunction = true;
        try {
            HOST_CALL.invokeExact((MemorySegment) object, source);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable e) {
            throw new IllegalStateException(e);
        } finally {
            self.inHostFunction = false;
        }
    }

    private static Code code(KernelFault.Kind kind) {
        return switch (kind) {
            case ILLEGAL_ADDRESS -> Code.ILLEGAL_ADDRESS;
            case MISALIGNED_ADDRESS -> Code.MISALIGNED_ADDRESS;
            case ILLEGAL_INSTRUCTION -> Code.ILLEGAL_INSTRUCTION;
            case LAUNCH_FAILED -> Code.LAUNCH_FAILED;
            case ASSERT -> Code.ASSERT;
        };
    }

    private void failKernel(Context context, Code code, String why) {
        context.fail(code, "kernel " + this.code.function.kernel.name() + " of " + this.code.function.module.ptx.name()
                + ", grid " + gx + " x " + gy + " x " + gz + ", block " + this.code.bx + " x " + this.code.by + " x " + this.code.bz + ": " + why);
    }

    int graphNodeType() {
        return switch (kind) {
            case KERNEL, MATMUL -> 0;
            case COPY -> 1;
            case FILL -> 2;
            case HOST -> 3;
            case GRAPH -> 4;
            default -> 5;
        };
    }
}
