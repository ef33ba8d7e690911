package dev.turningpoint.softgpu.interpreter;

import dev.turningpoint.softgpu.ptx.PtxType;

/** What an atomic operation makes of the value it finds, on raw bits. */
final class Atomics {
    interface Change {
        /** @param c the third operand of {@code cas}, else the second again */
        long of(long old, long b, long c);
    }

    private Atomics() {}

    /** Null if the type has no such operation. */
    static Change change(String op, PtxType t) {
        if (t.isFloat()) return floating(op, t);
        int unused = 64 - t.bits();
        boolean signed = t.isSigned();
        return switch (op) {
            case "add" -> (old, b, c) -> old + b;
            case "and" -> (old, b, c) -> old & b;
            case "or" -> (old, b, c) -> old | b;
            case "xor" -> (old, b, c) -> old ^ b;
            case "exch" -> (old, b, c) -> b;
            case "cas" -> (old, b, c) -> old == b ? c : old;
            case "inc" -> (old, b, c) -> Long.compareUnsigned(old, b) >= 0 ? 0 : old + 1;
            case "dec" -> (old, b, c) -> old == 0 || Long.compareUnsigned(old, b) > 0 ? b : old - 1;
            case "min" -> (old, b, c) -> less(old, b, signed, unused) ? old : b;
            case "max" -> (old, b, c) -> less(old, b, signed, unused) ? b : old;
            default -> null;
        };
    }

    private static boolean less(long a, long b, boolean signed, int unused) {
        return signed ? a << unused < b << unused : Long.compareUnsigned(a, b) < 0;
    }

    private static Change floating(String op, PtxType t) {
        switch (t) {
            case F16X2, BF16X2 -> {
                Change one = floating(op, t == PtxType.F16X2 ? PtxType.F16 : PtxType.BF16);
                if (one == null) return null;
                return (old, b, c) -> one.of(old & 0xffff, b & 0xffff, 0) | one.of(old >>> 16, b >>> 16, 0) << 16;
            }
            case F16, BF16 -> {
                boolean half = t == PtxType.F16;
                return switch (op) {
                    case "add" -> (old, b, c) -> half ? Float.floatToFloat16(Float.float16ToFloat((short) old) + Float.float16ToFloat((short) b)) & 0xffffL
                            : bfloat(Float.intBitsToFloat((int) old << 16) + Float.intBitsToFloat((int) b << 16));
                    case "min", "max" -> {
                        boolean least = op.equals("min");
                        yield (old, b, c) -> {
                            float x = half ? Float.float16ToFloat((short) old) : Float.intBitsToFloat((int) old << 16), y = half ? Float.float16ToFloat((short) b) : Float.intBitsToFloat((int) b << 16);
                            if (x != x && y != y) return 0x7fff;
                            if (x != x) return b;
                            if (y != y) return old;
                            return (least ? Math.min(x, y) : Math.max(x, y)) == x && (x != 0 || y != 0 || (1 / x < 0) == least) ? old : b;
                        };
                    }
                    default -> null;
                };
            }
            case F32 -> {
                return op.equals("add") ? (old, b, c) -> Float.floatToRawIntBits(Float.intBitsToFloat((int) old) + Float.intBitsToFloat((int) b)) & 0xffffffffL : null;
            }
            case F64 -> {
                return op.equals("add") ? (old, b, c) -> Double.doubleToRawLongBits(Double.longBitsToDouble(old) + Double.longBitsToDouble(b)) : null;
            }
            default -> { return null; }
        }
    }

    /** Rounded to nearest even. */
    private static long bfloat(float f) {
        int bits = Float.floatToRawIntBits(f);
        if (f != f) return 0x7fff;
        return bits + 0x7fff + (bits >>> 16 & 1) >>> 16 & 0xffff;
    }
}
