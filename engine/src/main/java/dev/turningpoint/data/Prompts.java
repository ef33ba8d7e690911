package dev.turningpoint.data;

import java.util.List;

/** A source of prompts. Targets of {@link #heldOut} never come from {@link #train}. */
public interface Prompts {

    /**
     * A prompt to train on, a function of its number alone: a resumed run asks for what it would have asked for.
     *
     * @param number counts prompts from 0 over the whole run
     */
    Prompt train(long number);

    /**
     * Prompts to evaluate on.
     *
     * @param seed of the choice, whatever the run's seed
     */
    List<Prompt> heldOut(long seed, int count);
}
