package dev.turningpoint.data;

/**
 * What the model is asked for.
 *
 * @param text   the whole line: A sign that says "K7QX"
 * @param target what the image should say: the text between the first two double quotes
 */
public record Prompt(String text, String target) {

    /** @throws IllegalArgumentException if there are no two double quotes with something between them */
    public static Prompt parse(String text) {
        int from = text.indexOf('"'), to = text.indexOf('"', from + 1);
        if (from < 0 || to < 0) throw new IllegalArgumentException("the prompt <" + text + "> has no word in double quotes");
        String target = text.substring(from + 1, to);
        if (target.isBlank()) throw new IllegalArgumentException("the prompt <" + text + "> has nothing between its first double quotes");
        return new Prompt(text, target);
    }
}
