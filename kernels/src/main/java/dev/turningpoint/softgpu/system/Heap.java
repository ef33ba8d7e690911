package dev.turningpoint.softgpu.system;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.util.concurrent.ConcurrentSkipListMap;

/** Memory that device code allocates for itself; what a kernel leaves lives on until the context ends. */
public final class Heap {
    /** {@code CU_LIMIT_MALLOC_HEAP_SIZE} as it is unless set. */
    private static final long LIMIT = 8 << 20;
    private static final MethodHandle MALLOC = c("malloc", FunctionDescriptor.of(ValueLayout.JAVA_LONG, ValueLayout.JAVA_LONG));
    private static final MethodHandle FREE = c("free", FunctionDescriptor.ofVoid(ValueLayout.JAVA_LONG));

    private static final ConcurrentSkipListMap<Long, Long> BLOCKS = new ConcurrentSkipListMap<>();   // start -> bytes
    private static long used;

    private Heap() {}

    private static MethodHandle c(String name, FunctionDescriptor type) { return Linker.nativeLinker().downcallHandle(Linker.nativeLinker().defaultLookup().findOrThrow(name), type); }

    /** Address of that many bytes, a multiple of 16; 0 if the heap has not so much. */
    static synchronized long allocate(long bytes) {
        long size = (Math.max(bytes, 1) + 15) / 16 * 16;
        if (bytes < 0 || size > LIMIT - used) return 0;
        try {
            long at = (long) MALLOC.invokeExact(size);
            if (at == 0) return 0;
            BLOCKS.put(at, size);
            used += size;
            return at;
        } catch (Throwable e) {
            throw new IllegalStateException(e);
        }
    }

    /** Whether the address was one of {@link #allocate}; 0 is taken and left. */
    static synchronized boolean free(long address) {
        if (address == 0) return true;
        Long size = BLOCKS.remove(address);
        if (size == null) return false;
        used -= size;
        try {
            FREE.invokeExact(address);
        } catch (Throwable e) {
            throw new IllegalStateException(e);
        }
        return true;
    }

    /** Whether all of these bytes lie in one block. */
    public static boolean contains(long address, long bytes) {
        var block = BLOCKS.floorEntry(address);
        return block != null && bytes >= 0 && address - block.getKey() <= block.getValue() - bytes;
    }

    /** The context ends. */
    public static synchronized void clear() {
        for (long address : BLOCKS.keySet()) free(address);
    }
}
