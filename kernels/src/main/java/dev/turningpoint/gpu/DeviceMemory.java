package dev.turningpoint.gpu;

import java.lang.foreign.MemorySegment;

/** An allocation on the device. (Signatures only; the driver calls follow.) */
public final class DeviceMemory implements AutoCloseable {
    public long address() {
        throw new UnsupportedOperationException();
    }

    public long bytes() {
        throw new UnsupportedOperationException();
    }

    public void copyFrom(MemorySegment host, long offset, Stream stream) {
        throw new UnsupportedOperationException();
    }

    public void copyTo(MemorySegment host, long offset, Stream stream) {
        throw new UnsupportedOperationException();
    }

    public void clear(Stream stream) {
        throw new UnsupportedOperationException();
    }

    @Override
    public void close() {
        throw new UnsupportedOperationException();
    }
}
