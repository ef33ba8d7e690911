package dev.turningpoint.kernels.cases;

import dev.turningpoint.gpu.DType;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Random;

/**
 * An array of a case.
 *
 * @param name      of the launcher's parameter
 * @param count     its elements
 * @param touched   those of them that the case reads or writes: fewer where rows lie apart, as the modulation of one layer among others
 * @param fill      its content before; null for {@link Role#WRITE} and {@link Role#SCRATCH}
 * @param tolerance how far two devices' results may differ; null where there is no result
 */
public record Buffer(String name, DType type, long count, long touched, Role role, Fill fill, Tolerance tolerance) {
    /** Its size. */
    public long bytes() {
        return type.bytes(count);
    }

    /** Bytes that have to be moved to read it or to write it. */
    public long compulsoryBytes() {
        return type.bytes(touched);
    }

    /** Whether the case leaves a result in it. */
    public boolean isResult() {
        return role == Role.WRITE || role == Role.READ_WRITE;
    }

    /** Writes the content before the case to {@code host}, {@link #bytes} long: the same bits for the same seed, everywhere. */
    void fill(MemorySegment host, long seed) {
        var random = new Random(seed);
        for (long i = 0; i < count; i++) {
            double value = fill.at(i, random);
            switch (type) {
                case F32 -> host.setAtIndex(ValueLayout.JAVA_FLOAT, i, (float) value);
                case BF16 -> host.setAtIndex(ValueLayout.JAVA_SHORT, i, bf16((float) value));
                case F64 -> host.setAtIndex(ValueLayout.JAVA_DOUBLE, i, value);
                case I32 -> host.setAtIndex(ValueLayout.JAVA_INT, i, (int) value);
                case I64 -> host.setAtIndex(ValueLayout.JAVA_LONG, i, (long) value);
                case U8 -> host.set(ValueLayout.JAVA_BYTE, i, (byte) value);
            }
        }
    }

    /** To nearest, ties to even; for finite values. */
    private static short bf16(float value) {
        int bits = Float.floatToRawIntBits(value);
        return (short) (bits + 0x7fff + (bits >>> 16 & 1) >>> 16);
    }
}
