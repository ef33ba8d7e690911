package dev.turningpoint.pipeline;

import dev.turningpoint.data.Prompt;
import dev.turningpoint.gpu.Stream;
import dev.turningpoint.image.ImageBatch;
import dev.turningpoint.model.TrainableVelocity;
import dev.turningpoint.tensor.Parameters;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.List;

/** A text-to-image model from prompt to image. Used by one thread; it owns its network. */
public interface Pipeline extends AutoCloseable {

    /** What denoises the latents. */
    TrainableVelocity network();

    /** Channels of an image: 1 grey, 3 red, green and blue. */
    int channels();

    /** Pixels of an image. */
    int height();

    /** Pixels of an image. */
    int width();

    /**
     * What the network reads of each prompt. Numbers that an earlier call gave may mean other prompts afterwards, so that nothing of theirs may still be queued.
     *
     * @return i32 [prompts * conditionTokens]
     */
    int[] conditions(List<Prompt> prompts, Stream stream);

    /**
     * Makes images of denoised latents, on the CPU or wherever the decoder runs; an image does not depend on the others.
     *
     * @param latents f32 [images.count, latentSize], off the heap
     * @param images  receives f32 [count, channels, height, width]
     */
    void decode(MemorySegment latents, ImageBatch images);

    /**
     * Writes what training made in the forms that other tools read.
     *
     * @param folder exists
     * @param source the trained values or their average
     * @return the file to name to the user
     */
    Path save(Path folder, Parameters.Source source, Stream stream);

    @Override
    void close();
}
