package dev.turningpoint.gpu;

import dev.turningpoint.bindings.cuda.Cuda;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;

/**
 * One entry of a module with its launch parameters, off-heap, built once and reused: a launch allocates nothing on the Java heap.
 *
 * {@snippet :
 * kernel.grid(chunks, batch, 1).block(256).shared(0).arg(x.address()).arg(n).arg(scale).launch(stream);
 * }
 *
 * <p>{@link #grid} starts the argument list anew; grid, block and shared memory stay as they were last set. Each argument's size is checked against the kernel's
 * own, and their number at the launch. For one thread at a time.
 */
public final class Kernel {

    /** More dynamic shared memory than this has to be asked for, per kernel. */
    private static final int SHARED_WITHOUT_ASKING = 48 * 1024;

    private final Module module;
    private final String name;
    private final MemorySegment function;
    private final long[] offsets;
    private final int[] sizes;
    private final MemorySegment values;
    private final MemorySegment pointers;
    private int gridX, gridY, gridZ;
    private int blockX, blockY = 1, blockZ = 1;
    private int shared;
    private int sharedAllowed = SHARED_WITHOUT_ASKING;
    private int next;

    Kernel(Module module, String name, MemorySegment function) {
        this.module = module;
        this.name = name;
        this.function = function;
        long[] starts = new long[64];
        int[] lengths = new int[64];
        int count = 0;
        try (var arena = Arena.ofConfined()) {
            MemorySegment offset = arena.allocate(ValueLayout.JAVA_LONG), size = arena.allocate(ValueLayout.JAVA_LONG);
            while (true) {
                int result = Cuda.cuFuncGetParamInfo(function, count, offset, size);
                if (result == Cuda.CUDA_ERROR_INVALID_VALUE()) break;
                if (result != 0) throw GpuException.driver(result, "cuFuncGetParamInfo(" + name + ", " + count + ")");
                if (count == starts.length) {
                    starts = Arrays.copyOf(starts, 2 * count);
                    lengths = Arrays.copyOf(lengths, 2 * count);
                }
                starts[count] = offset.get(ValueLayout.JAVA_LONG, 0);
                lengths[count++] = (int) size.get(ValueLayout.JAVA_LONG, 0);
            }
        }
        offsets = Arrays.copyOf(starts, count);
        sizes = Arrays.copyOf(lengths, count);
        // Memory that lives as long as this object and needs no closing.
        var arena = Arena.ofAuto();
        values = arena.allocate(count == 0 ? 1 : offsets[count - 1] + sizes[count - 1], 16);
        pointers = arena.allocate(ValueLayout.ADDRESS, Math.max(count, 1));
        for (int i = 0; i < count; i++) pointers.setAtIndex(ValueLayout.ADDRESS, i, values.asSlice(offsets[i], sizes[i]));
    }

    /** How many blocks; also starts the list of arguments. */
    public Kernel grid(int x, int y, int z) {
        gridX = x;
        gridY = y;
        gridZ = z;
        next = 0;
        return this;
    }

    /** Threads of a block, in one dimension. */
    public Kernel block(int threads) {
        return block(threads, 1, 1);
    }

    /** Threads of a block, in three dimensions. */
    public Kernel block(int x, int y, int z) {
        blockX = x;
        blockY = y;
        blockZ = z;
        return this;
    }

    /** Bytes of dynamic shared memory of a block; what exceeds 48 KB is asked of the driver. */
    public Kernel shared(int dynamicBytes) {
        if (dynamicBytes > sharedAllowed) {
            int result = Cuda.cuFuncSetAttribute(function, Cuda.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES(), dynamicBytes);
            if (result != 0) throw GpuException.driver(result, name + ": asking for " + dynamicBytes + " bytes of dynamic shared memory");
            sharedAllowed = dynamicBytes;
        }
        shared = dynamicBytes;
        return this;
    }

    /** The next argument: a device address or a 64-bit integer. */
    public Kernel arg(long value) {
        values.set(ValueLayout.JAVA_LONG_UNALIGNED, place(8, "long"), value);
        return this;
    }

    /** The next argument: a 32-bit integer. */
    public Kernel arg(int value) {
        values.set(ValueLayout.JAVA_INT_UNALIGNED, place(4, "int"), value);
        return this;
    }

    /** The next argument: a float. */
    public Kernel arg(float value) {
        values.set(ValueLayout.JAVA_FLOAT_UNALIGNED, place(4, "float"), value);
        return this;
    }

    /** The next argument: a double. */
    public Kernel arg(double value) {
        values.set(ValueLayout.JAVA_DOUBLE_UNALIGNED, place(8, "double"), value);
        return this;
    }

    /** The next argument: a struct by value, laid out as in C. */
    public Kernel arg(MemorySegment struct) {
        MemorySegment.copy(struct, 0, values, place((int) struct.byteSize(), "struct"), struct.byteSize());
        return this;
    }

    private long place(int size, String type) {
        if (next >= sizes.length) throw new IllegalArgumentException(name + " takes " + sizes.length + " arguments, given one more (" + type + ")");
        if (sizes[next] != size)
            throw new IllegalArgumentException(name + ": argument " + (next + 1) + " of " + sizes.length + " has " + sizes[next] + " bytes, given a " + type + " (" + size + ")");
        return offsets[next++];
    }

    /**
     * Launches it on a stream; the arguments are copied and may be set anew at once.
     *
     * @throws GpuException naming kernel, grid and block if the driver refuses
     */
    public void launch(Stream stream) {
        if (next != sizes.length) throw new IllegalArgumentException(name + " takes " + sizes.length + " arguments, given " + next);
        if (module.isClosed()) throw new IllegalStateException("kernel " + name + ": " + module + " is closed");
        int result = Cuda.cuLaunchKernel(function, gridX, gridY, gridZ, blockX, blockY, blockZ, shared, stream.handle(), pointers, MemorySegment.NULL);
        if (result != 0) throw failure(result);
    }

    private GpuException failure(int result) {
        return GpuException.driver(result, "launching " + name + " (grid " + gridX + " x " + gridY + " x " + gridZ + ", block " + blockX + " x " + blockY + " x " + blockZ
                + ", " + shared + " bytes of dynamic shared memory)");
    }

    /** The entry's name. */
    public String name() {
        return name;
    }

    /** Registers a thread uses; the software GPU says what ptxas gave a kernel of this project on an H100, and 32 of kernels that it does not know. */
    public int registers() {
        return attribute(Cuda.CU_FUNC_ATTRIBUTE_NUM_REGS());
    }

    /** How many blocks of {@code threads} threads and {@code dynamicShared} bytes fit on one multiprocessor. */
    public int blocksPerMultiprocessor(int threads, int dynamicShared) {
        try (var arena = Arena.ofConfined()) {
            MemorySegment count = arena.allocate(ValueLayout.JAVA_INT);
            int result = Cuda.cuOccupancyMaxActiveBlocksPerMultiprocessor(count, function, threads, dynamicShared);
            if (result != 0) throw GpuException.driver(result, "cuOccupancyMaxActiveBlocksPerMultiprocessor(" + name + ", " + threads + ")");
            return count.get(ValueLayout.JAVA_INT, 0);
        }
    }

    private int attribute(int attribute) {
        try (var arena = Arena.ofConfined()) {
            MemorySegment value = arena.allocate(ValueLayout.JAVA_INT);
            int result = Cuda.cuFuncGetAttribute(value, attribute, function);
            if (result != 0) throw GpuException.driver(result, "cuFuncGetAttribute(" + name + ", " + attribute + ")");
            return value.get(ValueLayout.JAVA_INT, 0);
        }
    }

    @Override
    public String toString() {
        return "kernel " + name + " of " + module;
    }
}
