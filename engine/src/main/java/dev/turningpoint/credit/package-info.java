/**
 * Credit assignment: from the rewards along trajectories to an advantage for every trained step.
 * It uses the credit kernels and tensors.
 * Rewards come from the reward service by way of training; advantages go to the loss.
 */
package dev.turningpoint.credit;
