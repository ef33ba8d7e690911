package dev.turningpoint.report;

import dev.turningpoint.weights.AtomicFile;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.LocalDateTime;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;

/**
 * The folder of one run and where things lie in it.
 *
 * @param path of the folder
 */
public record RunFolder(Path path) {
    /** Where runs go that name no folder. */
    public static final Path RUNS = Path.of("runs");

    private static final DateTimeFormatter TIME = DateTimeFormatter.ofPattern("yyyy-MM-dd_HH-mm-ss");

    /**
     * The folder of a new run, not made yet.
     *
     * @param path null takes {@code runs/<time>}
     * @throws RunFolderException if the folder holds a run already
     */
    public static RunFolder of(Path path) {
        var folder = new RunFolder(path != null ? path : fresh());
        if (Files.exists(folder.config()))
            throw new RunFolderException(folder.path + ": holds a run already; --resume " + folder.path + " goes on with it, another --out starts a new one");
        if (Files.exists(folder.path) && !Files.isDirectory(folder.path)) throw new RunFolderException(folder.path + ": is a file, and a folder is needed there");
        return folder;
    }

    /** Makes the folder and those in it, where they do not exist, and removes what a killed process left half-written there. */
    public RunFolder create() {
        try {
            for (Path sub : List.of(pictures(), tensorboard(), checkpoints(), result())) {
                Files.createDirectories(sub);
                removeHalfWritten(sub);
            }
            removeHalfWritten(path);
        } catch (IOException e) {
            throw AtomicFile.failure(path, e);
        }
        return this;
    }

    private static void removeHalfWritten(Path folder) throws IOException {
        try (DirectoryStream<Path> files = Files.newDirectoryStream(folder, ".*.tmp")) {
            for (Path file : files) Files.deleteIfExists(file);
        }
    }

    private static Path fresh() {
        String time = LocalDateTime.now().format(TIME);
        Path path = RUNS.resolve(time);
        for (int i = 2; Files.exists(path); i++) path = RUNS.resolve(time + "-" + i);
        return path;
    }

    /**
     * The folder of a run to go on with.
     *
     * @throws RunFolderException if it holds none
     */
    public static RunFolder open(Path path) {
        var folder = new RunFolder(path);
        if (!Files.isRegularFile(folder.config())) throw new RunFolderException(path + ": holds no run to go on with (no " + folder.config().getFileName() + " in it)");
        return folder;
    }

    /** The newest run below {@code runs}, by the time in its name. */
    public static Optional<RunFolder> newest() {
        if (!Files.isDirectory(RUNS)) return Optional.empty();
        List<Path> found = new ArrayList<>();
        try (DirectoryStream<Path> entries = Files.newDirectoryStream(RUNS)) {
            for (Path p : entries) if (Files.isRegularFile(new RunFolder(p).config())) found.add(p);
        } catch (IOException e) {
            throw new RunFolderException(RUNS + ": cannot be read: " + e.getMessage());
        }
        return found.stream().max(Comparator.naturalOrder()).map(RunFolder::new);
    }

    public Path config() {
        return path.resolve("config.yaml");
    }

    public Path metrics() {
        return path.resolve("metrics.jsonl");
    }

    public Path tensorboard() {
        return path.resolve("tensorboard");
    }

    public Path pictures() {
        return path.resolve("pictures");
    }

    public Path checkpoints() {
        return path.resolve("checkpoints");
    }

    /** Where the trained weights or the adapter go. */
    public Path result() {
        return path.resolve("result");
    }

    /** Writes the configuration the run was started with. */
    public void writeConfig(String yaml) {
        AtomicFile.write(config(), yaml.getBytes(StandardCharsets.UTF_8));
    }
}
