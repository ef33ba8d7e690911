package dev.turningpoint.softgpu.driver;

import static dev.turningpoint.bindings.cuda.Cuda.*;
import static dev.turningpoint.softgpu.driver.DriverTest.ok;
import static java.lang.foreign.ValueLayout.*;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Blocks of one launch that wait for each other. */
@Timeout(120)
class CooperativeTest extends CurrentContext {
    private MemorySegment gridSums(String architecture) throws IOException {
        try (var in = CooperativeTest.class.getResourceAsStream("/dev/turningpoint/softgpu/features/waiting." + architecture + ".ptx")) {
            ok(cuModuleLoadDataEx(out, arena.allocateFrom(new String(in.readAllBytes())), 0, MemorySegment.NULL, MemorySegment.NULL));
        }
        ok(cuModuleGetFunction(out, out.get(ADDRESS, 0), arena.allocateFrom("grid_sums")));
        return out.get(ADDRESS, 0);
    }

    private MemorySegment params(long data, long sums, int rounds) {
        var p = arena.allocate(ADDRESS, 3);
        p.setAtIndex(ADDRESS, 0, arena.allocateFrom(JAVA_LONG, data));
        p.setAtIndex(ADDRESS, 1, arena.allocateFrom(JAVA_LONG, sums));
        p.setAtIndex(ADDRESS, 2, arena.allocateFrom(JAVA_INT, rounds));
        return p;
    }

    private long zeros(long bytes) {
        ok(cuMemAlloc_v2(out, bytes));
        long a = out.get(JAVA_LONG, 0);
        ok(cuMemsetD8_v2(a, (byte) 0, bytes));
        return a;
    }

    @ParameterizedTest @ValueSource(strings = {"sm_80", "sm_90"})
    void theGridWaitsForAllItsBlocks(String architecture) throws IOException {
        int blocks = 5, threads = 72, rounds = 4, n = blocks * threads;
        MemorySegment f = gridSums(architecture);
        for (int launch = 0; launch < 2; launch++) {
            long data = zeros(4L * n), sums = zeros(4L * rounds);
            ok(cuLaunchCooperativeKernel(f, blocks, 1, 1, threads, 1, 1, 0, MemorySegment.NULL, params(data, sums, rounds)));
            ok(cuCtxSynchronize());
            var got = arena.allocate(4L * rounds, 4);
            ok(cuMemcpyDtoH_v2(got, sums, 4L * rounds));
            int sum = 0;
            for (int r = 0; r < rounds; r++) {
                for (int i = 0; i < n; i++) sum += i % 7 + r;
                assertEquals(sum, got.getAtIndex(JAVA_INT, r), "round " + r);
            }
        }
    }

    @Test
    void aGridThatDoesNotFitIsRefused() throws IOException {
        MemorySegment f = gridSums("sm_90");
        ok(cuOccupancyMaxActiveBlocksPerMultiprocessor(out, f, 1024, 0));
        int each = out.get(JAVA_INT, 0);
        assertEquals(2, each);
        ok(cuDeviceGetAttribute(out, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT(), 0));
        int most = each * out.get(JAVA_INT, 0);
        assertEquals(CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE(), cuLaunchCooperativeKernel(f, most + 1, 1, 1, 1024, 1, 1, 0, MemorySegment.NULL, params(0, 0, 0)));
        ok(cuDeviceGetAttribute(out, CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH(), 0));
        assertEquals(1, out.get(JAVA_INT, 0));
    }

    /** Without a cooperative launch there is nothing to wait by, and cooperative groups trap. */
    @Test
    void anOrdinaryLaunchCannotWaitForItsGrid() throws IOException {
        long data = zeros(4096), sums = zeros(64);
        ok(cuLaunchKernel(gridSums("sm_90"), 2, 1, 1, 32, 1, 1, 0, MemorySegment.NULL, params(data, sums, 1), MemorySegment.NULL));
        assertEquals(CUDA_ERROR_LAUNCH_FAILED(), cuCtxSynchronize());
    }
}
