package dev.turningpoint.softgpu.driver;

import static dev.turningpoint.bindings.cuda.Cuda.*;
import static dev.turningpoint.softgpu.driver.DriverTest.ok;
import static java.lang.foreign.ValueLayout.*;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** How launches end that do not end well, and what the driver says of kernels it does not compile. */
@Timeout(120)
class KernelEndTest extends CurrentContext {
    private static final String HEAD = ".version 9.0\n.target sm_90\n.address_size 64\n";

    private MemorySegment function(String ptx, String name) {
        ok(cuModuleLoadDataEx(out, arena.allocateFrom(ptx), 0, MemorySegment.NULL, MemorySegment.NULL));
        ok(cuModuleGetFunction(out, out.get(ADDRESS, 0), arena.allocateFrom(name)));
        return out.get(ADDRESS, 0);
    }

    private static String feature(String name) throws IOException {
        try (var in = KernelEndTest.class.getResourceAsStream("/dev/turningpoint/softgpu/features/" + name + ".sm_90.ptx")) {
            return new String(in.readAllBytes());
        }
    }

    private int launch(MemorySegment function, int block, Object... values) {
        var pointers = arena.allocate(ADDRESS, Math.max(1, values.length));
        for (int i = 0; i < values.length; i++) {
            var slot = arena.allocate(8);
            if (values[i] instanceof Long v) slot.set(JAVA_LONG, 0, v);
            else slot.set(JAVA_INT, 0, (int) values[i]);
            pointers.setAtIndex(ADDRESS, i, slot);
        }
        return cuLaunchKernel(function, 1, 1, 1, block, 1, 1, 0, MemorySegment.NULL, pointers, MemorySegment.NULL);
    }

    private String log() {
        var text = arena.allocate(1 << 16);
        out.set(JAVA_LONG, 0, text.byteSize());
        ok(cuLogsDumpToMemory(MemorySegment.NULL, text, out, 0));
        return text.getString(0);
    }

    @Test
    void aFailedAssertionIsItsOwnErrorAndSticks() throws IOException {
        ok(cuMemAlloc_v2(out, 128));
        long x = out.get(JAVA_LONG, 0);
        ok(cuMemsetD32_v2(x, 5, 32));
        MemorySegment small = function(feature("system"), "small");
        ok(launch(small, 32, x, 6));
        ok(cuCtxSynchronize());
        ok(launch(small, 32, x, 5));
        assertEquals(CUDA_ERROR_ASSERT(), cuCtxSynchronize());
        assertEquals(CUDA_ERROR_ASSERT(), cuMemAlloc_v2(out, 128));
    }

    @Test
    void aTrapIsALaunchFailure() throws IOException {
        ok(launch(function(feature("system"), "stop"), 32, 31));
        assertEquals(CUDA_ERROR_LAUNCH_FAILED(), cuCtxSynchronize());
    }

    @Test
    void recursionIsRefusedWhereItIsLaunched() throws IOException {
        assertEquals(CUDA_ERROR_NOT_SUPPORTED(), launch(function(feature("calls"), "recursive"), 32, 0L));
        assertTrue(log().contains("recursion: "), log());
        ok(cuCtxSynchronize());
    }

    @Test
    void clustersAreRefusedWhereTheyAreLaunched() {
        MemorySegment f = function(HEAD + ".entry clusters() .explicitcluster .reqnctapercluster 2, 1, 1 { ret; }", "clusters");
        assertEquals(CUDA_ERROR_NOT_SUPPORTED(), launch(f, 32));
        assertTrue(log().contains("clusters"), log());
    }
}
