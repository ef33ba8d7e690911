/**
 * The policy update: forward, log-probability, clipped loss with its gradient, and backward, over the rows of a rollout.
 * It uses the model, the step tables, the sampler's store of trajectories and the loss kernel.
 * Gradients stay in the model's buffers for the optimizer; statistics go to training's metrics.
 */
package dev.turningpoint.grpo;
