package dev.turningpoint.reward;

import dev.turningpoint.data.Prompt;
import dev.turningpoint.image.ImageBatch;
import java.util.List;
import java.util.function.IntFunction;

/**
 * Images to score.
 *
 * @param images   f32 in -1..1, grey or RGB; unchanged and allocated while they are scored
 * @param prompts  one an image
 * @param describe names an image by its index in messages: "'CAT' (trajectory 17, R_3)"
 */
public record RewardBatch(ImageBatch images, List<Prompt> prompts, IntFunction<String> describe) {
    public RewardBatch {
        if (prompts.size() != images.count()) throw new IllegalArgumentException(images.count() + " images, but " + prompts.size() + " prompts");
        prompts = List.copyOf(prompts);
    }

    /** Images that are named by their index. */
    public RewardBatch(ImageBatch images, List<Prompt> prompts) {
        this(images, prompts, i -> "image " + i);
    }

    public int count() {
        return images.count();
    }

    /** Some consecutive images, the same memory. */
    RewardBatch slice(int from, int count) {
        return new RewardBatch(images.slice(from, count), prompts.subList(from, from + count), i -> describe.apply(from + i));
    }
}
