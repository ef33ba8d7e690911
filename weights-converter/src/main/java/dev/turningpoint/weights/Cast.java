package dev.turningpoint.weights;

import java.lang.foreign.MemorySegment;

/** Floating-point elements from one type to another, rounded to nearest, ties to even. */
final class Cast {
    private Cast() {}

    static boolean serves(TensorType type) { return type == TensorType.F32 || type == TensorType.F16 || type == TensorType.BF16; }

    /**
     * Casts {@code count} elements; a NaN stays one.
     *
     * @return how many finite numbers became infinite: the narrower type has no such number
     */
    static long cast(MemorySegment from, TensorType type, MemorySegment to, TensorType target, long count) {
        if (type == target) {
            MemorySegment.copy(from, 0, to, 0, count * type.bytes());
            return 0;
        }
        long lost = 0;
        for (long i = 0; i < count; i++) {
            float v = switch (type) {
                case F32 -> from.get(TensorType.FLOAT, 4 * i);
                case F16 -> Float.float16ToFloat(from.get(TensorType.SHORT, 2 * i));
                case BF16 -> Float.intBitsToFloat(from.get(TensorType.SHORT, 2 * i) << 16);
                default -> throw new IllegalArgumentException("no cast from " + type);
            };
            if (!store(v, to, target, i)) lost++;
        }
        return lost;
    }

    /**
     * Element {@code i} becomes the number of the type that is nearest to a double, rounded once.
     *
     * @return whether the type has such a number: false if a finite one became infinite
     */
    static boolean store(double v, MemorySegment to, TensorType target, long i) {
        float kept = switch (target) {
            case F32 -> {
                float f = (float) v;
                to.set(TensorType.FLOAT, 4 * i, f);
                yield f;
            }
            case F16 -> {
                short h = Float.floatToFloat16(odd(v));
                to.set(TensorType.SHORT, 2 * i, h);
                yield Float.float16ToFloat(h);
            }
            case BF16 -> {
                short h = bf16(odd(v));
                to.set(TensorType.SHORT, 2 * i, h);
                yield Float.intBitsToFloat(h << 16);
            }
            default -> throw new IllegalArgumentException("no cast to " + target);
        };
        return !Float.isInfinite(kept) || Double.isInfinite(v);
    }

    /** A double as a float for a narrower type to be made of: where it is not exact, the neighbour whose last bit is 1, so that rounding it again errs on the side the double is on. */
    private static float odd(double v) {
        float f = (float) v;
        if (f == v || Double.isNaN(v) || (Float.floatToRawIntBits(f) & 1) == 1) return f;
        return Math.abs((double) f) > Math.abs(v) ? Float.intBitsToFloat(Float.floatToRawIntBits(f) - 1) : Float.intBitsToFloat(Float.floatToRawIntBits(f) + 1);
    }

    static short bf16(float v) {
        int bits = Float.floatToRawIntBits(v);
        if (Float.isNaN(v)) return (short) (bits >>> 16 | 0x40);   // rounding could carry a NaN's mantissa into infinity
        return (short) (bits + 0x7fff + (bits >>> 16 & 1) >>> 16);
    }
}
