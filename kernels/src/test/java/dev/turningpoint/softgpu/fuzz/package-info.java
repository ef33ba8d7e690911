/**
 * Random kernels that the compiled code of {@code softgpu.jit} and the reading of {@code softgpu.interpreter} must agree on, bit for bit.
 * A seed gives the same kernel and the same inputs every time.
 */
package dev.turningpoint.softgpu.fuzz;
