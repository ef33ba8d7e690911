package dev.turningpoint.reward;

import dev.turningpoint.image.ImageBatch;
import java.util.List;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.function.IntFunction;

/** Scores images; an image's reward depends on it and its target alone, never on its batch or on the order of calls. */
public interface Reward extends AutoCloseable {

    /** Short name, as in the metric {@code reward_<name>}. */
    String name();

    /**
     * Queues a batch. Blocks only while the queue is full.
     *
     * @param images   f32 in -1..1, unchanged and allocated until the future is complete
     * @param targets  one an image
     * @param describe names an image by its index in messages: "trajectory 17, step 3"
     * @return one reward an image; completes with {@link RewardException} if an image cannot be scored, with {@link CancellationException} if the reward is closed first
     */
    CompletableFuture<float[]> scoreAsync(ImageBatch images, List<String> targets, IntFunction<String> describe);

    /** As {@link #scoreAsync(ImageBatch, List, IntFunction)}, images named by their index. */
    default CompletableFuture<float[]> scoreAsync(ImageBatch images, List<String> targets) {
        return scoreAsync(images, targets, i -> "image " + i);
    }

    /** Scores a batch and waits for it. */
    default float[] score(ImageBatch images, List<String> targets) {
        return await(scoreAsync(images, targets));
    }

    /** The result of a queued batch; what went wrong is thrown as it was. */
    static float[] await(CompletableFuture<float[]> rewards) {
        try {
            return rewards.join();
        } catch (CompletionException e) {
            if (e.getCause() instanceof RuntimeException cause) throw cause;
            throw e;
        }
    }

    /** Ends the threads after the images they are at, cancels what is queued, and frees the model. May be called twice. */
    @Override
    void close();
}
