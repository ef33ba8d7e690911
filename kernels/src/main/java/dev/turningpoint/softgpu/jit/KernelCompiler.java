package dev.turningpoint.softgpu.jit;

import dev.turningpoint.softgpu.ptx.PtxModule;

/** Compiles kernels, remembers them, and keeps their objects in the cache folder. Thread safe. */
public final class KernelCompiler {
    /**
     * The kernel compiled for a block shape and a size of dynamic shared memory; the same arguments give the same object again.
     *
     * @throws dev.turningpoint.softgpu.ptx.PtxException if the kernel uses what the software GPU does not serve
     */
    public CompiledKernel compile(PtxModule module, String entry, int blockX, int blockY, int blockZ, long dynamicShared) {
        throw new UnsupportedOperationException();
    }
}
