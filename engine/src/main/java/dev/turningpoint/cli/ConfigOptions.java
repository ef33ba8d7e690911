package dev.turningpoint.cli;

import dev.turningpoint.pipeline.PipelineFolder;
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

    @Option(names = "--preset", paramLabel = "NAME", description = "Values to start from: glyph (default), glyph-quick, sd35, sd35-ocr, sd35-geneval, sd35-pickscore, flux, flux-ocr, flux-geneval, flux-pickscore; with --model sd35 or flux.")
    String preset;

    @Option(names = "--model", paramLabel = "DIR", description = "Folder of a diffusers pipeline, SD3.5 or FLUX.1, in place of the glyph model.")
    Path model;

    @Option(names = "--set", paramLabel = "KEY=VALUE", description = "Change one value, as in --set train.iterations=10; may be repeated.")
    List<String> assignments = new ArrayList<>();

    @Option(names = "--seed", paramLabel = "N", description = "Short for --set seed=N.")
    Long seed;

    /** The configuration, with the device it names chosen for this process: before anything touches the device. */
    RunConfig read() {
        var all = new ArrayList<>(assignments);
        if (seed != null) all.add("seed=" + seed);
        if (model != null) {
            all.addFirst("model.weights='" + model.toString().replace("'", "''") + "'");
            all.addFirst("model.name=diffusers");
        }
        RunConfig config = ConfigReader.read(file, preset == null && file == null && model != null ? family() : preset, all);
        chooseDevice(config);
        return config;
    }

    private String family() {
        return switch (PipelineFolder.describe(model).family()) {
            case SD3 -> "sd35";
            case FLUX -> "flux";
        };
    }

    boolean isEmpty() { return model == null && file == null && preset == null && assignments.isEmpty() && seed == null; }

    static void chooseDevice(RunConfig config) {
        if (config.device() != RunConfig.Device.AUTO) System.setProperty("turningpoint.device", config.device().name().toLowerCase(Locale.ROOT));
        TurningPointCommand.requireSoftwareWhereAsked();
    }
}
