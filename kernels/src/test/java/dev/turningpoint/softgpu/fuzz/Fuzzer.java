package dev.turningpoint.softgpu.fuzz;

import dev.turningpoint.softgpu.interpreter.KernelFault;
import dev.turningpoint.softgpu.jit.CompiledKernel;
import dev.turningpoint.softgpu.jit.Launch;
import dev.turningpoint.softgpu.ptx.PtxException;
import dev.turningpoint.softgpu.ptx.PtxParser;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Random;
import java.util.function.UnaryOperator;

/** Runs random kernels compiled and interpreted on the same inputs and compares every register of every thread. */
final class Fuzzer {
    private static final int[] THREADS = {32, 64, 96, 45, 17};
    private static final int BLOCKS = 2;

    private final long seed;
    private final int threads;
    private final String text;

    Fuzzer(long seed) {
        this.seed = seed;
        var random = new Random(seed * 0x9e3779b97f4a7c15L);
        threads = THREADS[random.nextInt(THREADS.length)];
        text = KernelGenerator.kernel(random, threads);
    }

    /** The kernel of the seed. */
    String text() { return text; }

    /**
     * The first value in which the two engines differ, in words; null if they agree.
     *
     * @param compiled what becomes of the text before it is compiled; the interpreter reads it as it was
     */
    String difference(UnaryOperator<String> compiled) { return difference(text, compiled); }

    /** The same with the least of the kernel that still shows a difference. */
    String shrunkDifference(UnaryOperator<String> compiled) {
        if (difference(compiled) == null) return null;
        String least = shrunk(compiled);
        return "seed " + seed + ", " + threads + " threads a block: " + difference(least, compiled) + "\n" + least;
    }

    /** Leaves out every line whose absence keeps a difference, until none is left; a text that became impossible counts as none. */
    private String shrunk(UnaryOperator<String> compiled) {
        var lines = new ArrayList<>(text.lines().toList());
        for (boolean less = true; less; ) {
            less = false;
            for (int n = lines.size() - 2; n > 3; n--) {
                if (isKept(lines.get(n))) continue;
                String line = lines.remove(n);
                if (differs(String.join("\n", lines), compiled)) less = true;
                else lines.add(n, line);
            }
        }
        return String.join("\n", lines);
    }

    /** Declarations, and what makes the kernel defined: addresses, loop counters, exchanges. */
    private static boolean isKept(String line) {
        return line.startsWith(".") || line.startsWith("ret") || line.contains("%a") || line.contains("%t") || line.startsWith("bar");
    }

    private boolean differs(String kernel, UnaryOperator<String> compiled) {
        try {
            return difference(kernel, compiled) != null;
        } catch (PtxException | KernelFault e) {
            return false;
        }
    }

    private String difference(String kernel, UnaryOperator<String> compiled) {
        int registers = KernelGenerator.registers();
        long values = (long) BLOCKS * threads * registers;
        int[] grid = {BLOCKS}, block = {threads};
        var random = new Random(seed);
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment in = arena.allocate(values * 8, 64), ours = arena.allocate(values * 8, 64), interpreted = arena.allocate(values * 8, 64);
            for (long v = 0; v < values; v++) in.setAtIndex(ValueLayout.JAVA_LONG, v, Inputs.bits(random, KernelGenerator.kind((int) (v % registers))));
            int fault = Launch.run(PtxParser.parse("fuzz", compiled.apply(kernel)), "f", grid, block, 0, in, ours);
            if (fault != 0) return "compiled code faults: " + CompiledKernel.faultText(fault);
            Launch.interpret(PtxParser.parse("fuzz", kernel), "f", grid, block, 0, in, interpreted);
            for (long v = 0; v < values; v++) {
                long a = ours.getAtIndex(ValueLayout.JAVA_LONG, v), b = interpreted.getAtIndex(ValueLayout.JAVA_LONG, v);
                int register = (int) (v % registers);
                if (a != b && !(isNan(a, KernelGenerator.kind(register)) && isNan(b, KernelGenerator.kind(register))))
                    return "block " + v / registers / threads + ", thread " + v / registers % threads + ", " + KernelGenerator.name(register)
                            + ": compiled 0x" + Long.toHexString(a) + ", interpreted 0x" + Long.toHexString(b);
            }
            return null;
        }
    }

    private static boolean isNan(long bits, KernelGenerator.Kind kind) {
        return switch (kind) {
            case B32, B64 -> false;
            case F32 -> Float.isNaN(Float.intBitsToFloat((int) bits));
            case F64 -> Double.isNaN(Double.longBitsToDouble(bits));
            case F16 -> Float.isNaN(Float.float16ToFloat((short) bits));
            case BF16 -> Float.isNaN(Float.intBitsToFloat((int) bits << 16));
        };
    }

    /** {@code Fuzzer FIRST COUNT}: tries the seeds, tells each difference; exit 1 if there was one. */
    public static void main(String[] args) {
        long first = Long.parseLong(args[0]), count = Long.parseLong(args[1]), started = System.nanoTime();
        var differences = new ArrayList<String>();
        for (long seed = first; seed < first + count; seed++) {
            String d = new Fuzzer(seed).shrunkDifference(UnaryOperator.identity());
            if (d == null) continue;
            differences.add(d);
            System.out.println(d);
        }
        System.out.printf("%d kernels, %d differences, %.1f a second%n", count, differences.size(), count / ((System.nanoTime() - started) / 1e9));
        System.exit(differences.isEmpty() ? 0 : 1);
    }
}
