package dev.turningpoint.softgpu.jit;

import dev.turningpoint.softgpu.interpreter.Interpreter;
import dev.turningpoint.softgpu.interpreter.KernelFault;
import dev.turningpoint.softgpu.interpreter.Observer;
import dev.turningpoint.softgpu.interpreter.Watch;
import dev.turningpoint.softgpu.ptx.PtxKernel;
import dev.turningpoint.softgpu.ptx.PtxModule;
import dev.turningpoint.softgpu.ptx.PtxParser;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.UnaryOperator;

/** Compiles a test kernel and calls the function directly, without a driver. */
public final class Launch {
    static final KernelCompiler COMPILER = new KernelCompiler(Arena.global());
    private static final Map<String, PtxModule> MODULES = new ConcurrentHashMap<>();

    private Launch() {}

    static PtxModule module(String file) {
        return MODULES.computeIfAbsent(file, f -> {
            try (var in = Launch.class.getResourceAsStream("/dev/turningpoint/softgpu/" + f + ".ptx")) {
                return PtxParser.parse(f, new String(in.readAllBytes()));
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        });
    }

    /** Runs all blocks of the grid on this thread; gives the fault code. Arguments: MemorySegment, Long, Integer, Float, Double, byte[]. */
    public static int run(PtxModule module, String entry, int[] grid, int[] block, long dynamicShared, Object... arguments) {
        int gx = grid[0], gy = grid.length > 1 ? grid[1] : 1, gz = grid.length > 2 ? grid[2] : 1;
        CompiledKernel k = COMPILER.compile(module, entry, block[0], block.length > 1 ? block[1] : 1, block.length > 2 ? block[2] : 1, dynamicShared);
        return call(k, module.kernel(entry), 0, (long) gx * gy * gz, gx, gy, gz, arguments);
    }

    /**
     * The same compiled for this one launch and freed after it.
     *
     * @param rewrite what becomes of the IR on its way to LLVM
     */
    public static int runOnce(PtxModule module, String entry, int[] grid, int[] block, UnaryOperator<String> rewrite, Object... arguments) {
        try (Arena life = Arena.ofConfined()) {
            CompiledKernel k = new KernelCompiler(NativeCompiler.get(), life, rewrite).compile(module, entry, block[0], block[1], 1, 0);
            return call(k, module.kernel(entry), 0, grid[0], grid[0], 1, 1, arguments);
        }
    }

    static int run(String file, String entry, int grid, int block, Object... arguments) {
        return run(module(file), entry, new int[]{grid}, new int[]{block}, 0, arguments);
    }

    static int call(CompiledKernel k, PtxKernel kernel, long first, long end, int gx, int gy, int gz, Object... arguments) {
        try (Arena a = Arena.ofConfined()) {
            MemorySegment p = parameters(a, kernel, arguments), scratch = a.allocate(k.scratchBytes(), 64);
            scratch.fill((byte) 0xcd);
            return (int) CALL.invokeExact(k.code(), p, scratch, first, end, gx, gy, gz);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable t) {
            throw new IllegalStateException(t);
        }
    }

    /** The same launch in the interpreter, which may touch the segments given as arguments only. */
    public static void interpret(PtxModule module, String entry, int[] grid, int[] block, int dynamicShared, Object... arguments) {
        interpret(module, entry, grid, block, dynamicShared, Observer.NONE, arguments);
    }

    public static void interpret(PtxModule module, String entry, int[] grid, int[] block, int dynamicShared, Observer observer, Object... arguments) {
        Watch.Watched watched = new Watch.Watched() {
            @Override public Observer observer() { return observer; }
            @Override public void ends(KernelFault fault) { }
        };
        interpret(module, entry, grid, block, dynamicShared, (Watch) launch -> watched, arguments);
    }

    /** The same with a mode of the device looking on. */
    public static void interpret(PtxModule module, String entry, int[] grid, int[] block, int dynamicShared, Watch watch, Object... arguments) {
        PtxKernel kernel = module.kernel(entry);
        try (Arena a = Arena.ofConfined()) {
            var launch = new dev.turningpoint.softgpu.interpreter.Launch(module, kernel, grid[0], grid.length > 1 ? grid[1] : 1, grid.length > 2 ? grid[2] : 1,
                    block[0], block.length > 1 ? block[1] : 1, block.length > 2 ? block[2] : 1, dynamicShared, parameters(a, kernel, arguments).address());
            Interpreter.Allocations given = (address, bytes) -> {
                if (address >= module.data().address() && address + bytes <= module.data().address() + module.data().byteSize()) return true;
                for (Object x : arguments) if (x instanceof MemorySegment s && address >= s.address() && address + bytes <= s.address() + s.byteSize()) return true;
                return false;
            };
            Watch.Watched watched = watch.begins(launch);
            new Interpreter(module, kernel, given).run(launch, 0, launch.blocks(), watched.observer());
            watched.ends(null);
        }
    }

    private static MemorySegment parameters(Arena a, PtxKernel kernel, Object... arguments) {
        MemorySegment p = a.allocate(Math.max(8, kernel.bufferBytes()), 64);
        if (arguments.length != kernel.params().size()) throw new IllegalArgumentException(kernel.name() + " takes " + kernel.params());
        for (int i = 0; i < arguments.length; i++) {
            int at = kernel.params().get(i).offset();
            switch (arguments[i]) {
                case MemorySegment s -> p.set(ValueLayout.JAVA_LONG_UNALIGNED, at, s.address());
                case Long v -> p.set(ValueLayout.JAVA_LONG_UNALIGNED, at, v);
                case Integer v -> p.set(ValueLayout.JAVA_INT_UNALIGNED, at, v);
                case Float v -> p.set(ValueLayout.JAVA_FLOAT_UNALIGNED, at, v);
                case Double v -> p.set(ValueLayout.JAVA_DOUBLE_UNALIGNED, at, v);
                case byte[] v -> MemorySegment.copy(v, 0, p, ValueLayout.JAVA_BYTE, at, v.length);
                default -> throw new IllegalArgumentException(arguments[i].getClass().getName());
            }
        }
        return p;
    }

    /** The kernel's function first. */
    private static final MethodHandle CALL = Linker.nativeLinker().downcallHandle(FunctionDescriptor.of(ValueLayout.JAVA_INT, ValueLayout.ADDRESS, ValueLayout.ADDRESS,
                ValueLayout.JAVA_LONG, ValueLayout.JAVA_LONG, ValueLayout.JAVA_INT, ValueLayout.JAVA_INT, ValueLayout.JAVA_INT));

    public static MemorySegment ints(Arena a, int... v) {
        MemorySegment s = a.allocate(Math.max(1, v.length) * 4L, 64);
        MemorySegment.copy(v, 0, s, ValueLayout.JAVA_INT, 0, v.length);
        return s;
    }

    static MemorySegment floats(Arena a, float... v) {
        MemorySegment s = a.allocate(Math.max(1, v.length) * 4L, 64);
        MemorySegment.copy(v, 0, s, ValueLayout.JAVA_FLOAT, 0, v.length);
        return s;
    }

    static MemorySegment shorts(Arena a, short... v) {
        MemorySegment s = a.allocate(Math.max(1, v.length) * 2L, 64);
        MemorySegment.copy(v, 0, s, ValueLayout.JAVA_SHORT, 0, v.length);
        return s;
    }

    static short bf16(float f) {
        int b = Float.floatToRawIntBits(f);
        if (Float.isNaN(f)) return (short) (b >>> 16 | 0x40);
        return (short) (b + 0x7fff + (b >>> 16 & 1) >>> 16);
    }

    static float bf16(short s) { return Float.intBitsToFloat(s << 16); }
}
