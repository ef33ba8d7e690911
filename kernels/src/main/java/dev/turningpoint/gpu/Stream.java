package dev.turningpoint.gpu;

import dev.turningpoint.bindings.cuda.Cuda;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * Work that the device does in order, beside other streams. Nothing here waits but {@link #synchronize}; an error of a kernel
 * surfaces at that call or any later one.
 *
 * <p>Host memory of a copy must be off-heap, and stay open and unchanged until the stream has passed the copy.
 */
public final class Stream implements AutoCloseable {

    private final MemorySegment handle;
    private boolean closed;

    Stream(MemorySegment handle) {
        this.handle = handle;
    }

    /** Waits until everything launched on this stream is done. */
    public void synchronize() {
        check(Cuda.cuStreamSynchronize(handle()), "cuStreamSynchronize");
    }

    /** Copies all of {@code source} to the device address. */
    public void copyToDevice(long device, MemorySegment source) {
        int result = Cuda.cuMemcpyHtoDAsync_v2(device, source, source.byteSize(), handle());
        if (result != 0) throw GpuException.driver(result, "cuMemcpyHtoDAsync(" + Sizes.of(source.byteSize()) + " to 0x" + Long.toHexString(device) + ")");
    }

    /** Fills {@code target} from the device address. */
    public void copyToHost(MemorySegment target, long device) {
        int result = Cuda.cuMemcpyDtoHAsync_v2(target, device, target.byteSize(), handle());
        if (result != 0) throw GpuException.driver(result, "cuMemcpyDtoHAsync(" + Sizes.of(target.byteSize()) + " from 0x" + Long.toHexString(device) + ")");
    }

    /** Copies between device addresses; the ranges must not overlap. */
    public void copyOnDevice(long target, long source, long bytes) {
        int result = Cuda.cuMemcpyDtoDAsync_v2(target, source, bytes, handle());
        if (result != 0) throw GpuException.driver(result, "cuMemcpyDtoDAsync(" + Sizes.of(bytes) + " from 0x" + Long.toHexString(source) + " to 0x" + Long.toHexString(target) + ")");
    }

    /** Sets {@code bytes} bytes to {@code value}. */
    public void fill(long device, byte value, long bytes) {
        int result = Cuda.cuMemsetD8Async(device, value, bytes, handle());
        if (result != 0) throw GpuException.driver(result, "cuMemsetD8Async(" + Sizes.of(bytes) + " at 0x" + Long.toHexString(device) + ")");
    }

    /** Sets {@code count} 4-byte words to {@code value}. */
    public void fill32(long device, int value, long count) {
        int result = Cuda.cuMemsetD32Async(device, value, count, handle());
        if (result != 0) throw GpuException.driver(result, "cuMemsetD32Async(" + count + " words at 0x" + Long.toHexString(device) + ")");
    }

    /** Marks this point of the stream. */
    public void record(Event event) {
        check(Cuda.cuEventRecord(event.handle(), handle()), "cuEventRecord");
    }

    /** Lets what is launched from now on wait for the point where {@code event} was last recorded. */
    public void waitFor(Event event) {
        check(Cuda.cuStreamWaitEvent(handle(), event.handle(), 0), "cuStreamWaitEvent");
    }

    /**
     * Records what {@code work} launches on this stream instead of doing it; the graph does it as often as it is launched, with the addresses and
     * arguments of now. {@code work} must neither wait nor allocate.
     *
     * @throws GpuException if something in {@code work} cannot be captured
     */
    public Graph capture(Runnable work) {
        check(Cuda.cuStreamBeginCapture_v2(handle(), Cuda.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL()), "cuStreamBeginCapture");
        RuntimeException failure = null;
        try {
            work.run();
        } catch (RuntimeException e) {
            failure = e;
        }
        try (var arena = Arena.ofConfined()) {
            MemorySegment pointer = arena.allocate(ValueLayout.ADDRESS);
            int result = Cuda.cuStreamEndCapture(handle, pointer);
            MemorySegment graph = pointer.get(ValueLayout.ADDRESS, 0);
            try {
                if (failure != null) throw failure;
                if (result != 0) throw GpuException.driver(result, "cuStreamEndCapture");
                return Graph.instantiate(graph, arena);
            } finally {
                if (graph.address() != 0) Cuda.cuGraphDestroy(graph);
            }
        }
    }

    MemorySegment handle() {
        if (closed) throw new IllegalStateException("the stream is closed");
        return handle;
    }

    private static void check(int result, String call) {
        if (result != 0) throw GpuException.driver(result, call);
    }

    /** Closes the stream when what was launched on it is done; does not wait. */
    @Override
    public void close() {
        if (closed) return;
        closed = true;
        check(Cuda.cuStreamDestroy_v2(handle), "cuStreamDestroy");
    }
}
