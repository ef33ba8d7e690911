/**
 * One typed launcher class for each file of CUDA kernels: it checks shapes, chooses the entry for the storage type and queues the launch on a stream. It uses
 * dev.turningpoint.gpu and the PTX texts beside it, nothing else. Addresses come from the engine's tensors and stay theirs: a launcher owns only its module.
 */
package dev.turningpoint.kernels;
