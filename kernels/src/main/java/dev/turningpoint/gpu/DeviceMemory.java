package dev.turningpoint.gpu;

import dev.turningpoint.bindings.cuda.Cuda;
import java.lang.foreign.MemorySegment;

/** An allocation on the device, with what it is for. */
public final class DeviceMemory implements AutoCloseable {

    private final Device device;
    private final long address;
    private final long bytes;
    private final String purpose;
    private volatile boolean closed;

    DeviceMemory(Device device, long address, long bytes, String purpose) {
        this.device = device;
        this.address = address;
        this.bytes = bytes;
        this.purpose = purpose;
    }

    /** The device address, a multiple of 256. */
    public long address() {
        if (closed) throw new IllegalStateException(this + " is closed");
        return address;
    }

    /** Its size. */
    public long bytes() {
        return bytes;
    }

    /** What it is for. */
    public String purpose() {
        return purpose;
    }

    /** Copies all of {@code host} to {@code offset} bytes into this memory; see {@link Stream#copyToDevice}. */
    public void copyFrom(MemorySegment host, long offset, Stream stream) {
        stream.copyToDevice(range(offset, host.byteSize()), host);
    }

    /** Fills {@code host} from {@code offset} bytes into this memory; see {@link Stream#copyToHost}. */
    public void copyTo(MemorySegment host, long offset, Stream stream) {
        stream.copyToHost(host, range(offset, host.byteSize()));
    }

    /** Sets every byte to 0. */
    public void clear(Stream stream) {
        stream.fill(address(), (byte) 0, bytes);
    }

    private long range(long offset, long length) {
        if (offset < 0 || length > bytes - offset)
            throw new IndexOutOfBoundsException(length + " bytes at " + offset + " of " + this);
        return address() + offset;
    }

    /** Frees it, after the device is done with what was launched before. */
    @Override
    public void close() {
        synchronized (this) {
            if (closed) return;
            closed = true;
        }
        device.forget(this);
        int result = Cuda.cuMemFree_v2(address);
        if (result != 0) throw GpuException.driver(result, "cuMemFree(" + this + ")");
    }

    @Override
    public String toString() {
        return "device memory for " + purpose + " (" + Sizes.of(bytes) + ")";
    }
}
