package dev.turningpoint.reward;

/**
 * Scores images. A score depends on an image and its prompt alone, never on the rest of the batch or on the order of calls: only then do credit and resumed runs
 * give the same bits whatever the batches.
 *
 * <p>A class of your own joins in by a {@link RewardFactory} that {@link java.util.ServiceLoader} finds on the class path.
 */
public interface Reward extends AutoCloseable {

    /**
     * Scores a batch on the calling thread. Several threads call at the same time.
     *
     * @return one score an image; NaN where the reward does not apply to the image's prompt, which is an error unless its configuration says {@code partial}
     * @throws RewardException      if an image cannot be scored; one line for the person who trains
     * @throws InterruptedException if the run ends while this waits
     */
    float[] score(RewardBatch batch) throws InterruptedException;

    /** Images that one call does well with; larger batches are cut into pieces of about this size. */
    default int pieceSize() {
        return 1;
    }

    /**
     * Calls that may wait at the same time, for something outside this process: they get threads of their own. 0, the default, is for a reward that computes;
     * it shares one thread per core with the others.
     */
    default int waitingCalls() {
        return 0;
    }

    /** Frees the model; nobody is scoring any more. */
    @Override
    default void close() {}
}
