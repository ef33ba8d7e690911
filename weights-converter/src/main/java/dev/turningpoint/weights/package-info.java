/**
 * Weights on disk: safetensors files read through a memory map and written beside their place, then renamed into it. Uses nothing but the JDK and a
 * JSON tokenizer; knows neither devices nor models. Data comes from files other programs wrote, so every header is checked before a byte is trusted,
 * and goes to the engine as memory segments, or from its buffers to files that those programs read.
 */
package dev.turningpoint.weights;
