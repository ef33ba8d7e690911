package dev.turningpoint.softgpu.count;

/**
 * The GPUs that estimates are made for, as their makers state them.
 *
 * <p>Limits of a multiprocessor: CUDA C++ Programming Guide 13.0, technical specifications per compute capability; how registers and shared memory are given
 * out: {@code cuda_occupancy.h} of CUDA 13.0. Peaks: NVIDIA's data sheets of the A100 80GB SXM4, the H100 SXM5 and the HGX B200 (divided by its eight GPUs),
 * dense, without sparsity. The clock is the boost clock that the data sheet's f32 peak implies. Throughput in lanes a clock and multiprocessor: the same guide's
 * table of arithmetic instructions.
 *
 * <table>
 * <caption>Peaks</caption>
 * <tr><th></th><th>A100</th><th>H100</th><th>B200</th></tr>
 * <tr><td>memory, TB/s</td><td>2.039</td><td>3.35</td><td>8.0</td></tr>
 * <tr><td>bf16 matrix products, TFLOP/s</td><td>312</td><td>989.4</td><td>2250</td></tr>
 * <tr><td>f32, TFLOP/s</td><td>19.5</td><td>66.9</td><td>75</td></tr>
 * <tr><td>multiprocessors</td><td>108</td><td>132</td><td>148</td></tr>
 * <tr><td>clock, GHz</td><td>1.41</td><td>1.98</td><td>1.98</td></tr>
 * </table>
 *
 * <p>{@code mma.sync}, which these kernels use, reaches less of the matrix peak on an H100 and a B200 than their own {@code wgmma} and {@code tcgen05} do.
 */
public enum Gpu {
    A100("A100 80GB SXM4", 80, 108, 1.41e9, 2.039e12, 312e12, 64, 32, 164 << 10, 163 << 10),
    H100("H100 SXM5", 90, 132, 1.98e9, 3.35e12, 989.4e12, 128, 64, 228 << 10, 227 << 10),
    B200("B200", 100, 148, 1.98e9, 8.0e12, 2250e12, 128, 64, 228 << 10, 227 << 10);

    final String title;
    /** Compute capability, as in sm_90. */
    final int architecture;
    final int multiprocessors;
    final double clock;
    /** Bytes a second. */
    final double memoryBandwidth;
    /** Operations a second of products of bf16 or f16; tf32 has half. */
    final double matrixPeak;
    /** Lanes a clock and multiprocessor. */
    final int fp32Lanes, fp64Lanes;
    /** Shared memory in bytes, of which each block also takes {@link #RESERVED_SHARED}. */
    final int sharedPerMultiprocessor, sharedPerBlock;

    /** The same on all three. */
    static final int SCHEDULERS = 4, SPECIAL_LANES = 16;
    static final int WARPS = 64, BLOCKS = 32, REGISTERS = 65536, REGISTER_UNIT = 256, SHARED_UNIT = 128, RESERVED_SHARED = 1024;

    Gpu(String title, int architecture, int multiprocessors, double clock, double memoryBandwidth, double matrixPeak, int fp32Lanes, int fp64Lanes,
        int sharedPerMultiprocessor, int sharedPerBlock) {
        this.title = title;
        this.architecture = architecture;
        this.multiprocessors = multiprocessors;
        this.clock = clock;
        this.memoryBandwidth = memoryBandwidth;
        this.matrixPeak = matrixPeak;
        this.fp32Lanes = fp32Lanes;
        this.fp64Lanes = fp64Lanes;
        this.sharedPerMultiprocessor = sharedPerMultiprocessor;
        this.sharedPerBlock = sharedPerBlock;
    }

    public String title() { return title; }
}
