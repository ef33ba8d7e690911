package dev.turningpoint.softgpu.driver;

import java.util.BitSet;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;
import java.util.concurrent.locks.ReentrantLock;

/**
 * A stream: a ring of commands and the thread that runs them in order.
 *
 * <p>Positions in the ring are sequence numbers counted from 1; an event is a stream and a number, and waiting for it is waiting until the stream has
 * completed that many commands. The legacy stream and blocking streams wait for each other by the same means.
 */
final class StreamQueue {
    private static final int CAPACITY = 1024;
    private static final AtomicInteger NUMBERS = new AtomicInteger();

    final Context context;
    /** Ordered with the legacy stream. */
    final boolean blocking;
    final boolean legacy;
    final int number = NUMBERS.getAndIncrement();
    volatile Capture capture;
    /** Captured nodes that the next one depends on directly; guarded by the capture. */
    BitSet captured;

    private final ReentrantLock lock = new ReentrantLock();
    private final Command[] ring = new Command[CAPACITY];
    private volatile long submitted, completed;
    private long legacySeen;
    private boolean closed;
    private final Executor executor;
    private final Object finished = new Object();
    /** The least sequence number that somebody asleep waits for. */
    private volatile long awaited = Long.MAX_VALUE;

    StreamQueue(Context context, boolean blocking, boolean legacy) {
        this.context = context;
        this.blocking = blocking;
        this.legacy = legacy;
        executor = new Executor();
        context.streams.add(this);
        executor.start();
    }

    // ---- submitting

    /** A command to fill; {@link #commit} or {@link #abort} must follow. While capturing it is a new one, which becomes a node. */
    Command begin() {
        lock.lock();
        try {
            if (closed) throw Code.INVALID_HANDLE.error("the stream was destroyed");
            Capture c = capture;
            if (c != null) {
                c.requireValid();
                return new Command(true);
            }
            orderWithLegacy();
            return slot();
        } catch (Throwable e) {
            lock.unlock();
            throw e;
        }
    }

    /** @return sequence number of the command, 0 if it was captured */
    long commit(Command c) {
        try {
            Capture capturing = capture;
            if (capturing != null) {
                capturing.add(this, c);
                return 0;
            }
            return publish();
        } finally {
            lock.unlock();
        }
    }

    void abort() {
        lock.unlock();
    }

    private Command slot() {
        if (submitted - completed >= CAPACITY) await(submitted - CAPACITY / 2);   // one wait for many places
        int i = (int) (submitted & CAPACITY - 1);
        Command c = ring[i];
        return c != null ? c : (ring[i] = new Command(false));
    }

    private long publish() {
        long sequence = submitted + 1;
        submitted = sequence;
        if (executor.asleep) LockSupport.unpark(executor);
        return sequence;
    }

    private void orderWithLegacy() {
        if (!blocking) return;
        if (legacy) {
            for (StreamQueue s : context.streams) {
                if (s == this || !s.blocking) continue;
                if (s.capture != null) {
                    s.capture.invalidate("the legacy stream was used during the capture");
                    throw Code.STREAM_CAPTURE_IMPLICIT.error("the legacy stream would wait for a stream that captures");
                }
                long until = s.submitted;
                if (s.completed < until) {
                    slot().await(s, until);
                    publish();
                }
            }
        } else {
            StreamQueue l = context.legacyIfUsed();
            if (l == null) return;
            long until = l.submitted;
            if (until > legacySeen && l.completed < until) {
                slot().await(l, until);
                publish();
            }
            legacySeen = until;
        }
    }

    /** Records the event here and now, or into the capture. */
    void record(Event event) {
        if (event.context != context) throw Code.INVALID_HANDLE.error("the event belongs to another context than the stream");
        Command c = begin();
        try {
            Capture capturing = capture;
            if (capturing != null) {
                synchronized (capturing) {
                    event.record(capturing, (BitSet) captured.clone());
                }
            } else {
                long sequence = submitted + 1;
                c.record(event, sequence);
                event.record(this, sequence);
                publish();
            }
        } finally {
            lock.unlock();
        }
    }

    /** Later commands wait for the event; an event of a capture draws this stream into it. */
    void waitFor(Event event) {
        StreamQueue recordedOn;
        long sequence;
        Capture of;
        BitSet nodes;
        synchronized (event) {
            recordedOn = event.stream;
            sequence = event.sequence;
            of = event.capture;
            nodes = event.nodes;
        }
        if (of != null) {
            of.requireValid();
            if (of.origin.capture != of) throw Code.CAPTURED_EVENT.error("the event belongs to a capture that has ended");
            lock.lock();
            try {
                synchronized (of) {
                    if (capture == null) of.join(this, (BitSet) nodes.clone());
                    else if (capture == of) captured.or(nodes);
                    else {
                        capture.invalidate("it met another capture");
                        throw Code.STREAM_CAPTURE_MERGE.error("the event belongs to another capture");
                    }
                }
            } finally {
                lock.unlock();
            }
            return;
        }
        if (recordedOn == null) return;  // never recorded: nothing to wait for
        if (capture != null) {
            capture.invalidate("it waited for an event recorded outside");
            throw Code.STREAM_CAPTURE_ISOLATION.error("the event was recorded outside the capture");
        }
        if (recordedOn.completed() >= sequence) return;
        Command c = begin();
        c.await(recordedOn, sequence);
        commit(c);
    }

    void beginCapture(int mode) {
        lock.lock();
        try {
            if (legacy) throw Code.STREAM_CAPTURE_UNSUPPORTED.error("the legacy stream cannot capture");
            if (capture != null) throw Code.ILLEGAL_STATE.error("the stream captures already");
            new Capture(this, mode);
        } finally {
            lock.unlock();
        }
    }

    Graph endCapture() {
        lock.lock();
        try {
            Capture c = capture;
            if (c == null) throw Code.ILLEGAL_STATE.error("the stream does not capture");
            if (c.origin != this) {
                c.invalidate("it was ended on another stream");
                throw Code.STREAM_CAPTURE_UNMATCHED.error("the capture began on another stream");
            }
            if (c.mode != Capture.RELAXED && c.thread != Thread.currentThread()) throw Code.STREAM_CAPTURE_WRONG_THREAD.error("the capture began on " + c.thread.getName());
            return c.end();
        } finally {
            lock.unlock();
        }
    }

    /** Waiting for a stream that captures can never end well. */
    void refuseDuringCapture(String call) {
        Capture c = capture;
        if (c == null) return;
        c.invalidate(call + " on a stream that captures");
        throw Code.STREAM_CAPTURE_UNSUPPORTED.error(call + " on a stream that captures");
    }

    // ---- waiting

    long completed() { return completed; }

    boolean idle() {
        StreamOrder order = StreamOrder.current();
        if (order != null) order.asked(this);
        return completed >= submitted;
    }

    /** Whether there is a next command, and it waits for nothing. Not while a command runs. */
    boolean canGoOn() {
        return completed < submitted && ring[(int) (completed & CAPACITY - 1)].isReady();
    }

    void awaitAll() { await(submitted); }

    /** Until that many commands have completed. */
    void await(long sequence) {
        if (completed >= sequence) return;
        StreamOrder order = StreamOrder.current();
        if (order != null && !(Thread.currentThread() instanceof ComputeThread)) order.demand(this, sequence);
        long start = System.nanoTime();
        for (int i = 1; completed < sequence; i++) {
            Thread.onSpinWait();
            if ((i & 63) == 0 && System.nanoTime() - start > Workers.SPIN_NANOS) {
                awaitAsleep(sequence);
                return;
            }
        }
    }

    private void awaitAsleep(long sequence) {
        boolean interrupted = false;
        synchronized (finished) {
            while (true) {
                if (sequence < awaited) awaited = sequence;   // before it is looked whether it has come
                if (completed >= sequence) break;
                try {
                    finished.wait();
                } catch (InterruptedException e) {
                    interrupted = true;  // the device cannot be interrupted
                }
            }
        }
        if (interrupted) Thread.currentThread().interrupt();
    }

    // ---- the end

    /** Nothing can be submitted any more; what was, still runs. */
    void close() {
        lock.lock();
        try {
            if (closed) return;
            slot().stop();
            closed = true;
            publish();
        } finally {
            lock.unlock();
        }
    }

    void awaitEnd() {
        awaitAll();
    }

    /** The stream's thread. */
    final class Executor extends ComputeThread {
        final Workers.Job job = new Workers.Job();
        final Matmul.Phase matmulPhase = new Matmul.Phase();
        final WidenedMatmul.Conversion conversion = new WidenedMatmul.Conversion();
        volatile boolean asleep;

        Executor() {
            super("software-gpu-stream-" + number);
        }

        StreamQueue stream() { return StreamQueue.this; }

        @Override
        public void run() {
            long done = 0;
            try {
                while (true) {
                    awaitWork(done);
                    Command c = ring[(int) (done & CAPACITY - 1)];
                    boolean stop = c.kind == Command.Kind.STOP;
                    StreamOrder order = StreamOrder.current();
                    if (order != null) order.enter(StreamQueue.this);
                    execute(c);
                    c.forget();
                    completed = ++done;
                    if (order != null) order.leave(StreamQueue.this);
                    if (done >= awaited) {
                        synchronized (finished) {
                            awaited = Long.MAX_VALUE;   // who waits for more says so again
                            finished.notifyAll();
                        }
                    }
                    if (stop) return;
                }
            } finally {
                job.close();
                context.streams.remove(StreamQueue.this);
                for (Command c : ring) if (c != null) c.release();
                release();
            }
        }

        private void execute(Command c) {
            if (context.fault() != null && !c.isBookkeeping()) return;
            try {
                c.execute(this);
            } catch (Throwable e) {
                context.fail(e instanceof DriverError d && Code.of(d.code) != null ? Code.of(d.code) : Code.UNKNOWN, c.kind.name().toLowerCase(java.util.Locale.ROOT) + " failed: " + e);
                if (!(e instanceof DriverError)) e.printStackTrace();
            }
        }

        private void awaitWork(long done) {
            if (submitted > done) return;
            long start = System.nanoTime();
            for (int i = 1; submitted <= done; i++) {
                Thread.onSpinWait();
                if ((i & 63) != 0 || System.nanoTime() - start < Workers.SPIN_NANOS) continue;
                asleep = true;
                while (submitted <= done) LockSupport.park(StreamQueue.this);
                asleep = false;
            }
        }
    }
}
