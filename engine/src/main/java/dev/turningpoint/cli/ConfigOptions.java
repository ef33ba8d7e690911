package dev.turningpoint.cli;

import dev.turningpoint.train.ConfigReader;
import dev.turningpoint.train.RunConfig;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import picocli.CommandLine.Option;

/** The options that make a configuration, for the commands that need one. */
final class ConfigOptions {
    @Option(names = "--config", paramLabel = "FILE", description = "YAML configuration; it names only what it changes.")
    Path file;

    @Option(names = "--preset", paramLabel = "NAME", description = "Values to start from: glyph (default), glyph-quick.")
    String preset;

    @Option(names = "--set", paramLabel = "KEY=VALUE", description = "Change one value, as in --set train.iterations=10; may be repeated.")
    List<String> assignments = new ArrayList<>();

    @Option(names = "--seed", paramLabel = "N", description = "Short for --set seed=N.")
    Long seed;

    /** The configuration, with the device it names chosen for this process: before anything touches the device. */
    RunConfig read() {
        var all = new ArrayList<>(assignments);
        if (seed != null) all.add("seed=" + seed);
        RunConfig config = ConfigReader.read(file, preset, all);
        chooseDevice(config);
        return config;
    }

    boolean isEmpty() { return file == null && preset == null && assignments.isEmpty() && seed == null; }

    static void chooseDevice(RunConfig config) {
        if (config.device() != RunConfig.Device.AUTO) System.setProperty("turningpoint.device", config.device().name().toLowerCase(Locale.ROOT));
        TurningPointCommand.requireSoftwareWhereAsked();
    }
}
