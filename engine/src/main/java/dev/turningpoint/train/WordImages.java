package dev.turningpoint.train;

import dev.turningpoint.data.WordPrompts;
import dev.turningpoint.image.ImageBatch;
import dev.turningpoint.image.WordRenderer;
import dev.turningpoint.text.GlyphAlphabet;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.SplittableRandom;

/**
 * Random words of three and four letters, none of them held out, shifted by a pixel or so.
 */
public final class WordImages implements TrainingImages {
    private static final WordPrompts WORDS = new WordPrompts(0, 3, 4);

    private final long seed;
    private final WordRenderer renderer;
    private final int height;
    private final int width;

    public WordImages(long seed, WordRenderer renderer, int height, int width) {
        this.seed = seed;
        this.renderer = renderer;
        this.height = height;
        this.width = width;
    }

    @Override
    public void render(long sample, MemorySegment image, MemorySegment tokens) {
        var random = new SplittableRandom(seed * 0xD1342543DE82EF95L + sample);
        String word = WORDS.trainWord(random);
        renderer.render(word, random, new ImageBatch(image, 1, height, width), 0);
        MemorySegment.copy(MemorySegment.ofArray(GlyphAlphabet.encode(word, (int) (tokens.byteSize() / 4))), 0, tokens, 0, tokens.byteSize());
    }
}
