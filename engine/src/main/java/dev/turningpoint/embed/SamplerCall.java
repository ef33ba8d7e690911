package dev.turningpoint.embed;

import dev.turningpoint.gpu.DType;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** A request for images; see {@link Call}. {@link SamplerSession#newCall} makes it. */
public final class SamplerCall extends Call {
    private final SamplerSession session;
    MemorySegment prompts, pixels;
    long seed;
    int first;

    SamplerCall(SamplerSession session) {
        super(session);
        this.session = session;
    }

    /**
     * Asks for an image of each prompt. The images are those of {@code ./turningpoint sample} with this seed, which counts its images from 0: the same bits,
     * whatever shares the batch.
     *
     * @param prompts i32 [count, {@link SamplerSession#promptTokens}], native and accessible to any thread; count is 1 to {@link SamplerSession#maxBatch}
     * @param seed    of the noise
     * @param first   number of the first image under that seed, the others follow; its noise is keyed by seed and number
     * @param pixels  receives f32 [count, {@link SamplerSession#imageFloats}], -1 black to 1 white for the glyph model; untouched unless the call is served
     * @throws IllegalArgumentException if a segment has another size or belongs to one thread, or a token is none of the model's
     * @throws IllegalStateException    if the call was submitted before and not awaited since
     */
    public void submit(MemorySegment prompts, long seed, int first, MemorySegment pixels) {
        requireIdle();
        long row = DType.I32.bytes(session.promptTokens());
        int count = (int) Math.min(prompts.byteSize() / row, Integer.MAX_VALUE);
        if (count < 1 || count > session.maxBatch())
            throw new IllegalArgumentException("a call takes 1 to " + session.maxBatch() + " prompts of " + row + " bytes, the segment has " + prompts.byteSize());
        if (first < 0 || first > Integer.MAX_VALUE - count) throw new IllegalArgumentException("images are numbered from 0, not from " + first);
        requireMemory(prompts, count * row, false, "the prompts");
        requireMemory(pixels, DType.F32.bytes((long) count * session.imageFloats()), true, "the pixels");
        requireTokens(prompts, session.vocabulary());
        this.prompts = prompts;
        this.pixels = pixels;
        this.seed = seed;
        this.first = first;
        submit(count);
    }

    /** @throws IllegalArgumentException if a number is not one of a token: the network would read beyond its table */
    static void requireTokens(MemorySegment prompts, int vocabulary) {
        for (long i = 0; i < prompts.byteSize() / Integer.BYTES; i++) {
            int token = prompts.getAtIndex(ValueLayout.JAVA_INT_UNALIGNED, i);
            if (token < 0 || token >= vocabulary) throw new IllegalArgumentException("token " + i + " of the prompts is " + token + "; the model knows 0 to " + (vocabulary - 1));
        }
    }
}
