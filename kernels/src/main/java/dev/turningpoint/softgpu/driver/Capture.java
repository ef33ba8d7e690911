package dev.turningpoint.softgpu.driver;

import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;

/**
 * Work of one or more streams being recorded instead of run, with what each node depends on. Order of capture is a valid order of the graph, and the one we
 * replay where {@link StreamOrder} draws no other.
 */
final class Capture {
    static final int GLOBAL = 0, THREAD_LOCAL = 1, RELAXED = 2;
    private static final List<Capture> ACTIVE = new CopyOnWriteArrayList<>();

    final StreamQueue origin;
    final int mode;
    final Thread thread = Thread.currentThread();
    final List<Command> nodes = new ArrayList<>();
    private final List<int[]> dependencies = new ArrayList<>();
    private final List<StreamQueue> streams = new ArrayList<>();
    private String invalid;

    Capture(StreamQueue origin, int mode) {
        this.origin = origin;
        this.mode = mode;
        join(origin, new BitSet());
        ACTIVE.add(this);
    }

    synchronized void join(StreamQueue stream, BitSet nodes) {
        streams.add(stream);
        stream.capture = this;
        stream.captured = nodes;
    }

    synchronized void add(StreamQueue stream, Command c) {
        dependencies.add(stream.captured.stream().toArray());
        stream.captured.clear();
        stream.captured.set(nodes.size());
        nodes.add(c);
    }

    /** A stream of the capture is destroyed: the capture cannot become a graph any more, and without its first stream it is over. */
    synchronized void abandon(StreamQueue stream) {
        invalidate("a stream was destroyed during the capture");
        stream.capture = null;
        streams.remove(stream);
        if (stream != origin) return;
        ACTIVE.remove(this);
        for (StreamQueue s : streams) s.capture = null;
    }

    /** The context ends. */
    static void endAll(Context context) {
        for (Capture c : ACTIVE) if (c.origin.context == context) c.abandon(c.origin);
    }

    synchronized void invalidate(String why) {
        if (invalid == null) invalid = why;
    }

    synchronized boolean isInvalid() {
        return invalid != null;
    }

    synchronized void requireValid() {
        if (invalid != null) throw Code.STREAM_CAPTURE_INVALIDATED.error(invalid);
    }

    /** Ends the capture; throws if it cannot become a graph. */
    synchronized Graph end() {
        ACTIVE.remove(this);
        var loose = new BitSet();   // nodes that no other waits for
        loose.set(0, nodes.size());
        for (int[] before : dependencies) for (int d : before) loose.clear(d);
        loose.andNot(origin.captured);
        for (StreamQueue s : streams) {
            s.capture = null;
            s.captured = null;
        }
        if (invalid != null) throw Code.STREAM_CAPTURE_INVALIDATED.error(invalid);
        if (!loose.isEmpty()) throw Code.STREAM_CAPTURE_UNJOINED.error("work captured on another stream is not awaited by the first: " + loose.cardinality() + " of " + nodes.size() + " nodes");
        return new Graph(nodes, dependencies);
    }

    /** To be called where a call may not happen while somebody captures: allocation, synchronous copies, waiting for the device. */
    static void refuse(String call) {
        if (ACTIVE.isEmpty()) return;
        for (Capture c : ACTIVE)
            if (c.mode == GLOBAL || c.mode == THREAD_LOCAL && c.thread == Thread.currentThread()) {
                c.invalidate(call + " was called during the capture");
                throw Code.STREAM_CAPTURE_UNSUPPORTED.error(call + " while a stream captures");
            }
    }
}
