package dev.turningpoint.softgpu.interpreter;

import dev.turningpoint.softgpu.interpreter.Rounding.Format;
import dev.turningpoint.softgpu.interpreter.Rounding.Mode;
import dev.turningpoint.softgpu.ptx.Instruction;
import dev.turningpoint.softgpu.ptx.PtxType;

import java.math.BigDecimal;
import java.math.MathContext;
import java.math.RoundingMode;

/**
 * Floating arithmetic: the exact result, rounded once. Approximate operations are computed in double and rounded to nearest, so they are more exact than the
 * hardware's, whose bounds the PTX manual states.
 */
final class FloatArithmetic {
    private FloatArithmetic() {}

    /** Bits as a number, subnormals of f32 taken as zero under {@code .ftz}. */
    static double read(long bits, PtxType t, boolean ftz) { return flushed(Rounding.value(bits, t), t, ftz); }

    private static double flushed(double v, PtxType t, boolean ftz) {
        return ftz && Math.abs(v) < Math.scalb(1.0, Rounding.format(t).least()) ? Math.copySign(0.0, v) : v;
    }

    static Operation operation(Instruction i, Operands o, PtxType t) {
        if (t == PtxType.F16X2 || t == PtxType.BF16X2) return packed(i, o, t);
        return switch (i.opcode()) {
            case "fma", "mad" -> { Arithmetic.Ternary f = third(i, o, t); yield Arithmetic.ternary(i, o, t, t, t, t, f); }
            case "add", "sub", "mul", "div", "min", "max" -> Arithmetic.binary(i, o, t, t, t, second(i, o, t));
            case "copysign" -> Arithmetic.binary(i, o, t, t, t, (a, b) -> b & ~sign(t) | a & sign(t));
            case "testp" -> Arithmetic.unary(i, o, PtxType.PRED, t, a -> property(i, o, Rounding.value(a, t), t) ? 1 : 0);
            default -> Arithmetic.unary(i, o, t, t, first(i, o, t));
        };
    }

    private static Operation packed(Instruction i, Operands o, PtxType t) {
        PtxType one = t == PtxType.F16X2 ? PtxType.F16 : PtxType.BF16, b = PtxType.B32;
        switch (i.operands().size()) {
            case 4 -> {
                Arithmetic.Ternary f = third(i, o, one);
                return Arithmetic.ternary(i, o, b, b, b, b, (x, y, z) -> f.of(x & 0xffff, y & 0xffff, z & 0xffff) & 0xffff | f.of(x >>> 16, y >>> 16, z >>> 16) << 16);
            }
            case 3 -> {
                Arithmetic.Binary f = second(i, o, one);
                return Arithmetic.binary(i, o, b, b, b, (x, y) -> f.of(x & 0xffff, y & 0xffff) & 0xffff | f.of(x >>> 16, y >>> 16) << 16);
            }
            default -> {
                Arithmetic.Unary f = first(i, o, one);
                return Arithmetic.unary(i, o, b, b, x -> f.of(x & 0xffff) & 0xffff | f.of(x >>> 16) << 16);
            }
        }
    }

    private static long sign(PtxType t) { return 1L << t.bits() - 1; }

    /** What an instruction does to its rounded result: flushes it, saturates it, drops its negative part. */
    private record Finish(PtxType type, boolean ftz, boolean sat, boolean relu) {
        Finish(Instruction i, PtxType t) { this(t, i.has("ftz"), i.has("sat"), i.has("relu")); }

        long of(double v) {
            v = flushed(v, type, ftz);
            if (sat) v = v > 0 ? Math.min(v, 1) : 0;   // NaN becomes 0
            if (relu && v <= 0) v = 0;
            return Rounding.bits(v, type);
        }
    }

    // ---- one operand

    private static Arithmetic.Unary first(Instruction i, Operands o, PtxType t) {
        boolean ftz = i.has("ftz"), approximate = i.has("approx");
        Format f = Rounding.format(t);
        Mode mode = Rounding.mode(i);
        var end = new Finish(i, t);
        return switch (i.opcode()) {
            case "neg" -> ftz ? a -> Rounding.bits(-read(a, t, true), t) : a -> a ^ sign(t);
            case "abs" -> ftz ? a -> Rounding.bits(Math.abs(read(a, t, true)), t) : a -> a & ~sign(t);
            case "rcp" -> a -> end.of(approximate ? Rounding.round(1 / read(a, t, ftz), f, Mode.RN) : quotient(1, read(a, t, ftz), f, mode));
            case "sqrt" -> a -> end.of(approximate ? Rounding.round(Math.sqrt(read(a, t, ftz)), f, Mode.RN) : root(read(a, t, ftz), f, mode));
            case "rsqrt" -> a -> end.of(Rounding.round(1 / Math.sqrt(read(a, t, ftz)), f, Mode.RN));
            case "sin" -> a -> end.of(Rounding.round(Math.sin(read(a, t, ftz)), f, Mode.RN));
            case "cos" -> a -> end.of(Rounding.round(Math.cos(read(a, t, ftz)), f, Mode.RN));
            case "lg2" -> a -> end.of(Rounding.round(Math.log(read(a, t, ftz)) / Math.log(2), f, Mode.RN));
            case "ex2" -> a -> end.of(Rounding.round(Math.pow(2, read(a, t, ftz)), f, Mode.RN));
            case "tanh" -> a -> end.of(Rounding.round(Math.tanh(read(a, t, ftz)), f, Mode.RN));
            default -> throw o.refuse(i, "");
        };
    }

    private static boolean property(Instruction i, Operands o, double v, PtxType t) {
        double least = Math.scalb(1.0, Rounding.format(t).least());
        return switch (i.modifiers().get(0)) {
            case "finite" -> Double.isFinite(v);
            case "infinite" -> Double.isInfinite(v);
            case "number" -> v == v;
            case "notanumber" -> v != v;
            case "normal" -> Double.isFinite(v) && Math.abs(v) >= least;
            case "subnormal" -> v != 0 && Math.abs(v) < least;
            default -> throw o.refuse(i, "");
        };
    }

    // ---- two operands

    private static Arithmetic.Binary second(Instruction i, Operands o, PtxType t) {
        boolean ftz = i.has("ftz"), nan = i.has("NaN"), xorsign = i.has("xorsign");
        Format f = Rounding.format(t);
        Mode mode = Rounding.mode(i);
        if (i.operands().size() > 3) throw o.refuse(i, "with three operands");
        boolean least = i.is("min");
        var end = new Finish(i, t);
        return switch (i.opcode()) {
            case "add" -> t == PtxType.F32 && mode == Mode.RN && !ftz && !i.has("sat") ? (a, b) -> Rounding.bits(Float.intBitsToFloat((int) a) + Float.intBitsToFloat((int) b), t)
                    : (a, b) -> end.of(sum(read(a, t, ftz), read(b, t, ftz), f, mode));
            case "sub" -> (a, b) -> end.of(sum(read(a, t, ftz), -read(b, t, ftz), f, mode));
            case "mul" -> t == PtxType.F64 ? (a, b) -> end.of(product(Rounding.value(a, t), Rounding.value(b, t), mode))
                    : (a, b) -> end.of(Rounding.round(read(a, t, ftz) * read(b, t, ftz), f, mode));   // the product of two floats fits a double
            case "div" -> (a, b) -> end.of(quotient(read(a, t, ftz), read(b, t, ftz), f, mode));
            case "min", "max" -> (a, b) -> {
                double x = read(a, t, ftz), y = read(b, t, ftz);
                if (xorsign) { double s = Math.copySign(1, x) * Math.copySign(1, y); return end.of(Math.copySign(extreme(least, Math.abs(x), Math.abs(y), nan), s)); }
                return end.of(extreme(least, x, y, nan));
            };
            default -> throw o.refuse(i, "");
        };
    }

    private static double extreme(boolean least, double x, double y, boolean nan) {
        if (!nan && x != x) return y;
        if (!nan && y != y) return x;
        return least ? Math.min(x, y) : Math.max(x, y);
    }

    private static Arithmetic.Ternary third(Instruction i, Operands o, PtxType t) {
        boolean ftz = i.has("ftz");
        Format f = Rounding.format(t);
        Mode mode = Rounding.mode(i);
        if (!i.is("fma") && !i.is("mad")) throw o.refuse(i, "");
        var end = new Finish(i, t);
        if (t == PtxType.F32 && mode == Mode.RN && !ftz && !i.has("sat"))
            return (a, b, c) -> Rounding.bits(Math.fma(Float.intBitsToFloat((int) a), Float.intBitsToFloat((int) b), Float.intBitsToFloat((int) c)), t);
        if (t == PtxType.F64 && mode == Mode.RN)
            return (a, b, c) -> Rounding.bits(Math.fma(Double.longBitsToDouble(a), Double.longBitsToDouble(b), Double.longBitsToDouble(c)), t);
        return (a, b, c) -> {
            double x = read(a, t, ftz), y = read(b, t, ftz), z = read(c, t, ftz);
            if (!Double.isFinite(x) || !Double.isFinite(y) || !Double.isFinite(z)) return end.of(Math.fma(x, y, z));   // the product of two finite doubles is finite, whatever its size
            if (f != Format.F64) return end.of(sum(x * y, z, f, mode));   // the product of two floats fits a double
            BigDecimal exact = new BigDecimal(x).multiply(new BigDecimal(y)).add(new BigDecimal(z));
            return end.of(exact.signum() == 0 ? zero(Math.copySign(1, x) * Math.copySign(1, y) < 0, Math.copySign(1, z) < 0, mode) : Rounding.round(exact, f, mode));
        };
    }

    /** A sum of 0: the sign of both, else +0, or -0 when rounding down. */
    private static double zero(boolean minusA, boolean minusB, Mode mode) { return (minusA == minusB ? minusA : mode == Mode.RM) ? -0.0 : 0.0; }

    // Of the formats shorter than f64 a double holds the result with digits to spare; what it loses counts as one odd digit at its end.

    private static double sum(double a, double b, Format f, Mode mode) {
        double s = a + b;
        if (!Double.isFinite(s) && f != Format.F64 || !Double.isFinite(a) || !Double.isFinite(b) || f == Format.F64 && mode == Mode.RN) return s;
        if (a == -b) return zero(Math.copySign(1, a) < 0, Math.copySign(1, b) < 0, mode);
        if (f == Format.F64) return Rounding.round(new BigDecimal(a).add(new BigDecimal(b)), f, mode);
        double part = s - a;
        return Rounding.round(Rounding.odd(s, a - (s - part) + (b - part)), f, mode);   // Knuth's two-sum
    }

    private static double product(double a, double b, Mode mode) {
        if (mode == Mode.RN || a == 0 || b == 0 || !Double.isFinite(a) || !Double.isFinite(b)) return a * b;
        return Rounding.round(new BigDecimal(a).multiply(new BigDecimal(b)), Format.F64, mode);
    }

    private static double quotient(double a, double b, Format f, Mode mode) {
        double q = a / b;
        if (a == 0 || b == 0 || !Double.isFinite(a) || !Double.isFinite(b) || f == Format.F64 && mode == Mode.RN) return q;
        // Of a double the quotient has no end: enough digits, cut towards zero and marked as inexact, round right, since it is never a tie.
        if (f == Format.F64) return Rounding.round(new BigDecimal(a).divide(new BigDecimal(b), new MathContext(1200, RoundingMode.DOWN)), f, mode);
        return Rounding.round(Rounding.odd(q, Math.fma(-q, b, a) / b), f, mode);
    }

    private static double root(double a, Format f, Mode mode) {
        double q = Math.sqrt(a);
        if (!(a > 0) || Double.isInfinite(a) || f == Format.F64 && mode == Mode.RN) return q;
        if (f == Format.F64) return Rounding.round(new BigDecimal(a).sqrt(new MathContext(60, RoundingMode.DOWN)), f, mode);
        return Rounding.round(Rounding.odd(q, Math.fma(-q, q, a)), f, mode);
    }
}
