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
        List<PtxType> types = Arithmetic.types(i);
        if (types.size() < 2) throw o.refuse(i, "");
        PtxType to = types.get(0), from = types.get(types.size() - 1);
        Mode mode = Rounding.mode(i);
        if (to == PtxType.F16X2 || to == PtxType.BF16X2) {
            if (from != PtxType.F32) throw o.refuse(i, "");
            PtxType one = to == PtxType.F16X2 ? PtxType.F16 : PtxType.BF16;
            return Arithmetic.binary(i, o, PtxType.B32, from, from, (hi, lo) -> narrowed(i, Rounding.value(lo, from), one, mode) | narrowed(i, Rounding.value(hi, from), one, mode) << 16);
        }
        boolean whole = i.has("rni") || i.has("rzi") || i.has("rmi") || i.has("rpi"), ftz = i.has("ftz");
        Arithmetic.Unary f;
        if (!from.isFloat() && !to.isFloat()) f = a -> i.has("sat") ? clamped(Arithmetic.number(a, from), from, to) : Arithmetic.number(a, from);
        else if (!from.isFloat()) f = a -> {
            BigInteger n = BigInteger.valueOf(Arithmetic.number(a, from));
            if (from == PtxType.U64 && n.signum() < 0) n = n.add(BigInteger.ONE.shiftLeft(64));
            return saturated(i, n.signum() == 0 ? 0 : Rounding.round(new BigDecimal(n), Rounding.format(to), mode), to);
        };
        else if (!to.isFloat()) f = a -> integer(FloatArithmetic.read(a, from, ftz), from, to, mode);
        else f = a -> {
            double v = FloatArithmetic.read(a, from, ftz);
            return narrowed(i, whole ? toWhole(v, mode) : v, to, mode);
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

    private static long narrowed(Instruction i, double v, PtxType to, Mode mode) {
        if (i.has("relu") && v <= 0) v = 0;
        double r = Rounding.round(v, Rounding.format(to), mode);
        if (i.has("satfinite") && Double.isInfinite(r)) r = Math.copySign(Rounding.format(to).largest(), r);
        if (i.has("ftz") && Math.abs(r) < Math.scalb(1.0, Rounding.format(to).least())) r = Math.copySign(0.0, r);
        return saturated(i, r, to);
    }

    private static long saturated(Instruction i, double v, PtxType to) {
        return Rounding.bits(i.has("sat") ? v > 0 ? Math.min(v, 1) : 0 : v, to);
    }

    private static double toWhole(double v, Mode mode) {
        return switch (mode) { case RZ -> v < 0 ? Math.ceil(v) : Math.floor(v); case RM -> Math.floor(v); case RP -> Math.ceil(v); default -> Math.rint(v); };
    }

    private static long clamped(long v, PtxType from, PtxType to) {
        BigInteger n = BigInteger.valueOf(v);
        if (from == PtxType.U64 && v < 0) n = n.add(BigInteger.ONE.shiftLeft(64));
        return n.max(least(to)).min(most(to)).longValue();
    }

    private static BigInteger least(PtxType t) { return t.isSigned() ? BigInteger.ONE.shiftLeft(t.bits() - 1).negate() : BigInteger.ZERO; }
    private static BigInteger most(PtxType t) { return BigInteger.ONE.shiftLeft(t.isSigned() ? t.bits() - 1 : t.bits()).subtract(BigInteger.ONE); }

    /** Out of range clamps. NaN becomes 0; where a 64-bit type takes part, the highest bit alone. */
    private static long integer(double v, PtxType from, PtxType to, Mode mode) {
        if (v != v) return from == PtxType.F64 || to.bytes() == 8 ? 1L << to.bits() - 1 : 0;
        double w = toWhole(v, mode);
        if (Double.isInfinite(w)) return (w > 0 ? most(to) : least(to)).longValue();
        return new BigDecimal(w).toBigInteger().max(least(to)).min(most(to)).longValue();
    }
}
