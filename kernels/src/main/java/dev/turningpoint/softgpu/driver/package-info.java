/**
 * What a CUDA driver does, in software: contexts, memory, streams, events, modules, launches and graphs, and cuBLASLt on oneDNN. It uses {@code softgpu.ptx} and
 * {@code softgpu.jit}, {@code softgpu.interpreter} and its watchers {@code softgpu.check} and {@code softgpu.count}, and the bindings of oneDNN. Calls come from native upcall stubs; kernels and matrix products run on {@code Workers}, a pool of one thread per core.
 */
package dev.turningpoint.softgpu.driver;
