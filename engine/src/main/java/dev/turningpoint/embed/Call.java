package dev.turningpoint.embed;

import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.time.Duration;
import java.util.concurrent.locks.LockSupport;

/**
 * One request at a time to a session, to be used again and again: submitted, then awaited. Whatever becomes of it, refusal included, {@link #await} says, exactly
 * once. Submitting and awaiting are for one thread at a time, a platform or a virtual one; {@link #cancel} is for any.
 *
 * <p>The session reads the caller's memory when it forms a batch and writes it when the batch is done; once the call is answered it touches neither.
 */
public abstract sealed class Call permits SamplerCall, ScorerCall {
    /** Bits of {@link #state} that say how far the call is; above them the number of the submission, so that nobody answers a later one. */
    private static final int PHASE_BITS = 4;
    private static final long PHASE = (1 << PHASE_BITS) - 1;
    static final int IDLE = 0, QUEUED = 1, TOUCHED = 2, RUNNING = 3;
    /** From here on the call is answered. TOUCHED: the worker reads or writes the caller's memory. */
    static final int SERVED = 4, REFUSED = 5, CANCELLED = 6, EXPIRED = 7, CLOSED = 8, FAILED = 9;
    private static final String[] OUTCOMES = {"", "", "", "", "served", "refused", "cancelled", "expired", "closed", "failed"};
    private static final VarHandle STATE;

    static {
        try {
            STATE = MethodHandles.lookup().findVarHandle(Call.class, "state", long.class);
        } catch (ReflectiveOperationException e) {
            throw new ExceptionInInitializerError(e);
        }
    }

    private final Session session;
    private volatile long state;
    private volatile Thread waiter;
    private WhenFull whenFull = WhenFull.REFUSE;
    private long timeout = Long.MAX_VALUE;
    int rows;
    long queuedAt;
    /** Of the answer; written before it. */
    long version;
    RuntimeException failure;

    Call(Session session) {
        this.session = session;
    }

    /**
     * How long every later submission may take, waiting for room included; counted from its submission. Without one a call waits as long as it takes.
     *
     * @throws IllegalArgumentException if it is not more than 0
     */
    public final void timeout(Duration timeout) {
        if (!timeout.isPositive()) throw new IllegalArgumentException("a call cannot be done in " + timeout);
        requireIdle();
        this.timeout = timeout.compareTo(Duration.ofNanos(Long.MAX_VALUE)) >= 0 ? Long.MAX_VALUE : timeout.toNanos();
    }

    /** What becomes of later submissions that find the queue full; {@link WhenFull#REFUSE} unless it was set. */
    public final void whenFull(WhenFull whenFull) {
        requireIdle();
        this.whenFull = whenFull;
    }

    final void submit(int rows) {
        this.rows = rows;
        queuedAt = System.nanoTime();
        long submission = (state >>> PHASE_BITS) + 1;
        state = submission << PHASE_BITS | QUEUED;
        session.enqueue(this, submission, whenFull);
    }

    /**
     * Waits for the answer and leaves the call free for the next submission. An interrupt cancels the call; the thread's interrupt status stays set.
     *
     * @return the version of the LoRA that served it, 0 for the base model and for scores
     * @throws RefusedException      if the queue was full and it did not wait
     * @throws CancelledException    if it was cancelled, or this thread interrupted
     * @throws DeadlineException     if its time was over
     * @throws ClosedException       if the session was closed first
     * @throws DeviceException       if the device failed
     * @throws dev.turningpoint.reward.RewardException if an image cannot be scored
     * @throws IllegalStateException if nothing was submitted, or the caller's memory was closed while the session used it
     */
    public final long await() {
        if (phase(state) == IDLE) throw new IllegalStateException("nothing was submitted");
        boolean interrupted = false;
        waiter = Thread.currentThread();
        int phase;
        while ((phase = phase(state)) < SERVED) {
            if (Thread.interrupted()) {
                interrupted = true;
                cancel();
                continue;
            }
            long left = nanosLeft();
            if (left <= 0 && !isTouched()) answer(submission(), EXPIRED);
            else if (interrupted || left <= 0) Thread.yield();   // a copy of this call's memory is under way
            else if (left == Long.MAX_VALUE) LockSupport.park(session);
            else LockSupport.parkNanos(session, left);
        }
        waiter = null;
        long served = version;
        RuntimeException why = failure;
        failure = null;
        state = submission() << PHASE_BITS | IDLE;
        if (interrupted) Thread.currentThread().interrupt();
        return switch (phase) {
            case SERVED -> served;
            case REFUSED -> throw new RefusedException(session + ": the queue is full with " + session.queueCapacity() + " calls");
            case CANCELLED -> throw new CancelledException(session + ": the call was cancelled");
            case EXPIRED -> throw new DeadlineException(session + ": not done within " + timeout / 1000 + " microseconds");
            case CLOSED -> throw new ClosedException(session + " is closed");
            default -> throw why;
        };
    }

    /**
     * Gives the call up, unless it is answered or its result is being written. What runs on the device goes on for the other calls of its batch; if there are none,
     * it ends after the step at hand.
     *
     * @return whether this cancelled it
     */
    public final boolean cancel() {
        while (true) {
            long now = state;
            int phase = phase(now);
            if (phase == IDLE || phase >= SERVED) return false;
            if (phase == TOUCHED) Thread.yield();
            else if (answer(now >>> PHASE_BITS, CANCELLED)) return true;
        }
    }

    /** Whether {@link #await} would return at once. */
    public final boolean isAnswered() {
        return phase(state) >= SERVED;
    }

    // ---- for the session

    final long submission() {
        return state >>> PHASE_BITS;
    }

    final boolean isTouched() {
        return phase(state) == TOUCHED;
    }

    /** Whether that submission is still to be answered. */
    final boolean isOpen(long submission) {
        long now = state;
        return now >>> PHASE_BITS == submission && phase(now) != IDLE && phase(now) < SERVED;
    }

    final boolean move(long submission, int from, int to) {
        return STATE.compareAndSet(this, submission << PHASE_BITS | from, submission << PHASE_BITS | to);
    }

    /** Answers a submission that is queued or runs; false if it was answered before or its memory is being touched. */
    final boolean answer(long submission, int outcome) {
        long since = queuedAt;
        boolean queued = move(submission, QUEUED, outcome);
        if (!queued && !move(submission, RUNNING, outcome)) return false;
        if (queued) session.forget(this, submission);
        answered(outcome, since);
        return true;
    }

    /** Answers a submission whose memory the worker touches. */
    final void answerTouched(long submission, int outcome) {
        long since = queuedAt;
        state = submission << PHASE_BITS | outcome;
        answered(outcome, since);
    }

    private void answered(int outcome, long since) {
        Thread thread = waiter;
        if (thread != null) LockSupport.unpark(thread);
        if (outcome != SERVED) Unserved.commit(session, OUTCOMES[outcome], System.nanoTime() - since);
    }

    /** Nanoseconds until the deadline, {@link Long#MAX_VALUE} without one. */
    final long nanosLeft() {
        return timeout == Long.MAX_VALUE ? timeout : queuedAt + timeout - System.nanoTime();
    }

    final void requireIdle() {
        if (phase(state) != IDLE) throw new IllegalStateException("the call was submitted and not awaited since");
    }

    /** Refuses memory that the worker may not touch. */
    final void requireMemory(MemorySegment memory, long bytes, boolean written, String what) {
        if (memory.byteSize() != bytes) throw new IllegalArgumentException(what + " take " + bytes + " bytes, the segment has " + memory.byteSize());
        if (!memory.isAccessibleBy(session.worker())) throw new IllegalArgumentException("the memory of " + what + " belongs to one thread; take it from Arena.ofShared() or ofAuto()");
        if (written && memory.isReadOnly()) throw new IllegalArgumentException("the memory of " + what + " is read-only");
    }

    private static int phase(long state) {
        return (int) (state & PHASE);
    }
}
