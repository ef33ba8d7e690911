/**
 * Whole text-to-image models: prompts become what the network reads, latents become images. The glyph model needs little more than its network; a published model is a
 * diffusers folder, whose text encoders and VAE decoder run in ONNX Runtime beside the network. Samplers and training know nothing but {@link dev.turningpoint.pipeline.Pipeline}.
 */
package dev.turningpoint.pipeline;
