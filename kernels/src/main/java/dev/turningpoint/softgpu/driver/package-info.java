/**
 * What a CUDA driver does, in software: contexts, memory, streams, events, modules, launches and graphs, and cuBLASLt on oneDNN. It uses {@code softgpu.ptx} and
 * {@code softgpu.jit}, and the bindings of oneDNN. Calls come from native upcall stubs; kernels and matrix products run on {@code Workers}, a pool of one thread per core.
 */
package dev.turningpoint.softgpu.driver;
