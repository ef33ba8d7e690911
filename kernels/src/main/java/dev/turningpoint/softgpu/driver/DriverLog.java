package dev.turningpoint.softgpu.driver;

import java.util.ArrayDeque;

/**
 * Why calls failed. The last lines are kept for {@code cuLogsDumpToMemory}; those a caller cannot foresee (faults in kernels, what is not served, defects of ours)
 * also go to the standard error stream, each text once. {@code -Dturningpoint.software.log=all} prints every failure, {@code none} none.
 */
final class DriverLog {
    private static final String LEVEL = System.getProperty("turningpoint.software.log", "unforeseen");
    private static final int KEPT = 100;
    private static final ArrayDeque<String> LINES = new ArrayDeque<>();
    private static final java.util.Set<String> PRINTED = java.util.concurrent.ConcurrentHashMap.newKeySet();

    private DriverLog() {}

    /** A call's failure becomes its result; a Throwable that is not a {@link DriverError} is a defect of ours and is printed with its trace. */
    static int failed(String call, Throwable t, int unknown) {
        if (t instanceof DriverError e) {
            note(call + ": " + e.getMessage(), e.code == Code.NOT_SUPPORTED.value || e.getCause() != null);
            return e.code;
        }
        boolean memory = t instanceof OutOfMemoryError;
        note(call + ": " + t, true);
        if (!LEVEL.equals("none") && !memory) t.printStackTrace();
        return memory && unknown == Code.UNKNOWN.value ? Code.OUT_OF_MEMORY.value : unknown;
    }

    static void note(String line, boolean unforeseen) {
        synchronized (LINES) {
            if (LINES.size() == KEPT) LINES.removeFirst();
            LINES.addLast(line);
        }
        if (LEVEL.equals("all") || unforeseen && LEVEL.equals("unforeseen") && PRINTED.size() < 1000 && PRINTED.add(line)) System.err.println("[software GPU] " + line);
    }

    /** The kept lines, newest last. */
    static String lines() {
        synchronized (LINES) {
            return String.join("\n", LINES);
        }
    }
}
