/**
 * Rollouts: from noise to images, with what training and credit need on the way.
 * It uses a schedule's steps, a velocity model and the sampler kernels.
 * Latents and log-probabilities go to the loss, images to the rewards.
 */
package dev.turningpoint.sampler;
