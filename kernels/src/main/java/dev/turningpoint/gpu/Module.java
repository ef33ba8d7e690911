package dev.turningpoint.gpu;

import dev.turningpoint.bindings.cuda.Cuda;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** A loaded PTX text. */
public final class Module implements AutoCloseable {

    private static final int LOG_BYTES = 16 * 1024;

    private final String name;
    private final MemorySegment handle;
    private volatile boolean closed;

    private Module(String name, MemorySegment handle) {
        this.name = name;
        this.handle = handle;
    }

    static Module load(String name, byte[] ptx) {
        try (var arena = Arena.ofConfined()) {
            MemorySegment text = arena.allocate(ptx.length + 1L), log = arena.allocate(LOG_BYTES), module = arena.allocate(ValueLayout.ADDRESS);
            MemorySegment.copy(ptx, 0, text, ValueLayout.JAVA_BYTE, 0, ptx.length);
            MemorySegment options = arena.allocateFrom(ValueLayout.JAVA_INT, Cuda.CU_JIT_ERROR_LOG_BUFFER(), Cuda.CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES());
            MemorySegment values = arena.allocateFrom(ValueLayout.JAVA_LONG, log.address(), LOG_BYTES);
            int result = Cuda.cuModuleLoadDataEx(module, text, 2, options, values);
            if (result != 0) throw GpuException.driver(result, "loading " + name + " (" + ptx.length + " bytes of PTX)", log.getString(0).strip());
            return new Module(name, module.get(ValueLayout.ADDRESS, 0));
        }
    }

    /**
     * One of its entries. Each call gives an object with launch parameters of its own.
     *
     * @param entry the exact name, as {@code cps_step_bf16}
     * @throws GpuException if there is none of that name
     */
    public Kernel kernel(String entry) {
        if (closed) throw new IllegalStateException(this + " is closed");
        try (var arena = Arena.ofConfined()) {
            MemorySegment pointer = arena.allocate(ValueLayout.ADDRESS);
            int result = Cuda.cuModuleGetFunction(pointer, handle, arena.allocateFrom(entry));
            if (result != 0) throw GpuException.driver(result, "looking for kernel " + entry + " in " + name);
            return new Kernel(this, entry, pointer.get(ValueLayout.ADDRESS, 0));
        }
    }

    boolean isClosed() {
        return closed;
    }

    @Override
    public void close() {
        if (closed) return;
        closed = true;
        int result = Cuda.cuModuleUnload(handle);
        if (result != 0) throw GpuException.driver(result, "unloading " + name);
    }

    @Override
    public String toString() {
        return "module " + name;
    }
}
