/**
 * What an image is worth: rewards score batches of images against the targets of their prompts, on threads of their own, so that scoring overlaps the next
 * rollout. Frozen scoring models run in ONNX Runtime; nothing here touches the device. Images come from the sampler, rewards go to credit.
 */
package dev.turningpoint.reward;
