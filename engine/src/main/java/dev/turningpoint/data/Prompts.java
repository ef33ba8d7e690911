package dev.turningpoint.data;

import java.util.List;

/** A source of prompts. Targets of {@link #heldOut} never come from {@link #train}. */
public interface Prompts {

    /**
     * The prompts of an iteration, one a group: distinct where the source has enough, and the same whenever they are asked for.
     *
     * @param iteration counts from 0
     */
    List<Prompt> train(long iteration, int count);

    /**
     * Prompts to evaluate on.
     *
     * @param seed of the choice, whatever the run's seed
     */
    List<Prompt> heldOut(long seed, int count);

    /** Each prompt {@code groupSize} times in a row: element i belongs to group i / groupSize. */
    static <T> List<T> repeat(List<T> prompts, int groupSize) {
        return prompts.stream().flatMap(p -> java.util.Collections.nCopies(groupSize, p).stream()).toList();
    }
}
