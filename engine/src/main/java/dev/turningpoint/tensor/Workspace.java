package dev.turningpoint.tensor;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.DeviceMemory;

/**
 * A static memory plan: tensors are reserved while a model is built, {@link #allocate} takes one allocation for them all, {@link #close} gives it back. Nothing
 * is allocated between.
 *
 * <p>Tensors start on 256-byte boundaries, so that every row kernel and matrix product may use its widest access.
 */
public final class Workspace implements AutoCloseable {
    private static final long ALIGNMENT = 256;

    private final String purpose;
    private long bytes;
    private DeviceMemory memory;
    private long base;

    public Workspace(String purpose) {
        this.purpose = purpose;
    }

    /** Reserves a tensor; it has an address once {@link #allocate} was called. */
    public Tensor tensor(String name, DType type, long... shape) {
        if (memory != null) {
            throw new IllegalStateException(purpose + " is already allocated; reserve '" + name + "' before");
        }
        var tensor = new Tensor(this, bytes, name, type, shape);
        bytes = Math.addExact(bytes, roundUp(tensor.bytes()));
        return tensor;
    }

    /** Takes the memory of all reserved tensors; its content is undefined. */
    public Workspace allocate(Device device) {
        if (memory != null) {
            throw new IllegalStateException(purpose + " is already allocated");
        }
        memory = device.allocate(Math.max(bytes, ALIGNMENT), purpose);
        base = memory.address();
        return this;
    }

    /** Bytes reserved so far. */
    public long bytes() {
        return bytes;
    }

    public String purpose() {
        return purpose;
    }

    long address(long offset) {
        if (base == 0) {
            throw new IllegalStateException(purpose + (memory == null ? " is not allocated yet" : " is closed"));
        }
        return base + offset;
    }

    static long roundUp(long bytes) {
        return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }

    /** Gives the memory back; a second call does nothing. */
    @Override
    public void close() {
        if (base != 0) {
            base = 0;
            memory.close();
        }
    }
}
