package dev.turningpoint.softgpu.count;

/**
 * How many blocks fit on a multiprocessor at once, and for want of what no more do.
 *
 * @param blocks resident blocks; 0 if the kernel cannot be launched
 * @param warps  resident warps
 */
public record Occupancy(int blocks, int warps, Limit limit) {
    public enum Limit { WARPS, BLOCKS, REGISTERS, SHARED_MEMORY }

    /** Of the warps a multiprocessor can hold. */
    public double share() { return (double) warps / Gpu.WARPS; }

    /**
     * @param threads   threads of a block
     * @param registers of a thread; 0 if they are not known and shall not count
     * @param shared    bytes of shared memory of a block, static and dynamic
     */
    public static Occupancy of(Gpu gpu, int threads, int registers, int shared) {
        int warps = (threads + 31) / 32;
        int byWarps = Gpu.WARPS / warps;
        int registersOfWarp = roundUp(registers * 32, Gpu.REGISTER_UNIT);
        int byRegisters = threads > mostThreads(registers) ? 0 : registers == 0 ? Integer.MAX_VALUE : Gpu.REGISTERS / Gpu.SCHEDULERS / registersOfWarp * Gpu.SCHEDULERS / warps;
        int byShared = shared > gpu.sharedPerBlock ? 0 : gpu.sharedPerMultiprocessor / roundUp(shared + Gpu.RESERVED_SHARED, Gpu.SHARED_UNIT);
        int blocks = Math.min(Math.min(byWarps, Gpu.BLOCKS), Math.min(byRegisters, byShared));
        Limit limit = blocks == byWarps ? Limit.WARPS : blocks == Gpu.BLOCKS ? Limit.BLOCKS : blocks == byRegisters ? Limit.REGISTERS : Limit.SHARED_MEMORY;
        return new Occupancy(blocks, blocks * warps, limit);
    }

    /** Threads of a block at most for want of registers: warps of a block lie in all four parts of the register file, and the launch is refused if rounding up to that does not fit. */
    public static int mostThreads(int registers) {
        if (registers > 255) return 0;
        return registers == 0 ? 1024 : Math.min(1024, Gpu.REGISTERS / roundUp(registers * 32, Gpu.REGISTER_UNIT) / Gpu.SCHEDULERS * Gpu.SCHEDULERS * 32);
    }

    private static int roundUp(int n, int unit) { return (n + unit - 1) / unit * unit; }
}
