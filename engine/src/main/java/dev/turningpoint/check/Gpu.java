package dev.turningpoint.check;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.DeviceMemory;
import dev.turningpoint.gpu.Stream;
import dev.turningpoint.kernels.CreditKernels;
import dev.turningpoint.kernels.GrpoKernels;
import dev.turningpoint.kernels.OptimKernels;
import dev.turningpoint.kernels.SamplerKernels;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;

/** A device with the launchers that are checked, and short-lived arrays on it: all are freed by {@link #free} or {@link #close}. */
final class Gpu implements AutoCloseable {
    final Device device = Device.open();
    final Stream stream = device.newStream();
    final SamplerKernels sampler = new SamplerKernels(device);
    final CreditKernels credit = new CreditKernels(device);
    final GrpoKernels grpo = new GrpoKernels(device);
    final OptimKernels optim = new OptimKernels(device);
    private final List<DeviceMemory> arrays = new ArrayList<>();

    long array(long bytes) {
        DeviceMemory memory = device.allocate(Math.max(bytes, 16), "checking");
        arrays.add(memory);
        return memory.address();
    }

    long floats(int count) { return array(DType.F32.bytes(count)); }

    long doubles(int count) { return array(DType.F64.bytes(count)); }

    long put(float... values) {
        try (Arena arena = Arena.ofConfined()) {
            return put(arena.allocateFrom(ValueLayout.JAVA_FLOAT, values));
        }
    }

    long put(double... values) {
        try (Arena arena = Arena.ofConfined()) {
            return put(arena.allocateFrom(ValueLayout.JAVA_DOUBLE, values));
        }
    }

    long put(int... values) {
        try (Arena arena = Arena.ofConfined()) {
            return put(arena.allocateFrom(ValueLayout.JAVA_INT, values));
        }
    }

    private long put(MemorySegment host) {
        long address = array(host.byteSize());
        stream.copyToDevice(address, host);
        stream.synchronize();
        return address;
    }

    float[] floats(long address, int count) {
        try (Arena arena = Arena.ofConfined()) {
            return get(arena, address, DType.F32.bytes(count)).toArray(ValueLayout.JAVA_FLOAT);
        }
    }

    double[] doubles(long address, int count) {
        try (Arena arena = Arena.ofConfined()) {
            return get(arena, address, DType.F64.bytes(count)).toArray(ValueLayout.JAVA_DOUBLE);
        }
    }

    private MemorySegment get(Arena arena, long address, long bytes) {
        MemorySegment host = arena.allocate(bytes, 16);
        stream.copyToHost(host, address);
        stream.synchronize();
        return host;
    }

    void free() {
        stream.synchronize();
        arrays.forEach(DeviceMemory::close);
        arrays.clear();
    }

    @Override
    public void close() {
        free();
        sampler.close();
        credit.close();
        grpo.close();
        optim.close();
        stream.close();
        device.close();
    }
}
