package dev.turningpoint.softgpu.driver;

import dev.turningpoint.softgpu.interpreter.Interpreter;
import dev.turningpoint.softgpu.interpreter.Launch;
import dev.turningpoint.softgpu.interpreter.Observer;
import dev.turningpoint.softgpu.jit.CompiledKernel;
import dev.turningpoint.softgpu.jit.KernelCompiler;
import dev.turningpoint.softgpu.ptx.PtxException;
import dev.turningpoint.softgpu.ptx.PtxKernel;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.util.Arrays;

/** A kernel of a loaded module, with its compiled forms. */
final class Function {
    static final long DEFAULT_SHARED = 48 << 10, MOST_SHARED = 227 << 10;
    /** {@code -Dturningpoint.software.interpret=true}: kernels are interpreted, instruction by instruction and lane by lane, every address looked up before it is touched. */
    static final boolean INTERPRET = Boolean.getBoolean("turningpoint.software.interpret");
    private static final KernelCompiler COMPILER = new KernelCompiler();
    private static final MethodHandle CALL = Linker.nativeLinker().downcallHandle(FunctionDescriptor.of(ValueLayout.JAVA_INT,
            ValueLayout.JAVA_LONG, ValueLayout.JAVA_LONG, ValueLayout.JAVA_LONG, ValueLayout.JAVA_LONG,
            ValueLayout.JAVA_INT, ValueLayout.JAVA_INT, ValueLayout.JAVA_INT));

    final LoadedModule module;
    final PtxKernel kernel;
    final long handle = Handles.add(this);
    final MemorySegment cName;
    /** Dynamic shared memory a launch may ask for. */
    volatile int dynamicShared;
    private volatile Variant[] variants = {};

    Function(LoadedModule module, PtxKernel kernel) {
        this.module = module;
        this.kernel = kernel;
        cName = Arena.ofAuto().allocateFrom(kernel.name());
        dynamicShared = (int) Math.max(0, DEFAULT_SHARED - kernel.staticShared());
    }

    /** Compiled for one block shape. */
    static final class Variant {
        final Function function;
        final CompiledKernel code;
        final int bx, by, bz, shared;
        private final MemorySegment address;
        /** With {@link #INTERPRET}: each thread's own, in place of the code. */
        private final ThreadLocal<Interpreter> interpreter;
        volatile float nanosPerBlock;

        private Variant(Function function, CompiledKernel code, int bx, int by, int bz, int shared) {
            this.function = function;
            this.code = code;
            this.bx = bx;
            this.by = by;
            this.bz = bz;
            this.shared = shared;
            address = code == null ? MemorySegment.NULL : MemorySegment.ofAddress(code.address());
            interpreter = code == null ? ThreadLocal.withInitial(() -> new Interpreter(function.module.ptx, function.kernel, Memory::onDevice)) : null;
        }

        int run(ComputeThread thread, long params, long first, long end, int gx, int gy, int gz) {
            if (code == null) {
                interpreter.get().run(new Launch(function.module.ptx, function.kernel, gx, gy, gz, bx, by, bz, shared, params), first, end, Observer.NONE);
                return CompiledKernel.OK;
            }
            try {
                return (int) CALL.invokeExact(address, params, thread.scratch(code.scratchBytes()), first, end, gx, gy, gz);
            } catch (RuntimeException | Error e) {
                throw e;
            } catch (Throwable e) {
                throw new IllegalStateException(e);
            }
        }
    }

    Variant variant(int bx, int by, int bz, int shared) {
        for (Variant v : variants)
            if (v.bx == bx && v.by == by && v.bz == bz && v.shared == shared) return v;
        return compile(bx, by, bz, shared);
    }

    private synchronized Variant compile(int bx, int by, int bz, int shared) {
        for (Variant v : variants)
            if (v.bx == bx && v.by == by && v.bz == bz && v.shared == shared) return v;
        CompiledKernel code;
        try {
            if (INTERPRET) {
                new Interpreter(module.ptx, kernel, Memory::onDevice);   // what it does not serve is refused at the launch
                code = null;
            } else code = COMPILER.compile(module.ptx, kernel.name(), bx, by, bz, shared);
        } catch (PtxException e) {
            throw new DriverError(Code.NOT_SUPPORTED.value, e.getMessage(), e);
        }
        Variant made = new Variant(this, code, bx, by, bz, shared);
        Variant[] more = Arrays.copyOf(variants, variants.length + 1);
        more[more.length - 1] = made;
        variants = more;
        return made;
    }
}
