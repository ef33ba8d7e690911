package dev.turningpoint.train;

import dev.turningpoint.image.ImageBatch;
import java.util.List;
import java.util.Map;

/** What a training run tells while it runs. Called on the training thread, in order. */
public interface TrainingObserver {
    /** Most images that an evaluation shows. */
    int SHOWN = 24;

    /** The run goes on from a checkpoint after {@code updates} updates: what was told of later ones is about to be told again. */
    default void resumed(long updates) {
    }

    /**
     * An update is done.
     *
     * @param updates updates so far, the {@code step} of its metrics
     * @param metrics by the names of the README, in a fixed order
     */
    void update(long updates, Map<String, Double> metrics);

    /**
     * An evaluation is done.
     *
     * @param updates updates so far
     * @param metrics {@code eval/...}
     * @param images  of the first held-out prompts, at most {@link #SHOWN}; valid during the call
     * @param prompts of these images
     */
    void evaluated(long updates, Map<String, Double> metrics, ImageBatch images, List<String> prompts);

    /** An iteration is done. */
    default void iteration(Progress progress) {
    }

    /**
     * @param iteration        iterations done
     * @param iterations       of the whole run; an estimate where evaluations limit it
     * @param reward           mean reward of the trajectories of this iteration
     * @param images           images scored in this iteration
     * @param seconds          this iteration took
     * @param secondsLeft      estimate for the rest
     */
    record Progress(int iteration, int iterations, double reward, int images, double seconds, double secondsLeft) {
    }
}
