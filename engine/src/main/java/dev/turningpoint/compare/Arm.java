package dev.turningpoint.compare;

import dev.turningpoint.train.ConfigException;
import dev.turningpoint.train.RunConfig;
import java.util.ArrayList;
import java.util.List;

/**
 * One of the things compared.
 *
 * @param name        letters, digits, {@code -}, {@code +} and {@code .}: a folder's name too
 * @param assignments what it changes of the common configuration, as of {@code --set}
 */
public record Arm(String name, List<String> assignments) {
    /** What the paper compares, and what it never ran: incremental rewards alone. */
    public static final List<String> DEFAULTS = List.of("outcome", "incremental", "turning-point", "turning-point+balancing", "consistent-turning-point", "consistent-turning-point+balancing");

    public Arm {
        if (!name.matches("[A-Za-z0-9][-+.A-Za-z0-9]*")) throw new ConfigException("--arm", "'" + name + "' is no name: letters, digits, '-', '+' and '.'");
        assignments = List.copyOf(assignments);
    }

    /**
     * {@code outcome}: a credit mode; {@code turning-point+balancing}: with balancing by reward; {@code name:key=value,key=value}: any configuration. A comma within brackets
     * belongs to the value.
     *
     * @throws ConfigException if it is none of these
     */
    public static Arm parse(String text) {
        int colon = text.indexOf(':');
        if (colon >= 0) return new Arm(text.substring(0, colon), split(text.substring(colon + 1)));
        boolean balancing = text.endsWith("+balancing");
        return new Arm(text, List.of("credit.mode=" + (balancing ? text.substring(0, text.length() - "+balancing".length()) : text), "credit.balancing=" + (balancing ? "reward" : "none")));
    }

    private static List<String> split(String assignments) {
        var all = new ArrayList<String>();
        int depth = 0, start = 0;
        for (int i = 0; i <= assignments.length(); i++) {
            char c = i == assignments.length() ? ',' : assignments.charAt(i);
            if (c == '[') depth++;
            if (c == ']') depth--;
            if (c == ',' && (depth == 0 || i == assignments.length())) {
                if (i > start) all.add(assignments.substring(start, i).strip());
                start = i + 1;
            }
        }
        return all;
    }

    /** The configuration of a run of this arm. */
    public RunConfig configure(RunConfig common, long seed) {
        var all = new ArrayList<>(assignments);
        all.add("seed=" + seed);
        return common.with(all.toArray(String[]::new));
    }
}
