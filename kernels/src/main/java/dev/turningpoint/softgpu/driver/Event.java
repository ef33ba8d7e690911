package dev.turningpoint.softgpu.driver;

import java.util.BitSet;

/**
 * A point in a stream, or a place in a capture: the last {@code cuEventRecord} decides which, and overwrites what was, so that recording makes no object. Whoever waits takes stream and
 * number at the call: a wait in a queue goes on meaning the record that came before it.
 */
final class Event {
    static final int BLOCKING_SYNC = 1, DISABLE_TIMING = 2, INTERPROCESS = 4;

    final Context context;
    final boolean timing;

    // the last record, guarded by this: position of a stream, or nodes of a capture, or neither
    StreamQueue stream;
    long sequence;
    Capture capture;
    BitSet nodes;
    /** When it happened, in the time of {@link System#nanoTime}; 0 until it has. */
    private long nanos;

    Event(Context context, int flags) {
        this.context = context;
        timing = (flags & DISABLE_TIMING) == 0;
    }

    synchronized void record(StreamQueue stream, long sequence) {
        this.stream = stream;
        this.sequence = sequence;
        capture = null;
        nodes = null;
        nanos = 0;
    }

    synchronized void record(Capture capture, BitSet nodes) {
        stream = null;
        this.capture = capture;
        this.nodes = nodes;
    }

    /** The stream has come there. If the event has been recorded again since, nobody asks any more when. */
    synchronized void happened(StreamQueue stream, long sequence) {
        if (this.stream == stream && this.sequence == sequence) nanos = System.nanoTime();
    }

    synchronized long nanos() { return nanos; }

    /** For calls that ask about a stream. */
    synchronized void requireOutsideCapture() {
        if (capture != null) throw Code.CAPTURED_EVENT.error("the event was recorded into a capture");
    }

    synchronized boolean isRecorded() { return stream != null || capture != null; }

    /** Whether what was recorded has happened; that nothing was, is as good. */
    boolean passed() {
        StreamQueue s;
        long n;
        synchronized (this) {
            s = stream;
            n = sequence;
        }
        if (s == null) return true;
        StreamOrder order = StreamOrder.current();
        if (order != null) order.asked(s);
        return s.completed() >= n;
    }

    /** Until what was recorded has happened. */
    void await() {
        StreamQueue s;
        long n;
        synchronized (this) {
            s = stream;
            n = sequence;
        }
        if (s != null) s.await(n);
    }
}
