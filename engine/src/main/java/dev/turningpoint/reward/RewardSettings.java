package dev.turningpoint.reward;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.function.Consumer;

/**
 * The options of one reward as its configuration writes them, read and checked by its factory. Every message begins with the option's full key. Not thread safe.
 */
public final class RewardSettings {
    private final String key;
    private final Map<String, String> options;
    private final Consumer<String> notice;
    private final TreeSet<String> known = new TreeSet<>();

    /**
     * @param key     where the options stand in the configuration: {@code reward.terms.pick.options}
     * @param options by name
     * @param notice  shows a line to the person who trains while the run waits
     */
    public RewardSettings(String key, Map<String, String> options, Consumer<String> notice) {
        this.key = key;
        this.options = Map.copyOf(options);
        this.notice = notice;
    }

    /** Shows a line to the person who trains; any thread may call it. */
    public Consumer<String> notice() {
        return notice;
    }

    public boolean has(String option) {
        known.add(option);
        return options.containsKey(option);
    }

    /** Text that must be there. @param what it is, for the message: "the URL of the server" */
    public String text(String option, String what) {
        if (!has(option) || options.get(option).isBlank()) throw wrong(option, "is missing: " + what);
        return options.get(option);
    }

    /** Text of a few choices. */
    public String choice(String option, String fallback, List<String> choices) {
        String value = has(option) ? options.get(option) : fallback;
        if (!choices.contains(value)) throw wrong(option, "must be one of " + String.join(", ", choices) + ", is '" + value + "'");
        return value;
    }

    /** A file that must be there. @param what it is, for the message */
    public Path file(String option, String what) {
        Path path = Path.of(text(option, what));
        if (!Files.isRegularFile(path))
            throw wrong(option, "names " + path + (Files.isDirectory(path) ? ", which is a folder" : ", and there is no such file") + "; expected " + what);
        return path;
    }

    public double number(String option, double fallback, double low, double high) {
        if (!has(option)) return fallback;
        String text = options.get(option);
        double value;
        try {
            value = Double.parseDouble(text.strip());
        } catch (NumberFormatException e) {
            throw wrong(option, "must be a number, is '" + text + "'");
        }
        if (!(value >= low && value <= high)) throw wrong(option, "must be " + low + " to " + high + ", is " + text);
        return value;
    }

    public int whole(String option, int fallback, int low, int high) {
        double value = number(option, fallback, low, high);
        if (value != Math.rint(value)) throw wrong(option, "must be a whole number, is '" + options.get(option) + "'");
        return (int) value;
    }

    public boolean flag(String option, boolean fallback) {
        return choice(option, Boolean.toString(fallback), List.of("true", "false")).equals("true");
    }

    /** A complaint about an option. */
    public RewardException wrong(String option, String complaint) {
        return new RewardException.Option(key + "." + option, complaint);
    }

    /** Makes a reward of a kind, and refuses options that its factory never asked for. */
    public Reward create(String kind) {
        RewardFactory factory = RewardFactory.of(kind);
        Reward reward = factory.create(this);
        for (String option : new TreeSet<>(options.keySet())) {
            if (known.contains(option)) continue;
            reward.close();
            throw wrong(option, "is no option of kind " + kind + (known.isEmpty() ? ", which has none" : "; it has: " + String.join(", ", known)));
        }
        return reward;
    }
}
