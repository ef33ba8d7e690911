package dev.turningpoint.model;

import dev.turningpoint.kernels.NormKernels.HeadSplit;

/**
 * Sizes of a block.
 *
 * @param width       D of both streams
 * @param heads       attention heads H
 * @param headDim     numbers of a head in memory: 32, 64 or 128
 * @param meanOf      numbers of a head in the model; the others are zeros that fill it up
 * @param hidden      width of the feed-forward layers
 * @param imageTokens Ni
 * @param textTokens  Nt
 */
record BlockShape(int width, int heads, int headDim, int meanOf, int hidden, int imageTokens, int textTokens) {
    /** Epsilon of every normalisation. */
    static final float EPS = 1e-6f;

    /** Head dimensions that the attention kernels serve. */
    private static final int[] SERVED = {32, 64, 128};

    /** The least served head dimension that holds {@code headDim} numbers. */
    static int served(int headDim) {
        for (int d : SERVED) {
            if (headDim <= d) {
                return d;
            }
        }
        throw new IllegalArgumentException("the attention kernels serve heads of up to 128 numbers, not " + headDim);
    }

    /** Tokens of the joint sequence, image first. */
    int jointTokens() {
        return imageTokens + textTokens;
    }

    /** Width of the attention's output: all heads side by side, as they lie in memory. */
    int attended() {
        return heads * headDim;
    }

    /** How {@code streamTokens} tokens become heads of a sequence of {@code tokens}, from {@code tokenOffset} on. */
    HeadSplit split(int streamTokens, int tokenOffset, int tokens) {
        return new HeadSplit(streamTokens, heads, headDim, meanOf, tokenOffset, tokens, EPS);
    }

    float attentionScale() {
        return (float) (1 / Math.sqrt(meanOf));
    }
}
