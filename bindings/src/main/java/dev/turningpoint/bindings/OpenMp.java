package dev.turningpoint.bindings;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;

/** The OpenMP runtime that comes with oneDNN and spreads its work over threads. */
public final class OpenMp {

    private static final class Handle {
        static final MethodHandle SET_NUM_THREADS = Linker.nativeLinker().downcallHandle(
                NativeLibrary.ONEDNN.symbols().findOrThrow("omp_set_num_threads"), FunctionDescriptor.ofVoid(ValueLayout.JAVA_INT));
    }

    private OpenMp() {}

    /** Sets how many threads oneDNN uses for calls made by the <em>calling</em> thread; OpenMP keeps this per thread. */
    public static void setThreads(int threads) {
        NativeLibrary.ONEDNN.load();
        try {
            Handle.SET_NUM_THREADS.invokeExact(threads);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable e) {
            throw new AssertionError(e);
        }
    }
}
