package dev.turningpoint.softgpu.jit;

import dev.turningpoint.softgpu.analysis.KernelAnalysis;
import dev.turningpoint.softgpu.analysis.Shape;
import dev.turningpoint.softgpu.ptx.Instruction;
import dev.turningpoint.softgpu.ptx.Operand;
import dev.turningpoint.softgpu.ptx.PtxType;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** Everything that computes registers from registers: integers, floats, conversions, comparisons, moves, and what passes between lanes. */
final class Arithmetic {
    private final KernelEmitter k;
    private final Ir ir;

    // of the instruction being emitted
    private Instruction i;
    private Shape shape;
    private boolean vec;

    Arithmetic(KernelEmitter k) { this.k = k; this.ir = k.ir; }

    void emit(Instruction instruction) {
        i = instruction;
        switch (i.opcode()) {
            case "shfl" -> { shuffle(); return; }
            case "vote" -> { vote(); return; }
            case "activemask" -> { shape = Shape.UNIFORM; vec = false; put(ir.maskBits(k.activeMask()), "i32"); return; }
            case "redux" -> { redux(); return; }
            case "match" -> { match(); return; }
            default -> { }
        }
        shape = k.analysis.result(i);
        // A write into a register whose other definitions vary may still be computed once.
        vec = shape.isVarying();
        if (k.guardVaries(i)) {   // the guard made it varying, not the value
            boolean uniform = true;
            for (int n = 1; n < i.operands().size(); n++) uniform &= k.analysis.of(i.operand(n)).isUniform();
            if (uniform) { vec = false; shape = Shape.UNIFORM; }
        }
        if (!vec && shape.constant() != null && i.operand(0) instanceof Operand.Reg d && !Ir.isFloat(KernelEmitter.typeOf(d.register().type()))) {
            String t = KernelEmitter.typeOf(d.register().type());
            k.writeScalar(d, Ir.integer(t, shape.constant() + shape.pattern()[0]), t, shape);
            return;
        }
        PtxType t = i.type();
        if (t == null && !i.is("bar")) throw k.refuse(i, "no type");
        switch (i.opcode()) {
            case "mov" -> move(t);
            case "cvta" -> address();
            case "cvt" -> convert();
            case "setp" -> compare(true);
            case "set" -> compare(false);
            case "selp" -> {
                String y = natural(t);
                Long known = k.analysis.of(i.operand(3)).value();
                if (known != null && i.operand(3) instanceof Operand.Reg p) put(get((known != 0) != p.negated() ? 1 : 2, y), y);
                else put(ir.select(y, vec, get(3, "i1"), get(1, y), get(2, y)), y);
            }
            case "slct" -> {
                List<PtxType> both = i.types();
                String y = natural(both.get(0)), c = natural(both.get(1));
                String q = ir.compare(both.get(1).isFloat() ? "oge" : "sge", c, vec, get(3, c), constant(c, 0));
                put(ir.select(y, vec, q, get(1, y), get(2, y)), y);
            }
            default -> {
                if (t == PtxType.PRED) logic("i1");
                else if (t.isFloat()) real(t);
                else integer(t);
            }
        }
    }

    private static String natural(PtxType t) { return KernelEmitter.typeOf(t); }
    private String get(int n, String type) { return k.value(i.operand(n), type, vec); }
    private void put(String v, String type) { k.write(i.operand(0), v, type, vec, shape); }
    private String constant(String type, long v) { return Ir.isFloat(type) ? Ir.constant(type, vec, (double) v) : Ir.constant(type, vec, v); }
    private String op(String o, String type, String a, String b) { return ir.binary(o, type, vec, a, b); }

    private void only(String... allowed) {
        var ok = List.of(allowed);
        for (String m : i.modifiers()) if (PtxType.of(m) == null && !ok.contains(m)) throw k.refuse(i, "modifier ." + m);
    }

    // ---- moves

    private void move(PtxType t) {
        Operand d = i.operand(0), s = i.operand(1);
        if (s instanceof Operand.Vector v) { pack(t, v.elements()); return; }
        if (d instanceof Operand.Vector v) { unpack(t, v.elements()); return; }
        if (t == PtxType.B128) throw k.refuse(i, "");
        String y = d instanceof Operand.Reg r ? natural(r.register().type()) : natural(t);
        if (Ir.bytes(y) != t.bytes() && t != PtxType.PRED) y = natural(t);
        put(get(1, y), y);
    }

    private void pack(PtxType t, List<Operand> parts) {
        String whole = "i" + t.bits(), part = "i" + t.bits() / parts.size();
        String r = null;
        for (int n = 0; n < parts.size(); n++) {
            String x = ir.cast("zext", part, whole, vec, k.value(parts.get(n), part, vec));
            if (n > 0) x = op("shl", whole, x, constant(whole, (long) n * Ir.bytes(part) * 8));
            r = r == null ? x : op("or", whole, r, x);
        }
        put(r, whole);
    }

    private void unpack(PtxType t, List<Operand> parts) {
        String whole = "i" + t.bits(), part = "i" + t.bits() / parts.size();
        String v = get(1, whole);
        for (int n = 0; n < parts.size(); n++) {
            if (parts.get(n) instanceof Operand.Sink) continue;
            String x = n == 0 ? v : op("lshr", whole, v, constant(whole, (long) n * Ir.bytes(part) * 8));
            k.write(parts.get(n), ir.cast("trunc", whole, part, vec, x), part, vec, Shape.UNIFORM);
        }
    }

    private void address() {
        String y = natural(i.type()), v = get(1, y);
        if (i.has("shared")) {
            String base = k.convert(ir.temp("ptrtoint ptr %shared to i64"), "i64", y, false);
            v = op(i.has("to") ? "sub" : "add", y, v, vec ? ir.splat(y, base) : base);
        } else if (i.has("local")) {   // the lane's own part is added, or taken off again
            String base = vec ? k.localBase() : ir.temp("ptrtoint ptr %local to i64");
            v = op(i.has("to") ? "sub" : "add", "i64", v, base);
        } else if (i.has("param")) throw k.refuse(i, "");
        put(v, y);
    }

    // ---- comparisons

    private void compare(boolean predicate) {
        List<PtxType> types = i.types();
        PtxType t = types.get(types.size() - 1);
        String cmp = i.modifiers().get(0), logic = null;
        for (String m : i.modifiers()) if (m.equals("and") || m.equals("or") || m.equals("xor")) logic = m;
        String r;
        if (t.isFloat() && t != PtxType.F16X2 && t != PtxType.BF16X2) {
            String y = work(t);
            String a = flushed(floating(1, t), y), b = flushed(floating(2, t), y);
            r = ir.compare(floatPredicate(cmp), y, vec, a, b);
        } else if (t.isFloat()) { comparePacked(t, types.get(0), predicate, cmp); return; }
        else {
            String y = natural(t), s = t.isSigned() ? "s" : "u";
            String p = switch (cmp) {
                case "eq", "ne" -> cmp; case "lt", "le", "gt", "ge" -> s + cmp;
                case "lo" -> "ult"; case "ls" -> "ule"; case "hi" -> "ugt"; case "hs" -> "uge";
                default -> throw k.refuse(i, "comparison " + cmp);
            };
            r = ir.compare(p, y, vec, get(1, y), get(2, y));
        }
        String no = null;
        if (logic != null) {
            String c = get(3, "i1");
            no = op(logic, "i1", op("xor", "i1", r, constant("i1", 1)), c);
            r = op(logic, "i1", r, c);
        }
        if (!predicate) {
            PtxType d = types.get(0);
            String y = natural(d), truth = d == PtxType.F32 ? Ir.constant(y, vec, 1.0) : constant(y, d == PtxType.F16 ? 0x3c00 : d == PtxType.BF16 ? 0x3f80 : -1);
            put(ir.select(y, vec, r, truth, constant(y, 0)), y);
        } else if (i.operand(0) instanceof Operand.Pair p) {
            if (no == null) no = op("xor", "i1", r, constant("i1", 1));
            k.write(p.first(), r, "i1", vec, shape);
            k.write(p.second(), no, "i1", vec, shape);
        } else put(r, "i1");
    }

    private String floatPredicate(String cmp) {
        return switch (cmp) {
            case "eq" -> "oeq"; case "ne" -> "one"; case "lt" -> "olt"; case "le" -> "ole"; case "gt" -> "ogt"; case "ge" -> "oge";
            case "equ" -> "ueq"; case "neu" -> "une"; case "ltu" -> "ult"; case "leu" -> "ule"; case "gtu" -> "ugt"; case "geu" -> "uge";
            case "num" -> "ord"; case "nan" -> "uno";
            default -> throw k.refuse(i, "comparison " + cmp);
        };
    }

    /** Both halves apart: two predicates, or in each half of the result ones, or 1.0. */
    private void comparePacked(PtxType t, PtxType result, boolean predicate, String cmp) {
        PtxType one = t == PtxType.F16X2 ? PtxType.F16 : PtxType.BF16;
        if (i.operands().size() > 3) throw k.refuse(i, "with a third operand");
        String a = get(1, "i32"), b = get(2, "i32");
        var r = new String[2];
        for (int h = 0; h < 2; h++) {
            var half = new String[]{a, b};
            for (int n = 0; n < 2; n++) half[n] = flushed(widened(ir.cast("trunc", "i32", "i16", vec, h == 0 ? half[n] : op("lshr", "i32", half[n], constant("i32", 16))), one), "float");
            r[h] = ir.compare(floatPredicate(cmp), "float", vec, half[0], half[1]);
        }
        if (predicate) {
            if (!(i.operand(0) instanceof Operand.Pair p)) throw k.refuse(i, "");
            k.write(p.first(), r[0], "i1", vec, shape);
            k.write(p.second(), r[1], "i1", vec, shape);
            return;
        }
        boolean real = result.isFloat();
        long truth = !real ? 0xffff : one == PtxType.F16 ? 0x3c00 : 0x3f80;
        put(op("or", "i32", ir.select("i32", vec, r[0], constant("i32", truth), constant("i32", 0)),
                ir.select("i32", vec, r[1], constant("i32", truth << 16), constant("i32", 0))), "i32");
    }

    // ---- integers

    private void logic(String y) {
        switch (i.opcode()) {
            case "and", "or", "xor" -> put(op(i.opcode(), y, get(1, y), get(2, y)), y);
            case "not" -> put(op("xor", y, get(1, y), constant(y, -1)), y);
            case "cnot" -> put(ir.cast("zext", "i1", y, vec, ir.compare("eq", y, vec, get(1, y), constant(y, 0))), y);
            default -> throw k.refuse(i, "");
        }
    }

    private void integer(PtxType t) {
        String y = natural(t);
        boolean signed = t.isSigned();
        String s = signed ? "s" : "u";
        int bits = t.bits();
        switch (i.opcode()) {
            case "and", "or", "xor", "not", "cnot" -> logic(y);
            case "add", "sub" -> {
                only("sat");
                if (i.has("sat")) put(ir.intrinsic(s + i.opcode() + ".sat", y, vec, get(1, y), get(2, y)), y);
                else put(op(i.opcode(), y, get(1, y), get(2, y)), y);
            }
            case "mul", "mad" -> multiply(t, y, signed);
            case "mul24", "mad24" -> {
                String a = low24(get(1, y), signed), b = low24(get(2, y), signed), p;
                if (i.has("hi")) {   // bits 16 to 47 of the 48
                    String ext = signed ? "sext" : "zext";
                    String w = op("mul", "i64", ir.cast(ext, y, "i64", vec, a), ir.cast(ext, y, "i64", vec, b));
                    p = ir.cast("trunc", "i64", y, vec, op("lshr", "i64", w, constant("i64", 16)));
                } else p = op("mul", y, a, b);
                if (i.is("mad24")) p = i.has("sat") ? ir.intrinsic("sadd.sat", y, vec, p, get(3, y)) : op("add", y, p, get(3, y));
                put(p, y);
            }
            case "sad" -> {
                String a = get(1, y), b = get(2, y);
                String d = op("sub", y, ir.intrinsic(s + "max", y, vec, a, b), ir.intrinsic(s + "min", y, vec, a, b));
                put(op("add", y, d, get(3, y)), y);
            }
            case "div", "rem" -> divide(y, signed);
            case "abs" -> { String a = get(1, y); put(ir.select(y, vec, ir.compare("slt", y, vec, a, constant(y, 0)), op("sub", y, constant(y, 0), a), a), y); }
            case "neg" -> put(op("sub", y, constant(y, 0), get(1, y)), y);
            case "min", "max" -> { only(); put(ir.intrinsic(s + i.opcode(), y, vec, get(1, y), get(2, y)), y); }
            case "popc" -> put(narrow(ir.intrinsic("ctpop", y, vec, get(1, y)), y), "i32");
            case "clz" -> put(narrow(ir.countZeros("ctlz", y, vec, get(1, y)), y), "i32");
            case "brev" -> put(ir.intrinsic("bitreverse", y, vec, get(1, y)), y);
            case "bfind" -> {
                String a = get(1, y);
                if (signed) a = op("xor", y, a, op("ashr", y, a, constant(y, bits - 1)));
                String z = narrow(ir.countZeros("ctlz", y, vec, a), y);
                if (i.has("shiftamt")) put(ir.select("i32", vec, ir.compare("eq", y, vec, a, constant(y, 0)), constant("i32", -1), z), "i32");
                else put(op("sub", "i32", constant("i32", bits - 1), z), "i32");
            }
            case "shl", "shr" -> shift(y, signed, bits);
            case "shf" -> funnel();
            case "bfe" -> bitFieldExtract(y, signed, bits);
            case "bfi" -> bitFieldInsert(y, bits);
            case "prmt" -> permute();
            case "lop3" -> lop3(y);
            case "dp4a" -> dp4a();
            case "dp2a" -> dp2a();
            case "bmsk" -> bitMask();
            case "szext" -> signOrZeroExtend(signed);
            case "fns" -> findBit();
            default -> throw k.refuse(i, "");
        }
    }

    private String narrow(String v, String y) { return ir.cast(y.equals("i64") ? "trunc" : "zext", y, "i32", vec, v); }

    private String low24(String v, boolean signed) {
        String x = op("shl", "i32", v, constant("i32", 8));
        return op(signed ? "ashr" : "lshr", "i32", x, constant("i32", 8));
    }

    private void multiply(PtxType t, String y, boolean signed) {
        only("lo", "hi", "wide", "sat");
        boolean add = i.is("mad");
        String w = "i" + t.bits() * 2, ext = signed ? "sext" : "zext";
        if (i.has("wide")) {
            String p = op("mul", w, ir.cast(ext, y, w, vec, get(1, y)), ir.cast(ext, y, w, vec, get(2, y)));
            put(add ? op("add", w, p, get(3, w)) : p, w);
        } else if (i.has("hi")) {
            String p = op("mul", w, ir.cast(ext, y, w, vec, get(1, y)), ir.cast(ext, y, w, vec, get(2, y)));
            p = op("lshr", w, p, Ir.constant2(w, vec, t.bits()));
            String h = ir.cast("trunc", w, y, vec, p);
            if (i.has("sat")) put(ir.intrinsic("sadd.sat", y, vec, h, get(3, y)), y);
            else put(add ? op("add", y, h, get(3, y)) : h, y);
        } else {
            String p = op("mul", y, get(1, y), get(2, y));
            put(add ? op("add", y, p, get(3, y)) : p, y);
        }
    }

    /** Division by zero gives all ones (remainder: the dividend), as the hardware does; the smallest number by -1 wraps around. */
    private void divide(String y, boolean signed) {
        String a = get(1, y), b = get(2, y);
        boolean rem = i.is("rem");
        Long known = k.analysis.of(i.operand(2)).value();
        if (known != null && known != 0 && known != -1) {
            put(op((signed ? "s" : "u") + (rem ? "rem" : "div"), y, a, b), y);
            return;
        }
        b = ir.temp("freeze " + Ir.type(y, vec) + " " + b);   // of a lane that is off it may be poison: then the test below could see another value than the division
        String zero = ir.compare("eq", y, vec, b, constant(y, 0));
        String safe = ir.select(y, vec, zero, constant(y, 1), b);
        if (signed) {
            String minus = ir.compare("eq", y, vec, b, constant(y, -1));
            safe = ir.select(y, vec, minus, constant(y, 1), safe);
            String q = op(rem ? "srem" : "sdiv", y, a, safe);
            if (!rem) q = ir.select(y, vec, minus, op("sub", y, constant(y, 0), a), q);
            put(ir.select(y, vec, zero, rem ? a : constant(y, -1), q), y);
        } else {
            String q = op(rem ? "urem" : "udiv", y, a, safe);
            put(ir.select(y, vec, zero, rem ? a : constant(y, -1), q), y);
        }
    }

    /** Amounts beyond the width clamp to it; LLVM's shifts are undefined there. */
    private void shift(String y, boolean signed, int bits) {
        String a = get(1, y);
        String o = i.is("shl") ? "shl" : signed ? "ashr" : "lshr";
        Long n = k.analysis.of(i.operand(2)).value();
        if (n != null && n >= 0 && n < bits) { put(op(o, y, a, constant(y, n)), y); return; }
        String by = get(2, "i32");
        if (o.equals("ashr")) {
            put(op(o, y, a, resize(ir.intrinsic("umin", "i32", vec, by, constant("i32", bits - 1)), y)), y);
            return;
        }
        String inside = ir.compare("ult", "i32", vec, by, constant("i32", bits));
        String safe = resize(op("and", "i32", by, constant("i32", bits - 1)), y);
        put(ir.select(y, vec, inside, op(o, y, a, safe), constant(y, 0)), y);
    }

    private String resize(String v, String y) { return ir.cast(Ir.bytes(y) > 4 ? "zext" : "trunc", "i32", y, vec, v); }

    private void funnel() {
        boolean left = i.has("l");
        String lo = get(1, "i32"), hi = get(2, "i32"), n = get(3, "i32");
        if (i.has("wrap")) {
            String m = op("and", "i32", n, constant("i32", 31));
            put(ir.intrinsic(left ? "fshl" : "fshr", "i32", vec, hi, lo, m), "i32");
            return;
        }
        String w = eightBytes(lo, hi);
        String c = ir.cast("zext", "i32", "i64", vec, ir.intrinsic("umin", "i32", vec, n, constant("i32", 32)));
        String r = left ? op("lshr", "i64", op("shl", "i64", w, c), constant("i64", 32)) : op("lshr", "i64", w, c);
        put(ir.cast("trunc", "i64", "i32", vec, r), "i32");
    }

    private void bitFieldExtract(String y, boolean signed, int bits) {
        String pos = op("and", "i32", get(2, "i32"), constant("i32", 255)), len = op("and", "i32", get(3, "i32"), constant("i32", 255));
        if (bits == 32) {
            // in 64 bits the sign (or zero) beyond the value is there to be shifted in
            String a = ir.cast(signed ? "sext" : "zext", "i32", "i64", vec, get(1, "i32"));
            String p = ir.cast("zext", "i32", "i64", vec, ir.intrinsic("umin", "i32", vec, pos, constant("i32", 63)));
            String v = op(signed ? "ashr" : "lshr", "i64", a, p);
            String n = ir.intrinsic("umin", "i32", vec, len, constant("i32", 32));
            String drop = ir.cast("zext", "i32", "i64", vec, ir.intrinsic("umin", "i32", vec, op("sub", "i32", constant("i32", 64), n), constant("i32", 63)));
            String r = ir.cast("trunc", "i64", "i32", vec, op(signed ? "ashr" : "lshr", "i64", op("shl", "i64", v, drop), drop));
            put(ir.select("i32", vec, ir.compare("eq", "i32", vec, len, constant("i32", 0)), constant("i32", 0), r), "i32");
            return;
        }
        String a = get(1, "i64");
        String p = ir.intrinsic("umin", "i32", vec, pos, constant("i32", 63));
        String far = ir.compare("ugt", "i32", vec, pos, constant("i32", 63));
        String v = op(signed ? "ashr" : "lshr", "i64", a, ir.cast("zext", "i32", "i64", vec, p));
        if (!signed) v = ir.select("i64", vec, far, constant("i64", 0), v);
        String n = ir.intrinsic("umin", "i32", vec, len, constant("i32", 64));
        String drop = ir.cast("zext", "i32", "i64", vec, ir.intrinsic("umin", "i32", vec, op("sub", "i32", constant("i32", 64), n), constant("i32", 63)));
        String r = op(signed ? "ashr" : "lshr", "i64", op("shl", "i64", v, drop), drop);
        put(ir.select("i64", vec, ir.compare("eq", "i32", vec, len, constant("i32", 0)), constant("i64", 0), r), "i64");
    }

    private void bitFieldInsert(String y, int bits) {
        String a = get(1, y), b = get(2, y);
        String pos = op("and", "i32", get(3, "i32"), constant("i32", 255)), len = op("and", "i32", get(4, "i32"), constant("i32", 255));
        String p = resize(ir.intrinsic("umin", "i32", vec, pos, constant("i32", bits - 1)), y);
        String n = resize(ir.intrinsic("umin", "i32", vec, len, constant("i32", bits - 1)), y);
        String ones = op("sub", y, op("shl", y, constant(y, 1), n), constant(y, 1));
        ones = ir.select(y, vec, ir.compare("uge", "i32", vec, len, constant("i32", bits)), constant(y, -1), ones);
        String m = op("shl", y, ones, p);
        m = ir.select(y, vec, ir.compare("uge", "i32", vec, pos, constant("i32", bits)), constant(y, 0), m);
        String in = op("and", y, op("shl", y, a, p), m);
        put(op("or", y, in, op("and", y, b, op("xor", y, m, constant(y, -1)))), y);
    }

    private String eightBytes(String low, String high) {
        return op("or", "i64", ir.cast("zext", "i32", "i64", vec, low), op("shl", "i64", ir.cast("zext", "i32", "i64", vec, high), constant("i64", 32)));
    }

    private void permute() {
        for (String m : PERMUTATIONS.keySet()) if (i.has(m)) { permute(PERMUTATIONS.get(m)); return; }
        Long sel = k.analysis.of(i.operand(3)).value();
        // An operand of which no byte is taken may vary where the result does not: it is not read.
        boolean first = sel == null || (~sel & 0x4444) != 0, second = sel == null || (sel & 0x4444) != 0;
        String w = eightBytes(first ? get(1, "i32") : constant("i32", 0), second ? get(2, "i32") : constant("i32", 0));
        String r = null;
        for (int b = 0; b < 4; b++) {
            String x;
            if (sel != null) {
                int c = (int) (sel >> 4 * b) & 15;
                x = ir.cast("trunc", "i64", "i32", vec, op("lshr", "i64", w, constant("i64", (c & 7) * 8L)));
                if ((c & 8) != 0) x = op("ashr", "i32", op("shl", "i32", x, constant("i32", 24)), constant("i32", 31));
            } else {
                String c = op("lshr", "i32", get(3, "i32"), constant("i32", 4 * b));
                String by = ir.cast("zext", "i32", "i64", vec, op("shl", "i32", op("and", "i32", c, constant("i32", 7)), constant("i32", 3)));
                x = ir.cast("trunc", "i64", "i32", vec, op("lshr", "i64", w, by));
                String sign = op("ashr", "i32", op("shl", "i32", x, constant("i32", 24)), constant("i32", 31));
                x = ir.select("i32", vec, ir.compare("ne", "i32", vec, op("and", "i32", c, constant("i32", 8)), constant("i32", 0)), sign, x);
            }
            x = op("and", "i32", x, constant("i32", 255));
            if (b > 0) x = op("shl", "i32", x, constant("i32", 8 * b));
            r = r == null ? x : op("or", "i32", r, x);
        }
        put(r, "i32");
    }

    /** The bytes each named mode of {@code prmt} takes, lowest first, for the four values of the selector's low bits. */
    private static final Map<String, int[][]> PERMUTATIONS = Map.of(
            "f4e", new int[][]{{0, 1, 2, 3}, {1, 2, 3, 4}, {2, 3, 4, 5}, {3, 4, 5, 6}}, "b4e", new int[][]{{0, 7, 6, 5}, {1, 0, 7, 6}, {2, 1, 0, 7}, {3, 2, 1, 0}},
            "rc8", new int[][]{{0, 0, 0, 0}, {1, 1, 1, 1}, {2, 2, 2, 2}, {3, 3, 3, 3}}, "ecl", new int[][]{{0, 1, 2, 3}, {1, 1, 2, 3}, {2, 2, 2, 3}, {3, 3, 3, 3}},
            "ecr", new int[][]{{0, 0, 0, 0}, {0, 1, 1, 1}, {0, 1, 2, 2}, {0, 1, 2, 3}}, "rc16", new int[][]{{0, 1, 0, 1}, {2, 3, 2, 3}, {0, 1, 0, 1}, {2, 3, 2, 3}});

    private void permute(int[][] bytes) {
        String w = eightBytes(get(1, "i32"), get(2, "i32"));
        String c = op("and", "i32", get(3, "i32"), constant("i32", 3)), r = constant("i32", 0);
        for (int n = 0; n < 4; n++) {
            String v = constant("i32", 0);
            for (int b = 0; b < 4; b++) {
                String x = op("and", "i64", op("lshr", "i64", w, constant("i64", 8L * bytes[n][b])), constant("i64", 255));
                v = op("or", "i32", v, op("shl", "i32", ir.cast("trunc", "i64", "i32", vec, x), constant("i32", 8 * b)));
            }
            r = ir.select("i32", vec, ir.compare("eq", "i32", vec, c, constant("i32", n)), v, r);
        }
        put(r, "i32");
    }

    private void lop3(String y) {
        String a = get(1, y), b = get(2, y), c = get(3, y);
        int table = (int) (long) k.analysis.of(i.operand(4)).value();
        String[] in = {c, b, a}, not = new String[3];
        for (int n = 0; n < 3; n++) not[n] = op("xor", y, in[n], constant(y, -1));
        String r = constant(y, 0);
        for (int row = 0; row < 8; row++) {
            if ((table >> row & 1) == 0) continue;
            String term = null;
            for (int n = 2; n >= 0; n--) {
                String x = (row >> n & 1) != 0 ? in[n] : not[n];
                term = term == null ? x : op("and", y, term, x);
            }
            r = op("or", y, r, term);
        }
        if (!(i.operand(0) instanceof Operand.Pair both)) { put(r, y); return; }
        k.write(both.first(), r, y, vec, shape);
        String any = ir.compare("ne", y, vec, r, constant(y, 0));
        k.write(both.second(), op(i.has("and") ? "and" : "or", "i1", any, get(5, "i1")), "i1", vec, shape);
    }

    private void dp4a() {
        List<PtxType> t = i.types();
        String a = get(1, "i32"), b = get(2, "i32"), r = get(3, "i32");
        for (int n = 0; n < 4; n++) {
            String[] x = {a, b};
            for (int q = 0; q < 2; q++)
                x[q] = op(t.get(q).isSigned() ? "ashr" : "lshr", "i32", op("shl", "i32", x[q], constant("i32", 24 - 8 * n)), constant("i32", 24));
            r = op("add", "i32", r, op("mul", "i32", x[0], x[1]));
        }
        put(r, "i32");
    }

    /** Two 16-bit elements of a with the lower or upper two bytes of b. */
    private void dp2a() {
        List<PtxType> t = i.types();
        String a = get(1, "i32"), b = get(2, "i32"), r = get(3, "i32");
        for (int n = 0; n < 2; n++) {
            int at = 8 * (n + (i.has("hi") ? 2 : 0));
            String x = op(t.get(0).isSigned() ? "ashr" : "lshr", "i32", op("shl", "i32", a, constant("i32", 16 - 16 * n)), constant("i32", 16));
            String y = op(t.get(1).isSigned() ? "ashr" : "lshr", "i32", op("shl", "i32", b, constant("i32", 24 - at)), constant("i32", 24));
            r = op("add", "i32", r, op("mul", "i32", x, y));
        }
        put(r, "i32");
    }

    /** A position or width as the instruction means it: its low five bits, or 32 for everything above. */
    private String atMost32(String v) {
        if (i.has("wrap")) v = op("and", "i32", v, constant("i32", 31));
        return ir.cast("zext", "i32", "i64", vec, ir.intrinsic("umin", "i32", vec, v, constant("i32", 32)));
    }

    private void bitMask() {
        String ones = op("sub", "i64", op("shl", "i64", constant("i64", 1), atMost32(get(2, "i32"))), constant("i64", 1));
        put(ir.cast("trunc", "i64", "i32", vec, op("shl", "i64", ones, atMost32(get(1, "i32")))), "i32");
    }

    /** The low bits of a, their number in b, as a signed or unsigned number. */
    private void signOrZeroExtend(boolean signed) {
        String drop = op("sub", "i64", constant("i64", 64), atMost32(get(2, "i32")));
        String inside = ir.intrinsic("umin", "i64", vec, drop, constant("i64", 63));   // of no bits nothing is left
        String v = op(signed ? "ashr" : "lshr", "i64", op("shl", "i64", ir.cast("zext", "i32", "i64", vec, get(1, "i32")), inside), inside);
        String none = ir.compare("eq", "i64", vec, drop, constant("i64", 64));
        put(ir.select("i32", vec, none, constant("i32", 0), ir.cast("trunc", "i64", "i32", vec, v)), "i32");
    }

    /** Of n = 0 the place itself if its bit is set. Else the lowest or highest bits of what lies beyond the place are taken away, one for each of n. */
    private void findBit() {
        String mask = get(1, "i32"), from = op("and", "i32", get(2, "i32"), constant("i32", 31)), n = get(3, "i32"), zero = constant("i32", 0), none = constant("i32", -1);
        String here = op("and", "i32", mask, op("shl", "i32", constant("i32", 1), from));
        String up = op("and", "i32", mask, op("shl", "i32", none, from)), down = op("and", "i32", mask, op("lshr", "i32", none, op("sub", "i32", constant("i32", 31), from)));
        String back = ir.compare("slt", "i32", vec, n, zero), left = ir.select("i32", vec, back, op("sub", "i32", zero, n), n);
        down = ir.intrinsic("bitreverse", "i32", vec, down);   // so that both begin at the low end
        String rest = ir.select("i32", vec, back, down, up);
        for (int k = 1; k < 32; k++)
            rest = ir.select("i32", vec, ir.compare("sgt", "i32", vec, left, constant("i32", k)), op("and", "i32", rest, op("sub", "i32", rest, constant("i32", 1))), rest);
        rest = ir.select("i32", vec, ir.compare("ugt", "i32", vec, left, constant("i32", 32)), zero, rest);
        String at = ir.countZeros("cttz", "i32", vec, rest);
        at = ir.select("i32", vec, back, op("sub", "i32", constant("i32", 31), at), at);
        String found = ir.select("i32", vec, ir.compare("eq", "i32", vec, rest, zero), none, at);
        put(ir.select("i32", vec, ir.compare("eq", "i32", vec, n, zero), ir.select("i32", vec, ir.compare("eq", "i32", vec, here, zero), none, from), found), "i32");
    }

    // ---- floats

    /** The type a float operation is computed in: half and bfloat16 go through single. */
    private static String work(PtxType t) { return t == PtxType.F64 ? "double" : "float"; }

    private String floating(int n, PtxType t) { return widened(t == PtxType.F16 || t == PtxType.BF16 ? get(n, "i16") : get(n, work(t)), t); }

    private String widened(String v, PtxType t) {
        if (t == PtxType.F16) return ir.cast("fpext", "half", "float", vec, ir.cast("bitcast", "i16", "half", vec, v));
        if (t == PtxType.BF16) return bfloatToFloat(v);
        return v;
    }

    private String bfloatToFloat(String v) {
        return ir.cast("bitcast", "i32", "float", vec, op("shl", "i32", ir.cast("zext", "i16", "i32", vec, v), constant("i32", 16)));
    }

    /** To 16 bits, round to nearest even. From double by way of a single rounded to odd, so that nothing is rounded twice. */
    private String narrowed(String v, String from, PtxType t) {
        if (from.equals("double")) {
            String f = ir.cast("fptrunc", "double", "float", vec, v), back = ir.cast("fpext", "float", "double", vec, f);
            String bits = ir.cast("bitcast", "float", "i32", vec, f);
            String beyond = ir.compare("ogt", "double", vec, ir.intrinsic("fabs", "double", vec, back), ir.intrinsic("fabs", "double", vec, v));
            String cut = ir.select("i32", vec, beyond, op("sub", "i32", bits, constant("i32", 1)), bits);
            String inexact = ir.compare("one", "double", vec, back, v);
            v = ir.cast("bitcast", "i32", "float", vec, ir.select("i32", vec, inexact, op("or", "i32", cut, constant("i32", 1)), bits));
            from = "float";
        }
        if (t == PtxType.BF16) {   // AVX-512's own conversion takes subnormals for zero, which no GPU does
            String bits = ir.cast("bitcast", "float", "i32", vec, v);
            String odd = op("and", "i32", op("lshr", "i32", bits, constant("i32", 16)), constant("i32", 1));
            String up = op("add", "i32", bits, op("add", "i32", odd, constant("i32", 0x7fff)));
            String r = ir.select("i32", vec, ir.compare("uno", "float", vec, v, v), op("or", "i32", bits, constant("i32", 0x400000)), up);
            return ir.cast("trunc", "i32", "i16", vec, op("lshr", "i32", r, constant("i32", 16)));
        }
        return ir.cast("bitcast", "half", "i16", vec, ir.cast("fptrunc", from, "half", vec, v));
    }

    private String flushed(String v, String y) {
        if (!i.has("ftz") || !y.equals("float")) return v;
        if (k.math.wide()) return k.math.call("flush", vec, v);
        String small = ir.compare("olt", y, vec, ir.intrinsic("fabs", y, vec, v), Ir.constant(y, vec, 0x1p-126));
        return ir.select(y, vec, small, ir.intrinsic("copysign", y, vec, Ir.constant(y, vec, 0.0), v), v);
    }

    /** With {@code .relu} what is negative becomes 0; a NaN stays one. */
    private String withoutNegative(String v, String y) {
        if (!i.has("relu")) return v;
        return ir.select(y, vec, ir.compare("ole", y, vec, v, Ir.constant(y, vec, 0.0)), Ir.constant(y, vec, 0.0), v);
    }

    private String saturated(String v, String y) {
        if (!i.has("sat")) return v;
        String low = ir.select(y, vec, ir.compare("ogt", y, vec, v, Ir.constant(y, vec, 0.0)), v, Ir.constant(y, vec, 0.0));   // NaN becomes 0
        return ir.select(y, vec, ir.compare("olt", y, vec, low, Ir.constant(y, vec, 1.0)), low, Ir.constant(y, vec, 1.0));
    }

    private void real(PtxType t) {
        if (t == PtxType.F16X2 || t == PtxType.BF16X2) { packed(t); return; }
        if (t == PtxType.F16 || t == PtxType.BF16) {
            int n = i.operands().size() - 1;
            var raw = new ArrayList<String>();
            for (int a = 1; a <= n; a++) raw.add(get(a, "i16"));
            put(half(t, raw), "i16");
            return;
        }
        String y = work(t);
        var a = new ArrayList<String>();
        for (int n = 1; n < i.operands().size(); n++) a.add(i.is("testp") || i.is("ex2") ? get(n, y) : flushed(get(n, y), y));   // 2 to any subnormal is 1
        if (i.is("testp")) { testp(y, a.get(0)); return; }
        String r = real(y, a);
        put(saturated(i.is("ex2") ? r : flushed(r, y), y), y);
    }

    private String real(String y, List<String> a) {
        String one = Ir.constant(y, vec, 1.0);
        if (isDirected()) {
            return switch (i.opcode()) {
                case "add", "sub", "mul", "div" -> directed("f" + i.opcode(), y, y, a);
                case "fma", "mad" -> directed("fma", y, y, a);
                case "rcp" -> directed("fdiv", y, y, List.of(one, a.get(0)));
                case "sqrt" -> directed("sqrt", y, y, a);
                default -> throw k.refuse(i, "directed rounding");
            };
        }
        switch (i.opcode()) {
            case "add", "sub", "mul", "div" -> { return op("f" + i.opcode(), y, a.get(0), a.get(1)); }
            case "fma", "mad" -> { return ir.intrinsic("fma", y, vec, a.get(0), a.get(1), a.get(2)); }
            case "neg" -> { return ir.temp("fneg " + Ir.type(y, vec) + " " + a.get(0)); }
            case "abs" -> { return ir.intrinsic("fabs", y, vec, a.get(0)); }
            case "rcp" -> {
                if (i.has("approx") && i.has("ftz") && y.equals("float") && k.math.wide()) return k.math.call("rcp", vec, a.get(0));
                return op("fdiv", y, one, a.get(0));
            }
            case "sqrt" -> { return ir.intrinsic("sqrt", y, vec, a.get(0)); }
            case "rsqrt" -> { return op("fdiv", y, one, ir.intrinsic("sqrt", y, vec, a.get(0))); }
            case "copysign" -> { return ir.intrinsic("copysign", y, vec, a.get(1), a.get(0)); }
            case "min", "max" -> {
                String r = minMax(i.is("max"), y, a.get(0), a.get(1), i.has("NaN"), i.has("xorsign"));
                return a.size() > 2 ? minMax(i.is("max"), y, r, a.get(2), i.has("NaN"), i.has("xorsign")) : r;
            }
            case "ex2", "lg2", "sin", "cos", "tanh" -> {
                if (!y.equals("float")) throw k.refuse(i, "");
                return k.math.call(i.is("ex2") && i.has("ftz") ? "ex2ftz" : i.opcode(), vec, a.get(0));
            }
            default -> throw k.refuse(i, "");
        }
    }

    private String minMax(boolean max, String y, String a, String b, boolean nan, boolean xorsign) {
        if (xorsign) {   // of the magnitudes; the sign is that of the product
            String bits = "i" + 8 * Ir.bytes(y);
            String sign = op("xor", bits, ir.cast("bitcast", y, bits, vec, a), ir.cast("bitcast", y, bits, vec, b));
            String magnitude = minMax(max, y, ir.intrinsic("fabs", y, vec, a), ir.intrinsic("fabs", y, vec, b), nan, false);
            return ir.intrinsic("copysign", y, vec, magnitude, ir.cast("bitcast", bits, y, vec, sign));
        }
        if (y.equals("float") && vec && k.target.avx512()) {   // one instruction that takes -0 for less than +0, as PTX does
            String f = "@llvm.x86.avx512.mask.range.ps.512", v = "<16 x float>";
            ir.declare(v + " " + f + "(" + v + ", " + v + ", i32, " + v + ", i16, i32)");
            var parts = new ArrayList<String>();
            for (int h = 0; h < 2; h++) {
                int from = 16 * h;
                String u = ir.shuffle("float", 32, a, null, 16, l -> from + l), w = ir.shuffle("float", 32, b, null, 16, l -> from + l);
                String r = ir.temp("call " + v + " " + f + "(" + v + " " + u + ", " + v + " " + w + ", i32 " + (max ? 5 : 4) + ", " + v + " zeroinitializer, i16 -1, i32 4)");
                if (!nan) {   // of a signalling NaN it makes a quiet one, where a GPU gives the other operand
                    r = ir.temp("select <16 x i1> " + ir.temp("fcmp uno " + v + " " + u + ", zeroinitializer") + ", " + v + " " + w + ", " + v + " " + r);
                    r = ir.temp("select <16 x i1> " + ir.temp("fcmp uno " + v + " " + w + ", zeroinitializer") + ", " + v + " " + u + ", " + v + " " + r);
                } else r = ir.temp("select <16 x i1> " + ir.temp("fcmp uno " + v + " " + u + ", " + w) + ", " + v + " splat (float 0x7FF8000000000000), " + v + " " + r);
                parts.add(r);
            }
            return ir.concat("float", parts, List.of(16, 16));
        }
        // equal operands differ in the sign of a zero at most: -0 < +0
        String whole = "i" + 8 * Ir.bytes(y);
        String zeros = op(max ? "and" : "or", whole, ir.cast("bitcast", y, whole, vec, a), ir.cast("bitcast", y, whole, vec, b));
        String tie = ir.select(y, vec, ir.compare("oeq", y, vec, a, b), ir.cast("bitcast", whole, y, vec, zeros), b);
        // the machine's own minimum: the second operand if either is NaN; then a NaN in b gives way to a
        String r = ir.select(y, vec, ir.compare(max ? "ogt" : "olt", y, vec, a, b), a, tie);
        String bBad = ir.compare("uno", y, vec, b, b);
        if (!nan) return ir.select(y, vec, bBad, a, r);
        String aBad = ir.compare("uno", y, vec, a, a);
        return ir.select(y, vec, aBad, a, r);
    }

    private void testp(String y, String a) {
        String m = i.modifiers().get(0), abs = ir.intrinsic("fabs", y, vec, a), inf = Ir.constant(y, vec, Double.POSITIVE_INFINITY);
        double least = y.equals("float") ? 0x1p-126 : Double.MIN_NORMAL;
        String r = switch (m) {
            case "finite" -> ir.compare("olt", y, vec, abs, inf);
            case "infinite" -> ir.compare("oeq", y, vec, abs, inf);
            case "number" -> ir.compare("ord", y, vec, a, a);
            case "notanumber" -> ir.compare("uno", y, vec, a, a);
            case "normal" -> op("and", "i1", ir.compare("oge", y, vec, abs, Ir.constant(y, vec, least)), ir.compare("olt", y, vec, abs, inf));
            case "subnormal" -> op("and", "i1", ir.compare("olt", y, vec, abs, Ir.constant(y, vec, least)), ir.compare("one", y, vec, abs, Ir.constant(y, vec, 0.0)));
            default -> throw k.refuse(i, "");
        };
        put(r, "i1");
    }

    private boolean isDirected() { return i.has("rz") || i.has("rm") || i.has("rp"); }

    /**
     * A constrained operation, rounded towards zero, down or up as the instruction says. It is a function of its own that sets the processor's rounding
     * and takes it back: code around it counts on rounding to nearest.
     */
    private String directed(String operation, String from, String to, List<String> arguments) {
        String mode = i.has("rz") ? "rz" : i.has("rm") ? "rm" : "rp";
        int rounding = switch (mode) { case "rz" -> 0; case "rp" -> 2; default -> 3; };   // as llvm.set.rounding numbers them; 1 is to nearest
        int lanes = vec ? Ir.LANES : 1;
        boolean converts = !from.equals(to);
        String t = Ir.type(to, vec), f = Ir.type(from, vec);
        String suffix = "." + Ir.suffix(to, lanes) + (converts ? "." + Ir.suffix(from, lanes) : "");
        String name = "tp_" + operation + "_" + mode + suffix;
        String intrinsic = "@llvm.experimental.constrained." + operation + suffix;
        var parameters = new ArrayList<String>();
        var values = new ArrayList<String>();
        for (int n = 0; n < arguments.size(); n++) { parameters.add(f + " %a" + n); values.add(f + " " + arguments.get(n)); }
        ir.declare("void @llvm.set.rounding(i32)");
        ir.declare(t + " " + intrinsic + "(" + String.join(", ", java.util.Collections.nCopies(arguments.size(), f)) + ", metadata, metadata)");
        k.helper(name, () -> "define internal " + t + " @" + name + "(" + String.join(", ", parameters) + ") noinline strictfp #0 {\n"
                + "  call void @llvm.set.rounding(i32 " + rounding + ") strictfp\n"
                + "  %r = call " + t + " " + intrinsic + "(" + String.join(", ", parameters) + ", metadata !\"round.dynamic\", metadata !\"fpexcept.ignore\") strictfp\n"
                + "  call void @llvm.set.rounding(i32 1) strictfp\n  ret " + t + " %r\n}\n");
        return ir.temp("call " + t + " @" + name + "(" + String.join(", ", values) + ")");
    }

    /** One 16-bit float operation on raw bits; fma in double so that it rounds once. */
    private String half(PtxType t, List<String> raw) {
        switch (i.opcode()) {
            case "neg" -> { return op("xor", "i16", raw.get(0), constant("i16", 0x8000)); }
            case "abs" -> { return op("and", "i16", raw.get(0), constant("i16", 0x7fff)); }
            default -> { }
        }
        var f = new ArrayList<String>();
        for (String r : raw) f.add(widened(r, t));
        if ((i.is("min") || i.is("max")) && !i.has("xorsign")) {   // one of the operands, bits and all
            String first = ir.compare(i.is("max") ? "ogt" : "olt", "float", vec, f.get(0), f.get(1));
            String zeros = op(i.is("max") ? "and" : "or", "i16", raw.get(0), raw.get(1));   // equal operands differ in the sign of a zero at most: -0 < +0
            String second = ir.select("i16", vec, ir.compare("oeq", "float", vec, f.get(0), f.get(1)), zeros, raw.get(1));
            String pick = ir.select("i16", vec, first, raw.get(0), second);
            String bad = ir.compare("uno", "float", vec, f.get(i.has("NaN") ? 0 : 1), f.get(i.has("NaN") ? 0 : 1));
            return ir.select("i16", vec, bad, raw.get(0), pick);
        }
        if (i.is("fma")) {
            var d = new ArrayList<String>();
            for (String x : f) d.add(ir.cast("fpext", "float", "double", vec, x));
            String r = t == PtxType.F16 ? ir.intrinsic("fma", "double", vec, d.get(0), d.get(1), d.get(2)) : sumToOdd(op("fmul", "double", d.get(0), d.get(1)), d.get(2));
            r = withoutNegative(r, "double");
            return saturateHalf(narrowed(r, "double", t), t);
        }
        return saturateHalf(narrowed(real("float", f), "float", t), t);
    }

    /**
     * A sum of doubles, what is lost counting as one odd digit at its end, so that it can be rounded once more. A product of two bfloat16 can lie half way between two
     * others, and the third operand be too small for a double beside it.
     */
    private String sumToOdd(String a, String b) {
        String s = op("fadd", "double", a, b), part = op("fsub", "double", s, a);
        String lost = op("fadd", "double", op("fsub", "double", a, op("fsub", "double", s, part)), op("fsub", "double", b, part));   // Knuth's two-sum
        String bits = ir.cast("bitcast", "double", "i64", vec, s), zero = Ir.constant("double", vec, 0.0);
        String inexact = op("and", "i1", ir.compare("one", "double", vec, lost, zero), ir.compare("eq", "i64", vec, op("and", "i64", bits, constant("i64", 1)), constant("i64", 0)));
        String farther = op("xor", "i1", ir.compare("olt", "double", vec, lost, zero), ir.compare("olt", "double", vec, s, zero));
        String odd = op("add", "i64", bits, ir.select("i64", vec, farther, constant("i64", -1), constant("i64", 1)));
        return ir.cast("bitcast", "i64", "double", vec, ir.select("i64", vec, inexact, odd, bits));
    }

    private String saturateHalf(String v, PtxType t) { return i.has("sat") ? narrowed(saturated(widened(v, t), "float"), "float", t) : v; }

    private void packed(PtxType t) {
        PtxType one = t == PtxType.F16X2 ? PtxType.F16 : PtxType.BF16;
        var r = new String[2];
        for (int h = 0; h < 2; h++) {
            var raw = new ArrayList<String>();
            for (int n = 1; n < i.operands().size(); n++) {
                String v = get(n, "i32");
                if (h == 1) v = op("lshr", "i32", v, constant("i32", 16));
                raw.add(ir.cast("trunc", "i32", "i16", vec, v));
            }
            r[h] = ir.cast("zext", "i16", "i32", vec, half(one, raw));
        }
        put(op("or", "i32", r[0], op("shl", "i32", r[1], constant("i32", 16))), "i32");
    }

    // ---- conversions

    private void convert() {
        List<PtxType> types = i.types();
        if (types.size() < 2 || i.has("pack")) throw k.refuse(i, "");
        PtxType to = types.get(0), from = types.get(types.size() - 1);
        if (to == PtxType.E4M3X2 || to == PtxType.E5M2X2) { toEightBits(to.element(), from); return; }
        if (from == PtxType.E4M3X2 || from == PtxType.E5M2X2) { fromEightBits(to, from.element()); return; }
        if (to.isPair()) {
            PtxType one = to.element();
            if (from != PtxType.F32) throw k.refuse(i, "");
            String hi = toHalf(get(1, "float"), one), lo = toHalf(get(2, "float"), one);
            put(op("or", "i32", ir.cast("zext", "i16", "i32", vec, lo), op("shl", "i32", ir.cast("zext", "i16", "i32", vec, hi), constant("i32", 16))), "i32");
            return;
        }
        if (to == PtxType.TF32) {   // rna: ten bits of mantissa, ties away from zero
            String f = get(1, "float"), b = ir.cast("bitcast", "float", "i32", vec, f);
            if (i.has("rn")) {
                String odd = op("and", "i32", op("lshr", "i32", b, constant("i32", 13)), constant("i32", 1));
                b = op("add", "i32", b, op("add", "i32", odd, constant("i32", 0xfff)));
            } else b = op("add", "i32", b, constant("i32", 0x1000));
            // the bits of a NaN are not rounded: they could become those of a zero
            put(ir.select("i32", vec, ir.compare("uno", "float", vec, f, f), constant("i32", 0x7fffffff), op("and", "i32", b, constant("i32", ~0x1fff))), "i32");
            return;
        }
        if (!to.isFloat() && !from.isFloat()) integerToInteger(to, from);
        else if (!from.isFloat()) integerToFloat(to, from);
        else if (!to.isFloat()) floatToInteger(to, from);
        else floatToFloat(to, from);
    }

    private String toHalf(String f, PtxType t) {
        f = withoutNegative(f, "float");
        if (isDirected() && t == PtxType.F16) {   // the nearest, or its neighbour where that lies on the wrong side
            String near = ir.cast("bitcast", "half", "i16", vec, ir.cast("fptrunc", "float", "half", vec, f)), back = widened(near, t);
            String less = constant("i16", -1), more = constant("i16", 1), negative = ir.compare("slt", "i16", vec, near, constant("i16", 0)), step, wrong;
            if (i.has("rz")) {
                wrong = ir.compare("ogt", "float", vec, ir.intrinsic("fabs", "float", vec, back), ir.intrinsic("fabs", "float", vec, f));
                step = less;
            } else {
                wrong = ir.compare(i.has("rp") ? "olt" : "ogt", "float", vec, back, f);
                step = i.has("rp") ? ir.select("i16", vec, negative, less, more) : ir.select("i16", vec, negative, more, less);
            }
            return op("add", "i16", near, ir.select("i16", vec, wrong, step, constant("i16", 0)));
        }
        if (isDirected()) {   // bf16: cut off, and away from zero where digits are lost and the direction says so
            String bits = ir.cast("bitcast", "float", "i32", vec, f), cut = op("lshr", "i32", bits, constant("i32", 16));
            if (!i.has("rz")) {
                String away = ir.compare(i.has("rp") ? "sgt" : "slt", "i32", vec, bits, constant("i32", i.has("rp") ? -1 : 0));
                String lost = op("and", "i1", ir.compare("ne", "i32", vec, op("and", "i32", bits, constant("i32", 0xffff)), constant("i32", 0)), ir.compare("ord", "float", vec, f, f));
                cut = op("add", "i32", cut, ir.cast("zext", "i1", "i32", vec, op("and", "i1", away, lost)));
            }
            return ir.cast("trunc", "i32", "i16", vec, ir.select("i32", vec, ir.compare("uno", "float", vec, f, f), op("or", "i32", cut, constant("i32", 0x40)), cut));
        }
        return narrowed(f, "float", t);
    }

    /** Pairs of 8-bit floats from two singles, the first of them in the upper half, or from a pair of halves. */
    private void toEightBits(PtxType one, PtxType from) {
        if (!i.has("satfinite") || from != PtxType.F32 && from != PtxType.F16X2) throw k.refuse(i, "");
        String hi, lo;
        if (from == PtxType.F32) { hi = get(1, "float"); lo = get(2, "float"); }
        else {
            String v = get(1, "i32");
            lo = widened(ir.cast("trunc", "i32", "i16", vec, v), PtxType.F16);
            hi = widened(ir.cast("trunc", "i32", "i16", vec, op("lshr", "i32", v, constant("i32", 16))), PtxType.F16);
        }
        put(op("or", "i16", eightBits(lo, one), op("shl", "i16", eightBits(hi, one), constant("i16", 8))), "i16");
    }

    /**
     * To the nearest even, what is too large to the largest. Beside a power of two whose last digit is that of the result, a sum loses what the format does not hold;
     * the rest is what a half holds too, E4M3 with an exponent 8 less.
     */
    private String eightBits(String v, PtxType t) {
        boolean e4m3 = t == PtxType.E4M3;
        v = withoutNegative(v, "float");
        String most = Ir.constant("float", vec, e4m3 ? 448.0 : 57344.0), size = ir.intrinsic("fabs", "float", vec, v);
        size = ir.select("float", vec, ir.compare("olt", "float", vec, size, most), size, most);
        String power = op("and", "i32", ir.cast("bitcast", "float", "i32", vec, size), constant("i32", 0x7f800000));
        power = ir.intrinsic("umax", "i32", vec, power, constant("i32", 127 + (e4m3 ? -6 : -14) << 23));   // of subnormals all have the last digit of the least normal
        String c = ir.cast("bitcast", "i32", "float", vec, op("add", "i32", power, constant("i32", (e4m3 ? 20 : 21) << 23)));
        String near = op("fsub", "float", op("fadd", "float", size, c), c);
        if (e4m3) near = op("fmul", "float", near, Ir.constant("float", vec, 0x1p-8));
        String half = ir.cast("bitcast", "half", "i16", vec, ir.cast("fptrunc", "float", "half", vec, near));
        String sign = op("and", "i32", op("lshr", "i32", ir.cast("bitcast", "float", "i32", vec, v), constant("i32", 24)), constant("i32", 0x80));
        String r = op("or", "i16", op("lshr", "i16", half, constant("i16", e4m3 ? 7 : 8)), ir.cast("trunc", "i32", "i16", vec, sign));
        return ir.select("i16", vec, ir.compare("uno", "float", vec, v, v), constant("i16", 0x7f), r);
    }

    /** Halves from a pair of 8-bit floats; each of those is one. */
    private void fromEightBits(PtxType to, PtxType one) {
        if (to != PtxType.F16X2) throw k.refuse(i, "");
        String pair = get(1, "i16");
        var r = new String[2];
        for (int h = 0; h < 2; h++) {
            String f;
            if (one == PtxType.E4M3) {   // a half whose exponent is 8 too small; one pattern is no number
                String b = h == 0 ? pair : op("lshr", "i16", pair, constant("i16", 8)), size = op("and", "i16", b, constant("i16", 0x7f));
                String bits = op("or", "i16", op("shl", "i16", op("and", "i16", b, constant("i16", 0x80)), constant("i16", 8)), op("shl", "i16", size, constant("i16", 7)));
                f = op("fmul", "float", widened(bits, PtxType.F16), Ir.constant("float", vec, 256.0));
                f = ir.select("float", vec, ir.compare("eq", "i16", vec, size, constant("i16", 0x7f)), Ir.constant("float", vec, Double.NaN), f);
            } else f = widened(h == 0 ? op("shl", "i16", pair, constant("i16", 8)) : op("and", "i16", pair, constant("i16", 0xff00)), PtxType.F16);
            String bits = narrowed(withoutNegative(f, "float"), "float", PtxType.F16);
            r[h] = ir.cast("zext", "i16", "i32", vec, ir.select("i16", vec, ir.compare("uno", "float", vec, f, f), constant("i16", 0x7fff), bits));
        }
        put(op("or", "i32", r[0], op("shl", "i32", r[1], constant("i32", 16))), "i32");
    }

    private void integerToInteger(PtxType to, PtxType from) {
        String a = natural(from), b = natural(to), v = get(1, a);
        if (i.has("sat")) {
            // clamp in the source's own signedness to what both can hold
            int bits = to.bits(), own = from.bits();
            if (from.isSigned()) {
                long lo = to.isSigned() ? bits >= own ? Long.MIN_VALUE : -(1L << bits - 1) : 0;
                if (lo != Long.MIN_VALUE) v = ir.intrinsic("smax", a, vec, v, constant(a, lo));
                int top = to.isSigned() ? bits - 1 : bits;
                if (top < own - 1) v = ir.intrinsic("smin", a, vec, v, constant(a, (1L << top) - 1));
            } else {
                int top = to.isSigned() ? bits - 1 : bits;
                if (top < own) v = ir.intrinsic("umin", a, vec, v, constant(a, (1L << top) - 1));
            }
        }
        if (to.bytes() > from.bytes()) v = ir.cast(from.isSigned() ? "sext" : "zext", a, b, vec, v);
        else if (to.bytes() < from.bytes()) v = ir.cast("trunc", a, b, vec, v);
        putInteger(v, to);
    }

    /** A narrow integer fills a wider register with its sign or with zeros. */
    private void putInteger(String v, PtxType t) {
        String y = natural(t);
        if (i.operand(0) instanceof Operand.Reg r && r.register().type().bytes() > t.bytes() && t.isSigned()) {
            String w = "i" + r.register().type().bits();
            put(ir.cast("sext", y, w, vec, v), w);
        } else put(v, y);
    }

    private void integerToFloat(PtxType to, PtxType from) {
        String a = natural(from), v = get(1, a), o = from.isSigned() ? "sitofp" : "uitofp";
        boolean half = to == PtxType.F16 || to == PtxType.BF16;
        if (isDirected()) {   // a half by way of a single rounded the same way
            String y = work(to), r = directed(o, a, y, List.of(v));
            r = ir.select(y, vec, ir.compare("eq", a, vec, v, constant(a, 0)), Ir.constant(y, vec, 0.0), r);   // where a conversion subtracts, 0 rounded down is -0
            if (half) put(toHalf(r, to), "i16");
            else put(saturated(r, y), y);
            return;
        }
        if (half) {
            put(narrowed(from.bytes() > 4 ? oddDouble(v, from) : ir.cast(o, a, "double", vec, v), "double", to), "i16");
            return;
        }
        String y = work(to);
        put(saturated(ir.cast(o, a, y, vec, v), y), y);
    }

    /** A 64-bit integer as a double that a shorter format rounds as it would the integer: where digits are lost, the last one is odd. */
    private String oddDouble(String v, PtxType t) {
        String below = ir.compare("slt", "i64", vec, v, constant("i64", 0));
        String m = t.isSigned() ? ir.select("i64", vec, below, op("sub", "i64", constant("i64", 0), v), v) : v;
        String lost = ir.cast("zext", "i1", "i64", vec, ir.compare("ne", "i64", vec, op("and", "i64", m, constant("i64", 0x7ff)), constant("i64", 0)));
        String cut = op("or", "i64", op("lshr", "i64", m, constant("i64", 11)), lost);
        String d = ir.select("double", vec, ir.compare("ult", "i64", vec, m, constant("i64", 1L << 53)), ir.cast("uitofp", "i64", "double", vec, m),
                op("fmul", "double", ir.cast("uitofp", "i64", "double", vec, cut), Ir.constant("double", vec, 2048.0)));
        return t.isSigned() ? ir.select("double", vec, below, ir.temp("fneg " + Ir.type("double", vec) + " " + d), d) : d;
    }

    private String rounded(String v, String y) {
        if (i.has("rni")) return ir.intrinsic("roundeven", y, vec, v);
        if (i.has("rzi")) return ir.intrinsic("trunc", y, vec, v);
        if (i.has("rmi")) return ir.intrinsic("floor", y, vec, v);
        if (i.has("rpi")) return ir.intrinsic("ceil", y, vec, v);
        return v;
    }

    private void floatToInteger(PtxType to, PtxType from) {
        String y = work(from), v = rounded(flushed(floating(1, from), y), y);
        String b = natural(to);
        String r = ir.toInteger(y, b, to.isSigned(), vec, v);
        if (from == PtxType.F64 || to.bytes() == 8) {
            long nan = 1L << to.bits() - 1;
            r = ir.select(b, vec, ir.compare("uno", y, vec, v, v), constant(b, nan), r);
        }
        putInteger(r, to);
    }

    private void floatToFloat(PtxType to, PtxType from) {
        String a = work(from), v = floating(1, from);
        if (from == to || i.has("rni") || i.has("rzi") || i.has("rmi") || i.has("rpi")) v = rounded(v, a);
        v = flushed(v, a);
        if (to == PtxType.F16 || to == PtxType.BF16) {
            if (i.has("sat")) v = saturated(v, a);
            if (from == PtxType.F64) put(narrowed(v, "double", to), "i16");
            else put(toHalf(v, to), "i16");
            return;
        }
        String b = work(to);
        if (a.equals(b)) { put(saturated(v, b), b); return; }
        if (b.equals("double")) { put(saturated(ir.cast("fpext", a, b, vec, v), b), b); return; }
        String r = isDirected() ? directed("fptrunc", a, b, List.of(v)) : ir.cast("fptrunc", a, b, vec, v);
        put(saturated(flushed(r, b), b), b);
    }

    // ---- between lanes

    private void shuffle() {
        Operand d = i.operand(0), p = null;
        if (d instanceof Operand.Pair pair) { d = pair.first(); p = pair.second(); }
        if (i.type() != PtxType.B32) throw k.refuse(i, "");
        String mode = i.modifiers().get(i.has("sync") ? 1 : 0);
        Long b = k.analysis.of(i.operand(2)).value(), c = k.analysis.of(i.operand(3)).value();
        boolean uniformResult = !k.analysis.result(i).isVarying();
        if (uniformResult) {
            String v = k.analysis.of(i.operand(1)).isUniform() ? k.scalar(i.operand(1), "i32")
                    : ir.temp("extractelement <32 x i32> " + k.vector(i.operand(1), "i32") + ", i64 " + (b & 31));
            k.writeScalar(d, v, "i32", Shape.UNIFORM);
            if (p instanceof Operand.Reg) k.writeVector(p, "splat (i1 true)", "i1");
            return;
        }
        String v = k.vector(i.operand(1), "i32");
        if (b != null && c != null) {
            int[] source = new int[32];
            boolean[] inside = new boolean[32];
            for (int l = 0; l < 32; l++) {
                int segment = (int) (c >> 8) & 31, clamp = (int) (long) c & 31, n = (int) (b & 31);
                int max = l & segment | clamp & ~segment & 31, min = l & segment;
                int j = switch (mode) { case "up" -> l - n; case "down" -> l + n; case "bfly" -> l ^ n; case "idx" -> min | n & ~segment & 31; default -> throw k.refuse(i, ""); };
                inside[l] = mode.equals("up") ? j >= max : j <= max;
                source[l] = inside[l] ? j : l;
            }
            k.writeVector(d, ir.shuffle("i32", 32, v, null, 32, l -> source[l]), "i32");
            if (p != null) k.writeVector(p, Ir.list("i1", 32, l -> inside[l] ? "true" : "false"), "i1");
            return;
        }
        String lane = Ir.lanes("i32", KernelEmitter.tabulate(l -> l), 0);
        String bv = vecOp("and", k.vector(i.operand(2), "i32"), 31), cv = k.vector(i.operand(3), "i32");
        String segment = vecOp("and", ir.binary("lshr", "i32", true, cv, Ir.constant("i32", true, 8)), 31), clamp = vecOp("and", cv, 31);
        String min = ir.binary("and", "i32", true, lane, segment);
        String free = ir.binary("xor", "i32", true, segment, Ir.constant("i32", true, 31));
        String max = ir.binary("or", "i32", true, min, ir.binary("and", "i32", true, clamp, free));
        String j = switch (mode) {
            case "up" -> ir.binary("sub", "i32", true, lane, bv);
            case "down" -> ir.binary("add", "i32", true, lane, bv);
            case "bfly" -> ir.binary("xor", "i32", true, lane, bv);
            case "idx" -> ir.binary("or", "i32", true, min, ir.binary("and", "i32", true, bv, free));
            default -> throw k.refuse(i, "");
        };
        String inside = ir.compare(mode.equals("up") ? "sge" : "sle", "i32", true, j, max);
        String source = ir.select("i32", true, inside, j, lane);
        k.writeVector(d, anyLane(v, source), "i32");
        if (p != null) k.writeVector(p, inside, "i1");
    }

    private String vecOp(String o, String a, long c) { return ir.binary(o, "i32", true, a, Ir.constant("i32", true, c)); }

    /** v[source[l]] in every lane; sources lie in 0..31. */
    private String anyLane(String v, String source) {
        if (k.target.avx512()) {
            ir.declare("<16 x i32> @llvm.x86.avx512.vpermi2var.d.512(<16 x i32>, <16 x i32>, <16 x i32>)");
            String lo = ir.shuffle("i32", 32, v, null, 16, l -> l), hi = ir.shuffle("i32", 32, v, null, 16, l -> 16 + l);
            var r = new ArrayList<String>();
            for (int h = 0; h < 2; h++) {
                int from = h * 16;
                String s = ir.shuffle("i32", 32, source, null, 16, l -> from + l);
                r.add(ir.temp("call <16 x i32> @llvm.x86.avx512.vpermi2var.d.512(<16 x i32> " + lo + ", <16 x i32> " + s + ", <16 x i32> " + hi + ")"));
            }
            return ir.concat("i32", r, List.of(16, 16));
        }
        k.helper("any_lane", () -> {
            // The source of a lane that is off may be poison, whatever it was masked with before: an address that is not one.
            var s = new StringBuilder("define internal <32 x i32> @tp_any_lane(<32 x i32> %v, <32 x i32> %given) noinline #0 {\n  %m = alloca <32 x i32>\n  store <32 x i32> %v, ptr %m\n"
                    + "  %frozen = freeze <32 x i32> %given\n  %s = and <32 x i32> %frozen, splat (i32 31)\n");
            String last = "poison";
            for (int l = 0; l < 32; l++) {
                s.append("  %i").append(l).append(" = extractelement <32 x i32> %s, i64 ").append(l).append("\n  %p").append(l).append(" = getelementptr i32, ptr %m, i32 %i").append(l)
                        .append("\n  %x").append(l).append(" = load i32, ptr %p").append(l).append("\n  %r").append(l).append(" = insertelement <32 x i32> ").append(last).append(", i32 %x").append(l)
                        .append(", i64 ").append(l).append('\n');
                last = "%r" + l;
            }
            return s.append("  ret <32 x i32> ").append(last).append("\n}\n").toString();
        });
        return ir.temp("call <32 x i32> @tp_any_lane(<32 x i32> " + v + ", <32 x i32> " + source + ")");
    }

    private void vote() {
        shape = Shape.UNIFORM;
        vec = false;
        String p = k.vector(i.operand(1), "i1");
        if (k.mask() != null) p = ir.maskAnd(k.mask(), p);
        String bits = ir.maskBits(p);
        String members = k.scalar(i.operand(2), "i32");
        String active = k.mask() == null ? "-1" : ir.maskBits(k.mask());
        String all = ir.temp("and i32 " + active + ", " + members);
        bits = ir.temp("and i32 " + bits + ", " + members);
        if (i.has("ballot")) put(bits, "i32");
        else if (i.has("any")) put(ir.compare("ne", "i32", false, bits, "0"), "i1");
        else if (i.has("all")) put(ir.compare("eq", "i32", false, bits, all), "i1");
        else if (i.has("uni")) put(ir.temp("or i1 " + ir.compare("eq", "i32", false, bits, all) + ", " + ir.compare("eq", "i32", false, bits, "0")), "i1");
        else throw k.refuse(i, "");
    }

    private void redux() {
        shape = Shape.UNIFORM;
        vec = false;
        PtxType t = i.type();
        if (t.isFloat()) throw k.refuse(i, "");
        String v = k.vector(i.operand(1), "i32");
        String o = i.modifiers().get(1);
        String reduce = switch (o) {
            case "add", "and", "or", "xor" -> o;
            case "min" -> t.isSigned() ? "smin" : "umin";
            case "max" -> t.isSigned() ? "smax" : "umax";
            default -> throw k.refuse(i, "");
        };
        long identity = switch (reduce) { case "and", "umin" -> -1; case "smin" -> Integer.MAX_VALUE; case "smax" -> Integer.MIN_VALUE; default -> 0; };
        if (k.mask() != null) v = ir.select("i32", true, k.mask(), v, Ir.constant("i32", true, identity));
        ir.declare("i32 @llvm.vector.reduce." + reduce + ".v32i32(<32 x i32>)");
        put(ir.temp("call i32 @llvm.vector.reduce." + reduce + ".v32i32(<32 x i32> " + v + ")"), "i32");
    }

    private void match() {
        String y = natural(i.type()), v = k.vector(i.operand(1), y), r = "zeroinitializer";
        String active = k.mask() == null ? "-1" : ir.maskBits(k.mask());
        if (i.has("all")) {
            Operand d = i.operand(0), p = null;
            if (d instanceof Operand.Pair both) { d = both.first(); p = both.second(); }
            String first = ir.countZeros("cttz", "i32", false, active);
            String one = ir.temp("extractelement " + Ir.vector(y) + " " + v + ", i32 " + ir.temp("and i32 " + first + ", 31"));
            String other = ir.temp("and i32 " + active + ", " + ir.maskBits(ir.compare("ne", y, true, v, ir.splat(y, one))));
            String all = ir.compare("eq", "i32", false, other, "0");
            k.writeVector(d, ir.splat("i32", ir.select("i32", false, all, active, "0")), "i32");
            if (p != null) k.writeVector(p, ir.splat("i1", all), "i1");
            return;
        }
        if (!i.has("any")) throw k.refuse(i, "");
        for (int l = 0; l < 32; l++) {
            String one = ir.temp("extractelement " + Ir.vector(y) + " " + v + ", i64 " + l);
            String same = ir.compare("eq", y, true, v, ir.splat(y, one));
            String bits = ir.temp("and i32 " + ir.maskBits(same) + ", " + active);
            r = ir.temp("insertelement <32 x i32> " + r + ", i32 " + bits + ", i64 " + l);
        }
        k.writeVector(i.operand(0), r, "i32");
    }
}
