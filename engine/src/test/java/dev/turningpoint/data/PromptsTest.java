package dev.turningpoint.data;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.turningpoint.text.GlyphAlphabet;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class PromptsTest {
    @TempDir Path folder;

    private static Set<String> targets(List<Prompt> prompts) {
        return prompts.stream().map(Prompt::target).collect(Collectors.toSet());
    }

    @Test
    void targetIsBetweenTheFirstTwoDoubleQuotes() {
        assertEquals("GO", Prompt.parse("A sign that says \"GO\"").target());
        assertEquals("A B", Prompt.parse("\"A B\" and \"C\"").target());
        for (String bad : List.of("no quotes", "one \" quote", "nothing \"\" here", "blank \" \" here"))
            assertTrue(assertThrows(IllegalArgumentException.class, () -> Prompt.parse(bad)).getMessage().contains(bad));
    }

    @Test
    void wordsAreDeterministicDistinctAndNeverInBothSets() {
        var a = new WordPrompts(1, 3, 4);
        assertEquals(a.train(5), new WordPrompts(1, 3, 4).train(5));
        assertNotEquals(a.train(5).target(), a.train(6).target());
        assertNotEquals(a.train(5).target(), new WordPrompts(2, 3, 4).train(5).target());
        var heldOut = a.heldOut(99, 200);
        assertEquals(heldOut, new WordPrompts(7, 3, 4).heldOut(99, 200));   // whatever the run's seed
        assertEquals(200, targets(heldOut).size());
        assertEquals(targets(heldOut.subList(0, 50)), targets(a.heldOut(99, 50)));
        var seen = new HashSet<String>();
        int lengths = 0, count = 3000;
        for (int i = 0; i < count; i++) {
            Prompt p = a.train(i);
            assertEquals(p, Prompt.parse(p.text()));
            GlyphAlphabet.encode(p.target(), 5);
            lengths += p.target().length();
            seen.add(p.target());
        }
        assertEquals(3.5, (double) lengths / count, 0.05);
        assertTrue(seen.size() > 0.9 * count, seen.size() + " different words");
        for (Prompt p : a.heldOut(3, 2000)) assertFalse(seen.contains(p.target()), p.target());
    }

    @Test
    void aTenthOfAllWordsIsHeldOut() {
        int heldOut = 0, all = 0;
        for (char x : GlyphAlphabet.LETTERS.toCharArray())
            for (char y : GlyphAlphabet.LETTERS.toCharArray())
                for (char z : GlyphAlphabet.LETTERS.toCharArray()) {
                    all++;
                    if (WordPrompts.isHeldOut("" + x + y + z)) heldOut++;
                }
        assertEquals(0.1, (double) heldOut / all, 0.005);
        assertTrue(WordPrompts.isHeldOut("ABC") == WordPrompts.isHeldOut("ABC"));
    }

    private Path file(String text) throws IOException {
        return Files.writeString(folder.resolve("train.txt"), text);
    }

    @Test
    void filesAreSplitAndWalkedWholly() throws IOException {
        var text = new StringBuilder("# words for tests\n\n");
        for (int i = 0; i < 40; i++) text.append("A sign that says \"W").append(i).append("\"\n");
        var prompts = new FilePrompts(file(text.toString()), 4, t -> {});
        var held = targets(prompts.heldOut(1, 100));
        assertEquals(4, held.size());
        var round = new HashSet<String>();
        for (int i = 36; i < 72; i++) round.add(prompts.train(i).target());   // 36 prompts are one round
        assertEquals(36, round.size());
        round.retainAll(held);
        assertTrue(round.isEmpty());
        assertEquals(prompts.train(107), new FilePrompts(file(text.toString()), 4, t -> {}).train(107));
    }

    @Test
    void aBadLineIsNamed() throws IOException {
        Path path = file("A sign that says \"GO\"\n\nA sign that says GO\n");
        String message = assertThrows(PromptException.class, () -> new FilePrompts(path, 0, t -> {})).getMessage();
        assertEquals(path + ":3: the prompt <A sign that says GO> has no word in double quotes", message);
        Path zero = file("A sign that says \"G0\"\nA sign that says \"GA\"\n");
        message = assertThrows(PromptException.class, () -> new FilePrompts(zero, 0, t -> GlyphAlphabet.encode(t, 5))).getMessage();
        assertEquals(zero + ":1: 'G0' has the letter '0'; the glyph model writes only ABCDEFGHJKLMNPQRSTUVWXYZ2345679", message);
        Path one = file("A sign that says \"GO\"\n");
        assertTrue(assertThrows(PromptException.class, () -> new FilePrompts(one, 0, t -> {})).getMessage().contains("at least 2"));
        Path none = folder.resolve("none.txt");
        assertEquals(none + ": there is no such file; data.path names it", assertThrows(PromptException.class, () -> new FilePrompts(none, 0, t -> {})).getMessage());
        Path latin = folder.resolve("latin.txt");
        Files.write(latin, new byte[] {'"', (byte) 0xe9, '"'});
        assertEquals(latin + ": is not UTF-8 text", assertThrows(PromptException.class, () -> new FilePrompts(latin, 0, t -> {})).getMessage());
    }
}
