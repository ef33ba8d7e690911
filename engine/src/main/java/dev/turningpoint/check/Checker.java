package dev.turningpoint.check;

import dev.turningpoint.weights.WeightsException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;

/** Replays every file of a folder that it knows, and says of every other that it does not. */
public final class Checker {
    private static final List<String> NETWORKS = List.of("sd3_tiny", "flux_tiny");
    private static final String ADAPTERS = "peft_lora";

    private Checker() {}

    /**
     * @param folder of safetensors files
     * @throws IOException if the folder cannot be listed; a file that cannot be replayed is a failure in the results instead
     */
    public static Results run(Path folder) throws IOException {
        List<Path> files, networks, folders;
        try (Stream<Path> entries = Files.list(folder)) {
            List<Path> all = entries.sorted().toList();
            files = all.stream().filter(f -> f.toString().endsWith(".safetensors")).toList();
            networks = all.stream().filter(f -> NETWORKS.contains(f.getFileName().toString())).toList();
            folders = all.stream().filter(f -> f.getFileName().toString().equals(ADAPTERS)).toList();
        }
        var results = new Results();
        if (!files.isEmpty() || !networks.isEmpty()) {
            try (var gpu = new Gpu()) {
                for (Path file : files) {
                    try {
                        try (var golden = new Golden(file)) {
                            check(gpu, golden, results);
                        }
                    } catch (WeightsException | IllegalArgumentException e) {
                        results.defect(e.getMessage().startsWith(file.toString()) ? e.getMessage() : file + ": " + e.getMessage());
                    }
                    gpu.free();
                }
                for (Path network : networks) {
                    try {
                        new NetworkCheck(gpu, network, results).run();
                    } catch (WeightsException | IllegalArgumentException | IOException e) {
                        results.defect(network + ": " + e.getMessage());
                    }
                    gpu.free();
                }
            }
        }
        for (Path f : folders) {
            try {
                LoraCheck.run(f, results);
            } catch (WeightsException | IOException e) {
                results.defect(f + ": " + e.getMessage());
            }
        }
        return results;
    }

    private static void check(Gpu gpu, Golden golden, Results results) {
        String name = golden.name, family = name.replaceAll("_.*", "");
        switch (family) {
            case "schedules" -> StepCheck.schedules(golden, results);
            case "sde" -> StepCheck.steps(gpu, golden, results);
            case "trajectory" -> new TrajectoryCheck(gpu, golden, results).run();
            case "credit" -> new CreditCheck(gpu, golden, results).run();
            case "grpo" -> LossCheck.run(gpu, golden, results);
            case "optimizer" -> OptimizerCheck.adamW(gpu, golden, results);
            case "ema" -> OptimizerCheck.ema(gpu, golden, results);
            default -> {
                results.notServed(name, "everything");
                return;
            }
        }
        if (!golden.untouched().isEmpty()) {
            String left = String.join(", ", golden.untouched().stream().map(t -> t.replaceAll("[0-9]+", "#")).distinct().limit(5).toList());
            results.notCompared(name, left);
        }
    }
}
