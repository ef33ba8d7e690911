package dev.turningpoint.gpu;

import java.lang.foreign.MemorySegment;

/** Off-heap host memory. (Signatures only; the allocator follows.) */
public final class HostMemory implements AutoCloseable {
    public static HostMemory allocate(long bytes) {
        throw new UnsupportedOperationException();
    }

    public MemorySegment segment() {
        throw new UnsupportedOperationException();
    }

    @Override
    public void close() {
        throw new UnsupportedOperationException();
    }
}
