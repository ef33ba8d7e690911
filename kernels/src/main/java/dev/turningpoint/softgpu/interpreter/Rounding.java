package dev.turningpoint.softgpu.interpreter;

import dev.turningpoint.softgpu.ptx.Instruction;
import dev.turningpoint.softgpu.ptx.PtxType;

import java.math.BigDecimal;

/** Rounding to the floating formats of PTX in every direction, exactly; and the way between their bits and doubles, which hold each of them. */
final class Rounding {
    /** Nearest even, nearest away from zero, towards zero, down, up. */
    enum Mode { RN, RNA, RZ, RM, RP }

    /** @param digits of the significand with its hidden bit; exponent of the smallest normal number; the largest number */
    record Format(int digits, int least, double largest) {
        static final Format F16 = new Format(11, -14, 15), BF16 = new Format(8, -126, 127), TF32 = new Format(11, -126, 127), F32 = new Format(24, -126, 127), F64 = new Format(53, -1022, 1023),
                E4M3 = new Format(4, -6, 448.0), E5M2 = new Format(3, -14, 15);   // E4M3 has one NaN in the place of 480, and no infinity

        Format(int digits, int least, int most) { this(digits, least, Math.scalb(2 - Math.scalb(1.0, 1 - digits), most)); }
    }

    private Rounding() {}

    static Format format(PtxType t) {
        return switch (t) {
            case F16, F16X2 -> Format.F16;
            case BF16, BF16X2 -> Format.BF16;
            case TF32 -> Format.TF32;
            case E4M3, E4M3X2 -> Format.E4M3;
            case E5M2, E5M2X2 -> Format.E5M2;
            case F32 -> Format.F32;
            default -> Format.F64;
        };
    }

    static Mode mode(Instruction i) {
        for (String m : i.modifiers()) switch (m) {
            case "rz", "rzi" -> { return Mode.RZ; }
            case "rm", "rmi" -> { return Mode.RM; }
            case "rp", "rpi" -> { return Mode.RP; }
            case "rna" -> { return Mode.RNA; }
            default -> { }
        }
        return Mode.RN;
    }

    /** A number whose every digit a double holds, rounded once. */
    static double round(double v, Format f, Mode mode) {
        if (v == 0 || Double.isNaN(v) || Double.isInfinite(v) || f == Format.F64) return v;
        int quantum = Math.max(Math.getExponent(v), f.least) - f.digits + 1;
        double q = Math.abs(v) < Double.MIN_NORMAL ? v * 0x1p200 : v;
        q = Math.abs(v) < Double.MIN_NORMAL ? Math.scalb(q, -quantum - 200) : Math.scalb(q, -quantum);
        double whole = switch (mode) {
            case RN -> Math.rint(q);
            case RNA -> Math.copySign(Math.floor(Math.abs(q) + 0.5), q);
            case RZ -> q < 0 ? Math.ceil(q) : Math.floor(q);
            case RM -> Math.floor(q);
            case RP -> Math.ceil(q);
        };
        return limited(Math.copySign(Math.scalb(whole, quantum), v), f, mode);
    }

    private static double limited(double r, Format f, Mode mode) {
        if (Math.abs(r) <= f.largest()) return r;
        boolean stays = mode == Mode.RZ || mode == Mode.RM && r > 0 || mode == Mode.RP && r < 0;
        return Math.copySign(stays ? f.largest() : Double.POSITIVE_INFINITY, r);
    }

    /** The double that stands for {@code v + lost}, where v is that sum rounded: its last digit is odd if anything is lost, so that a shorter format rounds as the sum would. */
    static double odd(double v, double lost) {
        if (lost == 0 || (Double.doubleToRawLongBits(v) & 1) != 0) return v;
        return lost > 0 ? Math.nextUp(v) : Math.nextDown(v);
    }

    /** Any number but 0, rounded once. */
    static double round(BigDecimal v, Format f, Mode mode) {
        double near = v.doubleValue();
        if (f == Format.F64 && mode == Mode.RN) return near;
        // The double below the number in magnitude, and one bit more that tells whether something is left: enough to round a shorter format.
        double below = near;
        if (Double.isInfinite(near) || new BigDecimal(near).abs().compareTo(v.abs()) > 0) below = Math.copySign(Math.nextDown(Math.abs(near)), v.signum());
        boolean exact = new BigDecimal(below).compareTo(v) == 0;
        if (f == Format.F64) {
            if (exact) return below;
            boolean away = mode == Mode.RP && v.signum() > 0 || mode == Mode.RM && v.signum() < 0;
            return away ? Math.copySign(Math.nextUp(Math.abs(below)), v.signum()) : below == 0 ? Math.copySign(0.0, v.signum()) : below;
        }
        if (!exact) below = Double.longBitsToDouble(Double.doubleToRawLongBits(below) | 1);   // sticky: digits beyond the target's matter only as such
        if (below == 0) below = Math.copySign(Double.MIN_VALUE, v.signum());
        return round(below, f, mode);
    }

    static double value(long bits, PtxType t) {
        return switch (t) {
            case F16 -> Float.float16ToFloat((short) bits);
            case BF16 -> Float.intBitsToFloat((int) bits << 16);
            case F32, TF32 -> Float.intBitsToFloat((int) bits);
            case E4M3 -> (bits & 0x7f) == 0x7f ? Double.NaN : 256 * Float.float16ToFloat((short) ((bits & 0x80) << 8 | (bits & 0x7f) << 7));   // a half whose exponent is 8 too small
            case E5M2 -> Float.float16ToFloat((short) (bits << 8));
            default -> Double.longBitsToDouble(bits);
        };
    }

    /** The bits of a number that the type holds exactly; one NaN for all. */
    static long bits(double v, PtxType t) {
        boolean nan = v != v;
        return switch (t) {
            case F16 -> nan ? 0x7fff : Float.floatToFloat16((float) v) & 0xffffL;
            case BF16 -> nan ? 0x7fff : Float.floatToRawIntBits((float) v) >>> 16;
            case E4M3 -> {
                int half = Float.floatToFloat16((float) v / 256);
                yield nan ? 0x7f : half >>> 8 & 0x80 | half >>> 7 & 0x7f;
            }
            case E5M2 -> nan ? 0x7f : Float.floatToFloat16((float) v) >>> 8 & 0xff;
            case F32, TF32 -> nan ? 0x7fffffff : Float.floatToRawIntBits((float) v) & 0xffffffffL;
            default -> nan ? 0x7ff8000000000000L : Double.doubleToRawLongBits(v);
        };
    }
}
