package dev.turningpoint.softgpu.driver;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.SplittableRandom;

/**
 * An order of execution drawn from a seed, as unlike the order of the calls as the API allows: a missing event, or a result read before it was waited for, shows
 * in wrong numbers, and the seed repeats it. In force where the device checks ({@code -Dturningpoint.software.check=true}), or between {@link #draw} and {@link #end}.
 *
 * <p>Commands of different streams never overlap, host functions excepted. Nothing runs before somebody waits, and then the stream of highest priority that can go
 * on does, until what was waited for is done; priorities are drawn, and drawn anew now and then. So a stream that nothing holds may stay behind all others, and be
 * ahead of all others under another seed. Only if nobody calls the driver for a while does work go on by itself, as it would on hardware.
 */
public final class StreamOrder {
    /** A caller that looks at memory rather than ask the driver gets its result after this. */
    private static final long UNASKED_NANOS = 1_000_000_000;
    /** Priorities are drawn anew at one command in so many. */
    private static final int CHANGES = 8;
    private static volatile StreamOrder drawn;

    private record Demand(StreamQueue stream, long sequence) {
        boolean isMet() { return stream.completed() >= sequence; }
    }

    private final SplittableRandom random;
    private final List<Demand> demands = new ArrayList<>();
    private final Map<StreamQueue, Long> priorities = new HashMap<>();
    /** Streams inside a host function. */
    private final Set<StreamQueue> outside = new HashSet<>();
    /** One command may run although nobody waits for it. */
    private boolean unasked;
    /** Whose next command runs now; null: nobody's. */
    private StreamQueue turn;
    private long lastUse = System.nanoTime();

    static {
        if (Boolean.getBoolean("turningpoint.software.check")) draw(Long.getLong("turningpoint.software.seed", System.nanoTime() & 0xffffff));
    }

    private StreamOrder(long seed) {
        random = new SplittableRandom(seed);
    }

    /** From now on the order is that of the seed. */
    public static void draw(long seed) {
        end();
        drawn = new StreamOrder(seed);
        DriverLog.note("streams run in an order drawn from seed " + seed + " (-Dturningpoint.software.seed=" + seed + " repeats it)", false);
    }

    /** From now on streams run as soon as they can, side by side. */
    public static void end() {
        StreamOrder before = drawn;
        drawn = null;
        if (before != null) before.wake();
    }

    /** Null if streams run as soon as they can. */
    static StreamOrder current() { return drawn; }

    private synchronized void wake() { notifyAll(); }

    /** Before a stream's next command, on its own thread: returns when it is that stream's turn. */
    synchronized void enter(StreamQueue stream) {
        choose(stream.context);
        boolean interrupted = false;
        while (turn != stream && drawn == this) {
            try {
                wait(UNASKED_NANOS / 1_000_000);
            } catch (InterruptedException e) {
                interrupted = true;
            }
            if (turn == null && System.nanoTime() - lastUse > UNASKED_NANOS) unasked = true;
            choose(stream.context);
        }
        if (interrupted) Thread.currentThread().interrupt();
    }

    /** The stream's command is done, and counted as completed. */
    synchronized void leave(StreamQueue stream) {
        outside.remove(stream);
        if (turn == stream) turn = null;
        lastUse = System.nanoTime();
        choose(stream.context);
    }

    /** The command whose turn it is calls the host, which may take long and may wait for other streams' host functions: others go on meanwhile. */
    synchronized void goOutside(StreamQueue stream) {
        outside.add(stream);
        if (turn == stream) turn = null;
        choose(stream.context);
    }

    /** Somebody waits until the stream has completed that many commands. */
    synchronized void demand(StreamQueue stream, long sequence) {
        demands.add(new Demand(stream, sequence));
        lastUse = System.nanoTime();
        choose(stream.context);
    }

    /** Somebody asks how far a stream is: whoever asks often enough sees it end. */
    synchronized void asked(StreamQueue stream) {
        unasked = true;
        lastUse = System.nanoTime();
        choose(stream.context);
    }

    private void choose(Context context) {
        if (turn != null) return;
        demands.removeIf(Demand::isMet);
        if (demands.isEmpty() && !unasked) return;
        List<StreamQueue> all = context.streams.stream().sorted(Comparator.comparingInt(s -> s.number)).toList();
        priorities.keySet().retainAll(all);
        if (random.nextInt(CHANGES) == 0) priorities.clear();
        StreamQueue best = null;
        for (StreamQueue s : all) {
            long priority = priorities.computeIfAbsent(s, _ -> random.nextLong());
            if (!outside.contains(s) && s.canGoOn() && (best == null || priority > priorities.get(best))) best = s;
        }
        unasked = false;
        if (best == null) return;   // all wait for a host function, or for what is not submitted yet
        turn = best;
        notifyAll();
    }

    /** An order of a graph's nodes that keeps every dependency: of those that may come next, the one of highest drawn priority does. */
    synchronized int[] order(Graph.Executable graph) {
        int n = graph.nodes.length;
        var priority = new long[n];
        var missing = new int[n];
        for (int i = 0; i < n; i++) {
            priority[i] = random.nextLong();
            missing[i] = graph.dependencies[i].length;
        }
        var ready = new java.util.PriorityQueue<Integer>(Comparator.comparingLong(i -> priority[i]));
        var after = new ArrayList<List<Integer>>();
        for (int i = 0; i < n; i++) after.add(new ArrayList<>());
        for (int i = 0; i < n; i++) {
            for (int d : graph.dependencies[i]) after.get(d).add(i);
            if (missing[i] == 0) ready.add(i);
        }
        var order = new int[n];
        for (int k = 0; k < n; k++) {
            order[k] = ready.remove();
            for (int next : after.get(order[k])) if (--missing[next] == 0) ready.add(next);
        }
        return order;
    }
}
