package dev.turningpoint.reward;

import dev.turningpoint.data.Prompt;
import java.util.Arrays;
import java.util.Locale;

/** How much of a target word was read: the reward formula of Flow-GRPO's OCR scorer. */
public final class TextMatch {
    private TextMatch() {}

    /** The reward of what was read in an image of a prompt; NaN if the prompt asks for no word. */
    static float reward(Prompt prompt, String read) {
        return prompt.target().isBlank() ? Float.NaN : reward(prompt.target(), read);
    }

    /**
     * {@code 1 - distance / length}: spaces dropped and both lower-cased, distance 0 if the target is part of what was read, else the Levenshtein distance, at
     * most the target's length.
     *
     * @throws IllegalArgumentException if the target has no letter
     */
    public static float reward(String target, String read) {
        int[] t = letters(target), r = letters(read);
        if (t.length == 0) throw new IllegalArgumentException("the target '" + target + "' has no letter to read");
        int distance = contains(r, t) ? 0 : Math.min(levenshtein(r, t), t.length);
        return (float) (1 - (double) distance / t.length);
    }

    private static int[] letters(String text) {
        return text.replace(" ", "").toLowerCase(Locale.ROOT).codePoints().toArray();
    }

    private static boolean contains(int[] text, int[] part) {
        for (int i = 0; i + part.length <= text.length; i++)
            if (Arrays.equals(text, i, i + part.length, part, 0, part.length)) return true;
        return false;
    }

    /** Fewest insertions, deletions and replacements of a letter that make {@code a} of {@code b}. */
    static int levenshtein(int[] a, int[] b) {
        int[] row = new int[b.length + 1];
        for (int j = 0; j <= b.length; j++) row[j] = j;
        for (int i = 1; i <= a.length; i++) {
            int diagonal = row[0];
            row[0] = i;
            for (int j = 1; j <= b.length; j++) {
                int above = row[j];
                row[j] = Math.min(Math.min(above, row[j - 1]) + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1));
                diagonal = above;
            }
        }
        return row[b.length];
    }
}
