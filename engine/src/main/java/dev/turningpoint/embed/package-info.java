/**
 * TurningPoint inside a service: sessions that sample and score for many threads, with memory fixed when they open, micro-batches, deadlines and back-pressure.
 * It uses the models, the schedule's steps, the sampler kernels and the rewards; nothing of the engine uses it.
 * Prompts, pixels and scores lie in memory of the caller; {@code engine/docs/embedding.md} tells the rest.
 */
package dev.turningpoint.embed;
