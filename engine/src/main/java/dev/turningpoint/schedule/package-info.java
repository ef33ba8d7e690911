/**
 * Sampling schedules and the coefficients of one denoising step, in double.
 * It uses nothing of the engine.
 * The sampler and the loss take its step tables to the device; models take its sigmas.
 */
package dev.turningpoint.schedule;
