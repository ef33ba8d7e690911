package dev.turningpoint.bench;

import dev.turningpoint.gpu.HostMemory;
import dev.turningpoint.gpu.Stream;
import dev.turningpoint.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** Numbers to our device and back, and held against the peer's. */
final class Transfers {
    private Transfers() {}

    /** The first bytes of {@code values}, as many as the tensor has or they are. */
    static void upload(Tensor target, MemorySegment values, Stream stream) {
        long bytes = Math.min(target.bytes(), values.byteSize());
        try (HostMemory host = HostMemory.allocate(bytes)) {
            host.segment().asSlice(0, bytes).copyFrom(values.asSlice(0, bytes));
            stream.copyToDevice(target.address(), host.segment().asSlice(0, bytes));
            stream.synchronize();
        }
    }

    static float[] download(Tensor t, Stream stream) {
        return download(t.address(), Math.toIntExact(t.elements()), stream);
    }

    static float[] download(long address, int count, Stream stream) {
        try (HostMemory host = HostMemory.allocate(4L * count)) {
            stream.copyToHost(host.segment().asSlice(0, 4L * count), address);
            stream.synchronize();
            return host.segment().asSlice(0, 4L * count).toArray(ValueLayout.JAVA_FLOAT);
        }
    }

    static float[] floats(org.bytedeco.pytorch.Tensor t) {
        return Torch.memory(t.detach().contiguous()).toArray(ValueLayout.JAVA_FLOAT_UNALIGNED);
    }

    /** The largest difference relative to the peer's largest value. */
    static double difference(org.bytedeco.pytorch.Tensor theirs, float[] mine) {
        float[] other = floats(theirs);
        double most = 0, off = 0;
        for (int k = 0; k < mine.length; k++) {
            most = Math.max(most, Math.abs(other[k]));
            off = Math.max(off, Math.abs((double) mine[k] - other[k]));
        }
        return off / most;
    }
}
