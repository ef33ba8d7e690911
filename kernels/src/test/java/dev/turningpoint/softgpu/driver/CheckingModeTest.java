package dev.turningpoint.softgpu.driver;

import static dev.turningpoint.bindings.cuda.Cuda.*;
import static dev.turningpoint.softgpu.driver.DriverTest.ok;
import static java.lang.foreign.ValueLayout.*;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.condition.EnabledIfSystemProperty;

/** Checking mode through the driver's C functions: what it knows of memory, the codes it fails with, what it logs. The kinds of fault are {@code CheckerTest}'s. */
@Timeout(60)
@EnabledIfSystemProperty(named = "turningpoint.software.check", matches = "true")
class CheckingModeTest {
    static {
        System.setProperty("turningpoint.device", "software");
    }

    private final Arena arena = Arena.ofShared();
    private final MemorySegment out = arena.allocate(64);
    private MemorySegment module;

    @BeforeEach
    void load() throws IOException {
        ok(cuInit(0));
        ok(cuDevicePrimaryCtxRetain(out, 0));
        ok(cuCtxSetCurrent(out.get(ADDRESS, 0)));
        try (var in = CheckingModeTest.class.getResourceAsStream("/dev/turningpoint/softgpu/check/faults.ptx")) {
            ok(cuModuleLoadDataEx(out, arena.allocateFrom(new String(in.readAllBytes())), 0, MemorySegment.NULL, MemorySegment.NULL));
        }
        module = out.get(ADDRESS, 0);
    }

    @AfterEach
    void release() {
        cuDevicePrimaryCtxReset_v2(0);
        cuDevicePrimaryCtxRelease_v2(0);
        ok(cuCtxSetCurrent(MemorySegment.NULL));
        arena.close();
    }

    private long alloc(long bytes) {
        ok(cuMemAlloc_v2(out, bytes));
        return out.get(JAVA_LONG, 0);
    }

    /** Launches one block of 128 threads and waits; the result. */
    private int run(String entry, Object... values) {
        ok(cuModuleGetFunction(out, module, arena.allocateFrom(entry)));
        var function = out.get(ADDRESS, 0);
        var pointers = arena.allocate(ADDRESS, values.length);
        for (int i = 0; i < values.length; i++) pointers.setAtIndex(ADDRESS, i, values[i] instanceof Long v ? arena.allocateFrom(JAVA_LONG, v) : arena.allocateFrom(JAVA_INT, (Integer) values[i]));
        ok(cuLaunchKernel(function, 1, 1, 1, 128, 1, 1, 0, MemorySegment.NULL, pointers, MemorySegment.NULL));
        return cuCtxSynchronize();
    }

    private static String lastLine() { return DriverLog.lines().lines().reduce((a, b) -> b).orElse(""); }

    private static void logged(String... parts) {
        for (String part : parts) assertTrue(lastLine().contains(part), lastLine() + "\nwanted: " + part);
    }

    @Test
    void eachFaultHasTheCodeOfHardware() {
        assertEquals(CUDA_ERROR_ILLEGAL_ADDRESS(), run("past_the_end", alloc(400), 100));
        logged("out of bounds: kernel past_the_end", "(faults.cu:", "thread (100, 0, 0)", "0 bytes after an allocation of 400 bytes", "made by CheckingModeTest.alloc(CheckingModeTest.java:");
        assertEquals(CUDA_ERROR_ILLEGAL_ADDRESS(), cuMemAlloc_v2(out, 4), "the context stays poisoned");
    }

    @Test
    void aMisalignedAddressToo() {
        assertEquals(CUDA_ERROR_MISALIGNED_ADDRESS(), run("misaligned", alloc(800)));
    }

    @Test
    void aRaceFailsTheLaunchWhenItHasEnded() {
        long x = alloc(512);
        ok(cuMemsetD32_v2(x, 0, 128));
        assertEquals(CUDA_ERROR_LAUNCH_FAILED(), run("two_writers", x));
        logged("race: kernel two_writers", "thread (32, 0, 0)", "which thread (0, 0, 0) wrote at");
    }

    @Test
    void memoryIsWrittenByCopiesAndFillsAndOnlyThere() {
        long x = alloc(512), y = alloc(512);
        ok(cuMemsetD8_v2(x, (byte) 1, 100));
        ok(cuMemcpyHtoD_v2(x + 100, arena.allocate(412), 412));
        ok(run("uninitialised_global", x, y));
        long z = alloc(512);
        ok(cuMemcpyDtoDAsync_v2(z, y, 300, MemorySegment.NULL));
        ok(cuMemsetD32Async(z + 300, 5, 52, MemorySegment.NULL));
        assertEquals(CUDA_ERROR_LAUNCH_FAILED(), run("uninitialised_global", z, y));
        logged("uninitialised read", "thread (127, 0, 0)", "nobody wrote the byte at offset 508 of an allocation of 512 bytes");
    }

    @Test
    void freedMemoryIsNotGivenOutAgainSoon() {
        long stale = alloc(64), table = alloc(8 * 128), y = alloc(512);
        var pointers = arena.allocate(JAVA_LONG, 128);
        for (int i = 0; i < 128; i++) pointers.setAtIndex(JAVA_LONG, i, stale + 4 * (i % 16));
        ok(cuMemcpyHtoD_v2(table, pointers, 8 * 128));
        ok(cuMemsetD8_v2(stale, (byte) 0, 64));
        ok(run("wild", table, y));
        ok(cuMemFree_v2(stale));
        for (int i = 0; i < 20; i++) assertNotEquals(stale, alloc(64));
        assertEquals(CUDA_ERROR_ILLEGAL_ADDRESS(), run("wild", table, y));
        logged("use after free", "thread (0, 0, 0)", "at offset 0 of an allocation of 64 bytes", "freed by CheckingModeTest.freedMemoryIsNotGivenOutAgainSoon(");
    }

    @Test
    void whatIsLeftAtTheEndOfTheContextIsALeak() {
        alloc(1000);
        long freed = alloc(2000);
        alloc(30);
        ok(cuMemFree_v2(freed));
        ok(cuDevicePrimaryCtxRelease_v2(0));
        List<String> leaks = DriverLog.lines().lines().filter(l -> l.startsWith("leak: ")).toList();
        leaks = leaks.subList(leaks.size() - 2, leaks.size());
        assertTrue(leaks.stream().anyMatch(l -> l.contains("an allocation of 1000 bytes of device memory") && l.contains("made by CheckingModeTest.alloc(")), leaks.toString());
        assertTrue(leaks.stream().anyMatch(l -> l.contains("an allocation of 30 bytes")), leaks.toString());
    }
}
