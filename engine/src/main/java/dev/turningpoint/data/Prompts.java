package dev.turningpoint.data;

import java.util.List;

/** A source of prompts, some of which are held out and never come from {@link #train}. */
public interface Prompts {

    /**
     * The prompts of an iteration, a function of its number alone: a resumed run asks for what it would have asked for, also in the middle of a data set.
     *
     * @param iteration counts from 0 over the whole run
     * @param count     prompts of every iteration
     */
    List<Prompt> train(long iteration, int count);

    /**
     * Prompts to evaluate on.
     *
     * @param seed of the choice, whatever the run's seed
     */
    List<Prompt> heldOut(long seed, int count);
}
