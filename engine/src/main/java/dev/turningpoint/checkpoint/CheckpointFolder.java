package dev.turningpoint.checkpoint;

import dev.turningpoint.gpu.HostMemory;
import dev.turningpoint.gpu.Stream;
import dev.turningpoint.tensor.ParameterFile;
import dev.turningpoint.tensor.ParameterLayout;
import dev.turningpoint.tensor.Parameters;
import dev.turningpoint.tensor.Tensor;
import dev.turningpoint.weights.SafetensorsFile;
import dev.turningpoint.weights.SafetensorsWriter;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The checkpoints of a run: {@code checkpoint-<iteration>.safetensors}. A file is either whole or absent, whenever the process dies: it is written under another
 * name, forced to disk and renamed. It holds the trained parameters, the optimizer's moments, the running average, and counters as metadata; noise and
 * prompts are functions of counters, so nothing else is needed to go on to the same bits.
 */
public final class CheckpointFolder {
    private static final Pattern NAME = Pattern.compile("checkpoint-(\\d+)\\.safetensors");

    private final Path folder;
    private final int keep;
    private final boolean withReference;

    /**
     * @param keep          newest files that stay
     * @param withReference whether the reference of the KL is part of the state: where it is not the weights that training started from
     */
    public CheckpointFolder(Path folder, int keep, boolean withReference) {
        this.folder = folder;
        this.keep = keep;
        this.withReference = withReference;
    }

    /** Writes the state of {@code parameters} after {@code iteration} iterations, then removes the oldest files. */
    public Path write(int iteration, Parameters parameters, Map<String, String> metadata, Stream stream) {
        Path file = folder.resolve("checkpoint-%06d.safetensors".formatted(iteration));
        List<HostMemory> open = new ArrayList<>();
        try {
            Files.createDirectories(folder);
            var writer = new SafetensorsWriter();
            metadata.forEach(writer::metadata);
            state(parameters).forEach((prefix, tensor) -> {
                HostMemory host = Parameters.download(tensor, stream);
                open.add(host);
                ParameterFile.add(writer, prefix, parameters.layout(), host.segment());
            });
            writer.write(file);
            List<Path> files = files();
            for (Path old : files.subList(0, Math.max(0, files.size() - keep))) {
                Files.deleteIfExists(old);
            }
        } catch (IOException e) {
            throw new UncheckedIOException("checkpoint " + file + " cannot be written: " + e.getMessage(), e);
        } finally {
            open.forEach(HostMemory::close);
        }
        return file;
    }

    /** The newest checkpoint, or null. */
    public Path newest() {
        List<Path> files = files();
        return files.isEmpty() ? null : files.getLast();
    }

    /** Metadata of a checkpoint. */
    public static Map<String, String> metadata(Path file) {
        try (SafetensorsFile tensors = SafetensorsFile.open(file)) {
            return tensors.metadata();
        }
    }

    /** Reads a checkpoint back; the caller queues what must follow a change of parameters. */
    public void read(Path file, Parameters parameters, Stream stream) {
        ParameterLayout layout = parameters.layout();
        state(parameters).forEach((prefix, tensor) -> ParameterFile.load(file, prefix, layout, tensor, stream));
    }

    private Map<String, Tensor> state(Parameters parameters) {
        var state = new LinkedHashMap<String, Tensor>();
        state.put("values.", parameters.values());
        state.put("first_moment.", parameters.firstMoment());
        state.put("second_moment.", parameters.secondMoment());
        if (parameters.hasAverage()) {
            state.put("average.", parameters.average());
        }
        if (withReference) {
            state.put("reference.", parameters.reference());
        }
        return state;
    }

    /** All checkpoints, oldest first. */
    private List<Path> files() {
        if (!Files.isDirectory(folder)) {
            return List.of();
        }
        try (java.util.stream.Stream<Path> all = Files.list(folder)) {
            return all.filter(p -> number(p) >= 0).sorted(java.util.Comparator.comparingLong(CheckpointFolder::number)).toList();
        } catch (IOException e) {
            throw new UncheckedIOException("checkpoints in " + folder + " cannot be listed: " + e.getMessage(), e);
        }
    }

    private static long number(Path file) {
        Matcher m = NAME.matcher(file.getFileName().toString());
        return m.matches() ? Long.parseLong(m.group(1)) : -1;
    }
}
