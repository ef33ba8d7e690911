/**
 * The optimizer: clipped AdamW and the running average of the weights.
 * It uses flat parameter buffers and the optimizer kernels.
 * Gradients come from the loss by way of the model; parameters go back to it.
 */
package dev.turningpoint.optim;
