package dev.turningpoint.gpu;

/** A loaded PTX text. (Signatures only; the driver calls follow.) */
public final class Module implements AutoCloseable {
    public Kernel kernel(String entry) {
        throw new UnsupportedOperationException();
    }

    @Override
    public void close() {
        throw new UnsupportedOperationException();
    }
}
