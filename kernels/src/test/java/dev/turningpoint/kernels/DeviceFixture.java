package dev.turningpoint.kernels;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.DeviceMemory;
import dev.turningpoint.gpu.Stream;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;

/** A device with arrays on it: what a test of a kernel needs. Arrays live until close. */
final class DeviceFixture implements AutoCloseable {
    final Device device = Device.open();
    final Stream stream = device.newStream();
    private final List<DeviceMemory> allocations = new ArrayList<>();

    long allocate(long bytes) {
        DeviceMemory memory = device.allocate(bytes, "a test");
        allocations.add(memory);
        return memory.address();
    }

    long f32(float... values) {
        return upload(MemorySegment.ofArray(values));
    }

    long f64(double... values) {
        return upload(MemorySegment.ofArray(values));
    }

    long i32(int... values) {
        return upload(MemorySegment.ofArray(values));
    }

    /** {@code values} in the storage type; they must be representable in it, see {@link #round}. */
    long store(DType type, float... values) {
        if (type == DType.F32) {
            return f32(values);
        }
        var bits = new short[values.length];
        for (int i = 0; i < bits.length; i++) {
            bits[i] = (short) (Float.floatToRawIntBits(values[i]) >>> 16);
        }
        return upload(MemorySegment.ofArray(bits));
    }

    float[] readF32(long address, int count) {
        return download(address, 4L * count).toArray(ValueLayout.JAVA_FLOAT);
    }

    double[] readF64(long address, int count) {
        return download(address, 8L * count).toArray(ValueLayout.JAVA_DOUBLE);
    }

    float[] read(DType type, long address, int count) {
        if (type == DType.F32) {
            return readF32(address, count);
        }
        short[] bits = download(address, 2L * count).toArray(ValueLayout.JAVA_SHORT);
        var values = new float[count];
        for (int i = 0; i < count; i++) {
            values[i] = Float.intBitsToFloat(bits[i] << 16);
        }
        return values;
    }

    /** The nearest value of the storage type, ties to even. */
    static float round(DType type, float value) {
        if (type == DType.F32) {
            return value;
        }
        int bits = Float.floatToRawIntBits(value);
        return Float.intBitsToFloat((bits + 0x7fff + ((bits >>> 16) & 1)) & 0xffff0000);
    }

    static float[] gaussian(Random random, DType type, int count, double scale) {
        var values = new float[count];
        for (int i = 0; i < count; i++) {
            values[i] = round(type, (float) (scale * random.nextGaussian()));
        }
        return values;
    }

    @Override
    public void close() {
        allocations.forEach(DeviceMemory::close);
        stream.close();
        device.close();
    }

    private long upload(MemorySegment heap) {
        long address = allocate(heap.byteSize());
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment host = arena.allocate(heap.byteSize(), 64).copyFrom(heap);
            stream.copyToDevice(address, host);
            stream.synchronize();
        }
        return address;
    }

    private MemorySegment download(long address, long bytes) {
        MemorySegment host = Arena.ofAuto().allocate(bytes, 64);
        stream.copyToHost(host, address);
        stream.synchronize();
        return host;
    }
}
