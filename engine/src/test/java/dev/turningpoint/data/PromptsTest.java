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
        assertEquals(a.train(5, 1).getFirst(), new WordPrompts(1, 3, 4).train(5, 1).getFirst());
        assertNotEquals(a.train(5, 1).getFirst().target(), a.train(6, 1).getFirst().target());
        assertNotEquals(a.train(5, 1).getFirst().target(), new WordPrompts(2, 3, 4).train(5, 1).getFirst().target());
        var heldOut = a.heldOut(99, 200);
        assertEquals(heldOut, new WordPrompts(7, 3, 4).heldOut(99, 200));   // whatever the run's seed
        assertEquals(200, targets(heldOut).size());
        assertEquals(targets(heldOut.subList(0, 50)), targets(a.heldOut(99, 50)));
        var seen = new HashSet<String>();
        int lengths = 0, count = 3000;
        for (int i = 0; i < count; i++) {
            Prompt p = a.train(i, 1).getFirst();
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
        for (int i = 36; i < 72; i++) round.add(prompts.train(i, 1).getFirst().target());   // 36 prompts are one round
        assertEquals(36, round.size());
        round.retainAll(held);
        assertTrue(round.isEmpty());
        assertEquals(prompts.train(107, 1), new FilePrompts(file(text.toString()), 4, t -> {}).train(107, 1));
    }

    @Test
    void aBadLineIsNamed() throws IOException {
        Path path = file("A sign that says \"GO\"\n\nA sign that says GO\n");
        String message = assertThrows(PromptException.class, () -> new FilePrompts(path, 0, Prompt::requireTarget)).getMessage();
        assertEquals(path + ":3: the prompt <A sign that says GO> has no word in double quotes", message);
        Path zero = file("A sign that says \"G0\"\nA sign that says \"GA\"\n");
        message = assertThrows(PromptException.class, () -> new FilePrompts(zero, 0, t -> GlyphAlphabet.encode(t.target(), 5))).getMessage();
        assertEquals(zero + ":1: 'G0' has the letter '0'; the glyph model writes only ABCDEFGHJKLMNPQRSTUVWXYZ2345679", message);
        Path one = file("A sign that says \"GO\"\n");
        assertTrue(assertThrows(PromptException.class, () -> new FilePrompts(one, 0, t -> {})).getMessage().contains("at least 2"));
        Path none = folder.resolve("none.txt");
        assertEquals(none + ": there is no such file; data.path names it", assertThrows(PromptException.class, () -> new FilePrompts(none, 0, t -> {})).getMessage());
        Path latin = folder.resolve("latin.txt");
        Files.write(latin, new byte[] {'"', (byte) 0xe9, '"'});
        assertEquals(latin + ": is not UTF-8 text", assertThrows(PromptException.class, () -> new FilePrompts(latin, 0, t -> {})).getMessage());
    }

    private static List<String> texts(List<Prompt> prompts) {
        return prompts.stream().map(Prompt::text).toList();
    }

    @Test
    void aFolderInFlowGrpoLayoutHasItsOwnHeldOutPrompts() throws IOException {
        Files.writeString(folder.resolve("train.txt"), "a cat\na dog\n\na bird\n");
        Files.writeString(folder.resolve("test.txt"), "a fish\na frog\n");
        var prompts = new FilePrompts(folder, 1, t -> {});
        assertEquals(Set.of("a cat", "a dog", "a bird"), Set.copyOf(texts(prompts.train(0, 3))));
        assertEquals(Set.of("a fish", "a frog"), Set.copyOf(texts(prompts.heldOut(5, 2))));
        assertEquals(4, prompts.heldOut(5, 4).size());
        String message = assertThrows(PromptException.class, () -> prompts.train(0, 4)).getMessage();
        assertEquals(folder.resolve("train.txt") + ": has 3 prompts to train on, and train.prompts_per_iteration is 4", message);
        Files.writeString(folder.resolve("train_metadata.jsonl"), "{}");
        message = assertThrows(PromptException.class, () -> new FilePrompts(folder, 1, t -> {})).getMessage();
        assertEquals(folder + ": has both train.txt and train_metadata.jsonl; let data.path name the file", message);
        Path empty = Files.createDirectory(folder.resolve("empty"));
        message = assertThrows(PromptException.class, () -> new FilePrompts(empty, 1, t -> {})).getMessage();
        assertEquals(empty + ": has neither train.txt nor train_metadata.jsonl", message);
    }

    @Test
    void aLineOfJsonIsThePromptsMetadata() throws IOException {
        Path train = folder.resolve("train_metadata.jsonl"), test = folder.resolve("test_metadata.jsonl");
        Files.writeString(train, """
                {"tag": "counting", "include": [{"class": "bench", "count": 3}], "exclude": [{"class": "bench", "count": 4}], "prompt": "a photo of three benches"}
                {"tag": "colors", "include": [{"class": "car", "count": 1, "color": "pink"}], "prompt": "a photo of a pink car", "note": null}
                """);
        Files.writeString(test, "{\"prompt\": \"a sign \\\"GO\\\"\"}\n");
        var prompts = new FilePrompts(folder, 1, t -> {});
        Prompt counting = prompts.train(0, 2).stream().filter(p -> p.text().equals("a photo of three benches")).findFirst().orElseThrow();
        assertEquals("counting", counting.metadata().get("tag"));
        assertEquals(List.of(java.util.Map.of("class", "bench", "count", 3)), counting.metadata().get("include"));
        assertEquals("", counting.target());
        assertEquals("GO", prompts.heldOut(1, 1).getFirst().target());
        Files.writeString(test, "{\"prompt\": \"fine\"}\n{\"text\": \"no prompt\"}\n");
        assertEquals(test + ":2: has no text 'prompt'", assertThrows(PromptException.class, () -> new FilePrompts(folder, 1, t -> {})).getMessage());
        Files.writeString(test, "[1]\n");
        String message = assertThrows(PromptException.class, () -> new FilePrompts(folder, 1, t -> {})).getMessage();
        assertTrue(message.startsWith(test + ":1: is no JSON object: ") && !message.contains("\n"), message);
        Files.writeString(test, "\n");
        assertEquals(test + ": has no prompt", assertThrows(PromptException.class, () -> new FilePrompts(folder, 1, t -> {})).getMessage());
    }

    private FilePrompts numbered(int count, long seed) throws IOException {
        Path set = Files.createDirectories(folder.resolve("numbered"));
        var text = new StringBuilder();
        for (int i = 0; i < count; i++) text.append("prompt ").append(i).append('\n');
        Files.writeString(set.resolve("train.txt"), text);
        Files.writeString(set.resolve("test.txt"), "held out\n");
        return new FilePrompts(set, seed, t -> {});
    }

    /** 23 prompts, 6 an iteration: three iterations a round. */
    @Test
    void anIterationNeverRepeatsAPromptAndARoundUsesEachAtMostOnce() throws IOException {
        var prompts = numbered(23, 7);
        var all = new HashSet<String>();
        var orders = new HashSet<List<String>>();
        for (int round = 0; round < 20; round++) {
            var seen = new HashSet<String>();
            for (int i = 0; i < 3; i++) {
                List<String> drawn = texts(prompts.train(3 * round + i, 6));
                seen.addAll(drawn);
                orders.add(drawn);
            }
            assertEquals(18, seen.size(), "round " + round);
            all.addAll(seen);
        }
        assertEquals(23, all.size(), "what a round leaves out differs from round to round");
        assertEquals(60, orders.size());
    }

    /** Each iteration asked of an object of its own, as a run that was killed there would, and in another order. */
    @Test
    void aRunResumesInTheMiddleOfADataSet() throws IOException {
        var whole = numbered(23, 7);
        var expected = new java.util.ArrayList<List<Prompt>>();
        for (int i = 0; i < 10; i++) expected.add(whole.train(i, 6));
        for (int i = 9; i >= 0; i--) assertEquals(expected.get(i), numbered(23, 7).train(i, 6), "iteration " + i);
        for (int i : new int[] {4, 9, 1, 1, 8}) assertEquals(expected.get(i), whole.train(i, 6));
        assertNotEquals(expected, java.util.stream.IntStream.range(0, 10).mapToObj(i -> { try { return numbered(23, 8).train(i, 6); } catch (IOException e) { throw new AssertionError(e); } }).toList());
    }

    @Test
    void ranksShareOneOrder() throws IOException {
        var prompts = numbered(23, 3);
        for (int iteration = 0; iteration < 6; iteration++) {
            var one = new KRepeat(6, 4, 1);
            List<Prompt> expected = one.trajectories(prompts, iteration, 0);
            assertEquals(24, expected.size());
            for (int b = 0; b < 24; b++) assertEquals(expected.get(b / 4 * 4), expected.get(b));
            assertEquals(6, Set.copyOf(expected).size());
            for (int ranks : new int[] {2, 3, 8, 24}) {
                var shared = new KRepeat(6, 4, ranks);
                var got = new java.util.ArrayList<Prompt>();
                var groups = new java.util.ArrayList<Integer>();
                for (int rank = 0; rank < ranks; rank++) {
                    assertEquals(got.size(), shared.first(rank));
                    got.addAll(shared.trajectories(numbered(23, 3), iteration, rank));
                    for (int g : shared.group(rank)) groups.add(g);
                }
                assertEquals(expected, got, ranks + " ranks");
                assertEquals(java.util.Arrays.stream(one.group(0)).boxed().toList(), groups);
            }
        }
        assertEquals("6 prompts times 4 trajectories do not divide among 5 ranks", assertThrows(IllegalArgumentException.class, () -> new KRepeat(6, 4, 5)).getMessage());
    }
}
