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
            case F16, BF16, F32, F64 -> {
                Rounding.Format f = Rounding.format(t);
                return switch (op) {
                    // A double holds the sum of two shorter floats with digits to spare, so that rounding it once more rounds right.
                    case "add" -> (old, b, c) -> Rounding.bits(Rounding.round(Rounding.value(old, t) + Rounding.value(b, t), f, Rounding.Mode.RN), t);
                    case "min", "max" -> {
                        if (t.bytes() > 2) yield null;
                        boolean least = op.equals("min");
                        yield (old, b, c) -> {
                            double x = Rounding.value(old, t), y = Rounding.value(b, t);
                            return Rounding.bits(x != x ? y : y != y ? x : least ? Math.min(x, y) : Math.max(x, y), t);
                        };
                    }
                    default -> null;
                };
            }
            default -> { return null; }
        }
    }
}
