package dev.turningpoint.model;

import dev.turningpoint.gpu.Stream;
import dev.turningpoint.tensor.Tensor;

/** A block of a transformer: from both residual streams to both, and back. */
interface Block {
    /** Both streams from {@code a.image().input()} and {@code a.text().input()} to their outputs. */
    void forward(Stream stream, BlockActivations a, Tensor modulation, int batch, Pass pass);

    /**
     * From the gradients of both residual streams after the block to those before it, in place; parameter gradients are added, the modulation's are written where
     * {@code g} has room for them.
     *
     * @param input whether the gradients before the block are asked for; else the residual streams' are left as they fall
     */
    void backward(Stream stream, BlockActivations a, Tensor modulation, BlockGradients g, int batch, boolean input);
}
