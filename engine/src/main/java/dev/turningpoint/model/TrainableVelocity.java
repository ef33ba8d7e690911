package dev.turningpoint.model;

import dev.turningpoint.gpu.Stream;
import dev.turningpoint.tensor.Parameters;

/**
 * A velocity model whose parameters learn: a forward that keeps its activations, and a backward from the velocity's gradient to the parameters'.
 * One backward belongs to the last {@link #trainVelocity}; the velocity has the bits of {@link VelocityModel#velocity}.
 */
public interface TrainableVelocity extends VelocityModel {

    /** Rows of one training forward; the caller splits larger batches into micro-batches and accumulates. */
    int maxTrainBatch();

    /** As {@link VelocityModel#velocity} for at most {@link #maxTrainBatch} rows, keeping what {@link #backward} reads. */
    void trainVelocity(Stream stream, long latents, long sigma, long conditions, long velocity, int batch);

    /**
     * Adds the parameter gradients of the last {@link #trainVelocity} to {@link #gradients()}.
     *
     * @param velocityGradient T [batch, latentSize], the loss' gradient with respect to the velocity
     */
    void backward(Stream stream, long velocityGradient, int batch);

    /** What is trained: the network's parameters, or an adapter's. */
    Parameters trained();

    /** Lets the forward read the running average of the trained parameters, their reference, or their values again. */
    void read(Parameters.Source source, Stream stream);

    /** Sets a new adapter: A uniform in +-1/sqrt(in), B 0, so that it changes nothing yet; waits for it. */
    void initialiseAdapter(long seed, Stream stream);

    /** Address of the trained parameters, flat f32 [trainableCount]. */
    long parameters();

    /** Address of their gradients, flat f32 [trainableCount]; set to zero by the caller (or {@link #zeroGradients}) before accumulating. */
    long gradients();

    /** Number of trained parameters. */
    long trainableCount();

    /** Queues the clearing of the gradients. */
    void zeroGradients(Stream stream);

    /**
     * Address of the bf16 copy of the trained parameters that the forward reads, or 0 where it reads the f32 ones. The optimizer step writes it
     * together with the parameters; after any other change of them call {@link #parametersChanged}.
     */
    long computeCopy();

    /** Queues what must follow a change of the parameters from outside: the bf16 copy. */
    void parametersChanged(Stream stream);
}
