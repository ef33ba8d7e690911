package dev.turningpoint.cli;

import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;

/**
 * A clean end on SIGINT and SIGTERM. Native libraries crash when the JVM ends under their running threads (ONNX Runtime does), so the signal asks the work to
 * stop, waits until it has closed everything, and only then lets the process go; the JVM reports 128 + signal as the exit status.
 */
final class Shutdown {
    private static final CountDownLatch FINISHED = new CountDownLatch(1);
    private static final int PATIENCE_SECONDS = 60;
    private static volatile boolean installed;
    private static volatile boolean asked;

    private Shutdown() {}

    /** Whether the process is asked to end; from the first call on, its end waits for {@link #finished}. */
    static synchronized BooleanSupplier requested() {
        if (!installed) Runtime.getRuntime().addShutdownHook(new Thread(Shutdown::await, "shutdown"));
        installed = true;
        return () -> asked;
    }

    static boolean isRequested() { return asked; }

    /** The work has returned and closed what it opened. */
    static void finished() { FINISHED.countDown(); }

    private static void await() {
        if (FINISHED.getCount() == 0) return;
        asked = true;
        try {
            FINISHED.await(PATIENCE_SECONDS, TimeUnit.SECONDS);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }
}
