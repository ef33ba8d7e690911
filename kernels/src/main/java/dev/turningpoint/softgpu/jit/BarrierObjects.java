package dev.turningpoint.softgpu.jit;

import dev.turningpoint.softgpu.ptx.Instruction;
import dev.turningpoint.softgpu.ptx.Operand;

/**
 * {@code mbarrier} and {@code cp.async.mbarrier.arrive}. An object is one 64-bit word, opaque to programs: bits 0-19 arrivals a phase expects, 20-39 those still to
 * come, 40-60 bytes still to come (two's complement), 63 parity of the phase. Lanes change it one after the other.
 */
final class BarrierObjects {
    private final KernelEmitter k;
    private final Memory memory;
    private final Ir ir;

    BarrierObjects(KernelEmitter k, Memory memory) { this.k = k; this.memory = memory; this.ir = k.ir; }

    void emit(Instruction i) {
        int n = i.operands().size();
        if (i.is("cp")) {
            // without .noinc the copy's own arrival was added to the expected ones
            if (i.has("noinc")) change(i, 0, null, "arrive", "splat (i64 1)", zero());
            return;
        }
        if (i.has("pending_count")) {
            String v = ir.binary("lshr", "i64", true, k.vector(i.operand(1), "i64"), Ir.constant("i64", true, 20));
            k.writeVector(i.operand(0), ir.binary("and", "i64", true, v, Ir.constant("i64", true, 0xfffff)), "i64");
        } else if (i.has("init")) change(i, 0, null, "init", count(i, 1), zero());
        else if (i.has("inval")) change(i, 0, null, "init", zero(), zero());
        else if (i.has("complete_tx")) change(i, 0, null, "arrive", zero(), ir.binary("sub", "i64", true, zero(), count(i, 1)));
        else if (i.has("expect_tx") && !i.has("arrive") && !i.has("arrive_drop")) change(i, 0, null, "expect", zero(), count(i, 1));
        else if (i.has("arrive") || i.has("arrive_drop")) {
            boolean result = !(i.operand(0) instanceof Operand.Address), expects = i.has("expect_tx");
            int at = result ? 1 : 0;
            String extra = n > at + 1 ? count(i, at + 1) : null, one = Ir.constant("i64", true, 1);
            change(i, at, result ? i.operand(0) : null, i.has("arrive_drop") ? "drop" : "arrive", extra == null || expects ? one : extra, expects ? extra : zero());
        } else throw k.refuse(i, "");
    }

    private static String zero() { return Ir.constant("i64", true, 0); }

    private String count(Instruction i, int n) { return ir.cast("zext", "i32", "i64", true, k.vector(i.operand(n), "i32")); }

    /** Whether the phase that a state or a parity names is over, in each lane. */
    String over(Instruction i) {
        String word = change(i, 1, null, "read", zero(), zero());
        String parity = ir.binary("lshr", "i64", true, word, Ir.constant("i64", true, 63)), awaited = i.has("parity")
                ? ir.binary("and", "i64", true, count(i, 2), Ir.constant("i64", true, 1)) : ir.binary("lshr", "i64", true, k.vector(i.operand(2), "i64"), Ir.constant("i64", true, 63));
        return ir.compare("ne", "i64", true, parity, awaited);
    }

    /** Changes the word; gives what it was. */
    private String change(Instruction i, int address, Operand result, String what, String arrivals, String bytes) {
        String name = "tp_mbarrier_" + what;
        ir.declare("i32 @llvm.cttz.i32(i32, i1)");
        k.helper(name, () -> helper(name, what));
        String at = ir.temp("ptrtoint <32 x ptr> " + memory.addresses(i, i.operand(address)) + " to <32 x i64>");
        String old = ir.temp("call <32 x i64> @" + name + "(<32 x i64> " + at + ", <32 x i64> " + arrivals + ", <32 x i64> " + bytes + ", i32 "
                + (k.mask() == null ? "-1" : ir.maskBits(k.mask())) + ")");
        if (result != null) k.writeVector(result, old, "i64");
        return old;
    }

    private static String helper(String name, String what) {
        String expect = """
                  %t0 = lshr i64 %old, 40
                  %t1 = add i64 %t0, %y
                  %t2 = and i64 %t1, 2097151
                  %t3 = shl i64 %t2, 40
                  %t4 = and i64 %old, KEEP
                  %told = or i64 %t4, %t3
                """.replace("KEEP", "" + ~(0x1fffffL << 40));
        String arrive = """
                  %p = shl i64 %x, 20
                  %a0 = sub i64 %told, %p
                  %a1 = ANY
                  %left = and i64 %a1, REST
                  %over = icmp eq i64 %left, 0
                  %e = and i64 %a1, 1048575
                  %e20 = shl i64 %e, 20
                  %next = xor i64 %a1, SIGN
                  %new0 = or i64 %next, %e20
                  %new = select i1 %over, i64 %new0, i64 %a1
                """.replace("ANY", what.equals("drop") ? "sub i64 %a0, %x" : "add i64 %a0, 0").replace("REST", "" + (0x1fffffL << 40 | 0xfffffL << 20)).replace("SIGN", "" + Long.MIN_VALUE);
        String body = switch (what) {
            case "init" -> "  %s = shl i64 %x, 20\n  %new = or i64 %s, %x\n  store i64 %new, ptr %q\n";
            case "read" -> "";
            case "expect" -> expect + "  store i64 %told, ptr %q\n";
            default -> expect + arrive + "  store i64 %new, ptr %q\n";
        };
        return """
                define internal <32 x i64> @NAME(<32 x i64> %at, <32 x i64> %arrivals, <32 x i64> %bytes, i32 %lanes) noinline #0 {
                entry:
                  %as = alloca <32 x i64>
                  store <32 x i64> %at, ptr %as
                  %xs = alloca <32 x i64>
                  store <32 x i64> %arrivals, ptr %xs
                  %ys = alloca <32 x i64>
                  store <32 x i64> %bytes, ptr %ys
                  %rs = alloca <32 x i64>
                  store <32 x i64> zeroinitializer, ptr %rs
                  %none = icmp eq i32 %lanes, 0
                  br i1 %none, label %done, label %loop
                loop:
                  %m = phi i32 [ %lanes, %entry ], [ %rest, %loop ]
                  %l = call i32 @llvm.cttz.i32(i32 %m, i1 true)
                  %ap = getelementptr i64, ptr %as, i32 %l
                  %a = load i64, ptr %ap
                  %q = inttoptr i64 %a to ptr
                  %xp = getelementptr i64, ptr %xs, i32 %l
                  %x = load i64, ptr %xp
                  %yp = getelementptr i64, ptr %ys, i32 %l
                  %y = load i64, ptr %yp
                  %old = load i64, ptr %q
                  %rp = getelementptr i64, ptr %rs, i32 %l
                  store i64 %old, ptr %rp
                BODY  %less = sub i32 %m, 1
                  %rest = and i32 %m, %less
                  %more = icmp ne i32 %rest, 0
                  br i1 %more, label %loop, label %done
                done:
                  %r = load <32 x i64>, ptr %rs
                  ret <32 x i64> %r
                }
                """.replace("NAME", name).replace("BODY", body);
    }
}
