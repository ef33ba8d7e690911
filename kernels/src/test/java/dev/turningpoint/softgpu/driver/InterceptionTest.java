package dev.turningpoint.softgpu.driver;

import static dev.turningpoint.bindings.cuda.Cuda.*;
import static dev.turningpoint.softgpu.driver.DriverTest.ok;
import static java.lang.foreign.ValueLayout.*;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.turningpoint.bindings.NativeLibrary;
import dev.turningpoint.bindings.cublaslt.CublasLt;
import dev.turningpoint.softgpu.SoftwareDriver;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Calls made to fail, counted and watched. */
class InterceptionTest {
    static {
        System.setProperty("turningpoint.device", "software");
    }

    private final Arena arena = Arena.ofConfined();
    private final MemorySegment out = arena.allocate(64);
    private final Stubs driver = (Stubs) new SoftwareDriver().symbols(NativeLibrary.CUDA);

    @BeforeEach
    void retain() {
        ok(cuInit(0));
        ok(cuDevicePrimaryCtxRetain(out, 0));
        ok(cuCtxSetCurrent(out.get(ADDRESS, 0)));
    }

    @AfterEach
    void release() {
        Stubs.intercept(null);
        ok(cuCtxSetCurrent(MemorySegment.NULL));
        ok(cuDevicePrimaryCtxRelease_v2(0));
        arena.close();
    }

    @Test
    void aPlannedUseFailsAndNoOther() {
        Stubs.intercept(new PlannedFailures("cuMemAlloc_v2:3:2, cuMemAlloc_v2:5:999,cuStreamCreate:1:46", driver));
        var results = new ArrayList<Integer>();
        for (int i = 0; i < 6; i++) results.add(cuMemAlloc_v2(out, 256));
        assertEquals(List.of(0, 0, CUDA_ERROR_OUT_OF_MEMORY(), 0, CUDA_ERROR_UNKNOWN(), 0), results);
        assertEquals(4, Memory.DEVICE.count(), "a call made to fail does nothing");
        assertEquals(46, cuStreamCreate(out, 1));
        ok(cuStreamCreate(out, 1));
        assertTrue(DriverLog.lines().contains("cuMemAlloc_v2: made to fail with CUDA_ERROR_OUT_OF_MEMORY (2)"), DriverLog.lines());
    }

    @Test
    void aPlanThatCannotBeReadIsRefusedWithThePart() {
        for (String bad : List.of("cuMemAlloc_v2:3", "cuMemAlloc_v2:x:2", "cuMemAlloc_v2:0:2", "cuMemAlloc_v2:1:0", "cuMemAllocMany:1:2"))
            assertTrue(assertThrows(IllegalArgumentException.class, () -> new PlannedFailures("cuInit:1:1," + bad, driver)).getMessage().contains("'" + bad + "'"), bad);
    }

    @Test
    void anInterceptionSeesEveryCallAndItsCaller() {
        var seen = new ArrayList<String>();
        Stubs.intercept(function -> {
            boolean here = StackWalker.getInstance().walk(frames -> frames.anyMatch(f -> f.getMethodName().equals("anInterceptionSeesEveryCallAndItsCaller")));
            seen.add(function + " " + here);
            return 0;
        });
        ok(cuMemAlloc_v2(out, 256));
        ok(cuMemFree_v2(out.get(JAVA_LONG, 0)));
        assertEquals(0, CublasLt.cublasLtCreate(out));
        assertEquals(0, CublasLt.cublasLtDestroy(out.get(ADDRESS, 0)));
        Stubs.intercept(null);
        ok(cuCtxSynchronize());
        assertEquals(List.of("cuMemAlloc_v2 true", "cuMemFree_v2 true", "cublasLtCreate true", "cublasLtDestroy true"), seen);
    }

    @Test
    void cublasLtFailsToo() {
        Stubs.intercept(function -> function.equals("cublasLtCreate") ? CublasLt.CUBLAS_STATUS_ALLOC_FAILED() : 0);
        assertEquals(CublasLt.CUBLAS_STATUS_ALLOC_FAILED(), CublasLt.cublasLtCreate(out));
    }

    @Test
    void aFaultStaysWithTheContext() {
        ok(cuStreamCreate(out, 1));
        var stream = out.get(ADDRESS, 0);
        Stubs.intercept(new PlannedFailures("cuStreamSynchronize:1:700", driver));
        assertEquals(CUDA_ERROR_ILLEGAL_ADDRESS(), cuStreamSynchronize(stream));
        assertEquals(CUDA_ERROR_ILLEGAL_ADDRESS(), cuMemAlloc_v2(out, 256));
        ok(cuDevicePrimaryCtxReset_v2(0));
        ok(cuDevicePrimaryCtxRelease_v2(0));
        retain();
        ok(cuMemAlloc_v2(out, 256));
    }

    @Test
    void whatIsAliveIsCounted() {
        Map<String, Integer> before = DriverFunctions.living();
        ok(cuStreamCreate(out, 1));
        ok(cuEventCreate(out, 0));
        ok(cuEventCreate(out, 0));
        ok(cuMemAlloc_v2(out, 256));
        ok(cuMemHostAlloc(out, 256, 0));
        Map<String, Integer> now = DriverFunctions.living();
        for (var expected : Map.of("stream", 1, "event", 2, "device memory", 1, "host memory", 1).entrySet())
            assertEquals(before.getOrDefault(expected.getKey(), 0) + expected.getValue(), now.get(expected.getKey()), expected.getKey());
        ok(cuDevicePrimaryCtxReset_v2(0));
        ok(cuDevicePrimaryCtxRelease_v2(0));
        retain();
        assertEquals(before, DriverFunctions.living(), "the end of the context ends what is in it");
        assertTrue(DriverLog.lines().contains("2 events, 1 stream, 1 allocation, 1 host allocation"), DriverLog.lines());
    }
}
