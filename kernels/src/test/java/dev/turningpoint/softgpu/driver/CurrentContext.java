package dev.turningpoint.softgpu.driver;

import static dev.turningpoint.bindings.cuda.Cuda.*;
import static dev.turningpoint.softgpu.driver.DriverTest.ok;
import static java.lang.foreign.ValueLayout.ADDRESS;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;

/** A context of the software GPU that is current during each test of a subclass and gone after it, also where a kernel failed. */
abstract class CurrentContext {
    static {
        System.setProperty("turningpoint.device", "software");
    }

    final Arena arena = Arena.ofShared();
    /** Where calls put their results. */
    final MemorySegment out = arena.allocate(64);

    @BeforeEach
    void retain() {
        ok(cuInit(0));
        ok(cuDevicePrimaryCtxRetain(out, 0));
        ok(cuCtxSetCurrent(out.get(ADDRESS, 0)));
    }

    @AfterEach
    void release() {
        cuDevicePrimaryCtxReset_v2(0);
        cuDevicePrimaryCtxRelease_v2(0);
        ok(cuCtxSetCurrent(MemorySegment.NULL));
        arena.close();
    }
}
