package dev.turningpoint.selftest;

import dev.turningpoint.bindings.NativeLibraryException;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.GpuException;
import dev.turningpoint.gpu.Stream;
import dev.turningpoint.kernels.cases.Buffer;
import dev.turningpoint.kernels.cases.CaseRun;
import dev.turningpoint.kernels.cases.KernelCase;
import dev.turningpoint.kernels.cases.KernelCases;
import dev.turningpoint.kernels.cases.Launchers;
import dev.turningpoint.kernels.cases.Size;
import dev.turningpoint.kernels.cases.Tolerance.Difference;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * Runs the kernel cases on this process' device and on a {@link Reference}, compares, and measures. On a GPU the reference is the software GPU, and cases of all sizes are compared and
 * timed. On the software GPU it is the interpreter: small cases are compared, those of the glyph model timed.
 */
public final class Selftest {
    private static final Duration PATIENCE = Duration.ofMinutes(5);

    /** Where the work is: for a progress line. */
    public interface Progress {
        void at(String task, int done, int total, String name);
    }

    /** How two results of a case are compared. */
    public interface Comparison {
        Difference worst(KernelCase c, Buffer result, MemorySegment expected, MemorySegment actual);
    }

    private final List<KernelCase> cases;
    private final Comparison comparison;

    /** @param only part of the names of the cases to run; empty for all */
    public Selftest(String only) {
        this(only, (_, result, expected, actual) -> result.tolerance().worst(result.type(), result.count(), expected, actual));
    }

    /** @param comparison gives the difference that is then held against the result's tolerance */
    public Selftest(String only, Comparison comparison) {
        cases = KernelCases.named(only);
        this.comparison = comparison;
    }

    /** Whether there is nothing to do. */
    public boolean isEmpty() { return cases.isEmpty(); }

    /**
     * Does all of it.
     *
     * @throws InterruptedException if this thread is interrupted while it waits for the reference
     */
    public Report run(Progress progress) throws InterruptedException {
        return Device.isSoftware()
                ? run(Reference.Engine.INTERPRETED, cases.stream().filter(c -> c.size() == Size.SMALL).toList(), cases.stream().filter(c -> c.size() == Size.GLYPH).toList(), progress)
                : run(Reference.Engine.COMPILED, cases, cases, progress);
    }

    Report run(Reference.Engine engine, List<KernelCase> compared, List<KernelCase> timed, Progress progress) throws InterruptedException {
        long start = System.nanoTime();
        var rows = new ArrayList<Row>();
        Machine machine = null;
        Speed speed = null;
        String failure = null;
        try (var device = Device.open(); var stream = device.newStream(); var launchers = new Launchers(device)) {
            machine = Machine.of(device);
            compare(compared, rows, launchers, stream, engine, progress);
            time(timed, rows, launchers, device, stream, progress);
            progress.at("measuring", 0, 1, "copies, products, launches");
            speed = Speed.of(device, stream);
            progress.at("measuring", 1, 1, "");
        } catch (GpuException | NativeLibraryException e) {
            if (machine == null) throw e;                              // there is nothing to tell
            failure = line(e);                                         // a fault ends what can be done on the device, its release too
        }
        long planned = java.util.stream.Stream.concat(compared.stream(), timed.stream()).distinct().count();
        return new Report(machine, engine.title, rows, planned, speed, failure, (System.nanoTime() - start) / 1e9);
    }

    private void compare(List<KernelCase> compared, List<Row> rows, Launchers launchers, Stream stream, Reference.Engine engine, Progress progress) throws InterruptedException {
        try (var reference = new Reference(engine, compared, PATIENCE)) {
            for (int i = 0; i < compared.size(); i++) {
                KernelCase c = compared.get(i);
                progress.at("comparing", i, compared.size(), c.name());
                try (Arena arena = Arena.ofShared(); var run = new CaseRun(c, launchers, stream)) {
                    run.fill();
                    run.mark();
                    run.launch();
                    stream.synchronize();
                    rows.add(worst(c, reference.results(c, arena), run, arena));
                } catch (ReferenceException e) {
                    rows.add(Row.failed(c, e.getMessage()));
                } catch (GpuException e) {
                    rows.add(Row.failed(c, line(e)));
                    if (faulted(stream)) throw e;
                }
            }
            progress.at("comparing", compared.size(), compared.size(), "");
        }
    }

    private Row worst(KernelCase c, Map<Buffer, MemorySegment> expected, CaseRun run, Arena arena) {
        Row worst = null;
        for (Buffer b : c.buffers()) {
            if (!b.isResult()) continue;
            var row = new Row(c, b, comparison.worst(c, b, expected.get(b), run.read(b, arena)), null, 0);
            if (worst == null || row.excess() > worst.excess()) worst = row;
        }
        return worst;
    }

    private static void time(List<KernelCase> timed, List<Row> rows, Launchers launchers, Device device, Stream stream, Progress progress) {
        for (int i = 0; i < timed.size(); i++) {
            KernelCase c = timed.get(i);
            progress.at("timing", i, timed.size(), c.name());
            int known = -1;
            for (int j = 0; j < rows.size(); j++) if (rows.get(j).kernels() == c) known = j;
            try (var run = new CaseRun(c, launchers, stream)) {
                run.fill();
                double micros = Speed.micros(device, stream, run::launch);
                if (known >= 0) rows.set(known, rows.get(known).in(micros));
                else rows.add(new Row(c, null, null, null, micros));
            } catch (GpuException e) {
                if (known >= 0) rows.set(known, Row.failed(c, line(e)));
                else rows.add(Row.failed(c, line(e)));
                if (faulted(stream)) throw e;
            }
        }
        progress.at("timing", timed.size(), timed.size(), "");
    }

    /** Whether nothing can be done on the device any more; memory that was not to be had leaves it as it was. */
    private static boolean faulted(Stream stream) {
        try {
            stream.synchronize();
            return false;
        } catch (GpuException e) {
            return true;
        }
    }

    private static String line(RuntimeException e) { return e.getMessage().lines().findFirst().orElse(e.toString()); }
}
