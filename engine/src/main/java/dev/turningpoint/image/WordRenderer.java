package dev.turningpoint.image;

import java.lang.foreign.ValueLayout;
import java.util.SplittableRandom;

/**
 * Writes words black on white the way the glyph model learns them: one letter a cell, left to right, the whole word shifted by a pixel or so. The layout is
 * simple on purpose: with free placement and several fonts a model of this size learned blobs.
 */
public final class WordRenderer {
    private final GlyphFont font;
    private final int height;
    private final int width;
    private final float size;
    private final int cell;
    private final int baseline;

    /**
     * @param height of the images, in pixels; 24 gives cells of 15 and letters of 20 pixels to the em, and other heights scale them
     * @param width  of the images, in pixels
     */
    public WordRenderer(GlyphFont font, int height, int width) {
        this.font = font;
        this.height = height;
        this.width = width;
        size = 20f * height / 24;
        cell = Math.round(15f * height / 24);
        GlyphFont.Bitmap capital = font.bitmap('H', size);
        baseline = (height + capital.height()) / 2;
    }

    /** Letters that fit beside each other. */
    public int maxLetters() {
        return (width - 3) / cell;
    }

    /** Writes the word with a shift drawn from {@code random}: the same generator state gives the same pixels. */
    public void render(String word, SplittableRandom random, ImageBatch images, int index) {
        render(word, 1 + random.nextInt(3), random.nextInt(3) - 1, images, index);
    }

    /**
     * Writes the word over an image of the batch.
     *
     * @param left first column of the first cell; 1 to 3 while training
     * @param down rows below the middle; -1 to 1 while training
     * @throws IllegalArgumentException if the word does not fit
     */
    public void render(String word, int left, int down, ImageBatch images, int index) {
        if (images.height() != height || images.width() != width)
            throw new IllegalArgumentException("this renderer writes images of " + height + " x " + width + ", not " + images.height() + " x " + images.width());
        int[] letters = word.codePoints().toArray();
        if (letters.length > maxLetters())
            throw new IllegalArgumentException("'" + word + "' has " + letters.length + " letters; " + maxLetters() + " fit into " + height + " x " + width + " pixels");
        long base = (long) java.util.Objects.checkIndex(index, images.count()) * height * width;
        for (long i = 0; i < (long) height * width; i++) images.data().setAtIndex(ValueLayout.JAVA_FLOAT, base + i, 1f);
        for (int i = 0; i < letters.length; i++) {
            GlyphFont.Bitmap b = font.bitmap(letters[i], size);
            int x = left + cell * i + (cell - 1 - b.width()) / 2, y = baseline + down + b.top();
            for (int r = Math.max(0, -y); r < b.height() && y + r < height; r++)
                for (int c = Math.max(0, -x); c < b.width() && x + c < width; c++) {
                    float ink = (b.alpha()[r * b.width() + c] & 0xff) / 127.5f;
                    long at = base + (long) (y + r) * width + x + c;
                    images.data().setAtIndex(ValueLayout.JAVA_FLOAT, at, Math.max(-1f, images.data().getAtIndex(ValueLayout.JAVA_FLOAT, at) - ink));
                }
        }
    }
}
