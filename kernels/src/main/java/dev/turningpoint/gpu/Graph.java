package dev.turningpoint.gpu;

/** Captured work, launched as one. (Signatures only; the driver calls follow.) */
public final class Graph implements AutoCloseable {
    public void launch(Stream stream) {
        throw new UnsupportedOperationException();
    }

    @Override
    public void close() {
        throw new UnsupportedOperationException();
    }
}
