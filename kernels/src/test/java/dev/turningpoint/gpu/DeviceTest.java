package dev.turningpoint.gpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.management.ThreadMXBean;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.management.ManagementFactory;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.logging.Handler;
import java.util.logging.LogRecord;
import java.util.logging.Logger;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The driver API made safe, against whichever device this machine has. */
class DeviceTest {

    private static final String AXPY = "axpy.ptx";
    private static Device device;
    private Stream stream;

    @BeforeAll
    static void open() {
        device = Device.open();
    }

    @AfterAll
    static void close() {
        assertEquals("", device.outstanding(), "tests that leave memory open");
        device.close();
    }

    @BeforeEach
    void attach() {
        device.attach();
        stream = device.newStream();
    }

    @AfterEach
    void end() {
        stream.close();
    }

    private static byte[] axpy() {
        try (var in = DeviceTest.class.getResourceAsStream(AXPY)) {
            return in.readAllBytes();
        } catch (java.io.IOException e) {
            throw new java.io.UncheckedIOException(e);
        }
    }

    private static float[] random(int n, long seed) {
        var random = new Random(seed);
        var values = new float[n];
        for (int i = 0; i < n; i++) values[i] = (float) random.nextGaussian();
        return values;
    }

    /** Device memory with these values. */
    private DeviceMemory upload(float[] values, String purpose) {
        var memory = device.allocate(4L * values.length, purpose);
        try (var host = HostMemory.allocate(memory.bytes())) {
            MemorySegment.copy(values, 0, host.segment(), ValueLayout.JAVA_FLOAT, 0, values.length);
            memory.copyFrom(host.segment(), 0, stream);
            stream.synchronize();
        }
        return memory;
    }

    private float[] download(DeviceMemory memory) {
        try (var host = HostMemory.allocate(memory.bytes())) {
            memory.copyTo(host.segment(), 0, stream);
            stream.synchronize();
            return host.segment().toArray(ValueLayout.JAVA_FLOAT);
        }
    }

    private static float[] expected(float[] x, float[] y, float a, double bias, int times) {
        var result = y.clone();
        for (int t = 0; t < times; t++)
            for (int i = 0; i < x.length; i++) result[i] = Math.fma(a, x[i], result[i]) + (float) bias;
        return result;
    }

    private Kernel arguments(Kernel kernel, DeviceMemory y, DeviceMemory x, float a, int n, double bias) {
        return kernel.grid((n + 127) / 128, 1, 1).block(128).shared(512).arg(y.address()).arg(x.address()).arg(a).arg(n).arg(bias);
    }

    @Test
    void tellsWhatItIs() {
        assertFalse(device.name().isBlank());
        assertTrue(device.multiprocessors() > 0);
        assertTrue(device.totalMemory() >= device.freeMemory());
        assertTrue(device.computeCapability() >= 80, "sm_80 PTX is what we ship");
        assertTrue(Device.count() > 0);
        var e = assertThrows(GpuException.class, () -> Device.open(99));
        assertTrue(e.getMessage().contains("there is no device 99"), e.getMessage());
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 31, 128, 1000, 70_001})
    void launchesWithArgumentsOfEverySize(int n) {
        float[] a = random(n, 1), b = random(n, 2);
        try (var module = device.load(AXPY, axpy()); var x = upload(a, "x"); var y = upload(b, "y")) {
            arguments(module.kernel("axpy"), y, x, 1.5f, n, 0.25).launch(stream);
            assertArrayEquals(expected(a, b, 1.5f, 0.25, 1), download(y));
        }
    }

    @Test
    void copiesAndFillsByTheByte() {
        try (var memory = device.allocate(1000, "bytes"); var copy = device.allocate(1000, "copy"); var host = HostMemory.allocate(1000)) {
            memory.clear(stream);
            stream.fill(memory.address() + 3, (byte) 7, 5);
            stream.fill32(memory.address() + 100, 0x01020304, 10);
            stream.copyOnDevice(copy.address(), memory.address(), 1000);
            copy.copyTo(host.segment(), 0, stream);
            stream.synchronize();
            for (int i = 0; i < 1000; i++) {
                int wanted = i >= 3 && i < 8 ? 7 : i >= 100 && i < 140 ? 4 - i % 4 : 0;
                assertEquals(wanted, host.segment().get(ValueLayout.JAVA_BYTE, i), "byte " + i);
            }
            assertThrows(IndexOutOfBoundsException.class, () -> memory.copyTo(host.segment(), 1, stream));
        }
    }

    @Test
    void anEventOrdersStreamsAndKeepsTime() {
        int n = 100_000;
        float[] a = random(n, 3);
        try (var module = device.load(AXPY, axpy()); var x = upload(a, "x"); var y = upload(a, "y"); var other = device.newStream();
             var start = device.newEvent(); var end = device.newEvent()) {
            var kernel = module.kernel("axpy");
            stream.record(start);
            for (int i = 0; i < 20; i++) arguments(kernel, y, x, 0.5f, n, 0).launch(stream);
            stream.record(end);
            other.waitFor(end);
            try (var host = HostMemory.allocate(y.bytes())) {
                y.copyTo(host.segment(), 0, other);
                other.synchronize();
                assertArrayEquals(expected(a, a, 0.5f, 0, 20), host.segment().toArray(ValueLayout.JAVA_FLOAT));
            }
            assertTrue(end.isDone());
            assertTrue(end.millisecondsSince(start) > 0);
        }
    }

    @Test
    void aGraphDoesAgainWhatWasCaptured() {
        int n = 5000;
        float[] a = random(n, 4), b = random(n, 5);
        try (var module = device.load(AXPY, axpy()); var x = upload(a, "x"); var y = upload(b, "y"); var z = device.allocate(y.bytes(), "z")) {
            var kernel = module.kernel("axpy");
            try (var graph = stream.capture(() -> {
                arguments(kernel, y, x, 2f, n, 1).launch(stream);
                arguments(kernel, y, x, 3f, n, 0).launch(stream);
                stream.copyOnDevice(z.address(), y.address(), y.bytes());
            })) {
                assertEquals(3, graph.nodes());
                assertArrayEquals(b, download(y), "capturing does nothing");
                arguments(kernel, y, x, 100f, n, 100);  // the captured arguments are copies
                for (int i = 0; i < 3; i++) graph.launch(stream);
                var wanted = b;
                for (int i = 0; i < 3; i++) wanted = expected(a, expected(a, wanted, 2f, 1, 1), 3f, 0, 1);
                assertArrayEquals(wanted, download(z));
                graph.close();
                assertThrows(IllegalStateException.class, () -> graph.launch(stream));
            }
        }
    }

    @Test
    void aFailedCaptureLeavesTheStreamUsable() {
        assertThrows(IllegalArgumentException.class, () -> stream.capture(() -> {
            throw new IllegalArgumentException("from inside");
        }));
        try (var memory = device.allocate(64, "after a failed capture")) {
            memory.clear(stream);
            stream.synchronize();
        }
    }

    /** The point of building parameters once: a service that launches for hours gives the collector nothing to do. On the software GPU this counts its serving, too. */
    @Test
    void launchesCopiesAndGraphsAllocateNothingOnTheHeap() {
        int n = 256;
        try (var module = device.load(AXPY, axpy()); var x = upload(random(n, 6), "x"); var y = upload(random(n, 7), "y");
             var gemm = Gemm.of(device, DType.F32, DType.F32, DType.F32, false, true, 16, 16, 16, true)) {
            var kernel = module.kernel("axpy");
            try (var graph = stream.capture(() -> arguments(kernel, y, x, 1f, n, 0).launch(stream)); var event = device.newEvent(); var other = device.newStream()) {
                assertAllocatesNothing("launch, copy, graph and event", () -> {
                    arguments(kernel, y, x, 0.5f, n, 0.5).launch(stream);
                    stream.copyOnDevice(x.address(), y.address(), 512);
                    graph.launch(stream);
                    stream.record(event);
                    other.waitFor(event);
                });
                if (!Device.isSoftware())
                    assertAllocatesNothing("fill and matrix product", () -> {
                        stream.fill32(x.address(), 0, 4);
                        gemm.run(stream, 4, x.address(), 16, x.address(), 16, y.address(), 16, y.address(), 1f, 0f);
                    });
            }
        }
    }

    /** What this thread allocates while warming up is not held against it: one round of many must come to nothing. */
    private void assertAllocatesNothing(String what, Runnable once) {
        var threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
        long least = Long.MAX_VALUE;
        for (int round = 0; round < 200 && least > 0; round++) {
            long before = threads.getCurrentThreadAllocatedBytes();
            for (int i = 0; i < 200; i++) once.run();
            least = Math.min(least, threads.getCurrentThreadAllocatedBytes() - before);
            stream.synchronize();
        }
        assertEquals(0, least, "bytes allocated by 200 times " + what);
    }

    @Test
    void outOfMemorySaysForWhatAndHowMuchThereIs() {
        long tooMuch = device.totalMemory() * 2;
        var e = assertThrows(GpuException.class, () -> device.allocate(tooMuch, "the wave of 88 latents"));
        assertEquals("CUDA_ERROR_OUT_OF_MEMORY", e.error());
        assertTrue(e.getMessage().startsWith("cuMemAlloc(" + Sizes.of(tooMuch) + " for the wave of 88 latents) failed: CUDA_ERROR_OUT_OF_MEMORY (2); "), e.getMessage());
        assertTrue(e.getMessage().endsWith(" free."), e.getMessage());
        assertTrue(e.withAdvice("Lower sampler.wave_memory.").getMessage().endsWith("free.\nLower sampler.wave_memory."));
    }

    @Test
    void wrongArgumentsAreRefusedBeforeTheLaunch() {
        try (var module = device.load(AXPY, axpy()); var x = device.allocate(512, "x")) {
            var kernel = module.kernel("axpy");
            var size = assertThrows(IllegalArgumentException.class, () -> kernel.grid(1, 1, 1).block(128).arg(x.address()).arg(x.address()).arg(1L));
            assertEquals("axpy: argument 3 of 5 has 4 bytes, given a long (8)", size.getMessage());
            var few = assertThrows(IllegalArgumentException.class, () -> kernel.grid(1, 1, 1).arg(x.address()).launch(stream));
            assertEquals("axpy takes 5 arguments, given 1", few.getMessage());
            var many = assertThrows(IllegalArgumentException.class, () -> arguments(kernel, x, x, 1f, 1, 1).arg(1));
            assertEquals("axpy takes 5 arguments, given one more (int)", many.getMessage());
        }
    }

    @Test
    void theDriverRefusalNamesKernelGridAndBlock() {
        try (var module = device.load(AXPY, axpy()); var x = device.allocate(512, "x")) {
            var kernel = module.kernel("axpy");
            var e = assertThrows(GpuException.class, () -> arguments(kernel, x, x, 1f, 1, 1).block(2000).launch(stream));
            assertTrue(e.getMessage().startsWith("launching axpy (grid 1 x 1 x 1, block 2000 x 1 x 1, 512 bytes of dynamic shared memory) failed: CUDA_ERROR_INVALID_VALUE (1)"), e.getMessage());
        }
    }

    @Test
    void aBadModuleAndAMissingKernelAreNamed() {
        var text = new String(axpy(), StandardCharsets.UTF_8);
        var e = assertThrows(GpuException.class, () -> device.load("broken.ptx", text.replace("%f2, %f1, %f3;", "%f2, ((").getBytes(StandardCharsets.UTF_8)).close());
        assertTrue(e.getMessage().startsWith("loading broken.ptx (") && e.getMessage().contains("CUDA_ERROR_INVALID_PTX (218)"), e.getMessage());
        assertTrue(e.getMessage().contains("line ") || e.getMessage().contains(":"), "where: " + e.getMessage());
        // An instruction that nobody knows is refused at the latest when its kernel is launched.
        var unknown = assertThrows(GpuException.class, () -> {
            try (var module = device.load("unknown.ptx", text.replace("fma.rn.f32", "frobnicate.f32").getBytes(StandardCharsets.UTF_8)); var x = device.allocate(512, "x")) {
                arguments(module.kernel("axpy"), x, x, 1f, 1, 1).launch(stream);
                stream.synchronize();
            }
        });
        assertTrue(unknown.getMessage().contains("frobnicate"), unknown.getMessage());
        try (var module = device.load(AXPY, axpy())) {
            var missing = assertThrows(GpuException.class, () -> module.kernel("axpy_bf16"));
            assertTrue(missing.getMessage().startsWith("looking for kernel axpy_bf16 in axpy.ptx failed: CUDA_ERROR_NOT_FOUND (500)"), missing.getMessage());
        }
    }

    @Test
    void whatIsClosedSaysSo() {
        var memory = device.allocate(1024, "a closed thing");
        memory.close();
        memory.close();
        assertEquals("device memory for a closed thing (1024 bytes) is closed", assertThrows(IllegalStateException.class, memory::address).getMessage());

        var gone = device.newStream();
        gone.close();
        assertEquals("the stream is closed", assertThrows(IllegalStateException.class, gone::synchronize).getMessage());

        var host = HostMemory.allocate(20_000);
        var segment = host.segment();
        host.close();
        assertEquals("host memory (20 KB) is closed", assertThrows(IllegalStateException.class, host::segment).getMessage());
        assertThrows(IllegalStateException.class, () -> segment.get(ValueLayout.JAVA_BYTE, 0));

        var module = device.load(AXPY, axpy());
        var kernel = module.kernel("axpy");
        module.close();
        try (var x = device.allocate(512, "x")) {
            var e = assertThrows(IllegalStateException.class, () -> arguments(kernel, x, x, 1f, 1, 1).launch(stream));
            assertEquals("kernel axpy: module axpy.ptx is closed", e.getMessage());
        }

        var product = Gemm.of(device, DType.F32, DType.F32, DType.F32, false, true, 16, 16, 16, false);
        product.close();
        assertThrows(IllegalStateException.class, () -> product.run(stream, 0, 0, 16, 0, 16, 0, 16, 0, 1, 0));
    }

    @Test
    void memoryLeftOpenIsReportedByPurposeAndFreed() {
        var records = new ArrayList<String>();
        var handler = new Handler() {
            @Override
            public void publish(LogRecord record) {
                records.add(record.getMessage());
            }

            @Override
            public void flush() {}

            @Override
            public void close() {}
        };
        var logger = Logger.getLogger(Device.class.getName());
        logger.addHandler(handler);
        logger.setUseParentHandlers(false);
        try {
            var second = Device.open();
            long free = second.freeMemory();
            second.allocate(1 << 20, "latents");
            second.allocate(3 << 20, "latents");
            var moments = second.allocate(64 << 20, "Adam moments");
            second.allocate(1, "closed in time").close();
            assertEquals("  Adam moments: 67 MB\n  latents: 4.2 MB in 2 allocations", second.outstanding());
            second.close();
            assertEquals(List.of("3 allocations of device memory (71 MB) not closed before the device:\n  Adam moments: 67 MB\n  latents: 4.2 MB in 2 allocations"), records);
            assertThrows(IllegalStateException.class, moments::address);
            assertThrows(IllegalStateException.class, () -> second.allocate(1, "too late"));
            device.attach();
            if (Device.isSoftware()) assertEquals(free, device.freeMemory());
        } finally {
            logger.removeHandler(handler);
            logger.setUseParentHandlers(true);
        }
    }

    @Test
    void hostMemoryIsAlignedAndCounted() {
        long before = HostMemory.outstanding();
        try (var host = HostMemory.allocate(1000)) {
            assertEquals(0, host.segment().address() % 64);
            assertEquals(1000, host.segment().byteSize());
            assertEquals(before + 1000, HostMemory.outstanding());
        }
        assertEquals(before, HostMemory.outstanding());
        assertThrows(IllegalArgumentException.class, () -> HostMemory.allocate(0));
    }

    @Test
    void anotherThreadWorksAfterAttaching() throws Exception {
        var failure = new Throwable[1];
        var thread = new Thread(() -> {
            try {
                device.attach();
                try (var own = device.newStream(); var memory = device.allocate(64, "another thread's")) {
                    memory.clear(own);
                    own.synchronize();
                }
            } catch (Throwable e) {
                failure[0] = e;
            }
        });
        thread.start();
        thread.join();
        assertEquals(null, failure[0]);
    }
}
