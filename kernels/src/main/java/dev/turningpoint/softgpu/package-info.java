/**
 * The software GPU: the CUDA driver API and cuBLASLt served in this process where there is no NVIDIA driver. {@code ptx} reads kernels, {@code analysis} and
 * {@code jit} compile them, {@code interpreter} reads them lane by lane, {@code count} counts what it sees, {@code driver} serves the C functions; only the bindings' seam finds it, through {@link dev.turningpoint.softgpu.SoftwareDriver}.
 * Work comes in as C calls and goes out as native code on a pool of worker threads.
 */
package dev.turningpoint.softgpu;
