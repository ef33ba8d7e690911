package dev.turningpoint.softgpu.check;

import java.util.Arrays;
import java.util.concurrent.atomic.AtomicReferenceArray;

/**
 * A range of memory that kernels may touch, or might until it was freed, and which of its bytes were ever written. Threads that write different bytes need no lock.
 */
public final class Allocation {
    /** Whose memory it is. What the host can write at any time counts as written. */
    public enum Kind {
        DEVICE("device memory"), PINNED("pinned host memory"), VARIABLE("a module variable");

        private final String words;

        Kind(String words) { this.words = words; }
    }

    private static final int SHIFT = 14, CHUNK = 1 << SHIFT;
    /** Stands for a chunk whose bytes were all written; never changed. */
    private static final byte[] FULL = new byte[0];

    private final long start, bytes;
    private final Kind kind;
    private final String origin;
    private volatile String freedBy;
    /** A byte for each byte of memory, 1 once it was written; null while none of a chunk was. Null altogether for memory that the host writes. */
    private final AtomicReferenceArray<byte[]> written;

    Allocation(long start, long bytes, Kind kind, String origin) {
        this.start = start;
        this.bytes = bytes;
        this.kind = kind;
        this.origin = origin;
        written = kind == Kind.DEVICE ? new AtomicReferenceArray<>(Math.toIntExact((bytes + CHUNK - 1) >>> SHIFT)) : null;
    }

    public long start() { return start; }
    public long bytes() { return bytes; }
    Kind kind() { return kind; }
    /** Who asked for it, as {@code GlyphModel.<init>(GlyphModel.java:88)}; empty if that is not known. */
    public String origin() { return origin; }

    boolean isFreed() { return freedBy != null; }

    void freed(String by) { freedBy = by; }

    /** Whether all these bytes lie in it, freed or not. */
    boolean encloses(long address, long count) {
        long at = address - start;
        return at >= 0 && count >= 0 && at <= bytes - count;
    }

    /** Whether they may be touched. */
    boolean holds(long address, long count) { return encloses(address, count) && freedBy == null; }

    // ---- which bytes were written

    /** Offset of the first of these bytes that nobody ever wrote; -1 if there is none. */
    long unwritten(long offset, long count) {
        if (written == null) return -1;
        for (long at = offset, end = offset + count; at < end; ) {
            byte[] chunk = written.get((int) (at >>> SHIFT));
            long next = Math.min(end, (at >>> SHIFT) + 1 << SHIFT);
            if (chunk == null) return at;
            if (chunk != FULL) for (int i = (int) at & CHUNK - 1, n = (int) (next - at); n > 0; i++, n--) if (chunk[i] == 0) return (at & -CHUNK) + i;
            at = next;
        }
        return -1;
    }

    void write(long offset, long count) {
        if (written == null) return;
        for (long at = offset, end = offset + count; at < end; ) {
            int c = (int) (at >>> SHIFT), from = (int) at & CHUNK - 1;
            long next = Math.min(end, (long) (c + 1) << SHIFT);
            byte[] chunk = written.get(c);
            if (chunk != FULL) {
                if (from == 0 && (next - at == CHUNK || next == bytes)) written.set(c, FULL);
                else {
                    if (chunk == null) {
                        written.compareAndSet(c, null, new byte[CHUNK]);
                        chunk = written.get(c);
                    }
                    if (chunk != FULL) Arrays.fill(chunk, from, from + (int) (next - at), (byte) 1);
                }
            }
            at = next;
        }
    }

    /** These bytes hold now what those of another range held, written or not. */
    void copy(long offset, Allocation from, long fromOffset, long count) {
        if (written == null) return;
        for (long at = 0; at < count; ) {
            long gap = from.unwritten(fromOffset + at, count - at), end = gap < 0 ? count : gap - fromOffset;
            write(offset + at, end - at);
            for (at = end; at < count && from.unwritten(fromOffset + at, 1) >= 0; at++) forget(offset + at);
        }
    }

    private void forget(long offset) {
        int c = (int) (offset >>> SHIFT);
        byte[] chunk = written.get(c);
        if (chunk == null) return;
        if (chunk == FULL) {
            chunk = new byte[CHUNK];
            Arrays.fill(chunk, (byte) 1);
            written.set(c, chunk);
        }
        chunk[(int) offset & CHUNK - 1] = 0;
    }

    // ---- in words

    private String name() {
        return "an allocation of " + bytes + " bytes of " + kind.words + " at 0x" + Long.toHexString(start) + (origin.isEmpty() ? "" : ", made by " + origin);
    }

    /** Where an address lies that is not all in living memory. */
    String describe(long address, long count) {
        long at = address - start;
        String freed = freedBy == null ? "" : freedBy.isEmpty() ? ", freed since" : ", freed by " + freedBy;
        if (at >= bytes) return at - bytes + " bytes after " + name() + freed;
        if (at < 0) return -at + " bytes before " + name() + freed;
        return "at offset " + at + " of " + name() + freed;
    }

    String describe(long address) { return "at offset " + (address - start) + " of " + name(); }

    @Override
    public String toString() { return name(); }
}
