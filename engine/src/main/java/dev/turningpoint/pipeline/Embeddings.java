package dev.turningpoint.pipeline;

/**
 * What a network reads of a prompt.
 *
 * @param text   f32 [tokens, text width], row by row
 * @param pooled f32 [pooled width]
 */
record Embeddings(float[] text, float[] pooled) {}
