/**
 * What is known about a kernel before it runs: control flow, liveness, divergence, and for each register how its value varies over the lanes of a warp.
 * Uses {@code softgpu.ptx} only. Its results steer the code emission in {@code softgpu.jit}.
 */
package dev.turningpoint.softgpu.analysis;
