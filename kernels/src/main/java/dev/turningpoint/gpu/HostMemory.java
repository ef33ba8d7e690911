package dev.turningpoint.gpu;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.concurrent.atomic.LongAdder;
import org.lwjgl.system.jemalloc.JEmalloc;

/** Off-heap memory of the host, from jemalloc: for what is copied to and from the device, and for whatever the collector should not see. */
public final class HostMemory implements AutoCloseable {

    /** A cache line, and the widest vector register. */
    private static final long ALIGNMENT = 64;
    private static final LongAdder OUTSTANDING = new LongAdder();

    private final Arena arena = Arena.ofShared();
    private final MemorySegment segment;
    private boolean closed;

    private HostMemory(long address, long bytes) {
        segment = MemorySegment.ofAddress(address).reinterpret(bytes, arena, null);
    }

    /**
     * Allocates memory, aligned to 64 bytes; its content is undefined.
     *
     * @throws OutOfMemoryError if the host has not enough
     */
    public static HostMemory allocate(long bytes) {
        if (bytes <= 0) throw new IllegalArgumentException("an allocation of " + bytes + " bytes of host memory");
        long address = JEmalloc.nje_aligned_alloc(ALIGNMENT, bytes);
        if (address == 0) throw new OutOfMemoryError("jemalloc has no " + Sizes.of(bytes) + " of host memory");
        OUTSTANDING.add(bytes);
        return new HostMemory(address, bytes);
    }

    /** Bytes of all that is open in this process. */
    public static long outstanding() {
        return OUTSTANDING.sum();
    }

    /** The memory; using it after {@link #close} is an {@link IllegalStateException}. */
    public MemorySegment segment() {
        if (closed) throw new IllegalStateException("host memory (" + Sizes.of(segment.byteSize()) + ") is closed");
        return segment;
    }

    @Override
    public void close() {
        if (closed) return;
        arena.close();
        closed = true;
        OUTSTANDING.add(-segment.byteSize());
        JEmalloc.nje_free(segment.address());
    }
}
