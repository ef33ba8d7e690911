package dev.turningpoint.gpu;

import dev.turningpoint.bindings.cuda.Cuda;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** A point in a stream: something to wait for, and a clock. */
public final class Event implements AutoCloseable {

    private final MemorySegment handle;
    private boolean closed;

    Event(MemorySegment handle) {
        this.handle = handle;
    }

    /** Waits until the stream has passed the point where this was last recorded. */
    public void synchronize() {
        int result = Cuda.cuEventSynchronize(handle());
        if (result != 0) throw GpuException.driver(result, "cuEventSynchronize");
    }

    /** Whether the stream has passed it; does not wait. */
    public boolean isDone() {
        int result = Cuda.cuEventQuery(handle());
        if (result == Cuda.CUDA_ERROR_NOT_READY()) return false;
        if (result != 0) throw GpuException.driver(result, "cuEventQuery");
        return true;
    }

    /** Time on the device from {@code start} to this; both recorded and passed. */
    public float millisecondsSince(Event start) {
        try (var arena = Arena.ofConfined()) {
            MemorySegment time = arena.allocate(ValueLayout.JAVA_FLOAT);
            int result = Cuda.cuEventElapsedTime_v2(time, start.handle(), handle());
            if (result != 0) throw GpuException.driver(result, "cuEventElapsedTime", "both events must have been recorded and passed");
            return time.get(ValueLayout.JAVA_FLOAT, 0);
        }
    }

    MemorySegment handle() {
        if (closed) throw new IllegalStateException("the event is closed");
        return handle;
    }

    @Override
    public void close() {
        if (closed) return;
        closed = true;
        int result = Cuda.cuEventDestroy_v2(handle);
        if (result != 0) throw GpuException.driver(result, "cuEventDestroy");
    }
}
