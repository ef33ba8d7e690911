package dev.turningpoint.cli;

import dev.turningpoint.weights.Checkpoint;
import dev.turningpoint.weights.Recognised;
import dev.turningpoint.weights.TensorInfo;
import dev.turningpoint.weights.TensorType;
import dev.turningpoint.weights.WeightsException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.EnumMap;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

@Command(name = "inspect", description = "Says what a weights file or folder holds; reads headers only.")
final class InspectCommand implements Callable<Integer> {
    @Spec private CommandSpec spec;

    @Parameters(index = "0", paramLabel = "INPUT", description = "A safetensors file, an index of shards, or a folder with either.")
    private Path input;

    @Option(names = "--tensors", description = "List every tensor.")
    private boolean tensors;

    @Override
    public Integer call() {
        PrintWriter out = spec.commandLine().getOut();
        try (Checkpoint checkpoint = Checkpoint.open(input)) {
            out.println(input + ": " + checkpoint.names().size() + (checkpoint.names().size() == 1 ? " tensor, " : " tensors, ") + size(checkpoint.bytes()) + ", "
                    + checkpoint.shards() + (checkpoint.shards() == 1 ? " file" : " files"));
            try {
                Recognised found = Recognised.of(checkpoint);
                out.println("model:    " + found.architecture().name() + ", " + found.layout().name().toLowerCase(Locale.ROOT) + " layout"
                        + (found.prefix().isEmpty() ? "" : ", below " + found.prefix()) + (found.others().isEmpty() ? "" : ", beside " + String.join(" ", found.others())));
                out.println("weights:  " + String.format(Locale.ROOT, "%,d", found.architecture().parameters()));
                out.println("config:   " + found.architecture().config().entrySet().stream().map(e -> e.getKey() + " " + e.getValue()).collect(Collectors.joining(", ")));
            } catch (WeightsException e) {
                out.println("model:    " + e.getMessage().substring(input.toString().length() + 2));
            }
            Map<TensorType, long[]> types = new EnumMap<>(TensorType.class);
            for (String name : checkpoint.names()) types.computeIfAbsent(checkpoint.info(name).type(), t -> new long[1])[0] += checkpoint.info(name).elements();
            out.println("elements: " + types.entrySet().stream().map(e -> String.format(Locale.ROOT, "%,d %s", e.getValue()[0], e.getKey())).collect(Collectors.joining(", ")));
            checkpoint.metadata().forEach((key, value) -> out.println("metadata: " + key + " = " + (value.length() > 100 ? value.substring(0, 97).replaceAll("\\s+", " ") + "..." : value)));
            if (tensors)
                for (String name : checkpoint.names()) {
                    TensorInfo t = checkpoint.info(name);
                    out.println("  " + t.type() + " " + t.shape() + " " + name);
                }
        }
        out.flush();
        return 0;
    }

    /** Bytes for people: 5.11 GB. */
    static String size(long bytes) {
        return bytes >= 1_000_000_000 ? String.format(Locale.ROOT, "%.2f GB", bytes / 1e9) : bytes >= 1_000_000 ? String.format(Locale.ROOT, "%.1f MB", bytes / 1e6)
                : String.format(Locale.ROOT, "%,d bytes", bytes);
    }
}
