package dev.turningpoint.data;

import dev.turningpoint.text.GlyphAlphabet;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.SplittableRandom;

/**
 * Random words of the glyph alphabet, in the sentences one would write them in. One word in ten is held out, by a hash of the word itself: the split is
 * the same for every seed, so a model pre-trained under one seed has not seen what another evaluates on.
 */
public final class WordPrompts implements Prompts {
    private static final List<String> SENTENCES = List.of("A sign that says \"%s\"", "A shop window with the words \"%s\"", "A license plate reading \"%s\"",
            "A whiteboard on which somebody wrote \"%s\"", "A coffee mug printed with \"%s\"", "A poster with the title \"%s\"");
    private static final int HELD_OUT_ONE_IN = 10;
    private static final long TRAIN = 0x7261696eL, HELD_OUT = 0x68656c64L;

    private final long seed;
    private final int shortest;
    private final int longest;

    /**
     * @param shortest letters of the shortest word
     * @param longest  letters of the longest; all lengths are equally likely
     */
    public WordPrompts(long seed, int shortest, int longest) {
        if (shortest < 1 || longest < shortest) throw new IllegalArgumentException("words of " + shortest + " to " + longest + " letters");
        this.seed = seed;
        this.shortest = shortest;
        this.longest = longest;
    }

    /** Whether a word is held out: never trained on. */
    public static boolean isHeldOut(String word) {
        return Long.remainderUnsigned(hash(word), HELD_OUT_ONE_IN) == 0;
    }

    @Override
    public List<Prompt> train(long iteration, int count) {
        var prompts = new ArrayList<Prompt>(count);
        for (int i = 0; i < count; i++) prompts.add(train(iteration * count + i));
        return prompts;
    }

    private Prompt train(long number) {
        var random = new SplittableRandom(mix(mix(seed ^ TRAIN) + number));
        return sentence(trainWord(random), random);
    }

    @Override
    public List<Prompt> heldOut(long seed, int count) {
        var random = new SplittableRandom(mix(seed ^ HELD_OUT));
        Set<String> words = new LinkedHashSet<>();
        for (long tries = 0; words.size() < count; tries++) {
            String word = word(random);
            if (isHeldOut(word)) words.add(word);
            if (tries > 100_000 + 2000L * count)
                throw new PromptException("fewer than " + count + " words of " + shortest + " to " + longest + " letters are held out; lower evaluation.prompts");
        }
        var prompts = new ArrayList<Prompt>();
        for (String word : words) prompts.add(sentence(word, random));
        return prompts;
    }

    /** A word to train on, pre-training included: any that is not held out. */
    public String trainWord(SplittableRandom random) {
        for (int tries = 0; tries < 1_000_000; tries++) {
            String word = word(random);
            if (!isHeldOut(word)) return word;
        }
        throw new PromptException("all words of " + shortest + " to " + longest + " letters are held out");
    }

    private static Prompt sentence(String word, SplittableRandom random) {
        return new Prompt(SENTENCES.get(random.nextInt(SENTENCES.size())).formatted(word), word);
    }

    private String word(SplittableRandom random) {
        var word = new StringBuilder();
        for (int n = shortest + random.nextInt(longest - shortest + 1); n > 0; n--)
            word.append(GlyphAlphabet.LETTERS.charAt(random.nextInt(GlyphAlphabet.LETTERS.length())));
        return word.toString();
    }

    /** A hash that every version of Java computes alike. */
    static long hash(String word) {
        long h = 0x9e3779b97f4a7c15L;
        for (int i = 0; i < word.length(); i++) h = mix(h ^ word.charAt(i));
        return h;
    }

    /** The finalizer of SplitMix64. */
    static long mix(long z) {
        z = (z ^ z >>> 30) * 0xbf58476d1ce4e5b9L;
        z = (z ^ z >>> 27) * 0x94d049bb133111ebL;
        return z ^ z >>> 31;
    }
}
