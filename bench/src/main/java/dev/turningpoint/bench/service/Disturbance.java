package dev.turningpoint.bench.service;

import java.util.concurrent.locks.LockSupport;

/** Beside the service in its JVM: a thread that allocates on the Java heap, so that the collector has work, and one that notices when threads do not run. */
final class Disturbance implements AutoCloseable {
    private static final int PIECE = 64 << 10, KEPT = 512;   // 32 MB live
    private static final long NAP = 1_000_000;

    private final byte[][] kept = new byte[KEPT][];
    private final Thread allocating, watching;
    private volatile boolean stopped;
    private volatile long longestPause;

    /** @param megabytesPerSecond to allocate; 0 for none */
    Disturbance(int megabytesPerSecond) {
        allocating = Thread.ofPlatform().daemon().name("allocating").unstarted(() -> allocate(megabytesPerSecond * 1e6));
        watching = Thread.ofPlatform().daemon().name("watching").unstarted(this::watch);
        if (megabytesPerSecond > 0) allocating.start();
        watching.start();
    }

    /** The longest that the watching thread came too late from a sleep of a millisecond, in nanoseconds: pauses of the JVM and of the machine. */
    long longestPause() {
        return longestPause;
    }

    private void allocate(double bytesPerSecond) {
        long start = System.nanoTime();
        for (long n = 0; !stopped; n++) {
            kept[(int) (n % KEPT)] = new byte[PIECE];
            for (long left; !stopped && (left = (long) (n * PIECE / bytesPerSecond * 1e9) - (System.nanoTime() - start)) > 0; ) LockSupport.parkNanos(left);
        }
    }

    private void watch() {
        while (!stopped) {
            long start = System.nanoTime();
            LockSupport.parkNanos(NAP);
            longestPause = Math.max(longestPause, System.nanoTime() - start - NAP);
        }
    }

    @Override
    public void close() {
        stopped = true;
        try {
            allocating.join();
            watching.join();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }
}
