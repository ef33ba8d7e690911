package dev.turningpoint.train;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.List;

/** Named configurations, YAML files beside this class. {@code glyph} names every key; the others name a preset to start from and what they change. */
public final class Presets {
    private static final List<String> NAMES = List.of("glyph", "glyph-quick", "sd35", "sd35-ocr", "sd35-geneval", "sd35-pickscore", "flux", "flux-ocr", "flux-geneval", "flux-pickscore");

    private Presets() {}

    public static List<String> names() { return NAMES; }

    /** @throws ConfigException if there is no preset of that name; the message gives the nearest */
    public static RunConfig get(String name) {
        if (!NAMES.contains(name)) throw new ConfigException("preset", "'" + name + "' is not a preset; " + Nearest.hint(name, NAMES, "there are: "));
        return ConfigReader.preset(name, text(name));
    }

    /** The commented text of a preset, a starting point for a configuration file. */
    public static String text(String name) {
        try (var in = Presets.class.getResourceAsStream(name + ".yaml")) {
            return new String(in.readAllBytes(), StandardCharsets.UTF_8);
        } catch (IOException e) {
            throw new IllegalStateException("preset " + name + " cannot be read from the class path", e);
        }
    }
}
