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
    /** A chunk should take about this: long against the counter, short against the imbalance at the end. */
    private static final float CHUNK_NANOS = 8_000;

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

    /** One stream's way to the pool: opened for one task after the other. */
    static final class Job {
        private static final VarHandle NEXT, ACTIVE;

        static {
            try {
                NEXT = MethodHandles.lookup().findVarHandle(Job.class, "next", long.class);
                ACTIVE = MethodHandles.lookup().findVarHandle(Job.class, "active", int.class);
            } catch (ReflectiveOperationException e) {
                throw new ExceptionInInitializerError(e);
            }
        }

        private final int place;
        private Task task;
        private long total, chunk;
        private volatile boolean open;
        private volatile long next;
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
            long fair = Math.max(1, total / (THREADS * 8L));
            chunk = known > 0 ? Math.max(fair, Math.min((total + THREADS - 1) / THREADS, (long) (CHUNK_NANOS / known))) : fair;
            fault = 0;
            failure = null;
            next = 0;
            open = true;
            long wanted = (total + chunk - 1) / chunk - 1;
            for (Worker w : workers) {
                if (wanted <= 0) break;
                if (w.asleep) LockSupport.unpark(w);
                wanted--;
            }
            help(self, true);
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

        /** Takes chunks until there are none; false if there was none at all. */
        private boolean help(ComputeThread self, boolean measure) {
            boolean helped = false;
            Task task = this.task;
            long total = this.total, chunk = this.chunk;
            while (fault == 0) {
                long first = (long) NEXT.getAndAdd(this, chunk);
                if (first >= total) break;
                helped = true;
                long end = Math.min(total, first + chunk);
                try {
                    long start = measure ? System.nanoTime() : 0;
                    int code = task.run(self, first, end);
                    if (code != 0) fault = code;
                    if (measure) {
                        measured(task, System.nanoTime() - start, end - first);
                        measure = false;
                    }
                } catch (Throwable e) {
                    failure = e;
                    fault = -1;
                }
            }
            return helped;
        }

        boolean tryHelp(ComputeThread self) {
            if (!open) return false;
            ACTIVE.getAndAdd(this, 1);
            try {
                return open && help(self, false);
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
        volatile boolean asleep;

        Worker(int index) {
            super("software-gpu-worker-" + index);
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
                    if (!anyOpen()) LockSupport.park(Workers.class);
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

        private static boolean anyOpen() {
            for (int i = 0, n = jobsEnd; i < n; i++) {
                Job job = (Job) JOBS.getVolatile(jobs, i);
                if (job != null && job.open) return true;
            }
            return false;
        }
    }
}
