package dev.turningpoint.bench;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.Stream;
import dev.turningpoint.kernels.cases.Launchers;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.function.Predicate;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;

/** The comparison with one number of threads, in a process of its own: both sides fix their threads at the start. {@link PeerComparison} starts it. */
final class Comparison {

    /** Long against the tick in which the system counts the processor time of threads that are running elsewhere. */
    private static final long ROUND_NANOS = 100_000_000;

    private final Device device;
    private final Stream stream;
    private final Launchers launchers;
    private final Clock clock;
    private final int rounds;

    private Comparison(Device device, Stream stream, Launchers launchers, Clock clock, int rounds) {
        this.device = device;
        this.stream = stream;
        this.launchers = launchers;
        this.clock = clock;
        this.rounds = rounds;
    }

    /** Arguments: threads, rounds, file for the section of the report, file for its figures, words of which a case's title or name must contain one (none: all cases). */
    public static void main(String[] args) throws Exception {
        int threads = Integer.parseInt(args[0]), rounds = Integer.parseInt(args[1]);
        Path section = Path.of(args[2]), figures = Path.of(args[3]);
        var words = List.of(args).subList(4, args.length);
        Predicate<Subject> wanted = s -> words.isEmpty() || words.stream().anyMatch(w -> s.title().contains(w) || s.name().contains(w));
        var cases = PeerComparison.cases().stream().filter(c -> wanted.test(c.subject())).toList();
        var works = PeerComparison.works().stream().filter(w -> wanted.test(w.subject())).toList();
        torch.set_num_threads(threads);
        torch.manual_seed(7);
        boolean met;
        try (var inference = new NoGradGuard(); var device = Device.open(); var stream = device.newStream(); var launchers = new Launchers(device)) {
            met = new Comparison(device, stream, launchers, Clock.of(threads), rounds).run(works, cases, threads, section, figures);
        }
        System.exit(met ? 0 : 1);
    }

    private boolean run(List<Work.Offer> works, List<Case> cases, int threads, Path section, Path figures) throws Exception {
        var text = new StringBuilder();
        double load = ManagementFactory.getOperatingSystemMXBean().getSystemLoadAverage();
        var triad = Triad.measure(device, stream, clock, threads, rounds);
        var peak = Peak.measure(device, stream, clock, Math.max(rounds, 3));
        text.append(String.format(Locale.ROOT, "%n## %s%n%nMeasured in %s; load of the machine at the start: %.1f on %d processors. Triad: %s. Products: %s.%n%n", threads == 1 ? "One thread" : threads + " threads",
                clock.name(), load, Runtime.getRuntime().availableProcessors(), triad, peak)).append(Row.HEADER);
        System.out.print(text);
        var rows = new ArrayList<Row>();
        for (Work.Offer w : works) {
            try (var scope = new PointerScope(); Work work = w.on(device, stream)) {
                rows.add(time(w.subject(), work.ours, () -> Torch.scoped(work.peer), work.error, triad, peak));
            }
            System.out.print(rows.getLast());
        }
        for (Case c : cases) {
            rows.add(measure(c, triad, peak));
            System.out.print(rows.getLast());
        }
        long missed = rows.stream().filter(r -> !r.met()).count();
        rows.forEach(text::append);
        Files.writeString(section, text.append(String.format("%n%d of %d cases reach their goals. Of the others, %d cannot: at the triad's bandwidth and the products' peak they would still be below.%n", rows.size() - missed, rows.size(),
                rows.stream().filter(Row::outOfReach).count())));
        Figures.write(figures, threads, triad.best(), rows);
        return missed == 0;
    }

    private Row measure(Case c, Triad triad, Peak peak) {
        try (var scope = new PointerScope(); var in = new Inputs(c.kernels(), launchers, stream)) {
            Eager peer = c.peer().on(in);
            double error = agreement(c, in, peer);
            return time(c.subject(), in::launch, () -> Torch.scoped(peer::call), error, triad, peak);
        }
    }

    private Row time(Subject subject, Runnable ours, Runnable theirs, double error, Triad triad, Peak peak) {
        Runnable finished = stream::synchronize, nothing = () -> {};
        int ourCalls = clock.callsOf(ours, finished, ROUND_NANOS), theirCalls = clock.callsOf(theirs, nothing, ROUND_NANOS);
        double[] a = new double[rounds], b = new double[rounds];
        for (int i = 0; i < rounds; i++) {  // interleaved, so that both meet the same machine
            a[i] = clock.each(ours, ourCalls, finished);
            b[i] = clock.each(theirs, theirCalls, nothing);
        }
        return new Row(subject, a, b, error, triad, peak);
    }

    /** Runs each side once and compares: the largest difference relative to the largest value of an array. */
    private double agreement(Case c, Inputs in, Eager peer) {
        in.launch();
        stream.synchronize();
        double tolerance = c.kernels().buffers().stream().anyMatch(b -> b.type() == DType.BF16) ? 3e-2 : 2e-4, largest = Double.NaN;
        try (var scope = new PointerScope()) {
            Tensor[] theirs = peer.call();
            int i = 0;
            for (var result : peer.results().entrySet()) {
                Tensor expected = theirs[i++], actual = result.getValue().apply(in.tensor(result.getKey(), -1));
                if (expected.numel() != actual.numel()) throw new IllegalStateException(c.kernels() + ": " + result.getKey() + " has " + actual.numel() + " elements, the peer's " + expected.numel());
                double error = Torch.difference(expected, actual);
                if (!(error <= tolerance)) throw new IllegalStateException(c.kernels() + " (" + c.title() + "): " + result.getKey() + " and the peer's differ by " + error + " of the largest value");
                largest = Double.isNaN(largest) ? error : Math.max(largest, error);
            }
        }
        return largest;
    }
}
