package dev.turningpoint.softgpu.jit;

import dev.turningpoint.softgpu.ptx.Instruction;
import dev.turningpoint.softgpu.ptx.Operand;
import dev.turningpoint.softgpu.ptx.PtxType;

/**
 * Votes, matches and reductions of several groups of lanes side by side, as tiles of cooperative groups make them: each lane's mask names its own group.
 * All groups meet in one instruction here; the result differs from group to group.
 */
final class Groups {
    private final KernelEmitter k;
    private final Ir ir;

    Groups(KernelEmitter k) { this.k = k; this.ir = k.ir; }

    /** Whether the members that an operation names differ between lanes. */
    boolean takesPart(Instruction i) {
        return i.is("elect") || (i.is("vote") || i.is("match") || i.is("redux")) && i.has("sync") && !k.analysis.of(i.operand(i.operands().size() - 1)).isUniform();
    }

    void emit(Instruction i) {
        Operand d = i.operand(0), p = null;
        if (d instanceof Operand.Pair pair) { d = pair.first(); p = pair.second(); }
        String members = k.vector(i.operand(i.operands().size() - 1), "i32");
        String active = k.mask() == null ? "-1" : ir.maskBits(k.mask());
        String here = and(members, ir.splat("i32", active));
        switch (i.opcode()) {
            case "vote" -> {
                String held = k.vector(i.operand(1), "i1");
                if (k.mask() != null) held = ir.maskAnd(k.mask(), held);
                String bits = and(ir.splat("i32", ir.maskBits(held)), members);
                if (i.has("ballot")) { k.writeVector(d, bits, "i32"); return; }
                String none = ir.compare("eq", "i32", true, bits, zero()), all = ir.compare("eq", "i32", true, bits, here);
                k.writeVector(d, i.has("any") ? ir.maskNot(none) : i.has("all") ? all : ir.binary("or", "i1", true, all, none), "i1");
            }
            case "match" -> {
                String equal = and(equal(i, KernelEmitter.typeOf(i.type())), here);
                if (i.has("any")) { k.writeVector(d, equal, "i32"); return; }
                String all = ir.compare("eq", "i32", true, equal, here);
                k.writeVector(d, ir.select("i32", true, all, here, zero()), "i32");
                if (p != null) k.writeVector(p, all, "i1");
            }
            case "redux" -> k.writeVector(d, reduced(i, here), "i32");
            case "elect" -> {
                String leader = ir.countZeros("cttz", "i32", true, here);
                k.writeVector(d, leader, "i32");
                if (p != null) k.writeVector(p, ir.compare("eq", "i32", true, leader, Ir.lanes("i32", KernelEmitter.tabulate(l -> l), 0)), "i1");
            }
            default -> throw k.refuse(i, "");
        }
    }

    private String and(String a, String b) { return ir.binary("and", "i32", true, a, b); }

    private static String zero() { return Ir.constant("i32", true, 0); }

    /** For each lane the lanes that hold its value. */
    private String equal(Instruction i, String y) {
        String v = k.vector(i.operand(1), y), r = "zeroinitializer";
        for (int l = 0; l < Ir.LANES; l++) {
            String one = ir.temp("extractelement " + Ir.vector(y) + " " + v + ", i64 " + l);
            String same = ir.maskBits(ir.compare("eq", y, true, v, ir.splat(y, one)));
            r = ir.temp("insertelement <32 x i32> " + r + ", i32 " + same + ", i64 " + l);
        }
        return r;
    }

    /** One lane's value after the other goes into the lanes whose group it belongs to. */
    private String reduced(Instruction i, String here) {
        PtxType t = i.type();
        if (t.isFloat()) throw k.refuse(i, "");
        String op = i.modifiers().get(1), s = t.isSigned() ? "s" : "u";
        boolean extreme = op.equals("min") || op.equals("max");
        if (!extreme && !op.equals("add") && !op.equals("and") && !op.equals("or") && !op.equals("xor")) throw k.refuse(i, "");
        String name = "tp_redux_" + (extreme ? s : "") + op, least = "@llvm." + s + op + ".v32i32";
        long identity = switch (op) { case "and" -> -1; case "min" -> t.isSigned() ? Integer.MAX_VALUE : -1; case "max" -> t.isSigned() ? Integer.MIN_VALUE : 0; default -> 0; };
        if (extreme) ir.declare("<32 x i32> " + least + "(<32 x i32>, <32 x i32>)");
        k.helper(name, () -> {
            var f = new StringBuilder("define internal <32 x i32> @" + name + "(<32 x i32> %v, <32 x i32> %m) noinline #0 {\n");
            String sum = Ir.splatConstant("i32", Long.toString((int) identity));
            for (int l = 0; l < Ir.LANES; l++) {
                f.append("  %x").append(l).append(" = shufflevector <32 x i32> %v, <32 x i32> poison, <32 x i32> splat (i32 ").append(l).append(")\n");
                f.append("  %b").append(l).append(" = and <32 x i32> %m, splat (i32 ").append(1 << l).append(")\n");
                f.append("  %c").append(l).append(" = icmp ne <32 x i32> %b").append(l).append(", zeroinitializer\n");
                f.append("  %r").append(l).append(" = ").append(extreme ? "call <32 x i32> " + least + "(<32 x i32> " + sum + ", <32 x i32> %x" + l + ")" : op + " <32 x i32> " + sum + ", %x" + l).append('\n');
                f.append("  %s").append(l).append(" = select <32 x i1> %c").append(l).append(", <32 x i32> %r").append(l).append(", <32 x i32> ").append(sum).append('\n');
                sum = "%s" + l;
            }
            return f.append("  ret <32 x i32> ").append(sum).append("\n}\n").toString();
        });
        return ir.temp("call <32 x i32> @" + name + "(<32 x i32> " + k.vector(i.operand(1), "i32") + ", <32 x i32> " + here + ")");
    }
}
