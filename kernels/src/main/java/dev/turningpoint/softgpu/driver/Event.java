package dev.turningpoint.softgpu.driver;

/** A point in a stream: the last {@code cuEventRecord} decides which. */
final class Event {
    static final int BLOCKING_SYNC = 1, DISABLE_TIMING = 2, INTERPROCESS = 4;

    final Context context;
    final boolean timing;
    /** Null until recorded. */
    volatile Point point;

    Event(Context context, int flags) {
        this.context = context;
        timing = (flags & DISABLE_TIMING) == 0;
    }

    /** One record. Either position {@code sequence} of a stream, or a place in a capture. */
    static final class Point {
        final StreamQueue stream;
        final long sequence;
        final Capture capture;
        final java.util.BitSet nodes;
        volatile long nanos;

        Point(StreamQueue stream, long sequence) {
            this.stream = stream;
            this.sequence = sequence;
            capture = null;
            nodes = null;
        }

        Point(Capture capture, java.util.BitSet nodes) {
            stream = null;
            sequence = 0;
            this.capture = capture;
            this.nodes = nodes;
        }

        boolean passed() {
            StreamOrder order = StreamOrder.current();
            if (order != null) order.asked(stream);
            return stream.completed() >= sequence;
        }
    }
}
