package dev.turningpoint.softgpu.driver;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;

/** The process's memory by address, as C sees it. Nothing here is checked: callers have looked the address up or were given it by a C caller. */
final class Raw {
    static final MemorySegment ALL = MemorySegment.NULL.reinterpret(Long.MAX_VALUE);
    /** Copies go in pieces, so that a long one does not keep the collector waiting. */
    private static final long PIECE = 1 << 20;

    private Raw() {}

    static int getInt(long a) { return ALL.get(ValueLayout.JAVA_INT_UNALIGNED, a); }
    static long getLong(long a) { return ALL.get(ValueLayout.JAVA_LONG_UNALIGNED, a); }
    static float getFloat(long a) { return ALL.get(ValueLayout.JAVA_FLOAT_UNALIGNED, a); }
    static void putInt(long a, int v) { ALL.set(ValueLayout.JAVA_INT_UNALIGNED, a, v); }
    static void putLong(long a, long v) { ALL.set(ValueLayout.JAVA_LONG_UNALIGNED, a, v); }
    static void putFloat(long a, float v) { ALL.set(ValueLayout.JAVA_FLOAT_UNALIGNED, a, v); }

    static void copy(long target, long source, long bytes) {
        if (target > source && target < source + bytes) {  // overlapping: as one memmove
            MemorySegment.copy(ALL, source, ALL, target, bytes);
            return;
        }
        for (long at = 0; at < bytes; at += PIECE) MemorySegment.copy(ALL, source + at, ALL, target + at, Math.min(PIECE, bytes - at));
    }

    /** Repeats a pattern of {@code width} = 1, 2 or 4 bytes. */
    static void fill(long target, int value, int width, long count) {
        long bytes = count * width;
        int b = value & 0xff;
        boolean uniform = width == 1 || (width == 2 ? (value & 0xffff) == b * 0x101 : value == b * 0x01010101);
        if (uniform) {
            for (long at = 0; at < bytes; at += PIECE) ALL.asSlice(target + at, Math.min(PIECE, bytes - at)).fill((byte) value);
            return;
        }
        long pattern = width == 2 ? (value & 0xffffL) * 0x0001000100010001L : (value & 0xffffffffL) * 0x0000000100000001L;
        long whole = bytes & ~7L;
        for (long at = 0; at < whole; at += 8) putLong(target + at, pattern);
        for (long at = whole; at < bytes; at += width) {
            if (width == 4) putInt(target + at, value);
            else ALL.set(ValueLayout.JAVA_SHORT_UNALIGNED, target + at, (short) value);
        }
    }

    static String getString(long a) { return ALL.asSlice(a).getString(0); }

    /** Writes text into a C buffer of {@code capacity} bytes, cut to fit, with its closing zero. */
    static int putString(long a, long capacity, String text) {
        if (capacity <= 0) return 0;
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        int n = (int) Math.min(capacity - 1, bytes.length);
        MemorySegment.copy(bytes, 0, ALL, ValueLayout.JAVA_BYTE, a, n);
        ALL.set(ValueLayout.JAVA_BYTE, a + n, (byte) 0);
        return n;
    }
}
