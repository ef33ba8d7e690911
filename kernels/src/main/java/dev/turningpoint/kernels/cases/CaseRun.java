package dev.turningpoint.kernels.cases;

import dev.turningpoint.gpu.DeviceMemory;
import dev.turningpoint.gpu.Stream;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.LinkedHashMap;
import java.util.Map;

/** A case on a device: its arrays live until close. */
public final class CaseRun implements AutoCloseable {
    private static final byte UNDEFINED = (byte) 0xff;  // a NaN in every floating-point type

    private final KernelCase kernels;
    private final Launchers launchers;
    private final Stream stream;
    private final Map<Buffer, DeviceMemory> memory = new LinkedHashMap<>();

    /** Allocates the arrays; what they hold is undefined. */
    public CaseRun(KernelCase kernels, Launchers launchers, Stream stream) {
        this.kernels = kernels;
        this.launchers = launchers;
        this.stream = stream;
        try {
            for (Buffer b : kernels.buffers()) {
                memory.put(b, launchers.device().allocate(b.bytes(), b.name() + " of " + kernels));
            }
        } catch (RuntimeException e) {
            close();
            throw e;
        }
    }

    /** Uploads the content of all inputs, the same bits every time; results and scratch stay as they are. */
    public void fill() {
        try (Arena arena = Arena.ofConfined()) {
            memory.forEach((b, to) -> {
                if (b.fill() != null) {
                    MemorySegment host = arena.allocate(b.bytes(), 64);
                    b.fill(host, (kernels.name() + "." + b.name()).hashCode());
                    to.copyFrom(host, 0, stream);
                }
            });
            stream.synchronize();
        }
    }

    /** Sets every bit of results and scratch that have no content to begin with, so that {@link #untouched} can tell what was not written. */
    public void mark() {
        memory.forEach((b, to) -> {
            if (b.fill() == null) {
                stream.fill(to.address(), UNDEFINED, b.bytes());
            }
        });
    }

    /** Gives an array another content than {@link #fill} did. */
    public void write(Buffer buffer, MemorySegment content) {
        memory.get(buffer).copyFrom(content, 0, stream);
        stream.synchronize();
    }

    /** Queues the launches of the case. */
    public void launch() {
        kernels.launch(launchers, stream, b -> memory.get(b).address());
    }

    /** An array of the case as it is now, off-heap. */
    public MemorySegment read(Buffer buffer, Arena arena) {
        MemorySegment host = arena.allocate(buffer.bytes(), 64);
        memory.get(buffer).copyTo(host, 0, stream);
        stream.synchronize();
        return host;
    }

    /** How many elements of a downloaded array are as {@link #mark} left them. */
    public static long untouched(Buffer buffer, MemorySegment content) {
        long count = 0;
        for (long at = 0; at < content.byteSize(); at += buffer.type().bytes()) {
            boolean same = true;
            for (int i = 0; i < buffer.type().bytes(); i++) {
                same &= content.get(ValueLayout.JAVA_BYTE, at + i) == UNDEFINED;
            }
            count += same ? 1 : 0;
        }
        return count;
    }

    @Override
    public void close() {
        memory.values().forEach(DeviceMemory::close);
        memory.clear();
    }
}
