package dev.turningpoint.gpu;

/** A point in a stream. (Signatures only; the driver calls follow.) */
public final class Event implements AutoCloseable {
    public void synchronize() {
        throw new UnsupportedOperationException();
    }

    public float millisecondsSince(Event start) {
        throw new UnsupportedOperationException();
    }

    @Override
    public void close() {
        throw new UnsupportedOperationException();
    }
}
