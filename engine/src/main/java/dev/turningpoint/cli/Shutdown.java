package dev.turningpoint.cli;

import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/**
 * A clean end on SIGINT and SIGTERM. Native libraries crash when the JVM ends under their running threads (ONNX Runtime does), so the signal asks the work to
 * stop, waits until it has closed everything, and only then lets the process go; the JVM then reports 128 + signal as the exit status.
 */
final class Shutdown {
    private static final CountDownLatch FINISHED = new CountDownLatch(1);
    private static final int PATIENCE_SECONDS = 60;

    private Shutdown() {}

    /**
     * Calls {@code stop}, on another thread, when the process is asked to end.
     *
     * @param stop makes the work of the main thread return soon; must not wait for it
     */
    static void onSignal(Runnable stop) {
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            if (FINISHED.getCount() == 0) return;
            stop.run();
            try {
                FINISHED.await(PATIENCE_SECONDS, TimeUnit.SECONDS);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        }, "shutdown"));
    }

    /** The work has returned and closed what it opened. */
    static void finished() { FINISHED.countDown(); }
}
