package dev.turningpoint.softgpu.jit;

import dev.turningpoint.softgpu.ptx.Instruction;
import dev.turningpoint.softgpu.ptx.PtxType;

/**
 * Sums and products that write or read the carry flag: {@code add.cc}, {@code addc}, {@code sub.cc}, {@code subc}, {@code mad.cc}, {@code madc}. The flag is a value of the
 * block, as nvcc uses it: it does not live on into another.
 */
final class Carries {
    private final KernelEmitter k;
    private final Ir ir;
    private String flag;   // <32 x i1>, null where a block begins

    Carries(KernelEmitter k) { this.k = k; this.ir = k.ir; }

    static boolean takesPart(Instruction i) { return i.has("cc") || i.is("addc") || i.is("subc") || i.is("madc"); }

    void blockBegins() { flag = null; }

    void emit(Instruction i) {
        if (i.guard() != null) throw k.refuse(i, "carries under a guard");
        PtxType t = i.type();
        String y = KernelEmitter.typeOf(t);
        boolean reads = i.opcode().endsWith("c"), minus = i.opcode().startsWith("sub"), product = i.opcode().startsWith("mad");
        String a = product ? product(i, t, y) : k.vector(i.operand(1), y), b = k.vector(i.operand(product ? 3 : 2), y);
        String r = ir.binary(minus ? "sub" : "add", y, true, a, b), out = ir.compare("ult", y, true, minus ? a : r, minus ? b : a);
        if (reads) {
            if (flag == null) throw k.refuse(i, "a carry of another block");
            String in = ir.cast("zext", "i1", y, true, minus ? ir.maskNot(flag) : flag), sum = ir.binary(minus ? "sub" : "add", y, true, r, in);
            out = ir.binary("or", "i1", true, out, ir.compare("ult", y, true, minus ? r : sum, minus ? in : r));
            r = sum;
        }
        // a - b = a + ~b + 1: the flag is the carry of that, set where nothing is borrowed; nvcc's division reads it with addc
        if (i.has("cc")) flag = minus ? ir.maskNot(out) : out;
        k.writeVector(i.operand(0), r, y);
    }

    /** The half of the product that is added to. */
    private String product(Instruction i, PtxType t, String y) {
        String a = k.vector(i.operand(1), y), b = k.vector(i.operand(2), y);
        if (!i.has("hi")) return ir.binary("mul", y, true, a, b);
        String w = "i" + 2 * t.bits(), widen = t.isSigned() ? "sext" : "zext";
        String p = ir.binary("mul", w, true, ir.cast(widen, y, w, true, a), ir.cast(widen, y, w, true, b));
        return ir.cast("trunc", w, y, true, ir.binary("lshr", w, true, p, Ir.constant2(w, true, t.bits())));
    }
}
