/**
 * Grey images, off the Java heap: batches of them as the models make them, words rendered from the bundled font to pre-train on, and pictures for people to
 * look at, as PNG. Uses LWJGL's stb, and nothing else of the engine but its way of writing files. Images come from the sampler or the font and go to the
 * reward, the run folder and TensorBoard.
 */
package dev.turningpoint.image;
