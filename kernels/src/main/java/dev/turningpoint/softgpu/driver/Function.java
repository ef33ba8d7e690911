package dev.turningpoint.softgpu.driver;

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
        volatile float nanosPerBlock;

        private Variant(Function function, CompiledKernel code, int bx, int by, int bz, int shared) {
            this.function = function;
            this.code = code;
            this.bx = bx;
            this.by = by;
            this.bz = bz;
            this.shared = shared;
            address = MemorySegment.ofAddress(code.address());
        }

        int run(ComputeThread thread, long params, long first, long end, int gx, int gy, int gz) {
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
            code = COMPILER.compile(module.ptx, kernel.name(), bx, by, bz, shared);
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
