package dev.turningpoint.compare;

import dev.turningpoint.weights.AtomicFile;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** Seconds of each iteration of a run, in a file of its own: metrics are equal when a run is repeated, time is not. */
public final class Timing {
    private static final String FILE = "seconds.txt";

    private final Path file;
    private final List<Double> seconds = new ArrayList<>();

    /** Reads what the folder has; none is no error. */
    public Timing(Path folder) {
        file = folder.resolve(FILE);
        try {
            if (Files.exists(file)) for (String line : Files.readAllLines(file)) seconds.add(Double.parseDouble(line));
        } catch (IOException e) {
            throw AtomicFile.failure(file, e);
        } catch (NumberFormatException e) {
            throw new UncheckedIOException(new IOException(file + ":" + (seconds.size() + 1) + ": not a number of seconds"));
        }
    }

    /** Iteration {@code iteration}, counted from 1, took so long; what was known of it and later ones is forgotten. */
    public void took(int iteration, double s) {
        while (seconds.size() >= iteration) seconds.removeLast();
        while (seconds.size() < iteration - 1) seconds.add(Double.NaN);
        seconds.add(s);
        var text = new StringBuilder();
        for (double v : seconds) text.append(v).append('\n');
        AtomicFile.write(file, text.toString().getBytes(StandardCharsets.UTF_8));
    }

    /** Seconds of the first {@code iterations}; NaN if one was not measured. */
    double upTo(int iterations) {
        if (iterations > seconds.size()) return Double.NaN;
        return seconds.subList(0, iterations).stream().mapToDouble(s -> s).sum();
    }
}
