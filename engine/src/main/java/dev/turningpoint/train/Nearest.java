package dev.turningpoint.train;

import java.util.Collection;
import java.util.Comparator;

/** What somebody who mistyped a name most likely meant. */
final class Nearest {
    private Nearest() {}

    /** "did you mean 'x'?" where a name is near, else {@code otherwise} and all names. */
    static String hint(String typed, Collection<String> names, String otherwise) {
        var best = names.stream().min(Comparator.comparingInt(n -> distance(typed, n)));
        if (best.isPresent() && distance(typed, best.get()) <= Math.max(2, typed.length() / 3)) return "did you mean '" + best.get() + "'?";
        return otherwise + String.join(", ", names);
    }

    /** Levenshtein distance. */
    static int distance(String a, String b) {
        int[] previous = new int[b.length() + 1];
        for (int j = 0; j <= b.length(); j++) previous[j] = j;
        for (int i = 1; i <= a.length(); i++) {
            int[] row = new int[b.length() + 1];
            row[0] = i;
            for (int j = 1; j <= b.length(); j++)
                row[j] = Math.min(Math.min(row[j - 1], previous[j]) + 1, previous[j - 1] + (a.charAt(i - 1) == b.charAt(j - 1) ? 0 : 1));
            previous = row;
        }
        return previous[b.length()];
    }
}
