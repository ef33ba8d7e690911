package dev.turningpoint.softgpu.interpreter;

import dev.turningpoint.softgpu.interpreter.Rounding.Mode;
import dev.turningpoint.softgpu.ptx.Instruction;
import dev.turningpoint.softgpu.ptx.Operand;
import dev.turningpoint.softgpu.ptx.PtxType;
import dev.turningpoint.softgpu.ptx.Register;

import java.math.BigDecimal;
import java.math.BigInteger;
import java.util.List;

/** {@code cvt} in all pairs of types. */
final class Conversions {
    private Conversions() {}

    static Operation operation(Instruction i, Operands o) {
        List<PtxType> types = i.types();
        if (types.size() < 2) throw o.refuse(i, "");
        PtxType to = types.get(0), from = types.get(types.size() - 1);
        Mode mode = Rounding.mode(i);
        if (to.isPair()) return pair(i, o, to, from, new Narrowing(i, to.element(), mode));
        if (from.isPair() || from.isFloat() && from.bytes() == 1 || to.isFloat() && to.bytes() == 1) throw o.refuse(i, "");
        boolean whole = i.has("rni") || i.has("rzi") || i.has("rmi") || i.has("rpi"), ftz = i.has("ftz"), sat = i.has("sat");
        var narrow = new Narrowing(i, to, mode);
        Arithmetic.Unary f;
        if (!from.isFloat() && !to.isFloat()) f = sat ? a -> clamped(a, from, to) : a -> Arithmetic.number(a, from);
        else if (!from.isFloat()) f = a -> {
            long n = Arithmetic.number(a, from);
            boolean beyond = from == PtxType.U64 && n < 0;
            if (!beyond && Math.abs(n) < 1L << 53) return narrow.of(n);
            return narrow.of(Rounding.round(new BigDecimal(beyond ? new BigInteger(Long.toUnsignedString(n)) : BigInteger.valueOf(n)), Rounding.format(to), mode));
        };
        else if (!to.isFloat()) f = a -> integer(FloatArithmetic.read(a, from, ftz), from, to, mode);
        else f = a -> {
            double v = FloatArithmetic.read(a, from, ftz);
            return narrow.of(whole ? toWhole(v, mode) : v);
        };
        Values x = o.source(i, 1, from);
        Register d = Operands.target(i.operand(0));
        if (d == null) return (w, lanes) -> { };
        // A narrow integer fills a wider register with its sign or with zeros.
        boolean sign = to.isSigned() && d.type().bytes() > to.bytes();
        long keep = Operands.mask(to.bytes()), room = Operands.mask(d.type().bytes());
        return (w, lanes) -> {
            long[] p = x.of(w), r = w.registers[d.id()];
            for (int rest = lanes; rest != 0; rest &= rest - 1) {
                int l = Integer.numberOfTrailingZeros(rest);
                long v = f.of(p[l]) & keep;
                r[l] = sign ? Arithmetic.number(v, to) & room : v;
            }
        };
    }

    /** Two numbers from two singles, the first of them in the upper half, or from a pair of another format. */
    private static Operation pair(Instruction i, Operands o, PtxType to, PtxType from, Narrowing one) {
        int bits = to.element().bits();
        if (from == PtxType.F32) return Arithmetic.binary(i, o, to, from, from, (hi, lo) -> one.of(Rounding.value(lo, from)) | one.of(Rounding.value(hi, from)) << bits);
        PtxType f = from.element();
        if (f == from || f.bytes() == to.element().bytes()) throw o.refuse(i, "");
        long low = Operands.mask(f.bytes());
        return Arithmetic.unary(i, o, to, from, a -> one.of(Rounding.value(a & low, f)) | one.of(Rounding.value(a >>> f.bits() & low, f)) << bits);
    }

    /** A number made one of a floating type, as the modifiers say. */
    private record Narrowing(PtxType to, Mode mode, boolean relu, boolean satfinite, boolean ftz, boolean sat) {
        Narrowing(Instruction i, PtxType to, Mode mode) { this(to, mode, i.has("relu"), i.has("satfinite"), i.has("ftz"), i.has("sat")); }

        long of(double v) {
            if (relu && v <= 0) v = 0;
            double r = Rounding.round(v, Rounding.format(to), mode);
            if (satfinite && Double.isInfinite(r)) r = Math.copySign(Rounding.format(to).largest(), r);
            if (ftz && Math.abs(r) < Math.scalb(1.0, Rounding.format(to).least())) r = Math.copySign(0.0, r);
            if (sat) r = r > 0 ? Math.min(r, 1) : 0;   // NaN becomes 0
            return Rounding.bits(r, to);
        }
    }

    private static double toWhole(double v, Mode mode) {
        return switch (mode) { case RZ -> v < 0 ? Math.ceil(v) : Math.floor(v); case RM -> Math.floor(v); case RP -> Math.ceil(v); default -> Math.rint(v); };
    }

    private static long least(PtxType t) { return t.isSigned() ? -1L << t.bits() - 1 : 0; }

    /** The largest number of a type; of u64, which no long holds, that of s64. */
    private static long most(PtxType t) { return t == PtxType.U64 ? Long.MAX_VALUE : (1L << (t.isSigned() ? t.bits() - 1 : t.bits())) - 1; }

    private static long clamped(long bits, PtxType from, PtxType to) {
        long n = Arithmetic.number(bits, from);
        if (from == PtxType.U64 && n < 0) return to == PtxType.U64 ? n : most(to);
        return Math.max(least(to), Math.min(most(to), n));
    }

    /** Out of range clamps. NaN becomes 0; where a 64-bit type takes part, the highest bit alone. */
    private static long integer(double v, PtxType from, PtxType to, Mode mode) {
        if (v != v) return from == PtxType.F64 || to.bytes() == 8 ? 1L << to.bits() - 1 : 0;
        double w = toWhole(v, mode);
        if (to == PtxType.U64 && w >= 0x1p63) return w >= 0x1p64 ? -1 : (long) (w - 0x1p63) | Long.MIN_VALUE;
        return Math.max(least(to), Math.min(most(to), (long) w));   // the cast clamps to s64
    }
}
