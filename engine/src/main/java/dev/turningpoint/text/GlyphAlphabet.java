package dev.turningpoint.text;

/**
 * The 31 letters and digits of the glyph model, none of which looks like another: I, O, 0, 1 and 8 are left out. Token k + 1 is letter k; token 0 is padding,
 * and a word of padding alone is the empty condition of classifier-free guidance.
 */
public final class GlyphAlphabet {
    public static final String LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ2345679";

    /** Token kinds, padding included. */
    public static final int VOCABULARY = LETTERS.length() + 1;

    private GlyphAlphabet() {}

    /**
     * The tokens of a word, one a letter, then zeros.
     *
     * @param word   letters of the alphabet; small ones count as capitals
     * @param tokens length of the result, the model's
     * @throws IllegalArgumentException if the word is too long or has a letter the model does not know; the message names it
     */
    public static int[] encode(String word, int tokens) {
        int letters = word.codePointCount(0, word.length());
        if (letters > tokens) throw new IllegalArgumentException("'" + word + "' has " + letters + " letters; the model takes at most " + tokens);
        int[] result = new int[tokens];
        int at = 0;
        for (int c : word.codePoints().toArray()) {
            int letter = LETTERS.indexOf(Character.toUpperCase(c));
            if (letter < 0)
                throw new IllegalArgumentException("'" + word + "' has the letter '" + Character.toString(c) + "'; the glyph model writes only " + LETTERS);
            result[at++] = letter + 1;
        }
        return result;
    }

    /** The word of these tokens; padding gives no letter. */
    public static String decode(int... tokens) {
        var word = new StringBuilder();
        for (int t : tokens) if (t != 0) word.append(LETTERS.charAt(t - 1));
        return word.toString();
    }
}
