package dev.turningpoint.softgpu.jit;

import dev.turningpoint.softgpu.ptx.PtxParser;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;

import static org.junit.jupiter.api.Assertions.assertEquals;

/**
 * Random control flow, reducible or not, on registers that start uniform or varying, against a thread by thread interpretation:
 * what the analysis takes for uniform must be, whatever way the lanes go.
 */
class RandomFlowTest {
    private static final int REGISTERS = 7, STEPS = 40;

    /** {@code dst = a op b} if the guard register's low bit is {@code sense} (guard -1: always); b is a register below 0x1000000, else a literal. */
    private record Op(String name, int dst, int a, int b, int guard, boolean sense) {}

    /** After the ops: if test register compared to literal, go to target, else to the next block; test -1 jumps always, -2 never. */
    private record Block(List<Op> ops, int test, String compare, int literal, int mask, int target) {}

    private static final int LITERAL = 0x1000000;
    private static final String[] NAMES = {"add.s32", "sub.s32", "xor.b32", "and.b32", "or.b32", "mul.lo.s32", "min.s32", "max.u32", "shl.b32", "shr.u32"};

    private static List<Block> program(Random random, int blocks) {
        var p = new ArrayList<Block>();
        for (int b = 0; b < blocks; b++) {
            var ops = new ArrayList<Op>();
            for (int n = random.nextInt(4); n > 0; n--) {
                String name = NAMES[random.nextInt(NAMES.length)];
                int second = name.startsWith("sh") || random.nextInt(2) == 0 ? LITERAL + random.nextInt(name.startsWith("sh") ? 6 : 64) : random.nextInt(REGISTERS);
                ops.add(new Op(name, random.nextInt(REGISTERS), random.nextInt(REGISTERS), second, random.nextInt(5) == 0 ? random.nextInt(REGISTERS) : -1, random.nextBoolean()));
            }
            int kind = random.nextInt(6), where = random.nextInt(4);   // mostly forwards, so that some graphs are reducible and uniform values stay uniform
            int target = where == 0 ? blocks : where < 3 ? b + 1 + random.nextInt(blocks - b) : random.nextInt(blocks + 1);
            p.add(new Block(ops, kind == 0 ? -1 : kind == 1 ? -2 : random.nextInt(REGISTERS), new String[]{"lt", "eq", "ne", "ge"}[random.nextInt(4)], random.nextInt(8),
                    random.nextBoolean() ? 7 : 3, target));
        }
        return p;
    }

    private static String text(List<Block> program) {
        var s = new StringBuilder("""
                .version 9.0
                .target sm_80
                .address_size 64
                .visible .entry f(.param .u64 out)
                {
                .reg .pred %p<4>;
                .reg .b32 %r<20>;
                .reg .b64 %rd<4>;
                mov.u32 %r0, 5;
                mov.u32 %r1, 0;
                mov.u32 %r2, %ctaid.x;
                mov.u32 %r3, 12;
                mov.u32 %r4, %tid.x;
                mul.lo.s32 %r5, %r4, 37;
                shr.u32 %r6, %r4, 2;
                mov.u32 %r10, 0;
                """);
        for (int b = 0; b < program.size(); b++) {
            Block k = program.get(b);
            s.append("B").append(b).append(":\nadd.s32 %r10, %r10, 1;\nsetp.gt.u32 %p0, %r10, ").append(STEPS).append(";\n@%p0 bra DONE;\n");
            for (Op o : k.ops) {
                if (o.guard >= 0) s.append("and.b32 %r11, %r").append(o.guard).append(", 1;\nsetp.eq.s32 %p1, %r11, 1;\n@").append(o.sense ? "" : "!").append("%p1 ");
                s.append(o.name).append(" %r").append(o.dst).append(", %r").append(o.a).append(", ").append(o.b >= LITERAL ? "" + (o.b - LITERAL) : "%r" + o.b).append(";\n");
            }
            String target = k.target == program.size() ? "DONE" : "B" + k.target;
            if (k.test == -1) s.append("bra.uni ").append(target).append(";\n");
            else if (k.test >= 0) s.append("and.b32 %r12, %r").append(k.test).append(", ").append(k.mask).append(";\nsetp.").append(k.compare).append(".s32 %p2, %r12, ").append(k.literal)
                    .append(";\n@%p2 bra ").append(target).append(";\n");
        }
        s.append("DONE:\nld.param.u64 %rd0, [out];\nmov.u32 %r13, %ntid.x;\nmov.u32 %r14, %ctaid.x;\nmov.u32 %r16, %tid.x;\nmad.lo.s32 %r15, %r14, %r13, %r16;\nmul.wide.s32 %rd1, %r15, ")
                .append(4 * REGISTERS).append(";\nadd.s64 %rd2, %rd0, %rd1;\n");
        for (int r = 0; r < REGISTERS; r++) s.append("st.global.u32 [%rd2+").append(4 * r).append("], %r").append(r).append(";\n");
        return s.append("ret;\n}\n").toString();
    }

    private static int[] interpret(List<Block> program, int block, int tid) {
        int[] r = {5, 0, block, 12, tid, tid * 37, tid >>> 2};
        int steps = 0;
        for (int b = 0; b < program.size(); ) {
            if (++steps > STEPS) break;
            Block k = program.get(b);
            for (Op o : k.ops) {
                if (o.guard >= 0 && ((r[o.guard] & 1) == 1) != o.sense) continue;
                int x = r[o.a], y = o.b >= LITERAL ? o.b - LITERAL : r[o.b];
                r[o.dst] = switch (o.name) {
                    case "add.s32" -> x + y;
                    case "sub.s32" -> x - y;
                    case "xor.b32" -> x ^ y;
                    case "and.b32" -> x & y;
                    case "or.b32" -> x | y;
                    case "mul.lo.s32" -> x * y;
                    case "min.s32" -> Math.min(x, y);
                    case "max.u32" -> Integer.compareUnsigned(x, y) > 0 ? x : y;
                    case "shl.b32" -> x << y;
                    default -> x >>> y;
                };
            }
            boolean taken = k.test == -1;
            if (k.test >= 0) {
                int v = r[k.test] & k.mask;
                taken = switch (k.compare) { case "lt" -> v < k.literal; case "eq" -> v == k.literal; case "ne" -> v != k.literal; default -> v >= k.literal; };
            }
            b = taken ? k.target : b + 1;
        }
        return r;
    }

    @ParameterizedTest
    @ValueSource(longs = {1, 2, 3, 4})
    void lanesComputeWhatTheyWouldAlone(long seed) {
        var random = new Random(seed);
        for (int round = 0; round < 12; round++) {
            List<Block> program = program(random, 2 + random.nextInt(9));
            int threads = random.nextInt(4) == 0 ? 45 : 64, blocks = 3;
            String text = text(program);
            var module = PtxParser.parse("random", text);
            try (Arena a = Arena.ofConfined()) {
                var out = Launch.ints(a, new int[blocks * threads * REGISTERS]);
                assertEquals(0, Launch.run(module, "f", new int[]{blocks}, new int[]{threads}, 0, out));
                var interpreted = Launch.ints(a, new int[blocks * threads * REGISTERS]);
                Launch.interpret(module, "f", new int[]{blocks}, new int[]{threads}, 0, interpreted);
                assertEquals(-1, out.mismatch(interpreted), () -> "compiled code and the interpreter differ: seed " + seed + "\n" + text);
                for (int b = 0; b < blocks; b++) for (int t = 0; t < threads; t++) {
                    int[] want = interpret(program, b, t);
                    for (int r = 0; r < REGISTERS; r++)
                        if (want[r] != out.getAtIndex(ValueLayout.JAVA_INT, (long) (b * threads + t) * REGISTERS + r))
                            assertEquals(want[r], out.getAtIndex(ValueLayout.JAVA_INT, (long) (b * threads + t) * REGISTERS + r),
                                    "seed " + seed + " round " + round + " block " + b + " of " + threads + " threads, thread " + t + ", register " + r + " in\n" + text);
                }
            }
        }
    }
}
