package dev.turningpoint.softgpu.driver;

import dev.turningpoint.softgpu.count.Counting;
import dev.turningpoint.softgpu.count.Occupancy;
import dev.turningpoint.softgpu.count.Resources;
import dev.turningpoint.softgpu.interpreter.Interpreter;
import dev.turningpoint.softgpu.interpreter.KernelFault;
import dev.turningpoint.softgpu.interpreter.Launch;
import dev.turningpoint.softgpu.interpreter.Observer;
import dev.turningpoint.softgpu.interpreter.Watch;
import dev.turningpoint.softgpu.jit.CompiledKernel;
import dev.turningpoint.softgpu.ptx.PtxException;
import dev.turningpoint.softgpu.ptx.PtxKernel;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.util.Arrays;
import java.util.concurrent.ConcurrentHashMap;

/** A kernel of a loaded module, with its compiled forms. */
final class Function {
    static final long DEFAULT_SHARED = 48 << 10, MOST_SHARED = 227 << 10;
    static final int MOST_PARAMETERS = 32764;
    /**
     * {@code -Dturningpoint.software.report=true}: when a kernel is compiled, every access that became a gather or a scatter is printed with its line of PTX and of CUDA C++.
     * Where lanes touch neighbours by an index that the analysis follows, an access is a vector instruction or two; otherwise it costs one for each lane.
     */
    private static final boolean REPORT = Boolean.getBoolean("turningpoint.software.report");
    /** {@code -Dturningpoint.software.interpret=true}: kernels are interpreted, instruction by instruction and lane by lane, every address looked up before it is touched. */
    static final boolean INTERPRET = Boolean.getBoolean("turningpoint.software.interpret");
    /** Who looks on at every launch; null if nobody does and kernels need not be interpreted. */
    private static final Watch WATCH = Memory.CHECKER != null ? Memory.CHECKER : Counting.DEVICE;
    /** Whether launches are compiled; those that nobody has told to be interpreted are. */
    static final boolean COMPILES = WATCH == null && !INTERPRET;
    private static final MethodHandle CALL = Linker.nativeLinker().downcallHandle(FunctionDescriptor.of(ValueLayout.JAVA_INT,
            ValueLayout.JAVA_LONG, ValueLayout.JAVA_LONG, ValueLayout.JAVA_LONG, ValueLayout.JAVA_LONG,
            ValueLayout.JAVA_INT, ValueLayout.JAVA_INT, ValueLayout.JAVA_INT));

    final LoadedModule module;
    final PtxKernel kernel;
    final long handle = Handles.add(this);
    final MemorySegment cName;
    /** Dynamic shared memory a launch may ask for. */
    volatile int dynamicShared;
    /** Threads of a block that have registers enough, if each takes as many as it may. */
    final int threadsWithRegisters;
    private volatile Variant[] variants = {};

    Function(LoadedModule module, PtxKernel kernel) {
        this.module = module;
        this.kernel = kernel;
        cName = Arena.ofAuto().allocateFrom(kernel.name());
        threadsWithRegisters = Occupancy.mostThreads(kernel.mostRegisters());
        dynamicShared = (int) Math.max(0, DEFAULT_SHARED - kernel.staticShared());
    }

    /** Blocks of a shape that are on one multiprocessor at once. */
    int blocksAtOnce(int threads, long dynamicShared) {
        if (threads > kernel.maxThreads() || dynamicShared > this.dynamicShared) return 0;
        return Occupancy.of(DeviceProperties.LIKE, threads, registers(), (int) (kernel.staticShared() + dynamicShared)).blocks();
    }

    /** Registers of a thread: what ptxas gives it, if it is a kernel of this project, else the most that it may give; 0 if neither is known. */
    int registers() {
        Resources known = Resources.known(kernel, DeviceProperties.LIKE);
        return known != null ? known.registers() : kernel.mostRegisters();
    }

    /** Ready for one block shape. */
    abstract static class Variant {
        final Function function;
        final int bx, by, bz, shared;
        volatile float nanosPerBlock;

        private Variant(Function function, int bx, int by, int bz, int shared) {
            this.function = function;
            this.bx = bx;
            this.by = by;
            this.bz = bz;
            this.shared = shared;
        }

        /**
         * Runs the grid of a command on the stream's thread and idle workers; 0 or a fault code of {@link CompiledKernel}.
         *
         * @throws KernelFault with the place of what went wrong, where that is known
         */
        int launch(StreamQueue.Executor stream, Command command, int gx, int gy, int gz, long params) {
            return stream.job.run(stream, command, (long) gx * gy * gz);
        }

        /**
         * As {@link #launch} for a kernel whose blocks wait for each other: they take turns until all have ended.
         */
        final int launchTogether(StreamQueue.Executor stream, int gx, int gy, int gz, long params) {
            int blocks = gx * gy * gz;
            try (Arena arena = Arena.ofShared()) {
                long workspace = arena.allocate(64, 64).address(), at = params + function.kernel.workspaceOffset();
                Memory.VARIABLES.register(workspace, 64);
                Raw.putLong(at, workspace);
                try {
                    Turn[] turns = new Turn[blocks];
                    for (int b = 0; b < blocks; b++) turns[b] = turn(params, b, gx, gy, gz, arena);
                    boolean[] ended = new boolean[blocks];
                    var task = new Task() {
                        @Override
                        public int run(ComputeThread thread, long first, long end) {
                            for (int b = (int) first; b < end; b++) {
                                int code = ended[b] ? CompiledKernel.OK : turns[b].take();
                                if (code > 0) return code;
                                ended[b] = code == CompiledKernel.OK;
                            }
                            return CompiledKernel.OK;
                        }

                        @Override
                        public float nanosPerPiece() { return 0; }

                        @Override
                        public void nanosPerPiece(float nanos) { }
                    };
                    boolean more = true;
                    while (more) {
                        int code = stream.job.run(stream, task, blocks);
                        if (code != CompiledKernel.OK) return code;
                        more = false;
                        for (boolean e : ended) more |= !e;
                    }
                    return CompiledKernel.OK;
                } finally {
                    Raw.putLong(at, 0);
                    Memory.VARIABLES.unregister(workspace);
                }
            }
        }

        /** A block that takes turns with others. */
        interface Turn {
            /** Runs it until each of its warps waits: -1 if there is more to do, 0 if all have ended, or a fault code. */
            int take();
        }

        abstract Turn turn(long params, int block, int gx, int gy, int gz, Arena arena);

        /** Runs the blocks {@code [first, end)} of a grid; 0 or a fault code of {@link CompiledKernel}. */
        abstract int run(ComputeThread thread, long params, long first, long end, int gx, int gy, int gz);
    }

    private static final class Compiled extends Variant {
        private final CompiledKernel code;

        Compiled(Function function, int bx, int by, int bz, int shared) {
            super(function, bx, by, bz, shared);
            code = function.module.compiler.compile(function.module.ptx, function.kernel.name(), bx, by, bz, shared);
            if (REPORT) for (String line : code.report()) DriverLog.note(line, true);
        }

        @Override
        int run(ComputeThread thread, long params, long first, long end, int gx, int gy, int gz) {
            return call(params, thread.scratch(code.scratchBytes()), first, end, gx, gy, gz);
        }

        private int call(long params, long scratch, long first, long end, int gx, int gy, int gz) {
            try {
                return (int) CALL.invokeExact(code.code(), params, scratch, first, end, gx, gy, gz);
            } catch (RuntimeException | Error e) {
                throw e;
            } catch (Throwable e) {
                throw new IllegalStateException(e);
            }
        }

        @Override
        Turn turn(long params, int block, int gx, int gy, int gz, Arena arena) {
            long scratch = arena.allocate(code.scratchBytes(), 64).address();
            return () -> call(params, scratch, block, -1, gx, gy, gz);
        }
    }

    private static class Interpreted extends Variant {
        /** An interpreter belongs to one thread. */
        private final ThreadLocal<Interpreter> interpreter = ThreadLocal.withInitial(() -> new Interpreter(function.module.ptx, function.kernel, Memory::onDevice));

        Interpreted(Function function, int bx, int by, int bz, int shared) {
            super(function, bx, by, bz, shared);
            interpreter.get();   // what it does not serve is refused at the launch
        }

        @Override
        int run(ComputeThread thread, long params, long first, long end, int gx, int gy, int gz) {
            return interpret(launch(params, gx, gy, gz), first, end, Observer.NONE);
        }

        @Override
        Turn turn(long params, int block, int gx, int gy, int gz, Arena arena) {
            var own = new Interpreter(function.module.ptx, function.kernel, Memory::onDevice);
            var memory = own.block(launch(params, gx, gy, gz), Observer.NONE, arena);
            own.begin(memory, block);
            return () -> own.turn(memory) ? -1 : CompiledKernel.OK;
        }

        final Launch launch(long params, int gx, int gy, int gz) { return new Launch(function.module.ptx, function.kernel, gx, gy, gz, bx, by, bz, shared, params); }

        final int interpret(Launch launch, long first, long end, Observer observer) {
            interpreter.get().run(launch, first, end, observer);
            return CompiledKernel.OK;
        }
    }

    /** Interpreted with somebody looking on. */
    private static final class Watched extends Interpreted {
        private final Watch watch;

        Watched(Function function, int bx, int by, int bz, int shared, Watch watch) {
            super(function, bx, by, bz, shared);
            this.watch = watch;
        }

        @Override
        int launch(StreamQueue.Executor stream, Command command, int gx, int gy, int gz, long params) {
            Launch launch = launch(params, gx, gy, gz);
            Watch.Watched watched = watch.begins(launch);
            var observers = new ConcurrentHashMap<ComputeThread, Observer>();
            KernelFault fault = null;
            try {
                return stream.job.run(stream, new Task() {
                    @Override
                    public int run(ComputeThread thread, long first, long end) {
                        return interpret(launch, first, end, observers.computeIfAbsent(thread, t -> watched.observer()));
                    }

                    @Override
                    public float nanosPerPiece() { return nanosPerBlock; }

                    @Override
                    public void nanosPerPiece(float nanos) { nanosPerBlock = nanos; }
                }, launch.blocks());
            } catch (KernelFault e) {
                fault = e;
                throw e;
            } finally {
                watched.ends(fault);
            }
        }
    }

    Variant variant(int bx, int by, int bz, int shared) {
        for (Variant v : variants)
            if (v.bx == bx && v.by == by && v.bz == bz && v.shared == shared) return v;
        return make(bx, by, bz, shared);
    }

    /** What the compiler does not serve and the interpreter does, runs there, and the log says so. */
    private Variant compiled(int bx, int by, int bz, int shared) {
        try {
            return new Compiled(this, bx, by, bz, shared);
        } catch (PtxException e) {
            var interpreted = new Interpreted(this, bx, by, bz, shared);
            DriverLog.note(e.getMessage() + ": the kernel is interpreted, which is slow", true);
            return interpreted;
        }
    }

    private synchronized Variant make(int bx, int by, int bz, int shared) {
        for (Variant v : variants)
            if (v.bx == bx && v.by == by && v.bz == bz && v.shared == shared) return v;
        Variant made;
        try {
            made = WATCH != null ? new Watched(this, bx, by, bz, shared, WATCH) : INTERPRET ? new Interpreted(this, bx, by, bz, shared) : compiled(bx, by, bz, shared);
        } catch (PtxException e) {
            throw new DriverError(Code.NOT_SUPPORTED.value, e.getMessage(), e);
        }
        Variant[] more = Arrays.copyOf(variants, variants.length + 1);
        more[more.length - 1] = made;
        variants = more;
        return made;
    }
}
