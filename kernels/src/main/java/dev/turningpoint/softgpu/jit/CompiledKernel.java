package dev.turningpoint.softgpu.jit;

import java.lang.foreign.MemorySegment;
import java.util.List;

/**
 * A kernel compiled for one block shape.
 *
 * <p>The function {@link #code()} is {@code int f(void* params, void* scratch, int64 firstBlock, int64 endBlock, int gx, int gy, int gz)}:
 * it runs the blocks {@code [firstBlock, endBlock)} of the grid in linear order, x fastest, and returns 0 or one of the fault codes below.
 * With {@code endBlock} -1 it runs block {@code firstBlock} of a kernel that {@code syncsGrid} until each of its warps waits, and returns -1 if there is more to
 * do; the scratch area then belongs to the block, and is zero before its first turn.
 * It may be called by several threads at once, each with a scratch area of its own.
 *
 * @param name         entry name
 * @param code         the function; it lives as long as the scope of this segment
 * @param scratchBytes bytes of scratch, 64-byte aligned, contents irrelevant; holds shared memory, local memory and suspended warps
 * @param sharedBytes  static and dynamic shared memory of a block
 * @param report       what a kernel author should know: memory accesses that became gathers or scatters, with their lines
 * @param fromCache    whether the object came from the cache
 */
public record CompiledKernel(String name, MemorySegment code, long scratchBytes, long sharedBytes, List<String> report, boolean fromCache) {
    public static final int OK = 0;
    /** {@code trap} was executed. */
    public static final int TRAP = 1;
    /** An operation that needs the whole warp ({@code mma}, {@code ldmatrix}, ...) met divergent lanes. */
    public static final int DIVERGENT = 2;
    /** A barrier was met while other lanes of the warp, still running, were elsewhere, or warps wait for each other forever. */
    public static final int BARRIER = 3;

    /** The grid has more than 2^31 threads along x: indices computed as int would overflow. */
    public static final int GRID = 4;

    /** {@code assert} did not hold. */
    public static final int ASSERTION = 5;
    /** {@code free} of an address that {@code malloc} did not give. */
    public static final int NO_BLOCK = 6;

    /** What a fault code means, for messages. */
    public static String faultText(int code) {
        return switch (code) {
            case OK -> "no fault";
            case TRAP -> "trap";
            case DIVERGENT -> "whole-warp operation in divergent code";
            case BARRIER -> "barrier in divergent code, or warps waiting for each other";
            case GRID -> "grid of more than 2^31 threads along x";
            case ASSERTION -> "an assertion failed";
            case NO_BLOCK -> "free of an address that malloc did not give";
            default -> "fault " + code;
        };
    }
}
