package dev.turningpoint.embed;

import dev.turningpoint.gpu.GpuException;
import dev.turningpoint.gpu.Resources;
import java.time.Duration;
import java.util.concurrent.locks.LockSupport;

/**
 * What sampler and scorer sessions share: a bounded queue of calls, and one platform thread, the worker, that forms batches of them, owns everything native of the
 * session and answers. Any number of threads may submit, platform or virtual; none of them calls native code.
 *
 * <p>A batch is formed when {@code maxBatch} rows wait, or when the first call has waited {@code maxWait}, first come, first served. While one batch runs the next
 * one gathers, so that under load nobody waits for company.
 */
public abstract sealed class Session implements AutoCloseable permits SamplerSession, ScorerSession {

    private enum Life { OPENING, OPEN, DRAINING, ABORTING, FAILED }

    /** Something that the worker does between two batches, for a thread that waits for it. */
    private final class Errand {
        private final Runnable work;
        private boolean done;
        private Throwable failure;

        Errand(Runnable work) {
            this.work = work;
        }

        void end(Throwable failure) {
            synchronized (lock) {
                done = true;
                this.failure = failure;
                lock.notifyAll();
            }
        }
    }

    private final String name;
    private final int maxBatch;
    private final long maxWait;
    private final Object lock = new Object();
    private final Thread worker;
    // Guarded by the lock: a ring of calls, each with the number of the submission that waits.
    private final Call[] queue;
    private final long[] queuedSubmissions;
    private int head, size, roomSeekers;
    private Throwable failure;
    private Errand errand;
    private volatile Life life = Life.OPENING;
    // The worker's: the batch at hand.
    final Call[] batch;
    final long[] submissions;
    /** Rows of each call; the call itself may be on its next submission. */
    final int[] callRows;
    int calls, rows;

    Session(String name, int maxBatch, int queue, Duration maxWait) {
        if (maxBatch < 1 || queue < 1 || maxWait.isNegative())
            throw new IllegalArgumentException("a session of batches of " + maxBatch + ", a queue of " + queue + " and a wait of " + maxWait + "; the first two are at least 1, the wait at least 0");
        this.name = name;
        this.maxBatch = maxBatch;
        this.maxWait = maxWait.toNanos();
        this.queue = new Call[queue];
        queuedSubmissions = new long[queue];
        batch = new Call[maxBatch];
        submissions = new long[maxBatch];
        callRows = new int[maxBatch];
        worker = Thread.ofPlatform().name("turningpoint-" + name).daemon().unstarted(this::work);
    }

    /** Starts the worker and returns when it has opened everything. */
    final void start() {
        worker.start();
        boolean interrupted = false;
        synchronized (lock) {
            while (life == Life.OPENING) {
                try {
                    lock.wait();
                } catch (InterruptedException e) {
                    interrupted = true;
                }
            }
        }
        if (interrupted) Thread.currentThread().interrupt();
        if (life != Life.FAILED) return;
        joinWorker();
        if (failure instanceof RuntimeException e) throw e;
        if (failure instanceof Error e) throw e;
        throw new IllegalStateException(failure);
    }

    // ---- what a kind of session does, all on its worker

    /** Opens everything native. */
    abstract void open(Resources resources);

    /** Serves the batch at hand: every call of it that is open is RUNNING, and is answered when this returns. */
    abstract void serve();

    /** Copies the input of what becomes call {@code index} of the batch to row {@code row} and on. */
    abstract void read(Call call, int index, int row);

    /** Runs every batch size once, or some of them. */
    abstract void runAllSizes();

    /** Called by whoever aborts: wakes what {@link #serve} may wait for outside this process. */
    void hurry() {}

    /** Whether the session was told to end without serving what is left. */
    final boolean isAborting() {
        return life == Life.ABORTING;
    }

    /** Whether anybody waits for the batch at hand. */
    final boolean isWanted() {
        for (int i = 0; i < calls; i++) if (batch[i].isOpen(submissions[i])) return true;
        return false;
    }

    // ---- for callers

    /** Most rows of a batch, and of one call. */
    public final int maxBatch() {
        return maxBatch;
    }

    /** Calls that can wait. */
    public final int queueCapacity() {
        return queue.length;
    }

    /** Calls that wait now, those in the batch at hand not counted. */
    public final int queued() {
        synchronized (lock) {
            return size;
        }
    }

    /**
     * Compiles every kernel, touches all memory, and captures what is launched again and again, for every size of batch. Until then the first calls do. Calls
     * meanwhile wait.
     *
     * @throws ClosedException if the session is closed
     * @throws DeviceException if the device failed
     */
    public final void warmUp() {
        onWorker(this::runAllSizes);
    }

    /** Serves what was submitted, refuses what comes, and gives everything back; returns when that is done. May be called by several threads, and more than once. */
    @Override
    public final void close() {
        end(Life.DRAINING);
    }

    /**
     * As {@link #close} without serving what waits: queued calls and the batch at hand end with {@link ClosedException}, the batch after the step that the device
     * is at.
     */
    public final void abort() {
        end(Life.ABORTING);
    }

    private void end(Life how) {
        synchronized (lock) {
            if (life == Life.OPEN || life == Life.DRAINING && how == Life.ABORTING) {
                life = how;
                lock.notifyAll();
            }
        }
        if (how == Life.ABORTING) hurry();
        LockSupport.unpark(worker);
        joinWorker();
    }

    final boolean isEnded() {
        return !worker.isAlive();
    }

    private void joinWorker() {
        boolean interrupted = false;
        while (true) {
            try {
                worker.join();
                break;
            } catch (InterruptedException e) {
                interrupted = true;   // memory must be given back when this returns
            }
        }
        if (interrupted) Thread.currentThread().interrupt();
    }

    final Thread worker() {
        return worker;
    }

    /** Does {@code work} on the worker between two batches and waits for it. */
    final void onWorker(Runnable work) {
        boolean interrupted = false;
        var mine = new Errand(work);
        synchronized (lock) {
            while (true) {
                requireOpen();
                if (errand == null) break;
                interrupted |= !waited(0);
            }
            errand = mine;
            LockSupport.unpark(worker);
            while (!mine.done) interrupted |= !waited(0);
        }
        if (interrupted) Thread.currentThread().interrupt();
        switch (mine.failure) {
            case null -> { }
            case RuntimeException e -> throw e;
            case Error e -> throw e;
            default -> throw new IllegalStateException(mine.failure);
        }
    }

    private void requireOpen() {
        if (life == Life.FAILED) throw deviceFailed();
        if (life != Life.OPEN) throw new ClosedException(this + " is closed");
    }

    private DeviceException deviceFailed() {
        return new DeviceException(this + " failed and serves nothing any more: " + failure, failure);
    }

    // ---- the queue

    /** Queues a submission, or answers it. */
    final void enqueue(Call call, long submission, WhenFull whenFull) {
        synchronized (lock) {
            while (call.isOpen(submission) && !tryEnqueue(call, submission)) {
                long left = call.nanosLeft();
                if (whenFull == WhenFull.REFUSE) {
                    call.answer(submission, Call.REFUSED);
                } else if (left <= 0) {
                    call.answer(submission, Call.EXPIRED);
                } else {
                    roomSeekers++;
                    boolean slept = waited(left);
                    roomSeekers--;
                    if (slept) continue;
                    call.answer(submission, Call.CANCELLED);
                    Thread.currentThread().interrupt();
                }
            }
        }
        LockSupport.unpark(worker);
    }

    /** True if the submission is in the queue or answered. */
    private boolean tryEnqueue(Call call, long submission) {
        if (life == Life.FAILED) {
            call.failure = deviceFailed();
            call.answer(submission, Call.FAILED);
        } else if (life != Life.OPEN) {
            call.answer(submission, Call.CLOSED);
        } else {
            if (size == queue.length) return false;
            int at = (head + size++) % queue.length;
            queue[at] = call;
            queuedSubmissions[at] = submission;
            Queued.commit(this, call.rows, size);
        }
        return true;
    }

    /** Waits for a notification, at most so many nanoseconds (0: for ever) and a millisecond; false if the thread was interrupted. */
    private boolean waited(long nanos) {
        try {
            lock.wait(nanos == 0 || nanos == Long.MAX_VALUE ? 0 : nanos / 1_000_000 + 1);
            return true;
        } catch (InterruptedException e) {
            return false;
        }
    }

    /** A submission was answered while it waited: its place is free. */
    final void forget(Call call, long submission) {
        synchronized (lock) {
            for (int i = 0; i < size; i++) {
                int at = (head + i) % queue.length;
                if (queue[at] != call || queuedSubmissions[at] != submission) continue;
                for (int j = i + 1; j < size; j++) {
                    int next = (head + j) % queue.length, before = (head + j - 1) % queue.length;
                    queue[before] = queue[next];
                    queuedSubmissions[before] = queuedSubmissions[next];
                }
                queue[(head + --size) % queue.length] = null;
                break;
            }
            if (roomSeekers > 0) lock.notifyAll();
        }
    }

    // ---- the worker

    private void work() {
        Throwable why = null;
        try (var resources = new Resources()) {
            open(resources);
            synchronized (lock) {
                life = Life.OPEN;
                lock.notifyAll();
            }
            while (formBatch()) {
                serve();
                forgetBatch();
            }
        } catch (Throwable e) {
            why = e;
        }
        finish(why);
    }

    /** Waits for calls and takes a batch of them; false when there will be none. */
    private boolean formBatch() {
        while (true) {
            Errand task;
            long wait = Long.MAX_VALUE;
            synchronized (lock) {
                task = errand;
                if (task == null) {
                    if (life == Life.ABORTING) return false;
                    int ready = 0, fitting = 0;
                    while (fitting < size && ready + at(fitting).rows <= maxBatch) ready += at(fitting++).rows;
                    boolean full = fitting < size || ready == maxBatch;
                    if (size > 0) wait = full || life != Life.OPEN ? 0 : at(0).queuedAt + maxWait - System.nanoTime();
                    else if (life != Life.OPEN) return false;
                    if (wait <= 0) take(fitting);
                }
            }
            if (task != null) run(task);
            else if (wait <= 0 && readBatch()) return true;
            else if (wait == Long.MAX_VALUE) LockSupport.park(this);
            else if (wait > 0) LockSupport.parkNanos(this, wait);
        }
    }

    private Call at(int i) {
        return queue[(head + i) % queue.length];
    }

    private void take(int count) {
        for (int i = 0; i < count; i++) {
            Call call = queue[head];
            long submission = queuedSubmissions[head];
            queue[head] = null;
            head = (head + 1) % queue.length;
            size--;
            if (!call.move(submission, Call.QUEUED, Call.TOUCHED)) continue;   // answered just now
            if (call.nanosLeft() <= 0) {
                call.answerTouched(submission, Call.EXPIRED);
                continue;
            }
            batch[calls] = call;
            submissions[calls++] = submission;
        }
        if (roomSeekers > 0) lock.notifyAll();
    }

    /** Reads what was taken; false if nothing is left of it. */
    private boolean readBatch() {
        int kept = 0;
        long now = System.nanoTime(), longest = 0;
        for (int i = 0; i < calls; i++) {
            Call call = batch[i];
            long submission = submissions[i];
            try {
                read(call, kept, rows);
            } catch (RuntimeException e) {     // the caller's memory is closed, or no longer holds what was submitted
                fail(call, submission, new IllegalStateException(this + ": the memory of a call changed or was closed while it waited: " + e.getMessage(), e));
                continue;
            }
            callRows[kept] = call.rows;
            rows += call.rows;
            longest = Math.max(longest, now - call.queuedAt);
            batch[kept] = call;
            submissions[kept++] = submission;
            call.move(submission, Call.TOUCHED, Call.RUNNING);
        }
        for (int i = kept; i < calls; i++) batch[i] = null;
        calls = kept;
        if (kept > 0) BatchFormed.commit(this, calls, rows, longest);
        return kept > 0;
    }

    /** Fails a call whose memory the worker touches. */
    static void fail(Call call, long submission, RuntimeException why) {
        call.failure = why;
        call.answerTouched(submission, Call.FAILED);
    }

    private void forgetBatch() {
        for (int i = 0; i < calls; i++) batch[i] = null;
        calls = 0;
        rows = 0;
    }

    private void run(Errand task) {
        Throwable why = null;
        try {
            task.work.run();
        } catch (GpuException e) {
            throw e;                  // the session ends, and with it the errand
        } catch (Throwable e) {
            why = e;
        }
        synchronized (lock) {
            errand = null;
        }
        task.end(why);
    }

    /** Answers whatever is left, the last thing the worker does. */
    private void finish(Throwable why) {
        synchronized (lock) {
            if (why != null) {
                failure = why;
                life = Life.FAILED;
            }
            for (int i = 0; i < calls; i++) endOpen(batch[i], submissions[i], why);
            while (size > 0) {
                Call call = queue[head];
                long submission = queuedSubmissions[head];
                queue[head] = null;
                head = (head + 1) % queue.length;
                size--;
                endOpen(call, submission, why);
            }
            if (errand != null) errand.end(why == null ? new ClosedException(this + " is closed") : deviceFailed());
            errand = null;
            lock.notifyAll();
        }
        forgetBatch();
    }

    private void endOpen(Call call, long submission, Throwable why) {
        if (!call.isOpen(submission)) return;
        if (why != null) call.failure = deviceFailed();
        int outcome = why == null ? Call.CLOSED : Call.FAILED;
        if (!call.answer(submission, outcome) && call.isOpen(submission)) call.answerTouched(submission, outcome);
    }

    @Override
    public final String toString() {
        return name;
    }
}
