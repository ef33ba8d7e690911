package dev.turningpoint.data;

import java.util.Map;

/**
 * What the model is asked for.
 *
 * @param text     the whole line: A sign that says "K7QX"
 * @param target   what the image should say: the text between the first two double quotes; empty if there is none
 * @param metadata what else a data set says of the prompt, JSON as maps, lists, strings, numbers and booleans; empty for a text file
 */
public record Prompt(String text, String target, Map<String, Object> metadata) {
    public Prompt {
        metadata = Map.copyOf(metadata);
    }

    public Prompt(String text, String target) {
        this(text, target, Map.of());
    }

    /** A prompt that may ask for no word. */
    public static Prompt of(String text, Map<String, Object> metadata) {
        int from = text.indexOf('"'), to = text.indexOf('"', from + 1);
        return new Prompt(text, from < 0 || to < 0 ? "" : text.substring(from + 1, to), metadata);
    }

    /**
     * A prompt that asks for a word.
     *
     * @throws IllegalArgumentException if there are no two double quotes with something between them
     */
    public static Prompt parse(String text) {
        return of(text, Map.of()).requireTarget();
    }

    /** @throws IllegalArgumentException if there is no word to write */
    public Prompt requireTarget() {
        int from = text.indexOf('"');
        if (from < 0 || text.indexOf('"', from + 1) < 0) throw new IllegalArgumentException("the prompt <" + text + "> has no word in double quotes");
        if (target.isBlank()) throw new IllegalArgumentException("the prompt <" + text + "> has nothing between its first double quotes");
        return this;
    }

    /** What to write below its picture: the word that it asks for, or else the whole text. */
    public String caption() {
        return target.isBlank() ? text : target;
    }
}
