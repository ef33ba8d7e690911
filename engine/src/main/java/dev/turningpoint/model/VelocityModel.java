package dev.turningpoint.model;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Stream;

/**
 * What the sampler and the loss ask of a network: the velocity {@code v = eps - x0} of a batch of latents, each at its own sigma and under its own
 * condition. The bits of one row's velocity depend on that row alone: not on the other rows, their number, or their order, and not on whether the
 * forward keeps what a backward needs.
 */
public interface VelocityModel extends AutoCloseable {

    /** Elements of one latent, n = channels * height * width. */
    int latentSize();

    /** Tokens of one condition; a condition is this many i32. */
    int conditionTokens();

    /** Storage type T of the velocity. */
    DType storage();

    /** Rows that one forward holds at once; more are done in chunks of this many, with the same bits. */
    int maxBatch();

    /**
     * Velocity of {@code batch} latents, kept for no backward. All arguments are device addresses; the work is queued on {@code stream}.
     *
     * @param latents    f32 [batch, latentSize]
     * @param sigma      f32 [batch], each in 0..1
     * @param conditions i32 [batch, conditionTokens]; all zero is the empty condition (for guidance)
     * @param velocity   receives T [batch, latentSize]
     */
    void velocity(Stream stream, long latents, long sigma, long conditions, long velocity, int batch);

    /**
     * The same of the reference model of the KL: the frozen copy of what is trained, if the model was asked to keep one; else the base model, with the adapter off.
     */
    void referenceVelocity(Stream stream, long latents, long sigma, long conditions, long velocity, int batch);

    @Override
    void close();
}
