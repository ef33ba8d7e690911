package dev.turningpoint.softgpu.fuzz;

import java.util.BitSet;
import java.util.Random;

/**
 * PTX text from a random sequence: every thread loads its registers, computes on them through branches, loops, jump tables, predicates, memory and exchanges with
 * its warp and its block, and stores them. What hardware leaves undefined does not occur: exchanges stand where all threads pass (or are among lanes that a ballot
 * named), shared memory is written and read between barriers, threads write memory of their own, and what they write together is written by operations whose order
 * does not matter. Floats never turn into integers by their bits, nor do they give their sign away, so that the bits of a NaN, which no manual fixes, stay where
 * they are told apart.
 */
final class KernelGenerator {
    /**
     * Registers of a kind: their type, name prefix and count. {@code UNIFORM} starts alike in all threads and {@code INDEX} in steps, so that what an analysis of lanes
     * finds out about them has to be right; {@code ESTIMATE} holds results of approximate operations, each beside the {@code OPERAND} it came from.
     */
    enum Kind {
        B32("b32", "%r", 5), UNIFORM("b32", "%u", 2), INDEX("b32", "%i", 2), B64("b64", "%q", 3), F32("f32", "%f", 4), F64("f64", "%d", 3), F16("b16", "%h", 2), BF16("b16", "%g", 2),
        F16X2("b32", "%v", 2), BF16X2("b32", "%w", 2), ESTIMATE("f32", "%x", APPROXIMATE.length), OPERAND("f32", "%y", APPROXIMATE.length);

        final String type, prefix;
        final int count, bytes;

        Kind(String type, String prefix, int count) {
            this.type = type;
            this.prefix = prefix;
            this.count = count;
            bytes = Integer.parseInt(type.substring(1)) / 8;
        }

        String register(int n) { return prefix + n; }
    }

    /** Operations that are right within bounds: {@link Estimates} has them. */
    static final String[] APPROXIMATE = {"ex2.approx.f32", "ex2.approx.ftz.f32", "lg2.approx.f32", "lg2.approx.ftz.f32", "sin.approx.f32", "cos.approx.f32", "rsqrt.approx.f32", "rsqrt.approx.ftz.f32",
        "rcp.approx.f32", "rcp.approx.ftz.f32", "sqrt.approx.f32", "sqrt.approx.ftz.f32", "tanh.approx.f32"};

    /**
     * Each letter of a form after the opcode is an operand: r b32, q b64, f f32, d f64, h f16, g bf16, v f16x2, w bf16x2, p predicate, s shift amount or bit position, l truth table;
     * the first is the result.
     */
    private static final String[] FORMS = {
        "add.s32 rrr", "sub.s32 rrr", "mul.lo.s32 rrr", "mul.hi.s32 rrr", "mul.hi.u32 rrr", "mad.lo.s32 rrrr", "mad.hi.s32 rrrr", "mad.hi.u32 rrrr", "mul24.lo.s32 rrr", "mul24.lo.u32 rrr",
        "sad.s32 rrrr", "sad.u32 rrrr", "div.s32 rrr", "div.u32 rrr", "rem.s32 rrr", "rem.u32 rrr", "abs.s32 rr", "neg.s32 rr", "min.s32 rrr", "max.s32 rrr", "min.u32 rrr", "max.u32 rrr",
        "add.sat.s32 rrr", "sub.sat.s32 rrr", "popc.b32 rr", "clz.b32 rr", "brev.b32 rr", "bfind.s32 rr", "bfind.u32 rr", "bfind.shiftamt.u32 rr", "bfind.shiftamt.s32 rr",
        "shl.b32 rrs", "shr.s32 rrs", "shr.u32 rrs", "shf.l.wrap.b32 rrrs", "shf.r.wrap.b32 rrrs", "shf.l.clamp.b32 rrrs", "shf.r.clamp.b32 rrrs", "bfe.s32 rrss", "bfe.u32 rrss", "bfi.b32 rrrss",
        "prmt.b32 rrrr", "dp4a.u32.u32 rrrr", "dp4a.s32.s32 rrrr", "and.b32 rrr", "or.b32 rrr", "xor.b32 rrr", "not.b32 rr", "cnot.b32 rr", "selp.b32 rrrp",
        "add.s64 qqq", "sub.s64 qqq", "mul.lo.s64 qqq", "mul.hi.s64 qqq", "mul.hi.u64 qqq", "mad.lo.s64 qqqq", "div.s64 qqq", "div.u64 qqq", "rem.s64 qqq", "rem.u64 qqq", "min.s64 qqq", "max.u64 qqq",
        "abs.s64 qq", "neg.s64 qq", "popc.b64 rq", "clz.b64 rq", "brev.b64 qq", "bfind.u64 rq", "bfind.s64 rq", "shl.b64 qqs", "shr.s64 qqs", "shr.u64 qqs", "and.b64 qqq", "or.b64 qqq", "xor.b64 qqq",
        "not.b64 qq", "bfe.u64 qqss", "bfe.s64 qqss", "bfi.b64 qqqss", "mul.wide.s32 qrr", "mul.wide.u32 qrr", "mad.wide.s32 qrrq", "mad.wide.u32 qrrq", "selp.b64 qqqp",
        "cvt.s64.s32 qr", "cvt.u64.u32 qr", "cvt.u32.u64 rq", "cvt.s32.s8 rr", "cvt.s32.s16 rr", "cvt.u32.u8 rr", "cvt.u32.u16 rr", "cvt.s64.s8 qr", "cvt.sat.s32.s64 rq", "cvt.sat.u32.s64 rq", "cvt.sat.s32.u32 rr",
        "lop3.b32 rrrrl", "lop3.b32 rrrrl", "szext.clamp.s32 rrs", "szext.wrap.u32 rrs", "bmsk.clamp.b32 rss", "dp2a.lo.s32.s32 rrrr", "dp2a.hi.u32.s32 rrrr", "prmt.b32.f4e rrrr", "slct.b32.s32 rrrr", "set.lt.s32.s32 rrr",
        "set.ge.u32.f32 rff", "not.pred pp", "and.pred ppp", "or.pred ppp", "xor.pred ppp", "mad.lo.s64 qqqq", "mul24.hi.s32 rrr", "mad24.lo.s32 rrrr",
        "add.rn.f32 fff", "sub.rn.f32 fff", "mul.rn.f32 fff", "fma.rn.f32 ffff", "add.ftz.f32 fff", "mul.ftz.f32 fff", "fma.rn.ftz.f32 ffff", "add.sat.f32 fff", "fma.rn.sat.f32 ffff", "div.rn.f32 fff",
        "div.rn.ftz.f32 fff", "rcp.rn.f32 ff", "sqrt.rn.f32 ff", "sqrt.rn.ftz.f32 ff", "abs.f32 ff", "neg.f32 ff", "abs.ftz.f32 ff", "min.f32 fff", "max.f32 fff", "min.NaN.f32 fff", "max.ftz.f32 fff",
        "add.rz.f32 fff", "add.rm.f32 fff", "add.rp.f32 fff", "mul.rz.f32 fff", "mul.rp.f32 fff", "fma.rz.f32 ffff", "fma.rm.f32 ffff", "selp.f32 fffp", "cvt.rni.f32.f32 ff", "cvt.rzi.f32.f32 ff", "cvt.rmi.f32.f32 ff",
        "cvt.rpi.f32.f32 ff", "cvt.sat.f32.f32 ff", "cvt.rn.f32.s32 fr", "cvt.rn.f32.u32 fr", "cvt.rz.f32.s32 fr", "cvt.rn.f32.s64 fq", "cvt.rn.f32.u64 fq", "cvt.rni.s32.f32 rf", "cvt.rzi.s32.f32 rf",
        "cvt.rmi.s32.f32 rf", "cvt.rpi.u32.f32 rf", "cvt.rzi.u32.f32 rf", "cvt.rzi.s64.f32 qf", "cvt.rzi.u64.f32 qf", "cvt.rzi.ftz.s32.f32 rf", "cvt.f64.f32 df", "cvt.rn.f32.f64 fd", "cvt.rz.f32.f64 fd", "cvt.rp.f32.f64 fd",
        "add.rn.f64 ddd", "sub.rn.f64 ddd", "mul.rn.f64 ddd", "fma.rn.f64 dddd", "div.rn.f64 ddd", "rcp.rn.f64 dd", "sqrt.rn.f64 dd", "abs.f64 dd", "neg.f64 dd", "min.f64 ddd", "max.f64 ddd", "selp.f64 dddp",
        "add.rz.f64 ddd", "mul.rm.f64 ddd", "fma.rp.f64 dddd", "div.rz.f64 ddd", "sqrt.rm.f64 dd", "slct.f32.s32 fffr", "div.rz.f32 fff", "sqrt.rp.f32 ff",
        "rcp.rm.f32 ff", "testp.finite.f32 pf", "testp.subnormal.f32 pf", "testp.number.f64 pd", "cvt.rn.f64.s32 dr", "cvt.rn.f64.u64 dq", "cvt.rn.f64.s64 dq", "cvt.rzi.s32.f64 rd", "cvt.rni.s64.f64 qd", "cvt.rzi.u32.f64 rd", "cvt.rmi.f64.f64 dd",
        "cvt.rn.f16.f32 hf", "cvt.f32.f16 fh", "cvt.rn.bf16.f32 gf", "add.f16 hhh", "sub.f16 hhh", "mul.f16 hhh", "fma.rn.f16 hhhh", "min.f16 hhh", "max.f16 hhh", "neg.f16 hh", "abs.f16 hh",
        "fma.rn.relu.f16 hhhh", "fma.rn.relu.bf16 gggg", "fma.rn.sat.f16 hhhh", "add.sat.f16 hhh", "mul.sat.f16 hhh", "min.NaN.f16 hhh", "max.NaN.bf16 ggg",
        "add.f16x2 vvv", "sub.f16x2 vvv", "mul.f16x2 vvv", "fma.rn.f16x2 vvvv", "fma.rn.relu.f16x2 vvvv", "min.f16x2 vvv", "max.NaN.f16x2 vvv", "neg.f16x2 vv", "abs.f16x2 vv", "cvt.rn.f16x2.f32 vff",
        "fma.rn.bf16x2 wwww", "min.bf16x2 www", "max.NaN.bf16x2 www", "neg.bf16x2 ww", "abs.bf16x2 ww", "cvt.rn.bf16x2.f32 wff", "cvt.rn.relu.bf16x2.f32 wff", "cvt.rz.bf16x2.f32 wff",
        "cvt.rz.f16.f32 hf", "cvt.rp.f16.f32 hf", "cvt.rn.relu.bf16.f32 gf", "cvt.rz.bf16.f32 gf", "cvt.rn.f16.f64 hd", "cvt.f64.f16 dh", "cvt.rn.f16.u32 hr", "cvt.rni.s32.f16 rh", "cvt.sat.f16.f32 hf",
        "fma.rn.bf16 gggg", "min.bf16 ggg", "max.bf16 ggg", "neg.bf16 gg", "abs.bf16 gg", "cvt.rn.f16.s32 hr", "cvt.rzi.s32.f16 rh",
    };
    /** Forms whose operands are all b32, for registers that are uniform or go in steps. */
    private static final String[] EVEN_FORMS = {"add.s32 rrr", "sub.s32 rrr", "mul.lo.s32 rrr", "mad.lo.s32 rrrr", "shl.b32 rrs", "shr.u32 rrs", "shr.s32 rrs", "and.b32 rrr", "or.b32 rrr", "xor.b32 rrr", "min.s32 rrr", "max.u32 rrr",
        "div.u32 rrr", "rem.s32 rrr", "selp.b32 rrrp", "neg.s32 rr", "abs.s32 rr", "popc.b32 rr", "cvt.s32.s16 rr", "bfe.u32 rrss", "mul.hi.u32 rrr"};
    private static final String[] COMPARE_FLOAT = {"eq", "ne", "lt", "le", "gt", "ge", "equ", "neu", "ltu", "leu", "gtu", "geu", "num", "nan"};
    private static final String[] COMPARE = {"eq", "ne", "lt", "le", "gt", "ge"};
    private static final int PREDICATES = 4, COUNTERS = 16, CELL_BYTES = 64, READ_MASK = 63;
    private static final int[][] BLOCKS = {{32, 1}, {64, 1}, {96, 1}, {45, 1}, {17, 1}, {8, 4}, {16, 3}, {5, 7}};
    private static final int[] SIZES = {2, 2, 3, 4, 5, 8, 24};   // statements of a part at most: most kernels are small, since LLVM takes its time for each line

    static final int GRID = 2;

    private final Random random;
    private final int blockX, blockY, threads;
    /** Whether a thread's registers lie together in memory, rather than each register's threads. */
    private final boolean together;
    private final StringBuilder text = new StringBuilder();
    private final BitSet used = new BitSet();
    private boolean local, shared, rows, cells;
    private int labels;
    private final String kernel;

    KernelGenerator(Random random) {
        this.random = random;
        int[] block = BLOCKS[random.nextInt(BLOCKS.length)];
        blockX = block[0];
        blockY = block[1];
        threads = blockX * blockY;
        together = random.nextInt(8) == 0;
        kernel = module();
    }

    /** A module with one entry {@code f(in, out, memory, n)}. */
    String text() { return kernel; }
    int[] block() { return new int[]{blockX, blockY}; }
    int threads() { return threads; }

    static int registers() {
        int n = 0;
        for (Kind k : Kind.values()) n += k.count;
        return n;
    }

    /** The kind of the n-th value a thread stores. */
    static Kind kind(int n) {
        for (Kind k : Kind.values()) {
            if (n < k.count) return k;
            n -= k.count;
        }
        throw new IndexOutOfBoundsException();
    }

    /** Which of its kind the n-th value a thread stores is. */
    static int ofItsKind(int n) { return n - first(kind(n)); }

    private static int first(Kind kind) {
        int n = 0;
        for (Kind k : Kind.values()) {
            if (k == kind) return n;
            n += k.count;
        }
        throw new IllegalArgumentException();
    }

    /** Where the n-th value of a thread of the grid lies in {@code in} and {@code out}. */
    long offset(int n, int thread) {
        int own = isHalf(kind(n)) ? ofItsKind(n) : 0;   // two halves lie in four bytes
        return (together ? 8L * (registers() * thread + n - own) : 8L * GRID * threads * (n - own) + (long) accessBytes(n) * thread) + 2 * own;
    }

    private static boolean isHalf(Kind k) { return k == Kind.F16 || k == Kind.BF16; }
    private static int accessBytes(int n) { return isHalf(kind(n)) ? 4 : kind(n).bytes; }

    /** Whether the kernel has the n-th value. */
    boolean uses(int n) { return used.get(n); }
    /** Bytes of {@code in} and of {@code out}. */
    long valueBytes() { return 8L * GRID * threads * registers(); }
    /** Bytes of the memory that threads add to together, and then of each on its own. */
    long memoryBytes() { return 4 * COUNTERS + (long) CELL_BYTES * GRID * threads; }

    private String module() {
        for (int parts = 1 + random.nextInt(2); parts > 0; parts--) {
            statements(1 + random.nextInt(SIZES[random.nextInt(SIZES.length)]), 0);
            switch (random.nextInt(8)) {
                case 0 -> uniformLoop();
                case 1 -> uniformBranch();
                case 2 -> { }
                default -> exchange();
            }
        }
        if (random.nextInt(10) == 0) {   // some threads end before the others
            line("@%p" + random.nextInt(PREDICATES) + " exit");
            statements(1 + random.nextInt(4), 0);
        }
        String body = text.toString();
        text.setLength(0);
        head();
        text.append(body);
        for (int bytes = 4; bytes <= 8; bytes *= 2) line("mad.wide.u32 %c" + bytes + ", %t3, " + step(bytes) + ", %a2");
        registers((n, type, register) -> {
            if (register.startsWith("{")) line("mov.b32 %t7, " + register);
            line("st.global." + type + " [%c" + accessBytes(n) + "+" + offset(n, 0) + "], " + (register.startsWith("{") ? "%t7" : register));
        });
        text.append("ret;\n}\n");
        return text.toString();
    }

    private void head() {
        text.append(".version 9.0\n.target sm_80\n.address_size 64\n.visible .entry f(.param .u64 in, .param .u64 out, .param .u64 memory, .param .u32 n)\n{\n.reg .pred %p<").append(PREDICATES + 3).append(">;\n");
        for (Kind k : Kind.values()) text.append(".reg .").append(k.type).append(' ').append(k.prefix).append('<').append(k.count).append(">;\n");
        text.append(".reg .b32 %t<32>;\n.reg .b64 %a<16>, %b<9>, %c<9>;\n");
        if (shared) text.append(".shared .align 16 .b8 exchange[").append(threads * 8).append("];\n.shared .align 16 .b8 counters[").append(4 * COUNTERS).append("];\n");
        if (rows) text.append(".shared .align 16 .b8 rows[").append(threads * 16).append("];\n");
        if (local) text.append(".local .align 16 .b8 pocket[16];\n");
        line("mov.u32 %t0, %tid.x");
        line("mov.u32 %t1, %ctaid.x");
        if (blockY > 1) {
            line("mov.u32 %t3, %tid.y");
            line("mad.lo.s32 %t0, %t3, " + blockX + ", %t0");
        }
        line("mad.lo.s32 %t3, %t1, " + threads + ", %t0");
        line("ld.param.u64 %a1, [in]");
        line("ld.param.u64 %a2, [out]");
        if (cells) {
            line("ld.param.u64 %a3, [memory]");
            line("mad.wide.u32 %a4, %t3, " + CELL_BYTES + ", %a3");
        }
        for (int bytes = 4; bytes <= 8; bytes *= 2) line("mad.wide.u32 %b" + bytes + ", %t3, " + step(bytes) + ", %a1");
        registers((n, type, register) -> {
            line("ld.global." + type + " " + (register.startsWith("{") ? "%t7" : register) + ", [%b" + accessBytes(n) + "+" + offset(n, 0) + "]");
            if (register.startsWith("{")) line("mov.b32 " + register + ", %t7");
        });
        for (int n = 0; n < Kind.UNIFORM.count; n++) if (used.get(first(Kind.UNIFORM) + n)) line(n == 0 ? "mov.u32 %u0, %t1" : "ld.param.u32 %u1, [n]");
        for (int n = 0; n < Kind.INDEX.count; n++) if (used.get(first(Kind.INDEX) + n)) line(n == 0 ? "mov.u32 %i0, %tid.x" : blockY > 1 ? "mov.u32 %i1, %tid.y" : "mov.u32 %i1, %laneid");
        if (local) line("st.local.v4.b32 [pocket], {%t0, %t1, %t3, 77}");
        for (int p = 0; p < PREDICATES; p++) line("setp." + COMPARE[p] + ".s32 %p" + p + ", %t0, " + (3 + 7 * p));
    }

    private interface Access { void of(int n, String type, String register); }

    /** Every register the kernel has; of halves two at once. */
    private void registers(Access access) {
        for (int n = 0; n < registers(); n++) {
            Kind k = kind(n);
            if (!isHalf(k)) {
                if (used.get(n)) access.of(n, k.type, k.register(ofItsKind(n)));
            } else if (ofItsKind(n) == 0 && (used.get(n) || used.get(n + 1))) {
                used.set(n, n + 2);
                access.of(n, "b32", "{" + k.register(0) + ", " + k.register(1) + "}");
            }
        }
    }

    private int step(int bytes) { return together ? 8 * registers() : bytes; }

    private void line(String s) { text.append(s).append(";\n"); }

    private String pick(String... of) { return of[random.nextInt(of.length)]; }

    private String register(Kind k) {
        int n = random.nextInt(k.count);
        used.set(first(k) + n);
        return k.register(n);
    }

    private String predicate() { return "%p" + random.nextInt(PREDICATES); }

    private String guard() { return random.nextInt(6) > 0 ? "" : "@" + (random.nextBoolean() ? "!" : "") + predicate() + " "; }

    /** Statements of threads that may be on different ways. */
    private void statements(int count, int depth) {
        while (count-- > 0) {
            switch (random.nextInt(24)) {
                case 0, 1 -> compare(random.nextInt(PREDICATES));
                case 2 -> { if (depth < 2) branch(depth); else operation(); }
                case 3 -> { if (depth < 2) loop(depth); else operation(); }
                case 4 -> { if (depth < 1) table(depth); else operation(); }
                case 5, 6 -> load();
                case 7 -> store();
                case 8 -> localMemory();
                case 9 -> estimate();
                case 10, 11, 12 -> even(random.nextBoolean() ? Kind.UNIFORM : Kind.INDEX);
                case 13 -> { if (depth == 0) amongThem(); else operation(); }
                default -> operation();
            }
        }
    }

    private void operation() {
        String[] form = FORMS[random.nextInt(FORMS.length)].split(" ");
        var s = new StringBuilder(guard()).append(form[0]);
        for (int k = 0; k < form[1].length(); k++) s.append(k == 0 ? " " : ", ").append(operand(form[1].charAt(k), k > 0, k > 0 && !form[0].startsWith("cvt")));
        line(s.toString());
    }

    private String operand(char kind, boolean source, boolean literal) {
        return switch (kind) {
            case 'r' -> {
                if (literal && random.nextInt(6) == 0) yield Integer.toString(random.nextInt(5) == 0 ? random.nextInt() : random.nextInt(64) - 8);
                yield register(source && random.nextInt(4) == 0 ? random.nextBoolean() ? Kind.UNIFORM : Kind.INDEX : Kind.B32);
            }
            case 'q' -> register(Kind.B64);
            case 'f' -> literal && random.nextInt(8) == 0 ? String.format("0f%08X", Float.floatToIntBits(Inputs.single(random))) : register(Kind.F32);
            case 'd' -> register(Kind.F64);
            case 'h' -> register(Kind.F16);
            case 'g' -> register(Kind.BF16);
            case 'v' -> register(Kind.F16X2);
            case 'w' -> register(Kind.BF16X2);
            case 'p' -> predicate();
            case 'l' -> Integer.toString(random.nextInt(256));
            default -> random.nextBoolean() ? Integer.toString(random.nextInt(40)) : register(Kind.B32);
        };
    }

    /** An operation among registers that are alike in all threads, or among those in steps and those. */
    private void even(Kind kind) {
        String[] form = pick(EVEN_FORMS).split(" ");
        var s = new StringBuilder(random.nextInt(12) == 0 ? guard() : "").append(form[0]).append(' ').append(register(kind));
        for (int k = 1; k < form[1].length(); k++) {
            s.append(", ");
            switch (form[1].charAt(k)) {
                case 'p' -> s.append(predicate());
                case 's' -> s.append(random.nextInt(20));
                default -> s.append(k > 1 && random.nextBoolean() ? Integer.toString(random.nextInt(12)) : register(k == 1 ? kind : random.nextInt(3) == 0 ? kind : Kind.UNIFORM));
            }
        }
        line(s.toString());
    }

    private void estimate() {
        int n = random.nextInt(APPROXIMATE.length);
        used.set(first(Kind.ESTIMATE) + n);
        used.set(first(Kind.OPERAND) + n);
        line("mov.f32 %y" + n + ", " + register(Kind.F32));
        line(APPROXIMATE[n] + " %x" + n + ", %y" + n);
    }

    private void compare(int p) {
        String type, a, b, how;
        switch (random.nextInt(9)) {
            case 0 -> { type = "u32"; a = register(Kind.B32); b = operand('r', true, true); how = pick(COMPARE); if (b.startsWith("-")) b = b.substring(1); }
            case 1 -> { type = pick("s64", "u64"); a = register(Kind.B64); b = register(Kind.B64); how = pick(COMPARE); }
            case 2 -> { type = pick("f32", "ftz.f32"); a = register(Kind.F32); b = operand('f', true, true); how = pick(COMPARE_FLOAT); }
            case 3 -> { type = "f64"; a = register(Kind.F64); b = register(Kind.F64); how = pick(COMPARE_FLOAT); }
            case 4 -> { type = "f16"; a = register(Kind.F16); b = register(Kind.F16); how = pick(COMPARE_FLOAT); }
            case 5 -> { type = "bf16"; a = register(Kind.BF16); b = register(Kind.BF16); how = pick(COMPARE_FLOAT); }
            case 6 -> { type = "u32"; a = register(random.nextBoolean() ? Kind.UNIFORM : Kind.INDEX); b = Integer.toString(random.nextInt(40)); how = pick(COMPARE); }
            default -> { type = "s32"; a = register(Kind.B32); b = operand('r', true, true); how = pick(COMPARE); }
        }
        String logic = random.nextInt(5) > 0 ? "" : "." + pick("and", "or", "xor");
        line("setp." + how + logic + "." + type + " %p" + p + (random.nextInt(6) == 0 ? "|" + "%p" + (p + 1) % PREDICATES : "") + ", " + a + ", " + b + (logic.isEmpty() ? "" : ", " + (random.nextBoolean() ? "!" : "") + predicate()));
    }

    // ---- memory

    /** Puts into %a5 an address of an element of {@code bytes} in what is only read. */
    private void readable(int bytes) {
        switch (random.nextInt(4)) {
            case 0 -> line("mad.wide.u32 %a5, %t0, " + bytes * (1 + random.nextInt(3)) + ", %a1");   // in steps
            case 1 -> line("add.s64 %a5, %a1, " + bytes * random.nextInt(8));   // one for all
            default -> {
                line("and.b32 %t7, " + register(pickIndex()) + ", " + READ_MASK);
                line("mad.wide.u32 %a5, %t7, " + bytes + ", %a1");
            }
        }
    }

    private Kind pickIndex() { return switch (random.nextInt(3)) { case 0 -> Kind.INDEX; case 1 -> Kind.UNIFORM; default -> Kind.B32; }; }

    private void load() {
        String cache = random.nextInt(3) == 0 ? ".nc" : "";
        switch (random.nextInt(8)) {
            case 0 -> { readable(1); line(guard() + "ld.global" + cache + "." + pick("u8", "s8") + " " + register(Kind.B32) + ", [%a5]"); }
            case 1 -> { readable(2); line(guard() + "ld.global" + cache + "." + pick("u16", "s16") + " " + register(Kind.B32) + ", [%a5+2]"); }
            case 2 -> { readable(8); line(guard() + "ld.global" + cache + ".b64 " + register(Kind.B64) + ", [%a5]"); }
            case 3 -> { readable(8); line(guard() + "ld.global" + cache + ".v2.b32 {" + register(Kind.B32) + ", %t8}, [%a5]"); }
            case 4 -> { readable(16); line(guard() + "ld.global" + cache + ".v4.b32 {%r0, %r1, %r2, %r3}, [%a5]"); for (int n = 0; n < 4; n++) used.set(first(Kind.B32) + n); }
            case 5 -> { readable(16); line(guard() + "ld.global" + cache + ".v2.b64 {%q0, %q1}, [%a5+16]"); used.set(first(Kind.B64), first(Kind.B64) + 2); }
            case 6 -> { readable(2); line(guard() + "ld.global" + cache + ".b16 " + register(random.nextBoolean() ? Kind.F16 : Kind.BF16) + ", [%a5]"); }
            default -> { readable(4); line(guard() + "ld.global" + cache + ".b32 " + register(random.nextInt(4) == 0 ? Kind.F32 : Kind.B32) + ", [%a5+4]"); }
        }
    }

    /** To the thread's own cell, at a fixed place or a computed one; or a sum with others. */
    private void store() {
        cells = true;
        if (random.nextInt(3) == 0) {
            line("and.b32 %t7, " + register(Kind.B32) + ", 48");
            line("cvt.u64.u32 %a5, %t7");
            line("add.s64 %a5, %a4, %a5");
        } else line("add.s64 %a5, %a4, " + 16 * random.nextInt(4));
        switch (random.nextInt(10)) {
            case 0 -> line(guard() + "st.global.u8 [%a5+3], " + register(Kind.B32));
            case 1 -> line(guard() + "st.global.u16 [%a5+6], " + register(Kind.B32));
            case 2 -> line(guard() + "st.global.b64 [%a5+8], " + register(Kind.B64));
            case 3 -> line(guard() + "st.global.v2.b32 [%a5], {" + register(Kind.B32) + ", " + register(Kind.B32) + "}");
            case 4 -> line(guard() + "st.global.v4.b32 [%a5], {" + register(Kind.B32) + ", " + register(Kind.INDEX) + ", " + register(Kind.B32) + ", " + register(Kind.UNIFORM) + "}");
            case 5 -> line(guard() + "st.global.v2.b64 [%a5], {" + register(Kind.B64) + ", " + register(Kind.B64) + "}");
            case 6 -> line(guard() + "atom.global." + pick("add.u32", "min.s32", "max.u32", "exch.b32", "and.b32", "or.b32", "xor.b32", "inc.u32", "dec.u32") + " " + register(Kind.B32) + ", [%a5+4], " + register(Kind.B32));
            case 7 -> line(guard() + "atom.global." + pick("add.u64", "min.s64", "max.u64", "exch.b64", "xor.b64") + " " + register(Kind.B64) + ", [%a5+8], " + register(Kind.B64));
            case 8 -> line(guard() + "atom.global.cas.b32 " + register(Kind.B32) + ", [%a5], " + register(Kind.B32) + ", " + register(Kind.B32));
            default -> {   // one operation a counter, so that their order does not matter
                int n = random.nextInt(SUMS.length);
                if (random.nextBoolean()) line(guard() + "red.global." + SUMS[n] + " [%a3+" + 4 * n + "], " + register(Kind.B32));
                else line(guard() + "red.global.add.u64 [%a3+" + 32 + "], " + register(Kind.B64));
            }
        }
        if (random.nextBoolean()) line("ld.global.b32 " + register(Kind.B32) + ", [%a5]");
    }

    private static final String[] SUMS = {"add.u32", "min.s32", "max.u32", "and.b32", "or.b32", "xor.b32", "max.s32", "min.u32"};

    private void localMemory() {
        local = true;
        line("and.b32 %t7, " + register(pickIndex()) + ", 12");
        line("mov.u32 %t8, pocket");
        line("add.u32 %t7, %t7, %t8");
        String d = random.nextInt(3) > 0 ? "%t7" : "pocket";
        if (random.nextBoolean()) line(guard() + "st.local.b32 [" + d + "], " + register(Kind.B32));
        else line(guard() + "ld.local." + pick("b32", "u8", "s16") + " " + register(Kind.B32) + ", [" + d + "]");
    }

    // ---- ways

    private void branch(int depth) {
        int n = labels++;
        boolean otherwise = random.nextBoolean();
        line("@" + (random.nextBoolean() ? "!" : "") + predicate() + " bra ELSE" + n);
        statements(1 + random.nextInt(3), depth + 1);
        if (otherwise) line("bra FI" + n);
        text.append("ELSE").append(n).append(":\n");
        if (otherwise) {
            statements(1 + random.nextInt(2), depth + 1);
            text.append("FI").append(n).append(":\n");
        }
    }

    /** One to four rounds, each lane as many as its own register says, with a way out in the middle. */
    private void loop(int depth) {
        int n = labels++, counter = 10 + depth;
        boolean leaves = random.nextBoolean();
        line("and.b32 %t" + counter + ", " + register(random.nextInt(3) == 0 ? pickIndex() : Kind.B32) + ", 3");
        text.append("LOOP").append(n).append(":\n");
        statements(1 + random.nextInt(2), depth + 1);
        if (leaves) line("@" + predicate() + " bra OUT" + n);
        statements(random.nextInt(2), depth + 1);
        line("sub.s32 %t" + counter + ", %t" + counter + ", 1");
        line("setp.ge.s32 %p" + PREDICATES + ", %t" + counter + ", 0");
        line("@%p" + PREDICATES + " bra LOOP" + n);
        if (leaves) text.append("OUT").append(n).append(":\n");
    }

    private void table(int depth) {
        int n = labels++, ways = 2 + random.nextInt(3);
        line("and.b32 %t7, " + register(random.nextInt(3) == 0 ? pickIndex() : Kind.B32) + ", 7");
        line("min.u32 %t7, %t7, " + (ways - 1));
        text.append("TABLE").append(n).append(": .branchtargets ");
        for (int w = 0; w < ways; w++) text.append(w == 0 ? "" : ", ").append("WAY").append(n).append('_').append(w);
        text.append(";\n");
        line("brx.idx %t7, TABLE" + n);
        for (int w = 0; w < ways; w++) {
            text.append("WAY").append(n).append('_').append(w).append(":\n");
            statements(1 + random.nextInt(2), depth + 1);
            if (random.nextInt(3) > 0) line("bra JOIN" + n);
        }
        text.append("JOIN").append(n).append(":\n");
    }

    /** Lanes that a ballot named exchange on a way of their own. */
    private void amongThem() {
        int n = labels++;
        String p = predicate();
        String d = register(Kind.B32), a = register(Kind.B32);
        line("vote.sync.ballot.b32 %t14, " + p + ", -1");
        line("@!" + p + " bra REST" + n);
        switch (random.nextInt(5)) {
            case 0 -> line("redux.sync." + pick("add.s32", "min.s32", "max.u32", "and.b32", "or.b32", "xor.b32") + " " + d + ", " + a + ", %t14");
            case 1 -> line("match.any.sync.b32 " + d + ", " + a + ", %t14");
            case 2 -> line("vote.sync.ballot.b32 " + d + ", " + predicate() + ", %t14");
            case 3 -> line("vote.sync." + pick("all", "any", "uni") + ".pred " + predicate() + ", " + predicate() + ", %t14");
            default -> {   // from the first of them
                line("brev.b32 %t15, %t14");
                line("clz.b32 %t15, %t15");
                line("shfl.sync.idx.b32 " + d + ", " + a + ", %t15, 31, %t14");
            }
        }
        statements(random.nextInt(2), 1);
        text.append("REST").append(n).append(":\n");
    }

    private void uniformLoop() {
        int n = labels++;
        line("add.u32 %t13, %t1, " + random.nextInt(2));
        text.append("AGAIN").append(n).append(":\n");
        statements(1 + random.nextInt(3), 1);
        exchange();
        line("sub.u32 %t13, %t13, 1");
        line("setp.ge.s32 %p" + (PREDICATES + 1) + ", %t13, 0");
        line("@%p" + (PREDICATES + 1) + " bra AGAIN" + n);
    }

    private void uniformBranch() {
        int n = labels++;
        line("setp.eq.u32 %p" + (PREDICATES + 1) + ", %t1, " + random.nextInt(GRID));
        line("@%p" + (PREDICATES + 1) + " bra OTHER" + n);
        exchange();
        line("bra SAME" + n);
        text.append("OTHER").append(n).append(":\n");
        exchange();
        text.append("SAME").append(n).append(":\n");
    }

    // ---- all threads together

    /** Between the lanes of a warp or the threads of the block. */
    private void exchange() {
        String d = register(Kind.B32), a = register(Kind.B32);
        boolean whole = threads % 32 == 0;
        int fewest = whole ? 32 : threads % 32;   // lanes of the last warp
        switch (random.nextInt(12)) {
            case 0 -> line("shfl.sync." + (whole ? pick("up", "down", "bfly", "idx") : "idx") + ".b32 " + d + "|" + predicate() + ", " + a + ", " + random.nextInt(fewest) + ", "
                    + (whole && random.nextBoolean() ? "6175" : "31") + ", -1");
            case 1 -> {
                line(whole ? "and.b32 %t7, " + register(Kind.B32) + ", 31" : "rem.u32 %t7, " + register(Kind.B32) + ", " + fewest);
                line("shfl.sync." + (whole ? pick("up", "down", "bfly", "idx") : "idx") + ".b32 " + d + "|" + predicate() + ", " + a + ", %t7, " + (whole && random.nextBoolean() ? "4127" : "31") + ", -1");
            }
            case 2 -> line("vote.sync.ballot.b32 " + d + ", " + (random.nextBoolean() ? "!" : "") + predicate() + ", -1");
            case 3 -> line("vote.sync." + pick("all", "any", "uni") + ".pred " + predicate() + ", " + predicate() + ", -1");
            case 4 -> line("redux.sync." + pick("add.s32", "min.s32", "max.u32", "and.b32", "or.b32", "xor.b32") + " " + d + ", " + a + ", -1");
            case 5 -> {
                if (random.nextInt(3) > 0) line("and.b32 " + a + ", " + a + ", 3");
                line(random.nextBoolean() ? "match.any.sync.b32 " + d + ", " + a + ", -1" : "match.all.sync.b32 " + d + "|" + predicate() + ", " + a + ", -1");
            }
            case 6, 7 -> counters(d, a);
            case 8 -> { if (whole) loadMatrix(); else neighbours(d); }
            case 9 -> { if (whole) multiplyMatrices(); else neighbours(d); }
            default -> neighbours(d);
        }
    }

    /** Every thread reads what another wrote. */
    private void neighbours(String d) {
        shared = true;
        line("mov.u32 %t4, exchange");
        line("shl.b32 %t5, %t0, 3");
        line("add.u32 %t5, %t4, %t5");
        line(random.nextBoolean() ? "st.shared.b64 [%t5], " + register(Kind.B64) : "st.shared.v2.b32 [%t5], {" + register(Kind.B32) + ", " + register(Kind.INDEX) + "}");
        line("bar.sync 0");
        if (random.nextBoolean()) line("add.u32 %t6, %t0, " + (1 + random.nextInt(40)));
        else line("add.u32 %t6, " + register(Kind.B32) + ", %t0");
        line("rem.u32 %t6, %t6, " + threads);
        line("shl.b32 %t6, %t6, 3");
        line("add.u32 %t6, %t4, %t6");
        switch (random.nextInt(4)) {
            case 0 -> line("ld.shared.b64 " + register(Kind.B64) + ", [%t6]");
            case 1 -> line("ld.shared.v2.b32 {" + d + ", %t8}, [%t6]");
            case 2 -> line("ld.shared." + pick("u8", "s16") + " " + d + ", [%t6+2]");
            default -> line("ld.shared.b32 " + d + ", [%t6+4]");
        }
        line("bar.sync 0");
    }

    /** Counters of the block that all threads add to, one operation each. */
    private void counters(String d, String a) {
        shared = true;
        int n = random.nextInt(SUMS.length);
        line("mov.u32 %t4, counters");
        line("setp.lt.u32 %p" + PREDICATES + ", %t0, " + COUNTERS);
        line("shl.b32 %t5, %t0, 2");
        line("add.u32 %t5, %t4, %t5");
        line("@%p" + PREDICATES + " st.shared.b32 [%t5], %t1");
        line("bar.sync 0");
        if (random.nextBoolean()) {
            line("and.b32 %t6, " + register(Kind.B32) + ", 12");   // any of four
            line("add.u32 %t6, %t6, %t4");
        } else line("mov.u32 %t6, %t4");
        line(guard() + (random.nextBoolean() ? "red.shared." + SUMS[n] + " [%t6], " : "atom.shared." + SUMS[n] + " %t9, [%t6], ") + a);
        line("bar.sync 0");
        line("ld.shared.b32 " + d + ", [%t4+" + 4 * random.nextInt(4) + "]");
        line("bar.sync 0");
    }

    /** The address of a row of 16 bytes for each lane, rows written before. */
    private void loadMatrix() {
        rows = true;
        used.set(first(Kind.B32), first(Kind.B32) + 4);
        used.set(first(Kind.B64), first(Kind.B64) + 2);
        line("mov.u32 %t4, rows");
        line("shl.b32 %t5, %t0, 4");
        line("add.u32 %t5, %t4, %t5");
        line("st.shared.v2.b64 [%t5], {%q0, %q1}");
        line("bar.sync 0");
        line("xor.b32 %t6, %t0, " + random.nextInt(32));
        line("shl.b32 %t6, %t6, 4");
        line("add.u32 %t6, %t4, %t6");
        String how = random.nextBoolean() ? ".trans" : "";
        switch (random.nextInt(3)) {
            case 0 -> line("ldmatrix.sync.aligned.m8n8.x1" + how + ".shared.b16 {%r0}, [%t6]");
            case 1 -> line("ldmatrix.sync.aligned.m8n8.x2" + how + ".shared.b16 {%r0, %r1}, [%t6]");
            default -> line("ldmatrix.sync.aligned.m8n8.x4" + how + ".shared.b16 {%r0, %r1, %r2, %r3}, [%t6]");
        }
        line("bar.sync 0");
    }

    /** Of halves and ones with signs and of small integers: the sum is exact in whatever order. */
    private void multiplyMatrices() {
        used.set(first(Kind.F32), first(Kind.F32) + 4);
        int kind = random.nextInt(3);
        String type = new String[]{"bf16", "f16", "tf32"}[kind];
        String mask = new String[]{"0x80808080", "0x84008400", "0x80800000"}[kind], one = new String[]{"0x3F003F00", "0x38003800", "0x3F000000"}[kind];
        for (int n = 16; n < 22; n++) {
            line("mul.lo.u32 %t" + n + ", " + register(Kind.B32) + ", " + (2 * random.nextInt(1 << 20) + 1));
            line("and.b32 %t" + n + ", %t" + n + ", " + mask);
            line("or.b32 %t" + n + ", %t" + n + ", " + one);
        }
        for (int n = 0; n < 4; n++) {
            line("and.b32 %t7, " + register(Kind.B32) + ", 1023");
            line("cvt.rn.f32.s32 %f" + n + ", %t7");
        }
        boolean k16 = kind < 2 && random.nextBoolean();
        String shape = kind == 2 ? "m16n8k8" : k16 ? "m16n8k16" : "m16n8k8";
        boolean large = kind == 2 || k16;   // four registers of A and two of B
        line("mma.sync.aligned." + shape + ".row.col.f32." + type + "." + type + ".f32 {%f0, %f1, %f2, %f3}, {" + (large ? "%t16, %t17, %t18, %t19" : "%t16, %t17") + "}, {" + (large ? "%t20, %t21" : "%t20") + "}, {%f0, %f1, %f2, %f3}");
    }
}
