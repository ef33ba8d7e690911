package dev.turningpoint.weights;

import java.lang.foreign.MemorySegment;
import java.util.HexFormat;
import org.lwjgl.system.MemoryUtil;
import org.lwjgl.util.xxhash.XXH3State;
import org.lwjgl.util.xxhash.XXHash;

/** XXH3, 64 bits, of bytes that come in pieces. */
final class Checksum implements AutoCloseable {
    /** Digits of one. */
    static final int LENGTH = 16;
    private static final long PIECE = 64 << 20;

    private final XXH3State state = XXHash.XXH3_createState();

    Checksum() {
        if (state == null) throw new OutOfMemoryError("XXH3 state");
        reset();
    }

    void reset() { XXHash.XXH3_64bits_reset(state); }

    /** @param bytes off the heap */
    void add(MemorySegment bytes) {
        for (long at = 0; at < bytes.byteSize(); at += PIECE) {
            MemorySegment piece = bytes.asSlice(at, Math.min(PIECE, bytes.byteSize() - at));
            XXHash.XXH3_64bits_update(state, MemoryUtil.memByteBuffer(piece.address(), (int) piece.byteSize()));
        }
    }

    /** Of all since {@link #reset}, as hexadecimal digits. */
    String digest() { return HexFormat.of().toHexDigits(XXHash.XXH3_64bits_digest(state)); }

    @Override
    public void close() { XXHash.XXH3_freeState(state); }
}
