package dev.turningpoint.softgpu.count;

import dev.turningpoint.softgpu.interpreter.KernelFault;
import dev.turningpoint.softgpu.interpreter.Launch;
import dev.turningpoint.softgpu.interpreter.Observer;
import dev.turningpoint.softgpu.interpreter.Watch;

import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;

/** The counting mode of the device: with {@code -Dturningpoint.software.count=true} every launch is interpreted and counted. */
public final class Counting implements Watch {
    public static final String PROPERTY = "turningpoint.software.count";
    /** The mode of this process' device; null unless the property was set before the device was first used. */
    public static final Counting DEVICE = Boolean.getBoolean(PROPERTY) ? new Counting() : null;

    private Consumer<LaunchCounts> listener;
    private Report report;

    private Counting() { }

    Counting(Consumer<LaunchCounts> listener) { this.listener = listener; }

    /** Where the counts of each launch go from now on, when it has ended; one launch at a time. Until somebody asks, a table is printed when the JVM ends. */
    public synchronized void to(Consumer<LaunchCounts> listener) { this.listener = listener; }

    private synchronized void deliver(LaunchCounts counts) {
        if (listener != null) {
            listener.accept(counts);
            return;
        }
        if (report == null) {
            report = new Report();
            Runtime.getRuntime().addShutdownHook(new Thread(() -> System.err.print(report.table(Gpu.H100)), "counts"));
        }
        report.add(counts);
    }

    @Override
    public Watched begins(Launch launch) {
        return new Watched() {
            private final List<Counter> counters = new ArrayList<>();

            @Override
            public synchronized Observer observer() {
                var counter = new Counter(launch.kernel());
                counters.add(counter);
                return counter;
            }

            @Override
            public synchronized void ends(KernelFault fault) {
                Counter all = counters.isEmpty() ? new Counter(launch.kernel()) : counters.getFirst();
                for (Counter c : counters) if (c != all) all.add(c);
                deliver(new LaunchCounts(launch, all));
            }
        };
    }
}
