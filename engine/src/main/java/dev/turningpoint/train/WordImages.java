package dev.turningpoint.train;

import dev.turningpoint.image.ImageBatch;
import dev.turningpoint.image.WordRenderer;
import dev.turningpoint.text.GlyphAlphabet;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.SplittableRandom;

/**
 * Random words of three and four letters in random places.
 */
public final class WordImages implements TrainingImages {
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
        var word = new StringBuilder();
        int letters = 3 + random.nextInt(2);
        for (int i = 0; i < letters; i++) {
            word.append(GlyphAlphabet.LETTERS.charAt(random.nextInt(GlyphAlphabet.LETTERS.length())));
        }
        renderer.render(word.toString(), random, new ImageBatch(image, 1, height, width), 0);
        MemorySegment.copy(MemorySegment.ofArray(GlyphAlphabet.encode(word.toString(), (int) (tokens.byteSize() / 4))), 0, tokens, 0, tokens.byteSize());
    }
}
