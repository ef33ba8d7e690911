package dev.turningpoint.bench;

import dev.turningpoint.gpu.HostMemory;
import dev.turningpoint.gpu.Stream;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** Numbers of the Java heap to our device and back, waited for. */
final class Transfers {
    private Transfers() {}

    static void upload(long target, MemorySegment values, Stream stream) {
        try (HostMemory host = HostMemory.allocate(values.byteSize())) {
            stream.copyToDevice(target, host.segment().copyFrom(values));
            stream.synchronize();
        }
    }

    static float[] download(long source, long count, Stream stream) {
        try (HostMemory host = HostMemory.allocate(4 * count)) {
            stream.copyToHost(host.segment(), source);
            stream.synchronize();
            return host.segment().toArray(ValueLayout.JAVA_FLOAT);
        }
    }
}
