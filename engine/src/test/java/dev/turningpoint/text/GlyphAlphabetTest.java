package dev.turningpoint.text;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import org.junit.jupiter.api.Test;

class GlyphAlphabetTest {
    @Test
    void oneTokenALetterThenPadding() {
        assertEquals(32, GlyphAlphabet.VOCABULARY);
        assertArrayEquals(new int[] {3, 1, 18, 0, 0}, GlyphAlphabet.encode("CAT", 5));
        assertArrayEquals(new int[] {3, 1, 18, 31, 24}, GlyphAlphabet.encode("cat9z", 5));
        assertArrayEquals(new int[5], GlyphAlphabet.encode("", 5));
        for (int i = 0; i < GlyphAlphabet.LETTERS.length(); i++) {
            String letter = GlyphAlphabet.LETTERS.substring(i, i + 1);
            assertEquals(i + 1, GlyphAlphabet.encode(letter, 1)[0]);
            assertEquals(letter, GlyphAlphabet.decode(i + 1, 0, 0));
        }
    }

    @Test
    void letterAndLengthAreChecked() {
        for (String look : "I O 0 1 8 É".split(" ")) assertThrows(IllegalArgumentException.class, () -> GlyphAlphabet.encode("A" + look, 5));
        assertEquals("'ABCDEF' has 6 letters; the model takes at most 5", assertThrows(IllegalArgumentException.class, () -> GlyphAlphabet.encode("ABCDEF", 5)).getMessage());
    }
}
