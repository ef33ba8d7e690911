package dev.turningpoint.softgpu.driver;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** Rows of bf16 in memory read as floats and written from them. Both pass through an array of shorts, so that the loops are vector loops. */
final class Bf16 {
    private Bf16() {}

    static void load(long from, short[] narrow, float[] to, int n) {
        MemorySegment.copy(Raw.ALL, ValueLayout.JAVA_SHORT_UNALIGNED, from, narrow, 0, n);
        for (int i = 0; i < n; i++) to[i] = Float.intBitsToFloat(narrow[i] << 16);
    }

    /** Rounds to nearest, ties to even; NaN stays NaN. */
    static void store(float[] from, short[] narrow, long to, int n) {
        for (int i = 0; i < n; i++) {
            int bits = Float.floatToRawIntBits(from[i]);
            int rounded = bits + 0x7fff + (bits >>> 16 & 1) >>> 16, nan = bits >>> 16 | 0x40;
            narrow[i] = (short) ((bits & 0x7fffffff) > 0x7f800000 ? nan : rounded);
        }
        MemorySegment.copy(narrow, 0, Raw.ALL, ValueLayout.JAVA_SHORT_UNALIGNED, to, n);
    }
}
