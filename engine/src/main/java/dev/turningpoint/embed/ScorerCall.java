package dev.turningpoint.embed;

import dev.turningpoint.data.Prompt;
import dev.turningpoint.gpu.DType;
import java.lang.foreign.MemorySegment;
import java.util.List;

/** A request for scores; see {@link Call}. {@link ScorerSession#newCall} makes it. */
public final class ScorerCall extends Call {
    private final ScorerSession session;
    MemorySegment images, scores;
    List<Prompt> prompts;

    ScorerCall(ScorerSession session) {
        super(session);
        this.session = session;
    }

    /**
     * Asks for the score of each image.
     *
     * @param images  f32 [count, channels, height, width] in -1..1, native and accessible to any thread; count is 1 to {@link ScorerSession#maxBatch}
     * @param prompts what each image was asked to show; not to be changed until the answer
     * @param scores  receives f32 [count]; NaN where the reward does not apply to a prompt; untouched unless the call is served
     * @throws IllegalArgumentException if a segment has another size or belongs to one thread
     * @throws IllegalStateException    if the call was submitted before and not awaited since
     */
    public void submit(MemorySegment images, List<Prompt> prompts, MemorySegment scores) {
        requireIdle();
        int count = prompts.size();
        if (count < 1 || count > session.maxBatch()) throw new IllegalArgumentException("a call takes 1 to " + session.maxBatch() + " images, there are " + count + " prompts");
        requireMemory(images, DType.F32.bytes((long) count * session.imageFloats()), false, "the images");
        requireMemory(scores, DType.F32.bytes(count), true, "the scores");
        this.images = images;
        this.prompts = prompts;
        this.scores = scores;
        submit(count);
    }
}
