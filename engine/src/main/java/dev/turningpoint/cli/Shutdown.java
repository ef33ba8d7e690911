package dev.turningpoint.cli;

import java.util.concurrent.Phaser;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.BooleanSupplier;

/**
 * A clean end on SIGINT and SIGTERM. Native libraries crash when the JVM ends under their running threads (ONNX Runtime does), so the signal asks the work to
 * stop, waits until it has closed everything, and only then lets the process go; the JVM reports 128 + signal as the exit status.
 */
final class Shutdown {
    private static final int PATIENCE_SECONDS = 5;
    private static final int PATIENCE_WITH_A_STATE_TO_SAVE = 60;
    private static final Phaser AT_WORK = new Phaser(1);
    private static volatile boolean asked;
    private static volatile int patience = PATIENCE_SECONDS;

    static {
        Runtime.getRuntime().addShutdownHook(new Thread(Shutdown::await, "shutdown"));
    }

    private Shutdown() {}

    /** A command has begun: the end of the process waits for its {@link #finished}. */
    static void begun() { AT_WORK.register(); }

    /** The command has returned and closed what it opened. */
    static void finished() { AT_WORK.arriveAndDeregister(); }

    /** Whether the process is asked to end: for a command that looks, stops, and saves its state. */
    static BooleanSupplier requested() {
        patience = PATIENCE_WITH_A_STATE_TO_SAVE;
        return () -> asked;
    }

    private static void await() {
        asked = true;
        try {
            AT_WORK.awaitAdvanceInterruptibly(AT_WORK.arrive(), patience, TimeUnit.SECONDS);
        } catch (InterruptedException | TimeoutException e) {
            Thread.currentThread().interrupt();                        // the process ends either way
        }
    }
}
