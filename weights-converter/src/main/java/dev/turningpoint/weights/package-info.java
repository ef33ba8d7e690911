/**
 * Weights on disk: safetensors files read through a memory map and written beside their place, then renamed into it; the networks we know by the names and shapes
 * of their tensors; conversions between layouts and types; engine files. Uses a JSON reader and XXH3; knows neither devices nor how a network computes. Data comes
 * from files other programs wrote, so every header is checked before a byte is trusted, and goes to the engine as memory segments, or to files that those
 * programs read.
 */
package dev.turningpoint.weights;
