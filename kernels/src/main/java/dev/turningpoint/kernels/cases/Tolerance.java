package dev.turningpoint.kernels.cases;

import dev.turningpoint.gpu.DType;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * How far the results of two devices may lie apart, in units in the last place (ulp) of the array's type.
 *
 * @param ulps   the largest difference allowed; 0: the same bits
 * @param ofRms  a unit is that of the array's root mean square where the value is smaller: for sums whose terms cancel
 * @param reason why a device may give other bits; empty for 0
 */
public record Tolerance(double ulps, boolean ofRms, String reason) {
    /** Nothing in the kernel is left to the device: every operation is rounded as PTX prescribes, in an order that the kernel fixes. */
    public static final Tolerance EXACT = new Tolerance(0, false, "");

    /** Differences relative to each value. */
    public static Tolerance ulps(double ulps, String reason) {
        return new Tolerance(ulps, false, reason);
    }

    /** Differences relative to each value or the array's root mean square, whichever is larger. */
    public static Tolerance ulpsOfRms(double ulps, String reason) {
        return new Tolerance(ulps, true, reason);
    }

    /**
     * The largest difference between two devices' results.
     *
     * @param ulps     in the unit of the tolerance; infinite where one is a number and the other is not
     * @param element  where it is
     * @param expected the first device's value there
     * @param actual   the second's
     */
    public record Difference(double ulps, long element, double expected, double actual) { }

    /** Compares {@code count} elements of {@code type}. */
    public Difference worst(DType type, long count, MemorySegment expected, MemorySegment actual) {
        double floor = ofRms ? rms(type, count, expected) : 0;
        var worst = new Difference(0, 0, value(type, expected, 0), value(type, actual, 0));
        for (long i = 0; i < count; i++) {
            double a = value(type, expected, i), b = value(type, actual, i);
            if (a != b && !(Double.isNaN(a) && Double.isNaN(b))) {
                double difference = Math.abs(a - b) / ulp(type, Math.max(floor, Math.max(Math.abs(a), Math.abs(b))));
                if (!(difference <= worst.ulps)) {
                    worst = new Difference(Double.isNaN(difference) ? Double.POSITIVE_INFINITY : difference, i, a, b);
                }
            }
        }
        return worst;
    }

    static double value(DType type, MemorySegment array, long i) {
        return switch (type) {
            case F32 -> array.getAtIndex(ValueLayout.JAVA_FLOAT, i);
            case BF16 -> Float.intBitsToFloat(array.getAtIndex(ValueLayout.JAVA_SHORT, i) << 16);
            case F64 -> array.getAtIndex(ValueLayout.JAVA_DOUBLE, i);
            case I32 -> array.getAtIndex(ValueLayout.JAVA_INT, i);
            case I64 -> array.getAtIndex(ValueLayout.JAVA_LONG, i);
            case U8 -> array.get(ValueLayout.JAVA_BYTE, i) & 0xff;
        };
    }

    private static double ulp(DType type, double magnitude) {
        return switch (type) {
            case F32 -> Math.ulp((float) magnitude);
            case BF16 -> Math.ulp((float) magnitude) * 0x1p16;
            case F64 -> Math.ulp(magnitude);
            case I32, I64, U8 -> 1;
        };
    }

    private static double rms(DType type, long count, MemorySegment array) {
        double squares = 0;
        for (long i = 0; i < count; i++) {
            double v = value(type, array, i);
            squares += Double.isFinite(v) ? v * v : 0;
        }
        return Math.sqrt(squares / count);
    }
}
