package dev.turningpoint.softgpu.fuzz;

import dev.turningpoint.softgpu.interpreter.Interpreter;
import dev.turningpoint.softgpu.interpreter.KernelFault;
import dev.turningpoint.softgpu.interpreter.Launch;
import dev.turningpoint.softgpu.interpreter.Observer;
import dev.turningpoint.softgpu.jit.CompiledKernel;
import dev.turningpoint.softgpu.jit.KernelCompiler;
import dev.turningpoint.softgpu.ptx.PtxException;
import dev.turningpoint.softgpu.ptx.PtxKernel;
import dev.turningpoint.softgpu.ptx.PtxModule;
import dev.turningpoint.softgpu.ptx.PtxParser;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.util.Random;
import java.util.function.UnaryOperator;

/** Runs random kernels compiled and interpreted on the same inputs and compares every register of every thread. */
public final class Fuzzer {
    private static final MethodHandle CALL = Linker.nativeLinker().downcallHandle(FunctionDescriptor.of(ValueLayout.JAVA_INT, ValueLayout.ADDRESS, ValueLayout.ADDRESS,
            ValueLayout.JAVA_LONG, ValueLayout.JAVA_LONG, ValueLayout.JAVA_INT, ValueLayout.JAVA_INT, ValueLayout.JAVA_INT));
    private static final int[] THREADS = {32, 64, 96, 45, 17};
    private static final int BLOCKS = 2;

    private final KernelCompiler compiler = new KernelCompiler();

    /** Where the two engines differ on the kernel of a seed, with the least of its text that still shows a difference; null if they agree. */
    public String difference(long seed) { return difference(seed, UnaryOperator.identity()); }

    /** @param compiled what becomes of the text before it is compiled; the interpreter reads it as it was */
    String difference(long seed, UnaryOperator<String> compiled) {
        String what = plainDifference(seed, compiled);
        if (what == null) return null;
        int threads = threads(seed);
        String text = shrunk(seed, threads, text(seed), compiled);
        return "seed " + seed + ", " + threads + " threads a block: " + difference(seed, threads, text, compiled) + "\n" + text;
    }

    /** The first value that differs, in words, of the kernel as it is; null if none does. */
    String plainDifference(long seed, UnaryOperator<String> compiled) { return difference(seed, threads(seed), text(seed), compiled); }

    private static Random random(long seed) { return new Random(seed * 0x9e3779b97f4a7c15L); }

    private static int threads(long seed) { return THREADS[random(seed).nextInt(THREADS.length)]; }

    /** The kernel of a seed. */
    static String text(long seed) {
        Random r = random(seed);
        return KernelGenerator.kernel(r, THREADS[r.nextInt(THREADS.length)]);
    }

    /** Leaves out every line whose absence keeps a difference, again and again; a text that became impossible counts as none. */
    private String shrunk(long seed, int threads, String text, UnaryOperator<String> compiled) {
        boolean less = true;
        while (less) {
            less = false;
            String[] lines = text.split("\n");
            for (int n = lines.length - 2; n > 3; n--) {
                if (lines[n].startsWith(".") || lines[n].startsWith("ret") || lines[n].contains("%a") || lines[n].contains("%t") || lines[n].startsWith("bar")) continue;   // addresses, loop counters and exchanges stay
                String without = String.join("\n", java.util.stream.IntStream.range(0, lines.length).filter(skipped(n)).mapToObj(k -> lines[k]).toList()) + "\n";
                try {
                    if (difference(seed, threads, without, compiled) == null) continue;
                } catch (PtxException | KernelFault e) {
                    continue;
                }
                text = without;
                less = true;
                break;
            }
        }
        return text;
    }

    private static java.util.function.IntPredicate skipped(int line) { return k -> k != line; }

    private String difference(long seed, int threads, String text, UnaryOperator<String> compiled) {
        return difference(new Random(seed), threads, PtxParser.parse("fuzz", text), PtxParser.parse("fuzz", compiled.apply(text)));
    }

    private String difference(Random random, int threads, PtxModule module, PtxModule translated) {
        PtxKernel kernel = module.kernel("f");
        int registers = KernelGenerator.registers();
        long values = (long) BLOCKS * threads * registers;
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment in = arena.allocate(values * 8, 64), ours = arena.allocate(values * 8, 64), interpreted = arena.allocate(values * 8, 64), params = arena.allocate(16, 64);
            for (long v = 0; v < values; v++) in.setAtIndex(ValueLayout.JAVA_LONG, v, Inputs.bits(random, KernelGenerator.kind((int) (v % registers))));
            params.setAtIndex(ValueLayout.JAVA_LONG, 0, in.address());
            params.setAtIndex(ValueLayout.JAVA_LONG, 1, ours.address());
            CompiledKernel code = compiler.compile(translated, "f", threads, 1, 1, 0);
            int fault;
            try {
                fault = (int) CALL.invokeExact(MemorySegment.ofAddress(code.address()), params, arena.allocate(code.scratchBytes(), 64), 0L, (long) BLOCKS, BLOCKS, 1, 1);
            } catch (RuntimeException | Error e) {
                throw e;
            } catch (Throwable e) {
                throw new IllegalStateException(e);
            }
            if (fault != 0) return "compiled code faults: " + CompiledKernel.faultText(fault);
            params.setAtIndex(ValueLayout.JAVA_LONG, 1, interpreted.address());
            Interpreter.Allocations given = (address, bytes) -> within(in, address, bytes) || within(interpreted, address, bytes);
            new Interpreter(module, kernel, given).run(new Launch(module, kernel, BLOCKS, 1, 1, threads, 1, 1, 0, params.address()), 0, BLOCKS, Observer.NONE);
            for (long v = 0; v < values; v++) {
                long a = ours.getAtIndex(ValueLayout.JAVA_LONG, v), b = interpreted.getAtIndex(ValueLayout.JAVA_LONG, v);
                KernelGenerator.Kind kind = KernelGenerator.kind((int) (v % registers));
                if (a == b || kind.floating && isNan(a, kind) && isNan(b, kind)) continue;
                int first = 0;
                for (KernelGenerator.Kind k : KernelGenerator.Kind.values()) { if (k == kind) break; first += k.count; }
                return "block " + v / registers / threads + ", thread " + v / registers % threads + ", " + kind.prefix + (v % registers - first)
                        + ": compiled 0x" + Long.toHexString(a) + ", interpreted 0x" + Long.toHexString(b);
            }
            return null;
        }
    }

    private static boolean within(MemorySegment s, long address, long bytes) { return address >= s.address() && address + bytes <= s.address() + s.byteSize(); }

    private static boolean isNan(long bits, KernelGenerator.Kind kind) {
        return switch (kind) {
            case F32 -> Float.isNaN(Float.intBitsToFloat((int) bits));
            case F64 -> Double.isNaN(Double.longBitsToDouble(bits));
            case F16 -> Float.isNaN(Float.float16ToFloat((short) bits));
            default -> Float.isNaN(Float.intBitsToFloat((int) bits << 16));
        };
    }

    /** {@code Fuzzer FIRST COUNT}: tries the seeds, tells each difference; exit 1 if there was one. */
    public static void main(String[] args) {
        long first = Long.parseLong(args[0]), count = Long.parseLong(args[1]), started = System.nanoTime();
        var fuzzer = new Fuzzer();
        int differences = 0;
        for (long seed = first; seed < first + count; seed++) {
            String d = fuzzer.difference(seed);
            if (d == null) continue;
            differences++;
            System.out.println(d);
        }
        System.out.printf("%d kernels, %d differences, %.1f a second%n", count, differences, count / ((System.nanoTime() - started) / 1e9));
        System.exit(differences == 0 ? 0 : 1);
    }
}
