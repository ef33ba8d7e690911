package dev.turningpoint.train;

import java.util.List;

/** Prompts, each a function of its number alone, so that a resumed run sees what an uninterrupted one would have seen. */
public interface PromptSource {
    /** The prompt of a number, counted over the whole run. */
    String training(long number);

    /** Prompts that training never shows. */
    List<String> heldOut();

    /** A prompt as the model's condition tokens. */
    int[] tokens(String prompt);
}
