package dev.turningpoint.softgpu.driver;

import static dev.turningpoint.bindings.cuda.Cuda.*;
import static dev.turningpoint.softgpu.driver.DriverTest.ok;
import static java.lang.foreign.ValueLayout.*;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Modules and launches through the driver's C functions: parameters, limits, faults, graphs, streams side by side. */
@Timeout(120)
class LaunchTest {
    static {
        System.setProperty("turningpoint.device", "software");
    }

    private final Arena arena = Arena.ofShared();
    private final MemorySegment out = arena.allocate(64);
    private MemorySegment module;
    private MemorySegment stream;

    @BeforeEach
    void load() throws IOException {
        ok(cuInit(0));
        ok(cuDevicePrimaryCtxRetain(out, 0));
        ok(cuCtxSetCurrent(out.get(ADDRESS, 0)));
        try (var in = LaunchTest.class.getResourceAsStream("launch.ptx")) {
            ok(cuModuleLoadDataEx(out, arena.allocateFrom(new String(in.readAllBytes())), 0, MemorySegment.NULL, MemorySegment.NULL));
        }
        module = out.get(ADDRESS, 0);
        stream = stream();
    }

    @AfterEach
    void release() {
        cuDevicePrimaryCtxReset_v2(0);
        cuDevicePrimaryCtxRelease_v2(0);
        ok(cuCtxSetCurrent(MemorySegment.NULL));
        arena.close();
    }

    private MemorySegment stream() {
        ok(cuStreamCreate(out, 1));
        return out.get(ADDRESS, 0);
    }

    private MemorySegment function(String name) {
        ok(cuModuleGetFunction(out, module, arena.allocateFrom(name)));
        return out.get(ADDRESS, 0);
    }

    private long alloc(long bytes) {
        ok(cuMemAlloc_v2(out, bytes));
        long a = out.get(JAVA_LONG, 0);
        ok(cuMemsetD8_v2(a, (byte) 0, bytes));
        return a;
    }

    private MemorySegment params(Object... values) {
        var pointers = arena.allocate(ADDRESS, Math.max(1, values.length));
        for (int i = 0; i < values.length; i++) {
            var slot = arena.allocate(8);
            switch (values[i]) {
                case Long v -> slot.set(JAVA_LONG, 0, v);
                case Integer v -> slot.set(JAVA_INT, 0, v);
                case Short v -> slot.set(JAVA_SHORT, 0, v);
                case Byte v -> slot.set(JAVA_BYTE, 0, v);
                case Float v -> slot.set(JAVA_FLOAT, 0, v);
                case Double v -> slot.set(JAVA_DOUBLE, 0, v);
                default -> throw new IllegalArgumentException();
            }
            pointers.setAtIndex(ADDRESS, i, slot);
        }
        return pointers;
    }

    private int launch(MemorySegment function, int grid, int block, int shared, MemorySegment stream, Object... values) {
        return cuLaunchKernel(function, grid, 1, 1, block, 1, 1, shared, stream, params(values), MemorySegment.NULL);
    }

    private MemorySegment read(long address, long bytes) {
        var host = arena.allocate(bytes, 8);
        ok(cuMemcpyDtoHAsync_v2(host, address, bytes, stream));
        return host;
    }

    @Test
    void parametersOfEveryTypeArrive() {
        long x = alloc(48);
        ok(launch(function("record"), 1, 32, 0, stream, x, (byte) -7, (short) -300, -70000, 1L << 40, 1.5f, -2.25));
        var got = read(x, 48);
        assertEquals(-7, got.getAtIndex(JAVA_LONG, 0));
        assertEquals(-300, got.getAtIndex(JAVA_LONG, 1));
        assertEquals(-70000, got.getAtIndex(JAVA_LONG, 2));
        assertEquals(1L << 40, got.getAtIndex(JAVA_LONG, 3));
        assertEquals(Float.floatToIntBits(1.5f), (int) got.getAtIndex(JAVA_LONG, 4));
        assertEquals(Double.doubleToLongBits(-2.25), got.getAtIndex(JAVA_LONG, 5));
        ok(cuFuncGetParamInfo(function("record"), 4, out, out.asSlice(8)));
        assertEquals(16, out.get(JAVA_LONG, 0));
        assertEquals(8, out.get(JAVA_LONG, 8));
        assertEquals(CUDA_ERROR_INVALID_VALUE(), cuFuncGetParamInfo(function("record"), 7, out, MemorySegment.NULL));
    }

    @Test
    void aPackedParameterBufferServesToo() {
        long x = alloc(400);
        var packed = arena.allocate(16, 8);
        packed.set(JAVA_LONG, 0, x);
        packed.set(JAVA_INT, 8, 100);
        packed.set(JAVA_INT, 12, 5);
        var size = arena.allocateFrom(JAVA_LONG, 16);
        var extra = arena.allocate(ADDRESS, 5);
        extra.setAtIndex(JAVA_LONG, 0, 1);
        extra.setAtIndex(ADDRESS, 1, packed);
        extra.setAtIndex(JAVA_LONG, 2, 2);
        extra.setAtIndex(ADDRESS, 3, size);
        ok(cuLaunchKernel(function("increment"), 4, 1, 1, 32, 1, 1, 0, stream, MemorySegment.NULL, extra));
        assertEquals(5, read(x, 400).getAtIndex(JAVA_INT, 99));
        assertEquals(CUDA_ERROR_INVALID_VALUE(), cuLaunchKernel(function("increment"), 4, 1, 1, 32, 1, 1, 0, stream, params(x, 1, 1), extra));
        size.set(JAVA_LONG, 0, 12);
        assertEquals(CUDA_ERROR_INVALID_VALUE(), cuLaunchKernel(function("increment"), 4, 1, 1, 32, 1, 1, 0, stream, MemorySegment.NULL, extra));
    }

    @Test
    void parametersAreTakenAtTheCall() {
        long x = alloc(4 * 64);
        var increment = function("increment");
        var by = arena.allocate(JAVA_INT);
        var list = params(x, 64, 0);
        list.setAtIndex(ADDRESS, 2, by);
        for (int i = 1; i <= 100; i++) {
            by.set(JAVA_INT, 0, i);
            ok(cuLaunchKernel(increment, 2, 1, 1, 32, 1, 1, 0, stream, list, MemorySegment.NULL));
        }
        by.set(JAVA_INT, 0, 1 << 20);
        assertEquals(5050, read(x, 256).getAtIndex(JAVA_INT, 63));
    }

    @Test
    void gridsAndBlocksOfThreeDimensionsReachEveryThread() {
        int[][] shapes = {{3, 5, 2, 8, 4, 2}, {1, 1, 7, 33, 3, 1}, {65, 1, 1, 1024, 1, 1}, {2, 3, 1, 1, 1, 64}, {1, 1, 1, 5, 1, 1}};
        for (int[] s : shapes) {
            int blocks = s[0] * s[1] * s[2], threads = s[3] * s[4] * s[5];
            long x = alloc(4L * blocks * threads);
            ok(cuLaunchKernel(function("coordinates"), s[0], s[1], s[2], s[3], s[4], s[5], 0, stream, params(x), MemorySegment.NULL));
            var got = read(x, 4L * blocks * threads);
            for (int b = 0; b < blocks; b++) for (int t = 0; t < threads; t++) assertEquals(b * 10000 + t, got.getAtIndex(JAVA_INT, (long) b * threads + t));
        }
    }

    @Test
    void launchesOutsideTheLimitsAreRefused() {
        long x = alloc(4096);
        var increment = function("increment");
        assertEquals(CUDA_ERROR_INVALID_VALUE(), launch(increment, 0, 32, 0, stream, x, 1, 1));
        assertEquals(CUDA_ERROR_INVALID_VALUE(), launch(increment, 1, 1025, 0, stream, x, 1, 1));
        assertEquals(CUDA_ERROR_INVALID_VALUE(), cuLaunchKernel(increment, 1, 65536, 1, 32, 1, 1, 0, stream, params(x, 1, 1), MemorySegment.NULL));
        assertEquals(CUDA_ERROR_INVALID_VALUE(), cuLaunchKernel(increment, 1, 1, 1, 1, 1, 65, 0, stream, params(x, 1, 1), MemorySegment.NULL));
        assertEquals(CUDA_ERROR_INVALID_VALUE(), launch(increment, 1, 32, (48 << 10) + 1, stream, x, 1, 1));
        assertEquals(CUDA_ERROR_INVALID_VALUE(), cuLaunchKernel(increment, 1, 1, 1, 32, 1, 1, 0, stream, MemorySegment.NULL, MemorySegment.NULL));
        assertEquals(CUDA_ERROR_INVALID_VALUE(), launch(function("small"), 1, 96, 0, stream, x));
        ok(launch(function("small"), 1, 64, 0, stream, x));
        assertEquals(CUDA_ERROR_INVALID_HANDLE(), launch(stream, 1, 32, 0, stream, x, 1, 1));
        assertEquals(CUDA_ERROR_NOT_FOUND(), cuModuleGetFunction(out, module, arena.allocateFrom("absent")));
        ok(cuStreamSynchronize(stream));
    }

    @Test
    void dynamicSharedMemoryIsOptedInTo() {
        var reverse = function("reverse");
        int n = 50_000, bytes = 4 * n;
        long x = alloc(bytes);
        var host = arena.allocate(bytes);
        for (int i = 0; i < n; i++) host.setAtIndex(JAVA_INT, i, i);
        ok(cuMemcpyHtoD_v2(x, host, bytes));
        assertEquals(CUDA_ERROR_INVALID_VALUE(), launch(reverse, 1, 256, bytes, stream, x, n));
        assertEquals(CUDA_ERROR_INVALID_VALUE(), cuFuncSetAttribute(reverse, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES(), 228 << 10));
        ok(cuFuncSetAttribute(reverse, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES(), bytes));
        ok(launch(reverse, 1, 256, bytes, stream, x, n));
        var got = read(x, bytes);
        for (int i = 0; i < n; i++) assertEquals(n - 1 - i, got.getAtIndex(JAVA_INT, i));
    }

    @Test
    void moduleVariablesAreSeenFromBothSides() {
        long x = alloc(16);
        ok(cuModuleGetGlobal_v2(out, out.asSlice(8), module, arena.allocateFrom("scale")));
        long scale = out.get(JAVA_LONG, 0);
        assertEquals(4, out.get(JAVA_LONG, 8));
        ok(launch(function("globals"), 1, 32, 0, stream, x));
        assertEquals(12f, read(x, 16).getAtIndex(JAVA_FLOAT, 3));
        ok(cuMemcpyHtoD_v2(scale, arena.allocateFrom(JAVA_INT, 10), 4));
        ok(launch(function("globals"), 1, 32, 0, stream, x));
        assertEquals(20f, read(x, 16).getAtIndex(JAVA_FLOAT, 1));
        assertEquals(CUDA_ERROR_NOT_FOUND(), cuModuleGetGlobal_v2(out, MemorySegment.NULL, module, arena.allocateFrom("absent")));
    }

    @Test
    void aTrapPoisonsTheContextUntilItIsReset() {
        long x = alloc(4);
        var trap = function("trap_if");
        ok(launch(trap, 1, 32, 0, stream, x));
        ok(cuStreamSynchronize(stream));
        ok(cuMemsetD32_v2(x, 1, 1));
        ok(launch(trap, 1, 32, 0, stream, x));
        int fault = CUDA_ERROR_LAUNCH_FAILED();
        assertEquals(fault, cuStreamSynchronize(stream));
        assertEquals(fault, cuMemAlloc_v2(out, 4));
        assertEquals(fault, launch(trap, 1, 32, 0, stream, x));
        assertTrue(DriverLog.lines().contains("trap_if"), DriverLog.lines());
        ok(cuDevicePrimaryCtxReset_v2(0));
        ok(cuDevicePrimaryCtxRelease_v2(0));  // resetting does not release
        ok(cuDevicePrimaryCtxRetain(out, 0));
        ok(cuCtxSetCurrent(out.get(ADDRESS, 0)));
        alloc(4);
    }

    @Test
    void badPtxIsRefusedWithTheReason() {
        var log = arena.allocate(512);
        var options = arena.allocateFrom(JAVA_INT, CU_JIT_ERROR_LOG_BUFFER(), CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES());
        var values = arena.allocate(ADDRESS, 2);
        values.setAtIndex(ADDRESS, 0, log);
        values.setAtIndex(JAVA_LONG, 1, 512);
        assertEquals(CUDA_ERROR_INVALID_PTX(), cuModuleLoadDataEx(out, arena.allocateFrom(".version 9.0\n.target sm_80\n.address_size 64\n.visible .entry f(\n"), 2, options, values));
        assertTrue(log.getString(0).length() > 10, log.getString(0));
        assertEquals(log.getString(0).length(), values.getAtIndex(JAVA_LONG, 1));
        assertEquals(CUDA_ERROR_NO_BINARY_FOR_GPU(), cuModuleLoadDataEx(out, arena.allocateFrom("\u007fELF......."), 0, MemorySegment.NULL, MemorySegment.NULL));
    }

    @Test
    void aGraphOfLaunchesGivesWhatTheLaunchesGive() {
        int n = 1000;
        long direct = alloc(4 * n), captured = alloc(4 * n);
        var increment = function("increment");
        for (int round = 0; round < 3; round++) for (int i = 1; i <= 5; i++) ok(launch(increment, 8, 128, 0, stream, direct, n, i));
        ok(cuStreamBeginCapture_v2(stream, 1));
        for (int i = 1; i <= 5; i++) ok(launch(increment, 8, 128, 0, stream, captured, n, i));
        ok(cuStreamEndCapture(stream, out));
        ok(cuGraphInstantiateWithFlags(out, out.get(ADDRESS, 0), 0));
        var graph = out.get(ADDRESS, 0);
        for (int round = 0; round < 3; round++) ok(cuGraphLaunch(graph, stream));
        assertEquals(-1, read(direct, 4 * n).mismatch(read(captured, 4 * n)));
        assertEquals(45, read(captured, 4 * n).getAtIndex(JAVA_INT, n - 1));
    }

    @Test
    void aGraphOfAnUnloadedModuleIsRefused() {
        long x = alloc(400);
        ok(cuStreamBeginCapture_v2(stream, 1));
        ok(launch(function("increment"), 1, 128, 0, stream, x, 100, 1));
        ok(cuStreamEndCapture(stream, out));
        ok(cuGraphInstantiateWithFlags(out, out.get(ADDRESS, 0), 0));
        var graph = out.get(ADDRESS, 0);
        ok(cuGraphLaunch(graph, stream));
        ok(cuModuleUnload(module));   // waits for the launch
        assertEquals(1, read(x, 400).getAtIndex(JAVA_INT, 99));
        ok(cuGraphLaunch(graph, stream));
        assertEquals(CUDA_ERROR_INVALID_HANDLE(), cuStreamSynchronize(stream));
    }

    @Test
    void twoStreamsLaunchAtOnceWithMoreBlocksThanWorkers() throws Exception {
        int n = 200_000, rounds = Memory.CHECKER == null ? 200 : 10;   // checked, a launch takes longer and blocks outnumber workers all the same
        long[] x = {alloc(4 * n), alloc(4 * n)};
        var streams = new MemorySegment[] {stream, stream()};
        var increment = function("increment");
        ok(cuCtxGetCurrent(out));
        var context = out.get(ADDRESS, 0);
        var failures = new AtomicInteger();
        var threads = new ArrayList<Thread>();
        for (int t = 0; t < 2; t++) {
            int id = t;
            threads.add(new Thread(() -> {
                ok(cuCtxSetCurrent(context));
                var list = params(x[id], n, 1);
                for (int i = 0; i < rounds; i++)
                    if (cuLaunchKernel(increment, (n + 255) / 256, 1, 1, 256, 1, 1, 0, streams[id], list, MemorySegment.NULL) != 0) failures.incrementAndGet();
                if (cuStreamSynchronize(streams[id]) != 0) failures.incrementAndGet();
            }));
        }
        for (var t : threads) t.start();
        for (var t : threads) t.join(60_000);
        assertEquals(0, failures.get());
        for (long address : x) {
            var got = read(address, 4L * n);
            for (int i = 0; i < n; i++) assertEquals(rounds, got.getAtIndex(JAVA_INT, i));
        }
    }
}
