/**
 * The networks: from latents, sigmas and conditions to velocities, and back from a velocity's gradient to the parameters'. They use tensor for memory and
 * weights, and the launchers of dev.turningpoint.kernels for every computation. Latents come from the sampler, which gets the velocity back; gradients go to optim.
 */
package dev.turningpoint.model;
