package dev.turningpoint.softgpu.driver;

import static dev.turningpoint.bindings.cuda.Cuda.*;
import static java.lang.foreign.ValueLayout.*;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.turningpoint.bindings.NativeLibrary;
import dev.turningpoint.softgpu.SoftwareDriver;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.lang.management.ManagementFactory;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Memory, streams, events and captures, through the same C calls that libcuda would get. */
@Timeout(60)
class DriverTest {
    static {
        System.setProperty("turningpoint.device", "software");
    }

    private final Arena arena = Arena.ofShared();
    private final MemorySegment out = arena.allocate(64);
    private final List<MemorySegment> events = new ArrayList<>();

    static void ok(int result) {
        assertEquals(0, result, () -> Code.of(result) + ": " + DriverLog.lines().lines().reduce((a, b) -> b).orElse(""));
    }

    @BeforeEach
    void retain() {
        ok(cuInit(0));
        ok(cuDevicePrimaryCtxRetain(out, 0));
        ok(cuCtxSetCurrent(out.get(ADDRESS, 0)));
    }

    @AfterEach
    void release() {
        ok(cuDevicePrimaryCtxRelease_v2(0));
        ok(cuCtxSetCurrent(MemorySegment.NULL));
        Memory.DEVICE.limit(8L << 30);
        arena.close();
    }

    private long alloc(long bytes) {
        ok(cuMemAlloc_v2(out, bytes));
        return out.get(JAVA_LONG, 0);
    }

    private MemorySegment stream(int flags) {
        ok(cuStreamCreate(out, flags));
        return out.get(ADDRESS, 0);
    }

    private MemorySegment event(int flags) {
        ok(cuEventCreate(out, flags));
        return out.get(ADDRESS, 0);
    }

    private MemorySegment host(Runnable work) {
        try {
            var handle = MethodHandles.insertArguments(MethodHandles.lookup().findStatic(DriverTest.class, "call", MethodType.methodType(void.class, Runnable.class, MemorySegment.class)), 0, work);
            return Linker.nativeLinker().upcallStub(handle, FunctionDescriptor.ofVoid(ADDRESS), arena);
        } catch (ReflectiveOperationException e) {
            throw new IllegalStateException(e);
        }
    }

    static void call(Runnable work, MemorySegment data) {
        work.run();
    }

    private static void await(CountDownLatch latch) {
        try {
            assertTrue(latch.await(20, TimeUnit.SECONDS));
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    @Test
    void everyServedFunctionHasTheTypeOfTheHeader() throws Exception {
        int seen = 0;
        for (var library : List.of(NativeLibrary.CUDA, NativeLibrary.CUBLASLT)) {
            var bound = library == NativeLibrary.CUDA ? dev.turningpoint.bindings.cuda.Cuda.class : dev.turningpoint.bindings.cublaslt.CublasLt.class;
            for (var f : ((Stubs) new SoftwareDriver().symbols(library)).functions().entrySet()) {
                FunctionDescriptor header;
                try {
                    header = (FunctionDescriptor) bound.getMethod(f.getKey() + "$descriptor").invoke(null);
                } catch (NoSuchMethodException e) {
                    continue;  // served, not bound
                }
                seen++;
                var ours = f.getValue();
                assertEquals(header.argumentLayouts().stream().map(l -> l.byteSize()).toList(), ours.argumentLayouts().stream().map(l -> l.byteSize()).toList(), f.getKey());
                assertEquals(header.returnLayout().map(l -> l.byteSize()), ours.returnLayout().map(l -> l.byteSize()), f.getKey());
            }
        }
        assertTrue(seen > 60, "only " + seen + " functions compared");
    }

    @Test
    void everyBoundFunctionIsServed() {
        var missing = new ArrayList<String>();
        for (var library : List.of(NativeLibrary.CUDA, NativeLibrary.CUBLASLT)) {
            var bound = library == NativeLibrary.CUDA ? dev.turningpoint.bindings.cuda.Cuda.class : dev.turningpoint.bindings.cublaslt.CublasLt.class;
            for (var m : bound.getMethods())
                if (m.getName().endsWith("$descriptor")) {
                    String name = m.getName().substring(0, m.getName().length() - "$descriptor".length());
                    if (new SoftwareDriver().symbols(library).find(name).isEmpty()) missing.add(name);
                }
        }
        assertEquals(List.of(), missing);
    }

    @Test
    void memoryIsLimitedAlignedAndChecked() {
        Memory.DEVICE.limit(1 << 20);
        long a = alloc(1000);
        assertEquals(0, a % 256);
        assertEquals(CUDA_ERROR_OUT_OF_MEMORY(), cuMemAlloc_v2(out, 1 << 20));
        assertEquals(CUDA_ERROR_INVALID_VALUE(), cuMemAlloc_v2(out, 0));
        assertEquals(CUDA_ERROR_INVALID_VALUE(), cuMemFree_v2(a + 8));
        assertEquals(CUDA_ERROR_INVALID_VALUE(), cuMemsetD8_v2(a + 1, (byte) 0, 1000));
        assertEquals(CUDA_ERROR_INVALID_VALUE(), cuMemsetD32_v2(a + 2, 0, 1));
        assertEquals(CUDA_ERROR_INVALID_VALUE(), cuMemcpyHtoD_v2(a, out, 1001));
        assertEquals(CUDA_ERROR_INVALID_VALUE(), cuMemcpyDtoH_v2(out, a - 256, 8));
        ok(cuMemGetInfo_v2(out, out.asSlice(8)));
        assertEquals((1 << 20) - 1024, out.get(JAVA_LONG, 0));
        assertEquals(1 << 20, out.get(JAVA_LONG, 8));
        ok(cuMemGetAddressRange_v2(out, out.asSlice(8), a + 999));
        assertEquals(a, out.get(JAVA_LONG, 0));
        assertEquals(1000, out.get(JAVA_LONG, 8));
        ok(cuMemFree_v2(a));
        assertEquals(CUDA_ERROR_INVALID_VALUE(), cuMemFree_v2(a));
        assertEquals(0, Memory.DEVICE.used());
    }

    @Test
    void patternsFillExactly() {
        long a = alloc(4096);
        var host = arena.allocate(4096);
        ok(cuMemsetD8_v2(a, (byte) 0x11, 4096));
        ok(cuMemsetD16_v2(a + 2, (short) 0x1234, 5));
        ok(cuMemsetD32_v2(a + 64, 0xcafebabe, 7));
        ok(cuMemcpyDtoH_v2(host, a, 4096));
        assertEquals(0x1111, host.get(JAVA_SHORT, 0));
        for (int i = 0; i < 5; i++) assertEquals(0x1234, host.get(JAVA_SHORT, 2 + 2 * i));
        assertEquals(0x1111, host.get(JAVA_SHORT, 12));
        for (int i = 0; i < 7; i++) assertEquals(0xcafebabe, host.get(JAVA_INT, 64 + 4 * i));
        assertEquals(0x11111111, host.get(JAVA_INT, 64 + 28));
    }

    @Test
    void handlesAreCheckedAndNeverReused() {
        var s = stream(1);
        assertEquals(CUDA_ERROR_INVALID_HANDLE(), cuEventDestroy_v2(s));
        ok(cuStreamDestroy_v2(s));
        assertEquals(CUDA_ERROR_INVALID_HANDLE(), cuStreamSynchronize(s));
        assertNotEquals(s, stream(1));
        assertEquals(CUDA_ERROR_INVALID_HANDLE(), cuStreamDestroy_v2(MemorySegment.ofAddress(0x1234560)));
        assertEquals(CUDA_ERROR_INVALID_VALUE(), cuStreamCreate(out, 64));
    }

    @Test
    void aThreadWithoutContextIsRefused() throws Exception {
        var result = new AtomicInteger();
        var t = new Thread(() -> {
            try (var local = Arena.ofConfined()) {
                result.set(cuMemAlloc_v2(local.allocate(8), 64));
            }
        });
        t.start();
        t.join();
        assertEquals(CUDA_ERROR_INVALID_CONTEXT(), result.get());
    }

    @Test
    void aStreamRunsInOrderAndStagesPageableMemory() {
        var s = stream(1);
        long a = alloc(1024);
        var gate = new CountDownLatch(1);
        var host = arena.allocate(8);
        ok(cuLaunchHostFunc(s, host(() -> await(gate)), MemorySegment.NULL));
        for (int i = 0; i < 100; i++) {
            host.set(JAVA_LONG, 0, i);
            ok(cuMemcpyHtoDAsync_v2(a + 8 * i, host, 8, s));  // returns although the stream is held: the value has been taken
        }
        ok(cuMemcpyDtoDAsync_v2(a + 800, a, 200, s));
        assertEquals(CUDA_ERROR_NOT_READY(), cuStreamQuery(s));
        gate.countDown();
        var back = arena.allocate(1024);
        ok(cuMemcpyDtoHAsync_v2(back, a, 1000, s));
        ok(cuStreamQuery(s));
        for (int i = 0; i < 125; i++) assertEquals(i % 100, back.getAtIndex(JAVA_LONG, i));
    }

    /** Who is far ahead of the device waits for many places in the queue at once, not for each. */
    @Test
    void whoRunsAheadOfTheDeviceSleepsSeldom() {
        var s = stream(1);
        int commands = 6000;
        var work = host(() -> LockSupport.parkNanos(1_000));
        var threads = ManagementFactory.getThreadMXBean();
        long self = Thread.currentThread().threadId(), before = threads.getThreadInfo(self).getWaitedCount();
        for (int i = 0; i < commands; i++) ok(cuLaunchHostFunc(s, work, MemorySegment.NULL));
        ok(cuStreamSynchronize(s));
        long waits = threads.getThreadInfo(self).getWaitedCount() - before;
        assertTrue(waits <= commands / 100, waits + " waits for " + commands + " commands");
    }

    @Test
    void eventsOrderStreamsAndMeasureTime() {
        var s = stream(1);
        var t = stream(1);
        var before = event(0);
        var after = event(0);
        var gate = new CountDownLatch(1);
        var order = new ArrayList<String>();
        ok(cuEventQuery(before));
        ok(cuEventRecord(before, s));
        ok(cuLaunchHostFunc(s, host(() -> { await(gate); order.add("s"); }), MemorySegment.NULL));
        ok(cuEventRecord(after, s));
        ok(cuStreamWaitEvent(t, after, 0));
        ok(cuLaunchHostFunc(t, host(() -> order.add("t")), MemorySegment.NULL));
        assertEquals(CUDA_ERROR_NOT_READY(), cuEventQuery(after));
        assertEquals(CUDA_ERROR_NOT_READY(), cuEventElapsedTime_v2(out, before, after));
        gate.countDown();
        ok(cuStreamSynchronize(t));
        assertEquals(List.of("s", "t"), order);
        ok(cuEventSynchronize(after));
        ok(cuEventElapsedTime_v2(out, before, after));
        assertTrue(out.get(JAVA_FLOAT, 0) > 0);
        var untimed = event(2);
        ok(cuEventRecord(untimed, s));
        ok(cuStreamSynchronize(s));
        assertEquals(CUDA_ERROR_INVALID_HANDLE(), cuEventElapsedTime_v2(out, before, untimed));
    }

    /** The wait means what was recorded before it, whatever the event comes to mean while the wait is queued; and the time is that of the last record, whenever the first comes to pass. */
    @Test
    void anEventThatIsRecordedAgainChangesNoQueuedWait() {
        var slow = stream(1);
        var waiting = stream(1);
        var fast = stream(1);
        var event = event(0);
        var start = event(0);
        var order = Collections.synchronizedList(new ArrayList<String>());
        var first = new CountDownLatch(1);
        var second = new CountDownLatch(1);
        ok(cuLaunchHostFunc(slow, host(() -> { await(first); order.add("first"); }), MemorySegment.NULL));
        ok(cuEventRecord(event, slow));
        ok(cuStreamWaitEvent(waiting, event, 0));
        ok(cuLaunchHostFunc(waiting, host(() -> order.add("waited")), MemorySegment.NULL));
        ok(cuLaunchHostFunc(slow, host(() -> { await(second); order.add("second"); }), MemorySegment.NULL));
        ok(cuEventRecord(event, slow));
        first.countDown();
        ok(cuStreamSynchronize(waiting));   // though the second record has not come to pass
        assertEquals(List.of("first", "waited"), order);
        assertEquals(CUDA_ERROR_NOT_READY(), cuEventQuery(event));
        ok(cuEventRecord(event, fast));
        ok(cuEventSynchronize(event));
        ok(cuEventRecord(start, fast));
        ok(cuEventSynchronize(start));
        LockSupport.parkNanos(20_000_000);
        second.countDown();
        ok(cuStreamSynchronize(slow));
        assertEquals(List.of("first", "waited", "second"), order);
        ok(cuEventElapsedTime_v2(out, start, event));
        assertTrue(out.get(JAVA_FLOAT, 0) <= 0, "recorded before start on that stream; the record on the other came later: " + out.get(JAVA_FLOAT, 0) + " ms");
    }

    @Test
    void theLegacyStreamWaitsForBlockingStreamsAndTheyForIt() {
        var blocking = stream(0);
        var free = stream(1);
        var gate = new CountDownLatch(1);
        var order = java.util.Collections.synchronizedList(new ArrayList<Integer>());
        ok(cuLaunchHostFunc(blocking, host(() -> { await(gate); order.add(1); }), MemorySegment.NULL));
        ok(cuLaunchHostFunc(MemorySegment.NULL, host(() -> order.add(2)), MemorySegment.NULL));
        ok(cuLaunchHostFunc(blocking, host(() -> order.add(3)), MemorySegment.NULL));
        ok(cuLaunchHostFunc(free, host(() -> order.add(0)), MemorySegment.NULL));
        ok(cuStreamSynchronize(free));
        gate.countDown();
        ok(cuCtxSynchronize());
        assertEquals(List.of(0, 1, 2, 3), order);
    }

    @Test
    void hostFunctionsMayNotCallTheDriver() {
        var s = stream(1);
        var result = new AtomicInteger();
        ok(cuLaunchHostFunc(s, host(() -> result.set(cuStreamQuery(s))), MemorySegment.NULL));
        ok(cuStreamSynchronize(s));
        assertEquals(CUDA_ERROR_NOT_PERMITTED(), result.get());
    }

    @Test
    void aCapturedGraphReplaysWhatWasCaptured() {
        var s = stream(1);
        var side = stream(1);
        var fork = event(2);
        var join = event(2);
        long a = alloc(64), b = alloc(64);
        var calls = new AtomicInteger();
        ok(cuMemsetD32_v2(a, 7, 16));
        ok(cuMemsetD32_v2(b, 0, 16));
        ok(cuStreamBeginCapture_v2(s, 1));
        ok(cuStreamIsCapturing(s, out));
        assertEquals(1, out.get(JAVA_INT, 0));
        ok(cuEventRecord(fork, s));
        ok(cuStreamWaitEvent(side, fork, 0));
        ok(cuMemcpyDtoDAsync_v2(b, a, 32, side));
        ok(cuMemsetD32Async(b + 32, 9, 8, s));
        ok(cuLaunchHostFunc(s, host(calls::incrementAndGet), MemorySegment.NULL));
        ok(cuEventRecord(join, side));
        ok(cuStreamWaitEvent(s, join, 0));
        ok(cuStreamEndCapture(s, out));
        var graph = out.get(ADDRESS, 0);
        ok(cuGraphGetNodes(graph, MemorySegment.NULL, out));
        assertEquals(3, out.get(JAVA_LONG, 0));
        ok(cuGraphInstantiateWithFlags(out, graph, 0));
        var executable = out.get(ADDRESS, 0);
        ok(cuGraphDestroy(graph));
        assertEquals(0, calls.get(), "capturing does not run");
        for (int i = 0; i < 5; i++) ok(cuGraphLaunch(executable, s));
        var host = arena.allocate(64);
        ok(cuMemcpyDtoHAsync_v2(host, b, 64, s));
        for (int i = 0; i < 16; i++) assertEquals(i < 8 ? 7 : 9, host.getAtIndex(JAVA_INT, i));
        assertEquals(5, calls.get());
        ok(cuGraphExecDestroy(executable));
        ok(cuMemsetD32Async(b, 1, 16, side));  // the side stream is free again
        ok(cuStreamSynchronize(side));
    }

    @Test
    void whatACaptureCannotHoldInvalidatesIt() {
        var s = stream(1);
        var side = stream(1);
        ok(cuStreamBeginCapture_v2(s, 2));
        assertEquals(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED(), cuStreamSynchronize(s));
        assertEquals(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED(), cuMemsetD8Async(alloc(8), (byte) 0, 8, s));
        assertEquals(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED(), cuStreamEndCapture(s, out));
        ok(cuStreamSynchronize(s));

        ok(cuStreamBeginCapture_v2(s, 1));
        assertEquals(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED(), cuMemAlloc_v2(out, 8));
        assertEquals(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED(), cuStreamEndCapture(s, out));

        long a = alloc(8);
        var e = event(2);
        ok(cuStreamBeginCapture_v2(s, 2));
        ok(cuEventRecord(e, s));
        ok(cuStreamWaitEvent(side, e, 0));
        ok(cuMemsetD8Async(a, (byte) 0, 8, side));
        assertEquals(CUDA_ERROR_STREAM_CAPTURE_UNJOINED(), cuStreamEndCapture(s, out));
        assertEquals(CUDA_ERROR_ILLEGAL_STATE(), cuStreamEndCapture(s, out));
    }

    @Test
    void manyThreadsOnManyStreamsNeitherMixNorStop() throws Exception {
        int threads = 8, rounds = 400;
        var context = arena.allocate(8);
        ok(cuCtxGetCurrent(context));
        var failed = new AtomicInteger();
        var all = new ArrayList<Thread>();
        for (int i = 0; i < threads; i++) {
            int id = i;
            var t = new Thread(() -> {
                try (var local = Arena.ofConfined()) {
                    ok(cuCtxSetCurrent(context.get(ADDRESS, 0)));
                    var slot = local.allocate(64);
                    ok(cuStreamCreate(slot, id % 2));
                    var s = slot.get(ADDRESS, 0);
                    ok(cuMemAlloc_v2(slot, 1 << 22));
                    long a = slot.get(JAVA_LONG, 0);
                    var back = local.allocate(16);
                    for (int r = 0; r < rounds; r++) {
                        int value = id * rounds + r;
                        ok(cuMemsetD32Async(a, value, r % 50 == 0 ? 1 << 20 : 64, s));
                        ok(cuMemcpyDtoDAsync_v2(a + 1024, a, 128, s));
                        if (r % 7 == 0) {
                            ok(cuMemcpyDtoHAsync_v2(back, a + 1024 + 124, 4, s));
                            if (back.get(JAVA_INT, 0) != value) failed.incrementAndGet();
                        }
                    }
                    ok(cuStreamSynchronize(s));
                    ok(cuStreamDestroy_v2(s));
                } catch (Throwable e) {
                    e.printStackTrace();
                    failed.incrementAndGet();
                }
            });
            all.add(t);
            t.start();
        }
        for (var t : all) t.join(30_000);
        for (var t : all) assertTrue(!t.isAlive(), "a thread hangs");
        assertEquals(0, failed.get());
    }
}
