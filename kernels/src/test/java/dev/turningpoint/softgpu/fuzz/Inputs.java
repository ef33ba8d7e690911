package dev.turningpoint.softgpu.fuzz;

import java.util.Random;

/** Values at which arithmetic goes wrong, and random ones. */
final class Inputs {
    private Inputs() {}

    static float single(Random r) {
        return switch (r.nextInt(12)) {
            case 0 -> 0f;
            case 1 -> -0f;
            case 2 -> Float.POSITIVE_INFINITY;
            case 3 -> Float.NaN;
            case 4 -> Float.intBitsToFloat(r.nextInt(1 << 23) | r.nextInt(2) << 31);   // subnormal
            case 5 -> r.nextInt(200) - 100 + 0.5f;
            case 6 -> Float.MAX_VALUE * (r.nextBoolean() ? 1 : -1);
            case 7 -> (float) (r.nextGaussian() * 3e9);
            default -> (float) (r.nextGaussian() * Math.pow(10, r.nextInt(9) - 4));
        };
    }

    /** The bits of one input register. */
    static long bits(Random r, KernelGenerator.Kind kind) {
        return switch (kind) {
            case B32, UNIFORM, INDEX, B64, B16 -> switch (r.nextInt(6)) {
                case 0 -> r.nextInt(64);
                case 1 -> -r.nextInt(64);
                case 2 -> 1L << r.nextInt(64);
                case 3 -> r.nextBoolean() ? Integer.MIN_VALUE & 0xffffffffL : Long.MIN_VALUE;
                default -> r.nextLong();
            };
            case F32, ESTIMATE, OPERAND -> Float.floatToRawIntBits(single(r)) & 0xffffffffL;
            case F64 -> Double.doubleToRawLongBits(switch (r.nextInt(6)) { case 0 -> single(r); case 1 -> Double.longBitsToDouble(r.nextLong() & ~(0x7ffL << 52)); case 2 -> r.nextGaussian() * 1e300; default -> r.nextGaussian() * Math.pow(10, r.nextInt(21) - 10); });
            case F16 -> Float.floatToFloat16(single(r)) & 0xffffL;
            case BF16 -> Float.floatToRawIntBits(single(r)) >>> 16;
            case F16X2 -> bits(r, KernelGenerator.Kind.F16) | bits(r, KernelGenerator.Kind.F16) << 16;
            case BF16X2 -> bits(r, KernelGenerator.Kind.BF16) | bits(r, KernelGenerator.Kind.BF16) << 16;
        };
    }
}
