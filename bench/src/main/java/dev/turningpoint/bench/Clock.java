package dev.turningpoint.bench;

import java.util.function.LongSupplier;

/**
 * What a round is measured by. With one thread a side it is the processor time of the process, which is the time on an idle machine, whatever else runs; with
 * several it can only be elapsed time.
 */
record Clock(String name, LongSupplier nanos, long restMillis) {
    /** OpenBLAS's threads look for work for 2^26 ticks after they had some, on the processors that the other side has its threads on. */
    private static final long UNTIL_ASLEEP = 40;

    static Clock of(int threads) {
        return threads == 1 ? new Clock("processor time", CpuClock::nanos, 0) : new Clock("elapsed time", System::nanoTime, UNTIL_ASLEEP);
    }

    /** Nanoseconds of one call in a round of {@code calls}, which {@code finish} waits for; begins once the other side's threads sleep. */
    double each(Runnable work, int calls, Runnable finish) {
        try {
            Thread.sleep(restMillis);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
        long start = nanos.getAsLong();
        for (int i = 0; i < calls; i++) work.run();
        finish.run();
        return (nanos.getAsLong() - start) / (double) calls;
    }

    /** How many calls make a round of {@code roundNanos}; warms up on the way. */
    int callsOf(Runnable work, Runnable finish, long roundNanos) {
        for (int calls = 1;; calls *= 2) {
            double each = each(work, calls, finish);
            if (each * calls > roundNanos) return Math.max(1, (int) (roundNanos / each));
        }
    }
}
