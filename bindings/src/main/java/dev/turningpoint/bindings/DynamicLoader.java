package dev.turningpoint.bindings;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** Asks the system's loader why a library did not load: Java's own message keeps the reason to itself. */
final class DynamicLoader {

    private static final int RTLD_NOW = 2;

    private DynamicLoader() {}

    static String whyNot(String library) {
        var linker = Linker.nativeLinker();
        var lookup = linker.defaultLookup();
        try (var arena = Arena.ofConfined()) {
            var dlopen = linker.downcallHandle(lookup.findOrThrow("dlopen"), FunctionDescriptor.of(ValueLayout.ADDRESS, ValueLayout.ADDRESS, ValueLayout.JAVA_INT));
            var dlerror = linker.downcallHandle(lookup.findOrThrow("dlerror"), FunctionDescriptor.of(ValueLayout.ADDRESS));
            var handle = (MemorySegment) dlopen.invoke(arena.allocateFrom(library), RTLD_NOW);
            if (handle.address() != 0) return library + ": loads now, but did not before";
            var message = (MemorySegment) dlerror.invoke();
            return message.address() == 0 ? library + ": no reason given" : message.reinterpret(Long.MAX_VALUE).getString(0);
        } catch (Throwable e) {
            return library + ": does not load, and the loader gives no reason (" + e + ")";
        }
    }
}
