package dev.turningpoint.gpu;

/**
 * Scratch that matrix products share which run one after another: 32 MiB, taken when the first algorithm asks for any. A model has hundreds of products, and only one
 * runs at a time on its stream. Products that may run at the same time on different streams need one each.
 */
public final class GemmWorkspace implements AutoCloseable {
    /** Most that an algorithm may ask for. */
    static final long BYTES = 32L << 20;

    private final Device device;
    private DeviceMemory memory;
    private boolean closed;

    public GemmWorkspace(Device device) {
        this.device = device;
    }

    Device device() {
        return device;
    }

    /** Address of the scratch for an algorithm that needs {@code bytes}; 0 for one that needs none. */
    synchronized long address(long bytes) {
        if (closed) throw new IllegalStateException("the workspace of matrix products is closed");
        if (bytes > BYTES) throw new GpuException("cuBLASLt asks for a workspace of " + bytes + " bytes, and at most " + BYTES + " were offered.");
        if (bytes == 0) return 0;
        if (memory == null) memory = device.allocate(BYTES, "workspace of the matrix products");
        return memory.address();
    }

    @Override
    public synchronized void close() {
        closed = true;
        if (memory != null) memory.close();
    }
}
