package dev.turningpoint.bench;

import dev.turningpoint.gpu.Device;
import dev.turningpoint.weights.AtomicFile;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import org.bytedeco.pytorch.global.torch;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/**
 * Training of the glyph model, its parts, matrix products and every kernel on the software GPU against PyTorch eager on as many threads, same inputs, same process, rounds interleaved, and against the bandwidth of a triad
 * measured in the same run. Outputs are compared before anything is timed. Exits with 1 if a goal is missed.
 */
@Command(name = "bench", mixinStandardHelpOptions = true, sortOptions = false,
        description = "Compares training of the glyph model, its parts, matrix products and every kernel, on the software GPU, with PyTorch eager in the same process.")
public final class PeerComparison implements Callable<Integer> {

    /**
     * For the C library: memory that was freed stays with the process. Else each of the peer's results beyond 32 MB is fresh memory, whose pages the system clears first, and which costs a multiple
     * of the work itself; ours are allocated once.
     */
    private static final Map<String, String> KEEPING_MEMORY = Map.of("MALLOC_ARENA_MAX", "1", "MALLOC_MMAP_MAX_", "0", "MALLOC_TRIM_THRESHOLD_", String.valueOf(1L << 40));

    @Option(names = "--threads", split = ",", defaultValue = "1,2", description = "Threads of both sides, a run for each (default: ${DEFAULT-VALUE}).")
    private List<Integer> threads;

    @Option(names = "--rounds", defaultValue = "7", description = "Interleaved rounds of which the median counts (default: ${DEFAULT-VALUE}).")
    private int rounds;

    @Option(names = "--results", defaultValue = "${sys:turningpoint.home:-.}/bench/results", description = "Folder of the report, which is written where all cases are run (default: ${DEFAULT-VALUE}).")
    private Path results;

    @Option(names = "--json", paramLabel = "FILE", description = "Write the figures to this file too.")
    private Path json;

    @Option(names = "--against", paramLabel = "FILE", description = "Figures of an earlier run: exit with 1 if a ratio to the peer is now lower by more than 10 %% in every round, and for no other reason.")
    private Path against;

    @Parameters(arity = "0..*", paramLabel = "WORD", description = "Run the cases whose title or name contains one of these, and write no report.")
    private List<String> words = List.of();

    public static void main(String[] args) {
        System.exit(new CommandLine(new PeerComparison()).execute(args));
    }

    /** All cases, by family. */
    static List<Case> cases() {
        var cases = new ArrayList<Case>();
        SamplerPeers.addTo(cases);
        CreditPeers.addTo(cases);
        GrpoPeers.addTo(cases);
        NormPeers.addTo(cases);
        AttentionPeers.addTo(cases);
        MlpPeers.addTo(cases);
        EmbedPeers.addTo(cases);
        OptimPeers.addTo(cases);
        return cases;
    }

    /** What is made of the kernels. */
    static List<Work.Offer> works() {
        var works = new ArrayList<Work.Offer>();
        works.addAll(GlyphWork.offers());
        works.addAll(BlockWork.offers());
        works.addAll(ProductWork.offers());
        return works;
    }

    @Override
    public Integer call() throws Exception {
        if (against != null && !Files.isRegularFile(against)) {
            System.err.println("turningpoint bench: --against " + against + ": there is no such file");
            return 2;
        }
        var sections = new StringBuilder();
        var figures = new ArrayList<Path>();
        boolean met = true;
        Path folder = Files.createTempDirectory("comparison");
        try {
            for (int t : threads) {
                Path section = folder.resolve(t + ".md");
                figures.add(folder.resolve(t + ".json"));
                int exit = run(t, section, figures.getLast());
                if (exit > 1) {
                    System.err.println("turningpoint bench: the comparison with " + t + (t == 1 ? " thread" : " threads") + " ended with " + exit);
                    return exit;
                }
                met &= exit == 0;
                sections.append(Files.readString(section));
            }
            byte[] all = Figures.joined(figures);
            if (json != null) AtomicFile.write(json, all);
            if (words.isEmpty()) write(sections, all);
            if (against == null) return met ? 0 : 1;
            List<String> slower = Figures.regressions(against, all);
            slower.forEach(System.out::println);
            System.out.println(slower.isEmpty() ? "nothing is slower than in " + against : slower.size() + " cases are slower than in " + against);
            return slower.isEmpty() ? 0 : 1;
        } catch (IllegalArgumentException e) {
            System.err.println("turningpoint bench: " + e.getMessage());
            return 2;
        } finally {
            try (var files = Files.list(folder)) {
                for (Path f : files.toList()) Files.delete(f);
            }
            Files.delete(folder);
        }
    }

    private int run(int t, Path section, Path figures) throws IOException, InterruptedException {
        var command = new ArrayList<>(List.of(ProcessHandle.current().info().command().orElse("java"), "-cp", System.getProperty("java.class.path"), "--enable-native-access=ALL-UNNAMED", "-Xmx2g",
                "-Dorg.lwjgl.system.memoryBackend=ffm", "-Dorg.bytedeco.javacpp.maxBytes=0", "-Dorg.bytedeco.javacpp.maxPhysicalBytes=0", "-Dturningpoint.device=software",
                "-Dturningpoint.software.threads=" + t, Comparison.class.getName(), String.valueOf(t), String.valueOf(rounds), section.toString(), figures.toString()));
        command.addAll(words);
        var process = new ProcessBuilder(command).inheritIO();
        process.environment().put("OPENBLAS_NUM_THREADS", String.valueOf(t));
        process.environment().put("OMP_NUM_THREADS", String.valueOf(t));
        process.environment().putAll(KEEPING_MEMORY);
        var running = process.start();
        Runtime.getRuntime().addShutdownHook(new Thread(running::destroy));
        return running.waitFor();
    }

    private void write(StringBuilder sections, byte[] figures) throws IOException {
        System.setProperty("turningpoint.device", "software");
        String device;
        try (var d = Device.open()) {
            device = d.name();
        }
        Files.createDirectories(results);
        String name = device.replaceAll("[^A-Za-z0-9]+", "-").replaceAll("^-|-$", "").toLowerCase(Locale.ROOT);
        Path file = results.resolve(name + ".md");
        AtomicFile.write(results.resolve(name + ".json"), figures);
        AtomicFile.write(file, """
                # %s against PyTorch eager

                Written by `./turningpoint bench` (see `bench/README.md`): same inputs, same process, the median of %d interleaved rounds of about 100 ms on each
                side. MB are the least that must move (each kernel reads its inputs once and writes its outputs once); GB/s is that over our time, and its share of the triad is shown for
                cases whose arrays are beyond the caches. GFLOP/s count products only; their share is that of a large product in the same type.
                Where a goal is missed, the table says what ratio the machine allows, if that is less than the goal: with the bytes at the triad's bandwidth (in cache, for cases that fit there) and the products at the peak.
                Difference: the largest of the two sides' results, relative to the largest value; empty where each side draws its own noise.
                The interval of a ratio is the least and the largest of its rounds.
                Peer: libtorch %s; CPU: %s; JDK %s.
                %s""".formatted(device, rounds, torch.class.getPackage().getImplementationVersion() == null ? "of org.bytedeco:pytorch" : torch.class.getPackage().getImplementationVersion(),
                cpu(), Runtime.version(), sections).getBytes(StandardCharsets.UTF_8));
        System.out.println("wrote " + file);
    }

    private static String cpu() throws IOException {
        try (var lines = Files.lines(Path.of("/proc/cpuinfo"))) {
            return lines.filter(l -> l.startsWith("model name")).findFirst().map(l -> l.substring(l.indexOf(':') + 1).strip()).orElse("unknown");
        }
    }
}
