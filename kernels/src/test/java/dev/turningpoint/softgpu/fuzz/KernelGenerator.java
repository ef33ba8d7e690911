package dev.turningpoint.softgpu.fuzz;

import java.util.Random;

/**
 * PTX text from a seed: every thread loads its registers, computes on them through branches, loops, predicates, exchanges with its warp and its block, and stores them.
 * What hardware leaves undefined does not occur: exchanges stand where all threads pass, and shared memory is written and read between barriers.
 * Floats never turn into integers by their bits, so that the bits of a NaN, which no manual fixes, stay where they are told apart.
 */
final class KernelGenerator {
    /** Registers of a kind: their type, name prefix and count. */
    enum Kind {
        B32("b32", "%r", 6), B64("b64", "%rd", 3), F32("f32", "%f", 5), F64("f64", "%d", 3), F16("b16", "%h", 2), BF16("b16", "%g", 2);

        final String type, prefix;
        final int count;

        Kind(String type, String prefix, int count) {
            this.type = type;
            this.prefix = prefix;
            this.count = count;
        }
    }

    /** Each letter of a form after the opcode is an operand: r b32, q b64, f f32, d f64, h f16, g bf16, p predicate, s shift amount or bit position; the first is the result. */
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
        "add.rn.f32 fff", "sub.rn.f32 fff", "mul.rn.f32 fff", "fma.rn.f32 ffff", "add.ftz.f32 fff", "mul.ftz.f32 fff", "fma.rn.ftz.f32 ffff", "add.sat.f32 fff", "fma.rn.sat.f32 ffff", "div.rn.f32 fff",
        "div.rn.ftz.f32 fff", "rcp.rn.f32 ff", "sqrt.rn.f32 ff", "sqrt.rn.ftz.f32 ff", "abs.f32 ff", "neg.f32 ff", "abs.ftz.f32 ff", "min.f32 fff", "max.f32 fff", "min.NaN.f32 fff", "max.ftz.f32 fff",
        "add.rz.f32 fff", "add.rm.f32 fff", "add.rp.f32 fff", "mul.rz.f32 fff", "mul.rp.f32 fff", "fma.rz.f32 ffff", "fma.rm.f32 ffff", "selp.f32 fffp", "cvt.rni.f32.f32 ff", "cvt.rzi.f32.f32 ff", "cvt.rmi.f32.f32 ff",
        "cvt.rpi.f32.f32 ff", "cvt.sat.f32.f32 ff", "cvt.rn.f32.s32 fr", "cvt.rn.f32.u32 fr", "cvt.rz.f32.s32 fr", "cvt.rn.f32.s64 fq", "cvt.rn.f32.u64 fq", "cvt.rni.s32.f32 rf", "cvt.rzi.s32.f32 rf",
        "cvt.rmi.s32.f32 rf", "cvt.rpi.u32.f32 rf", "cvt.rzi.u32.f32 rf", "cvt.rzi.s64.f32 qf", "cvt.rzi.u64.f32 qf", "cvt.rzi.ftz.s32.f32 rf", "cvt.f64.f32 df", "cvt.rn.f32.f64 fd", "cvt.rz.f32.f64 fd", "cvt.rp.f32.f64 fd",
        "add.rn.f64 ddd", "sub.rn.f64 ddd", "mul.rn.f64 ddd", "fma.rn.f64 dddd", "div.rn.f64 ddd", "rcp.rn.f64 dd", "sqrt.rn.f64 dd", "abs.f64 dd", "neg.f64 dd", "min.f64 ddd", "max.f64 ddd", "selp.f64 dddp",
        "cvt.rn.f64.s32 dr", "cvt.rn.f64.u64 dq", "cvt.rn.f64.s64 dq", "cvt.rzi.s32.f64 rd", "cvt.rni.s64.f64 qd", "cvt.rzi.u32.f64 rd", "cvt.rmi.f64.f64 dd",
        "cvt.rn.f16.f32 hf", "cvt.f32.f16 fh", "cvt.rn.bf16.f32 gf", "add.f16 hhh", "sub.f16 hhh", "mul.f16 hhh", "fma.rn.f16 hhhh", "min.f16 hhh", "max.f16 hhh", "neg.f16 hh", "abs.f16 hh",
        "fma.rn.bf16 gggg", "min.bf16 ggg", "max.bf16 ggg", "neg.bf16 gg", "abs.bf16 gg", "cvt.rn.f16.s32 hr", "cvt.rzi.s32.f16 rh",
    };
    private static final String[] COMPARE_FLOAT = {"eq", "ne", "lt", "le", "gt", "ge", "equ", "neu", "ltu", "leu", "gtu", "geu", "num", "nan"};
    private static final String[] COMPARE = {"eq", "ne", "lt", "le", "gt", "ge"};
    private static final int PREDICATES = 4;

    private final Random random;
    private final StringBuilder text = new StringBuilder();
    private int labels;

    private KernelGenerator(Random random) { this.random = random; }

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

    /** The name of the n-th value a thread stores. */
    static String name(int n) {
        Kind kind = kind(n);
        for (Kind k : Kind.values()) {
            if (k == kind) break;
            n -= k.count;
        }
        return kind.prefix + n;
    }

    /** A module with one entry {@code f(in, out)}: 8 bytes a register and thread, thread after thread. */
    static String kernel(Random random, int threads) {
        var g = new KernelGenerator(random);
        g.module(threads);
        return g.text.toString();
    }

    private void module(int threads) {
        text.append(".version 9.0\n.target sm_80\n.address_size 64\n.visible .entry f(.param .u64 in, .param .u64 out)\n{\n.reg .pred %p<").append(PREDICATES + 2).append(">;\n");
        for (Kind k : Kind.values()) text.append(".reg .").append(k.type).append(' ').append(k.prefix).append('<').append(k.count).append(">;\n");
        text.append(".reg .b32 %t<24>;\n.reg .b64 %a<8>;\n.shared .align 16 .b8 exchange[").append(threads * 8).append("];\n");
        text.append("mov.u32 %t0, %tid.x;\nmov.u32 %t1, %ctaid.x;\nmov.u32 %t2, %ntid.x;\nmad.lo.s32 %t3, %t1, %t2, %t0;\nmul.wide.u32 %a0, %t3, ").append(8 * registers()).append(";\n");
        text.append("ld.param.u64 %a1, [in];\nld.param.u64 %a2, [out];\nadd.s64 %a1, %a1, %a0;\nadd.s64 %a2, %a2, %a0;\n");
        int n = 0;
        for (Kind k : Kind.values()) for (int r = 0; r < k.count; r++) line("ld.global." + k.type + " " + k.prefix + r + ", [%a1+" + 8 * n++ + "]");
        if (random.nextInt(3) == 0) line("mov.u32 %r0, %t1");   // something uniform, something with a pattern
        if (random.nextInt(3) == 0) line("mov.u32 %r1, %t0");
        for (int p = 0; p < PREDICATES; p++) compare(p);
        for (int parts = 2 + random.nextInt(3); parts > 0; parts--) {
            statements(4 + random.nextInt(10), 0);
            exchange(threads);
        }
        n = 0;
        for (Kind k : Kind.values()) for (int r = 0; r < k.count; r++) line("st.global." + k.type + " [%a2+" + 8 * n++ + "], " + k.prefix + r);
        text.append("ret;\n}\n");
    }

    private void line(String s) { text.append(s).append(";\n"); }

    private String register(Kind k) { return k.prefix + random.nextInt(k.count); }

    private void statements(int count, int depth) {
        while (count-- > 0) {
            int what = random.nextInt(20);
            if (what < 2) compare(random.nextInt(PREDICATES));
            else if (what == 2 && depth < 2) branch(depth);
            else if (what == 3 && depth < 2) loop(depth);
            else operation();
        }
    }

    private void operation() {
        String[] form = FORMS[random.nextInt(FORMS.length)].split(" ");
        var s = new StringBuilder();
        if (random.nextInt(5) == 0) s.append('@').append(random.nextBoolean() ? "!" : "").append("%p").append(random.nextInt(PREDICATES)).append(' ');
        s.append(form[0]);
        for (int k = 0; k < form[1].length(); k++) s.append(k == 0 ? " " : ", ").append(operand(form[1].charAt(k), k > 0 && !form[0].startsWith("cvt")));
        line(s.toString());
    }

    private String operand(char kind, boolean source) {
        return switch (kind) {
            case 'r' -> source && random.nextInt(6) == 0 ? Integer.toString(random.nextInt(5) == 0 ? random.nextInt() : random.nextInt(64) - 8) : register(Kind.B32);
            case 'q' -> register(Kind.B64);
            case 'f' -> source && random.nextInt(8) == 0 ? String.format("0f%08X", Float.floatToIntBits(Inputs.single(random))) : register(Kind.F32);
            case 'd' -> register(Kind.F64);
            case 'h' -> register(Kind.F16);
            case 'g' -> register(Kind.BF16);
            case 'p' -> "%p" + random.nextInt(PREDICATES);
            default -> random.nextBoolean() ? Integer.toString(random.nextInt(40)) : register(Kind.B32);
        };
    }

    private void compare(int p) {
        String type, a, b, how;
        switch (random.nextInt(5)) {
            case 0 -> { type = "u32"; a = register(Kind.B32); b = operand('r', true); how = COMPARE[random.nextInt(COMPARE.length)]; if (b.startsWith("-")) b = b.substring(1); }
            case 1 -> { type = "s64"; a = register(Kind.B64); b = register(Kind.B64); how = COMPARE[random.nextInt(COMPARE.length)]; }
            case 2 -> { type = random.nextBoolean() ? "f32" : "ftz.f32"; a = register(Kind.F32); b = operand('f', true); how = COMPARE_FLOAT[random.nextInt(COMPARE_FLOAT.length)]; }
            case 3 -> { type = "f64"; a = register(Kind.F64); b = register(Kind.F64); how = COMPARE_FLOAT[random.nextInt(COMPARE_FLOAT.length)]; }
            default -> { type = "s32"; a = register(Kind.B32); b = operand('r', true); how = COMPARE[random.nextInt(COMPARE.length)]; }
        }
        line("setp." + how + "." + type + " %p" + p + ", " + a + ", " + b);
    }

    private void branch(int depth) {
        int n = labels++;
        boolean otherwise = random.nextBoolean();
        line("@" + (random.nextBoolean() ? "!" : "") + "%p" + random.nextInt(PREDICATES) + " bra ELSE" + n);
        statements(1 + random.nextInt(4), depth + 1);
        if (otherwise) line("bra FI" + n);
        text.append("ELSE").append(n).append(":\n");
        if (otherwise) {
            statements(1 + random.nextInt(4), depth + 1);
            text.append("FI").append(n).append(":\n");
        }
    }

    /** One to four rounds, each lane as many as its own register says, with a way out in the middle. */
    private void loop(int depth) {
        int n = labels++, counter = 10 + depth;
        boolean leaves = random.nextBoolean();
        line("and.b32 %t" + counter + ", " + register(Kind.B32) + ", 3");
        text.append("LOOP").append(n).append(":\n");
        statements(1 + random.nextInt(3), depth + 1);
        if (leaves) line("@%p" + random.nextInt(PREDICATES) + " bra OUT" + n);
        statements(random.nextInt(3), depth + 1);
        line("sub.s32 %t" + counter + ", %t" + counter + ", 1");
        line("setp.ge.s32 %p" + PREDICATES + ", %t" + counter + ", 0");
        line("@%p" + PREDICATES + " bra LOOP" + n);
        if (leaves) text.append("OUT").append(n).append(":\n");
    }

    /** Between the lanes of a warp or the threads of the block; all threads are together here. */
    private void exchange(int threads) {
        String d = register(Kind.B32), a = register(Kind.B32);
        boolean whole = threads % 32 == 0;
        switch (random.nextInt(8)) {
            case 0 -> line("shfl.sync." + new String[]{"up", "down", "bfly", "idx"}[whole ? random.nextInt(4) : 3] + ".b32 " + d + "|%p" + random.nextInt(PREDICATES) + ", " + a + ", "
                    + (whole ? Integer.toString(random.nextInt(32)) : Integer.toString(random.nextInt(threads % 32))) + ", " + (whole && random.nextBoolean() ? "6175" : "31") + ", -1");
            case 1 -> {
                if (whole) line("shfl.sync.idx.b32 " + d + ", " + a + ", " + register(Kind.B32) + ", 31, -1");
                else line("vote.sync.any.pred %p0, %p1, -1");
            }
            case 2 -> line("vote.sync.ballot.b32 " + d + ", %p" + random.nextInt(PREDICATES) + ", -1");
            case 3 -> line("vote.sync." + (random.nextBoolean() ? "all" : "any") + ".pred %p" + random.nextInt(PREDICATES) + ", %p" + random.nextInt(PREDICATES) + ", -1");
            case 4 -> line("redux.sync." + new String[]{"add.s32", "min.s32", "max.u32", "and.b32", "or.b32", "xor.b32"}[random.nextInt(6)] + " " + d + ", " + a + ", -1");
            case 5 -> line("match.any.sync.b32 " + d + ", " + a + ", -1");
            default -> {   // every thread reads what another wrote
                line("mov.u32 %t4, exchange");
                line("shl.b32 %t5, %t0, 3");
                line("add.u32 %t5, %t4, %t5");
                line("st.shared.b64 [%t5], " + register(Kind.B64));
                line("bar.sync 0");
                line("add.u32 %t6, %t0, " + (1 + random.nextInt(40)));
                line("rem.u32 %t6, %t6, %t2");
                line("shl.b32 %t6, %t6, 3");
                line("add.u32 %t6, %t4, %t6");
                line(random.nextBoolean() ? "ld.shared.b64 " + register(Kind.B64) + ", [%t6]" : "ld.shared.b32 " + d + ", [%t6+4]");
                line("bar.sync 0");
            }
        }
    }
}
