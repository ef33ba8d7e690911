package dev.turningpoint.softgpu.interpreter;

import dev.turningpoint.softgpu.ptx.PtxKernel;
import dev.turningpoint.softgpu.ptx.PtxModule;

/**
 * What is launched: a kernel with its grid, block and parameters.
 *
 * @param params        machine address of the parameter buffer, laid out as {@link PtxKernel#params()} says
 * @param dynamicShared bytes of shared memory beyond the static ones
 */
public record Launch(PtxModule module, PtxKernel kernel, int gridX, int gridY, int gridZ, int blockX, int blockY, int blockZ, int dynamicShared, long params) {
    public int threads() { return blockX * blockY * blockZ; }
    public int warps() { return (threads() + 31) / 32; }
    public long blocks() { return (long) gridX * gridY * gridZ; }

    /** Address of the memory by which the blocks of a cooperative launch wait for each other, which the driver has put behind the parameters; else 0. */
    long workspace() { return java.lang.foreign.MemorySegment.ofAddress(params).reinterpret(kernel.bufferBytes()).get(java.lang.foreign.ValueLayout.JAVA_LONG_UNALIGNED, kernel.workspaceOffset()); }

    /** Whether these bytes lie in the parameter buffer. */
    boolean isParameter(long address, long bytes) {
        long at = address - params;
        return at >= 0 && bytes >= 0 && at <= kernel.paramBytes() - bytes;
    }
}
