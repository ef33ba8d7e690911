/**
 * Device memory with a meaning: tensors with name, type and shape, workspaces that are planned once and allocated once, and the flat parameter buffers with
 * their named views. It uses dev.turningpoint.gpu for memory and dev.turningpoint.weights for files. Models reserve their activations here at construction, and
 * the optimizer steps over the flat buffers.
 */
package dev.turningpoint.tensor;
