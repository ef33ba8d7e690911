package dev.turningpoint.softgpu.driver;

import java.util.Comparator;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/**
 * Where the time of the device goes: with {@code -Dturningpoint.software.profile=true} every kernel, matrix product, copy and fill is timed on its stream, and a table by
 * share is printed when the JVM ends. Times are the stream's processor time: with {@code -Dturningpoint.software.threads=1} that is all there is, however busy the machine.
 * Off, it costs one test of a constant.
 */
final class Profile {
    static final boolean ON = Boolean.getBoolean("turningpoint.software.profile");

    private static final class Entry {
        long calls, nanos;
    }

    private static final Map<String, Entry> ENTRIES = new ConcurrentHashMap<>();

    static {
        if (ON) Runtime.getRuntime().addShutdownHook(new Thread(Profile::print, "profile"));
    }

    private Profile() {}

    private static final class Clock {
        static final java.lang.management.ThreadMXBean THREADS = java.lang.management.ManagementFactory.getThreadMXBean();
    }

    /** Processor time of the calling thread. */
    static long now() {
        return Clock.THREADS.getCurrentThreadCpuTime();
    }

    static void add(String what, long nanos) {
        Entry e = ENTRIES.computeIfAbsent(what, name -> new Entry());
        synchronized (e) {
            e.calls++;
            e.nanos += nanos;
        }
    }

    private static void print() {
        double all = ENTRIES.values().stream().mapToLong(e -> e.nanos).sum();
        var table = new StringBuilder(String.format("%n  share   seconds     calls  us a call%n"));
        ENTRIES.entrySet().stream().sorted(Comparator.comparingLong((Map.Entry<String, Entry> e) -> -e.getValue().nanos)).forEach(e -> table.append(String.format(
                "%6.1f %%  %8.3f  %8d  %9.1f  %s%n", 100 * e.getValue().nanos / all, e.getValue().nanos / 1e9, e.getValue().calls, e.getValue().nanos / 1e3 / e.getValue().calls, e.getKey())));
        System.err.print(table);
    }
}
