package dev.turningpoint.gpu;

/** A CUDA device and its primary context. (Signatures only; the driver calls follow.) */
public final class Device implements AutoCloseable {
    public static Device open() {
        throw new UnsupportedOperationException();
    }

    public static boolean isSoftware() {
        throw new UnsupportedOperationException();
    }

    public void attach() {
        throw new UnsupportedOperationException();
    }

    public String name() {
        throw new UnsupportedOperationException();
    }

    public long totalMemory() {
        throw new UnsupportedOperationException();
    }

    public long freeMemory() {
        throw new UnsupportedOperationException();
    }

    public int multiprocessors() {
        throw new UnsupportedOperationException();
    }

    public DeviceMemory allocate(long bytes, String purpose) {
        throw new UnsupportedOperationException();
    }

    public Stream newStream() {
        throw new UnsupportedOperationException();
    }

    public Event newEvent() {
        throw new UnsupportedOperationException();
    }

    public Module load(String name, byte[] ptx) {
        throw new UnsupportedOperationException();
    }

    @Override
    public void close() {
        throw new UnsupportedOperationException();
    }
}
