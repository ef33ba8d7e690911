package dev.turningpoint.gpu;

/** One entry of a module with its launch parameters, off-heap and reused. (Signatures only; the driver calls follow.) */
public final class Kernel {
    public Kernel grid(int x, int y, int z) {
        throw new UnsupportedOperationException();
    }

    public Kernel block(int threads) {
        throw new UnsupportedOperationException();
    }

    public Kernel shared(int dynamicBytes) {
        throw new UnsupportedOperationException();
    }

    public Kernel arg(long value) {
        throw new UnsupportedOperationException();
    }

    public Kernel arg(int value) {
        throw new UnsupportedOperationException();
    }

    public Kernel arg(float value) {
        throw new UnsupportedOperationException();
    }

    public Kernel arg(double value) {
        throw new UnsupportedOperationException();
    }

    public void launch(Stream stream) {
        throw new UnsupportedOperationException();
    }
}
