package dev.turningpoint.softgpu.driver;

import dev.turningpoint.softgpu.interpreter.KernelFault;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.util.concurrent.locks.LockSupport;

/**
 * The cores of the device. A stream's thread runs its tasks itself and opens them to the pool, so a device of n cores has n - 1 workers;
 * {@code -Dturningpoint.software.threads} sets n. Idle workers look for work for a few microseconds, then sleep.
 */
final class Workers {
    static final int THREADS = Math.max(1, Integer.getInteger("turningpoint.software.threads", Runtime.getRuntime().availableProcessors()));

    /** How long an idle thread looks before it sleeps: more than the gap between two launches, much less than a time slice. */
    static final long SPIN_NANOS = Long.getLong("turningpoint.software.spin", 20_000);
    /** A task that takes less than this is not worth waking anybody. */
    private static final float ALONE_NANOS = 10_000;
    /** A portion should take about this: long against taking it, short against the imbalance at the end. */
    private static final float PORTION_NANOS = 8_000;
    /** Each thread's share is of no fewer portions, where there are as many pieces. */
    private static final int LEAST_PORTIONS = 4;
    /** Portions of a task of which nothing is known yet. */
    private static final int FIRST_PORTIONS = 1024;

    private static final VarHandle JOBS = MethodHandles.arrayElementVarHandle(Job[].class);
    /** Places of running jobs; a stream's job keeps its place while it lives. */
    private static final Job[] jobs = new Job[256];
    private static volatile int jobsEnd;
    private static Worker[] workers;

    private Workers() {}

    private static synchronized void start() {
        if (workers != null) return;
        var all = new Worker[THREADS - 1];
        for (int i = 0; i < all.length; i++) {
            all[i] = new Worker(i);
            all[i].start();
        }
        workers = all;
    }

    /**
     * One stream's way to the pool: opened for one task after the other. A task's pieces are cut into portions, and each thread begins with an equal share of neighbouring ones. It takes
     * them from the front; when none are left, it takes the back half of the largest share that there is. So blocks may take as unequal times as they like.
     */
    static final class Job {
        private static final VarHandle ACTIVE, SHARE = MethodHandles.arrayElementVarHandle(long[].class);
        /** Distance between shares, in longs: threads do not write to each other's cache lines. */
        private static final int APART = 16;

        static {
            try {
                ACTIVE = MethodHandles.lookup().findVarHandle(Job.class, "active", int.class);
            } catch (ReflectiveOperationException e) {
                throw new ExceptionInInitializerError(e);
            }
        }

        private final int place;
        private Task task;
        private long total, portion;
        /** Each thread's share: the number of its first portion in the upper half, of the one behind its last in the lower. The stream's thread has the first. */
        private final long[] shares = new long[(THREADS + 1) * APART];
        private volatile boolean open;
        /** Workers that are looking at the fields; while it is not 0 they do not change. */
        private volatile int active;
        private volatile int fault;
        private volatile Throwable failure;
        private volatile Thread waiter;

        Job() {
            start();
            synchronized (jobs) {
                int free = 0;
                while (free < jobs.length && jobs[free] != null) free++;
                if (free == jobs.length) throw Code.OUT_OF_MEMORY.error("more than " + jobs.length + " streams");
                place = free;
                JOBS.setVolatile(jobs, place, this);
                if (place >= jobsEnd) jobsEnd = place + 1;
            }
        }

        void close() {
            synchronized (jobs) {
                JOBS.setVolatile(jobs, place, (Job) null);
            }
        }

        /** Runs all pieces, here and on idle workers; the fault code of a piece that failed, else 0. */
        int run(ComputeThread self, Task task, long total) {
            float known = task.nanosPerPiece();
            if (total == 1 || THREADS == 1 || known > 0 && known * total < ALONE_NANOS) {
                long start = System.nanoTime();
                int code = task.run(self, 0, total);
                measured(task, System.nanoTime() - start, total);
                return code;
            }
            this.task = task;
            this.total = total;
            long most = known > 0 ? (long) (PORTION_NANOS / known) : total / FIRST_PORTIONS, fair = total / (LEAST_PORTIONS * THREADS);
            portion = Math.max(Math.max(1, Math.min(most, fair)), total / Integer.MAX_VALUE + 1);
            long portions = (total + portion - 1) / portion;
            for (int t = 0; t < THREADS; t++) SHARE.set(shares, (t + 1) * APART, portions * t / THREADS << 32 | portions * (t + 1) / THREADS);
            fault = 0;
            failure = null;
            open = true;
            long wanted = portions - 1;
            for (Worker w : workers) {
                if (wanted <= 0) break;
                if (w.asleep) LockSupport.unpark(w);
                wanted--;
            }
            help(self, 0);
            open = false;
            if (active != 0) awaitOthers();
            this.task = null;
            if (failure != null) {
                if (failure instanceof DriverError e) throw e;
                if (failure instanceof KernelFault e) throw e;
                throw new IllegalStateException(failure);
            }
            return fault;
        }

        private void awaitOthers() {
            long start = System.nanoTime();
            int spins = 0;
            while (active != 0) {
                Thread.onSpinWait();
                if ((++spins & 63) == 0 && System.nanoTime() - start > SPIN_NANOS) {
                    waiter = Thread.currentThread();
                    while (active != 0) LockSupport.park(this);
                    waiter = null;
                }
            }
        }

        /** Takes portions until there are none; false if there was none at all. */
        private boolean help(ComputeThread self, int own) {
            Task task = this.task;
            long total = this.total, portion = this.portion, pieces = 0, start = own == 0 ? System.nanoTime() : 0;
            while (fault == 0) {
                long share = (long) SHARE.getVolatile(shares, (own + 1) * APART);
                if (left(share) == 0) {
                    if (!takeHalf(own)) break;
                    continue;
                }
                if (!SHARE.compareAndSet(shares, (own + 1) * APART, share, share + (1L << 32))) continue;
                long first = (share >>> 32) * portion, end = Math.min(total, first + portion);
                try {
                    int code = task.run(self, first, end);
                    if (code != 0) fault = code;
                } catch (Throwable e) {
                    failure = e;
                    fault = -1;
                }
                pieces += end - first;
            }
            if (own == 0 && pieces > 0) measured(task, System.nanoTime() - start, pieces);
            return pieces > 0;
        }

        /** Whether there is work for another thread: not where what is left has been taken and takes its time. */
        private boolean anyLeft() {
            for (int t = 0; open && t < THREADS; t++) if (left((long) SHARE.getVolatile(shares, (t + 1) * APART)) > 0) return true;
            return false;
        }

        private static int left(long share) { return (int) share - (int) (share >>> 32); }

        /** The back half of the largest share becomes this thread's, whose own is used up; false if all are. */
        private boolean takeHalf(int own) {
            while (true) {
                int from = 0, most = 0;
                long largest = 0;
                for (int t = 0; t < THREADS; t++) {
                    long share = (long) SHARE.getVolatile(shares, (t + 1) * APART);
                    if (left(share) > most) {
                        from = t;
                        most = left(share);
                        largest = share;
                    }
                }
                if (most == 0) return false;
                int end = (int) largest, middle = end - (most + 1) / 2;
                if (!SHARE.compareAndSet(shares, (from + 1) * APART, largest, largest >>> 32 << 32 | middle)) continue;
                SHARE.setVolatile(shares, (own + 1) * APART, (long) middle << 32 | end);
                return true;
            }
        }

        boolean tryHelp(Worker self) {
            if (!open) return false;
            ACTIVE.getAndAdd(this, 1);
            try {
                return open && help(self, self.index + 1);
            } finally {
                if ((int) ACTIVE.getAndAdd(this, -1) == 1) {
                    Thread w = waiter;
                    if (w != null) LockSupport.unpark(w);
                }
            }
        }

        private static void measured(Task task, long nanos, long pieces) {
            float now = Math.max(1, nanos) / (float) pieces, before = task.nanosPerPiece();
            task.nanosPerPiece(before == 0 ? now : Math.min(now, before * 0.9f + now * 0.1f));  // being interrupted is not being slow
        }
    }

    private static final class Worker extends ComputeThread {
        final int index;
        volatile boolean asleep;

        Worker(int index) {
            super("software-gpu-worker-" + index);
            this.index = index;
        }

        @Override
        public void run() {
            long idleSince = System.nanoTime();
            while (true) {
                if (helpAny()) {
                    idleSince = System.nanoTime();
                } else if (System.nanoTime() - idleSince < SPIN_NANOS) {
                    Thread.onSpinWait();
                } else {
                    asleep = true;
                    if (!anyLeft()) LockSupport.park(Workers.class);
                    asleep = false;
                    idleSince = System.nanoTime();
                }
            }
        }

        private boolean helpAny() {
            boolean helped = false;
            for (int i = 0, n = jobsEnd; i < n; i++) {
                Job job = (Job) JOBS.getVolatile(jobs, i);
                if (job != null && job.tryHelp(this)) helped = true;
            }
            return helped;
        }

        private static boolean anyLeft() {
            for (int i = 0, n = jobsEnd; i < n; i++) {
                Job job = (Job) JOBS.getVolatile(jobs, i);
                if (job != null && job.anyLeft()) return true;
            }
            return false;
        }
    }
}
