package dev.turningpoint.bench;

import dev.turningpoint.gpu.Device;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import org.bytedeco.pytorch.global.torch;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/**
 * Every kernel on the software GPU against PyTorch eager on as many threads, same inputs, same process, rounds interleaved, and against the bandwidth of a triad
 * measured in the same run. Outputs are compared before anything is timed. Exits with 1 if a goal is missed.
 */
@Command(name = "PeerComparison", mixinStandardHelpOptions = true, description = "Compares our kernels on the software GPU with PyTorch eager.")
public final class PeerComparison implements Callable<Integer> {

    @Option(names = "--threads", split = ",", defaultValue = "1,2", description = "Threads of both sides, a run for each (default: ${DEFAULT-VALUE}).")
    private List<Integer> threads;

    @Option(names = "--rounds", defaultValue = "7", description = "Interleaved rounds of which the median counts (default: ${DEFAULT-VALUE}).")
    private int rounds;

    @Option(names = "--results", defaultValue = "bench/results", description = "Folder of the report, which is written where all cases are run (default: ${DEFAULT-VALUE}).")
    private Path results;

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
        LoraPeers.addTo(cases);
        OptimPeers.addTo(cases);
        return cases;
    }

    @Override
    public Integer call() throws Exception {
        var sections = new StringBuilder();
        boolean met = true;
        for (int t : threads) {
            var section = Files.createTempFile("comparison", ".md");
            try {
                int exit = run(t, section);
                if (exit > 1) throw new IllegalStateException("the comparison with " + t + " threads ended with " + exit);
                met &= exit == 0;
                sections.append(Files.readString(section));
            } finally {
                Files.delete(section);
            }
        }
        if (words.isEmpty()) write(sections);
        return met ? 0 : 1;
    }

    private int run(int t, Path section) throws IOException, InterruptedException {
        var command = new ArrayList<>(List.of(ProcessHandle.current().info().command().orElse("java"), "-cp", System.getProperty("java.class.path"), "--enable-native-access=ALL-UNNAMED", "-Xmx2g",
                "-Dorg.lwjgl.system.memoryBackend=ffm", "-Dorg.bytedeco.javacpp.maxBytes=0", "-Dorg.bytedeco.javacpp.maxPhysicalBytes=0", "-Dturningpoint.device=software",
                "-Dturningpoint.software.threads=" + t, Comparison.class.getName(), String.valueOf(t), String.valueOf(rounds), section.toString()));
        command.addAll(words);
        var process = new ProcessBuilder(command).inheritIO();
        process.environment().put("OPENBLAS_NUM_THREADS", String.valueOf(t));
        process.environment().put("OMP_NUM_THREADS", String.valueOf(t));
        var running = process.start();
        Runtime.getRuntime().addShutdownHook(new Thread(running::destroy));
        return running.waitFor();
    }

    private void write(StringBuilder sections) throws IOException {
        System.setProperty("turningpoint.device", "software");
        String device;
        try (var d = Device.open()) {
            device = d.name();
        }
        Files.createDirectories(results);
        var file = results.resolve(device.replaceAll("[^A-Za-z0-9]+", "-").replaceAll("^-|-$", "").toLowerCase(Locale.ROOT) + ".md");
        Files.writeString(file, """
                # %s against PyTorch eager

                Written by `dev.turningpoint.bench.PeerComparison` (see `bench/README.md`): same inputs, same process, the median of %d interleaved rounds of about 100 ms on each
                side. MB are the least that must move (each input read once, each output written once); GB/s is that over our time, and its share of the triad is shown for
                cases whose arrays are beyond the caches. Difference: the largest of the two sides' results, relative to the largest value; empty where each side draws its own noise.
                Peer: libtorch %s; CPU: %s; JDK %s.
                %s""".formatted(device, rounds, torch.class.getPackage().getImplementationVersion() == null ? "of org.bytedeco:pytorch" : torch.class.getPackage().getImplementationVersion(),
                cpu(), Runtime.version(), sections));
        System.out.println("wrote " + file);
    }

    private static String cpu() throws IOException {
        try (var lines = Files.lines(Path.of("/proc/cpuinfo"))) {
            return lines.filter(l -> l.startsWith("model name")).findFirst().map(l -> l.substring(l.indexOf(':') + 1).strip()).orElse("unknown");
        }
    }
}
