/**
 * Frozen models and tokenizers: ONNX files run by ONNX Runtime, Hugging Face's tokenizers read from their files. Rewards score with them, pipelines encode prompts and
 * decode latents with them.
 */
package dev.turningpoint.onnx;
