package dev.turningpoint.bench;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;

/** The processor time that all threads of this process have used, to the nanosecond (the JDK's own counts in hundredths of a second). */
final class CpuClock {

    private static final int CLOCK_PROCESS_CPUTIME_ID = 2;
    private static final MemorySegment TIME = Arena.global().allocate(16, 8);
    private static final MethodHandle CLOCK_GETTIME = Linker.nativeLinker().downcallHandle(Linker.nativeLinker().defaultLookup().findOrThrow("clock_gettime"),
            FunctionDescriptor.of(ValueLayout.JAVA_INT, ValueLayout.JAVA_INT, ValueLayout.ADDRESS));

    private CpuClock() {}

    static synchronized long nanos() {
        try {
            if ((int) CLOCK_GETTIME.invokeExact(CLOCK_PROCESS_CPUTIME_ID, TIME) != 0) throw new IllegalStateException("clock_gettime failed");
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable e) {
            throw new AssertionError(e);
        }
        return TIME.get(ValueLayout.JAVA_LONG, 0) * 1_000_000_000L + TIME.get(ValueLayout.JAVA_LONG, 8);
    }
}
