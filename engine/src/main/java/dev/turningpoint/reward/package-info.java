/**
 * What an image is worth: rewards score batches of images against their prompts, several at a time, on threads of their own, so that scoring overlaps the next
 * rollout. Frozen scoring models run in ONNX Runtime; nothing here touches the device. Images come from the sampler, the weighted sum goes to credit;
 * docs/rewards.md describes every kind.
 */
package dev.turningpoint.reward;
