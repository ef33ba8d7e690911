package dev.turningpoint.gpu;

import java.lang.foreign.MemorySegment;

/** Work that the device does in order. (Signatures only; the driver calls follow.) */
public final class Stream implements AutoCloseable {
    Stream() {
    }

    public void synchronize() {
        throw new UnsupportedOperationException();
    }

    public void copyToDevice(long device, MemorySegment source) {
        throw new UnsupportedOperationException();
    }

    public void copyToHost(MemorySegment target, long device) {
        throw new UnsupportedOperationException();
    }

    public void copyOnDevice(long target, long source, long bytes) {
        throw new UnsupportedOperationException();
    }

    public void fill(long device, byte value, long bytes) {
        throw new UnsupportedOperationException();
    }

    public void fill32(long device, int value, long count) {
        throw new UnsupportedOperationException();
    }

    public void record(Event event) {
        throw new UnsupportedOperationException();
    }

    public void waitFor(Event event) {
        throw new UnsupportedOperationException();
    }

    public Graph capture(Runnable work) {
        throw new UnsupportedOperationException();
    }

    @Override
    public void close() {
        throw new UnsupportedOperationException();
    }
}
