/**
 * Benchmarks: our kernels by JMH, and beside PyTorch in the same process.
 * Uses the launchers of {@code dev.turningpoint.kernels} and their cases, and libtorch as the peer; nothing uses this package.
 * Inputs are random with fixed seeds; figures go to {@code bench/results}.
 */
package dev.turningpoint.bench;
