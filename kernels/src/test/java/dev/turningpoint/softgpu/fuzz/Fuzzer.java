package dev.turningpoint.softgpu.fuzz;

import dev.turningpoint.softgpu.interpreter.KernelFault;
import dev.turningpoint.softgpu.jit.CompiledKernel;
import dev.turningpoint.softgpu.jit.Launch;
import dev.turningpoint.softgpu.ptx.PtxException;
import dev.turningpoint.softgpu.ptx.PtxModule;
import dev.turningpoint.softgpu.ptx.PtxParser;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Random;
import java.util.function.UnaryOperator;

/** Runs random kernels compiled and interpreted on the same inputs and compares every register of every thread and all the memory they wrote. */
final class Fuzzer {
    /** Bytes behind each array, for code with a planted mistake to go astray in. */
    private static final int BEHIND = 1 << 14;

    private final long seed;
    private final KernelGenerator generated;

    Fuzzer(long seed) {
        this.seed = seed;
        generated = new KernelGenerator(new Random(seed * 0x9e3779b97f4a7c15L));
    }

    /** The kernel of the seed. */
    String text() { return generated.text(); }

    /**
     * The first value in which the two engines differ, in words; null if they agree.
     *
     * @param translated what becomes of the translator's output before LLVM has it
     */
    String difference(UnaryOperator<String> translated) { return difference(text(), translated); }

    /** The same with the least of the kernel that still shows a difference. */
    String shrunkDifference(UnaryOperator<String> translated) {
        if (difference(translated) == null) return null;
        String least = shrunk(translated);
        return "seed " + seed + ", " + generated.threads() + " threads a block: " + difference(least, translated) + "\n" + least;
    }

    /** Leaves out every line whose absence keeps a difference, many at once at first; a text that became impossible counts as none. */
    private String shrunk(UnaryOperator<String> translated) {
        var lines = new ArrayList<>(text().lines().toList());
        for (int chunk = Math.max(1, lines.size() / 4); chunk > 0; chunk = chunk == 1 ? 0 : chunk / 2) {
            for (boolean less = true; less; ) {
                less = false;
                for (int n = lines.size() - 2; n > 3; n--) {
                    var fewer = new ArrayList<String>();
                    for (int k = 0; k < lines.size(); k++) if (k > n || k <= n - chunk || isKept(lines.get(k))) fewer.add(lines.get(k));
                    if (fewer.size() == lines.size() || !differs(String.join("\n", fewer), translated)) continue;
                    lines = fewer;
                    n = Math.min(n, lines.size() - 1);
                    less = true;
                }
                if (chunk > 1) break;
            }
        }
        return String.join("\n", lines);
    }

    /** Declarations, and what makes the kernel defined: addresses, loop counters, exchanges. */
    private static boolean isKept(String line) {
        return line.startsWith(".") || line.startsWith("ret") || line.startsWith("{") || line.startsWith("}") || line.matches(".*%[abctjsz]\\d.*") || line.contains("%p4") || line.contains("param") || line.startsWith("call") || line.startsWith("bar");
    }

    private boolean differs(String kernel, UnaryOperator<String> translated) {
        try {
            return difference(kernel, translated) != null;
        } catch (PtxException | KernelFault e) {
            return false;
        }
    }

    private String difference(String kernel, UnaryOperator<String> translated) {
        int[] grid = {KernelGenerator.GRID}, block = generated.block();
        int registers = KernelGenerator.registers(), threads = generated.threads();
        var random = new Random(seed);
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment in = arena.allocate(generated.valueBytes() + BEHIND, 64).asSlice(0, generated.valueBytes());
            for (int n = 0; n < registers; n++)
                for (int t = 0; t < KernelGenerator.GRID * threads; t++) if (generated.uses(n) || generated.offset(n, t) < KernelGenerator.READABLE) write(in, generated.offset(n, t), KernelGenerator.kind(n), Inputs.bits(random, KernelGenerator.kind(n)));
            MemorySegment[] out = new MemorySegment[2], memory = new MemorySegment[2];
            long filling = random.nextLong();
            for (int e = 0; e < 2; e++) {
                out[e] = arena.allocate(generated.valueBytes() + BEHIND, 64).asSlice(0, generated.valueBytes());
                memory[e] = arena.allocate(generated.memoryBytes() + BEHIND, 64).asSlice(0, generated.memoryBytes());
                var same = new Random(filling);
                for (long at = 0; at < memory[e].byteSize(); at += 8) memory[e].set(ValueLayout.JAVA_LONG, at, same.nextLong());
                memory[e].set(ValueLayout.JAVA_INT, KernelGenerator.FLOAT_COUNTER, 0);
            }
            int n = random.nextInt(100);
            PtxModule module = PtxParser.parse("fuzz", kernel);
            Launch.interpret(module, "f", grid, block, 0, in, out[1], memory[1], n);   // first: it looks at every address before it touches it
            int fault = Launch.runOnce(module, "f", grid, block, translated, in, out[0], memory[0], n);
            if (fault != 0) return "compiled code faults: " + CompiledKernel.faultText(fault);
            return differenceOf(in, out, memory);
        }
    }

    private static void write(MemorySegment s, long at, KernelGenerator.Kind kind, long bits) {
        switch (kind.bytes) {
            case 2 -> s.set(ValueLayout.JAVA_SHORT, at, (short) bits);
            case 4 -> s.set(ValueLayout.JAVA_INT, at, (int) bits);
            default -> s.set(ValueLayout.JAVA_LONG, at, bits);
        }
    }

    private static long read(MemorySegment s, long at, KernelGenerator.Kind kind) {
        return switch (kind.bytes) {
            case 2 -> s.get(ValueLayout.JAVA_SHORT, at) & 0xffffL;
            case 4 -> s.get(ValueLayout.JAVA_INT, at) & 0xffffffffL;
            default -> s.get(ValueLayout.JAVA_LONG, at);
        };
    }

    private String differenceOf(MemorySegment in, MemorySegment[] out, MemorySegment[] memory) {
        int threads = generated.threads();
        for (int n = 0; n < KernelGenerator.registers(); n++) {
            if (!generated.uses(n)) continue;
            KernelGenerator.Kind kind = KernelGenerator.kind(n);
            int own = KernelGenerator.ofItsKind(n);
            for (int t = 0; t < KernelGenerator.GRID * threads; t++) {
                long at = generated.offset(n, t), a = read(out[0], at, kind), b = read(out[1], at, kind);
                if (a == b || areNans(a, b, kind)) continue;
                if (kind == KernelGenerator.Kind.ESTIMATE) {   // its operand, which is compared by itself, lies in the same place of the next kind
                    float operand = Float.intBitsToFloat((int) read(out[1], generated.offset(n + kind.count, t), kind));
                    if (Estimates.agree(KernelGenerator.APPROXIMATE[own], operand, Float.intBitsToFloat((int) a), Float.intBitsToFloat((int) b))) continue;
                }
                return "block " + t / threads + ", thread " + t % threads + ", " + kind.register(own) + ": compiled 0x" + Long.toHexString(a) + ", interpreted 0x" + Long.toHexString(b);
            }
        }
        long at = memory[0].mismatch(memory[1]);
        return at < 0 ? null : "byte " + at + " of the memory: compiled 0x" + Integer.toHexString(memory[0].get(ValueLayout.JAVA_BYTE, at) & 255) + ", interpreted 0x"
                + Integer.toHexString(memory[1].get(ValueLayout.JAVA_BYTE, at) & 255);
    }

    /** Whether both are NaN where either is: in pairs of halves each half is looked at. */
    private static boolean areNans(long a, long b, KernelGenerator.Kind kind) {
        return switch (kind) {
            case F16X2, BF16X2 -> {
                KernelGenerator.Kind half = kind == KernelGenerator.Kind.F16X2 ? KernelGenerator.Kind.F16 : KernelGenerator.Kind.BF16;
                yield ((a & 0xffff) == (b & 0xffff) || areNans(a & 0xffff, b & 0xffff, half)) && (a >>> 16 == b >>> 16 || areNans(a >>> 16, b >>> 16, half));
            }
            default -> isNan(a, kind) && isNan(b, kind);
        };
    }

    private static boolean isNan(long bits, KernelGenerator.Kind kind) {
        return switch (kind) {
            case F32, ESTIMATE, OPERAND -> Float.isNaN(Float.intBitsToFloat((int) bits));
            case F64 -> Double.isNaN(Double.longBitsToDouble(bits));
            case F16 -> Float.isNaN(Float.float16ToFloat((short) bits));
            case BF16 -> Float.isNaN(Float.intBitsToFloat((int) bits << 16));
            default -> false;
        };
    }

    /**
     * {@code Fuzzer FIRST COUNT [MOST]}: tries the seeds from FIRST on, tells each difference and now and then how far it is, so that a run that was ended goes on
     * from there; stops at MOST differences (20). Exit 1 if there was one. {@code Fuzzer SEED}: the least of that kernel that shows its difference.
     */
    public static void main(String[] args) {
        if (args.length == 1) {
            System.out.println(new Fuzzer(Long.parseLong(args[0])).shrunkDifference(UnaryOperator.identity()));
            return;
        }
        long first = Long.parseLong(args[0]), count = Long.parseLong(args[1]), most = args.length > 2 ? Long.parseLong(args[2]) : 20, started = System.nanoTime(), told = started;
        int differences = 0;
        long seed = first;
        for (; seed < first + count && differences < most; seed++) {
            Thread.currentThread().setName("seed " + seed);   // a crash report names its thread
            String d;
            try {
                d = new Fuzzer(seed).difference(UnaryOperator.identity());
                if (d != null) d = "seed " + seed + ": " + d;
            } catch (RuntimeException e) {
                d = "seed " + seed + ": " + e;
            }
            if (d != null) {
                differences++;
                System.out.println(d);
            }
            if (System.nanoTime() - told < 30e9) continue;
            told = System.nanoTime();
            System.out.printf("seeds %d to %d: %d differences, %.1f a second%n", first, seed, differences, (seed - first + 1) / ((told - started) / 1e9));
        }
        System.out.printf("%d kernels from seed %d, %d differences, %.1f a second; the next seed is %d%n", seed - first, first, differences, (seed - first) / ((System.nanoTime() - started) / 1e9), seed);
        System.exit(differences == 0 ? 0 : 1);
    }
}
