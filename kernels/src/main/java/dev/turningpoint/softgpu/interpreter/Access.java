package dev.turningpoint.softgpu.interpreter;

import dev.turningpoint.softgpu.ptx.Instruction;
import dev.turningpoint.softgpu.ptx.StateSpace;

/**
 * One warp's access to memory by one instruction, before it happens. Reused from access to access.
 *
 * <p>A vector access of {@code v4.f32} is one access of 16 bytes a lane; {@code ldmatrix} and {@code cp.async} (which makes two) show the rows they touch.
 */
public final class Access {
    /** READ_WRITE is an atomic operation. ASYNC_WRITE is the arrival of a {@code cp.async} in shared memory. */
    public enum Kind { READ, WRITE, READ_WRITE, ASYNC_WRITE }

    public Instruction instruction;
    public Kind kind;
    /** GLOBAL, SHARED, LOCAL, CONST or PARAM: where the addresses were found to point, also for a generic instruction. */
    public StateSpace space;
    /** Lanes that take part. */
    public int lanes;
    /** Bytes a lane touches. */
    public int bytes;
    /** Natural alignment the instruction demands, in bytes. */
    public int alignment;
    /** Per lane: a machine address for GLOBAL, CONST and PARAM; for SHARED and LOCAL bytes from the start of the block's or the lane's memory. */
    public final long[] address = new long[32];
    /** {@code volatile}, {@code relaxed}, {@code acquire}, {@code release} or atomic: ordered with others of its kind, so no race with them. */
    public boolean strong;
}
