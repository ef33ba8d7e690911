package dev.turningpoint.softgpu.interpreter;

import dev.turningpoint.softgpu.ptx.Instruction;

/**
 * Sees what the blocks of one thread do, warp by warp, in the order they do it. Lanes are bits of an int. A method may throw {@link KernelFault} to end the launch.
 *
 * <p>One observer belongs to one launch and one thread of the device; what it learns is merged when the launch ends.
 */
public interface Observer {
    Observer NONE = new Observer() { };

    /** A block begins: its shared memory holds nothing yet. */
    default void blockBegins(Block block) { }

    /** All warps of the block have ended. */
    default void blockEnds(Block block) { }

    /**
     * Before an instruction.
     *
     * @param active lanes that have come to it together
     * @param lanes  those of them whose guard holds
     */
    default void instruction(Warp warp, Instruction i, int active, int lanes) { }

    /** Before the bytes are touched. The access is reused: what is to be kept must be copied. */
    default void access(Warp warp, Access access) { }

    /**
     * A conditional branch.
     *
     * @param active lanes that reach it
     * @param taken  those that jump
     */
    default void branch(Warp warp, Instruction i, int active, int taken) { }

    /** These lanes of a warp have arrived at barrier {@code id} of the block. */
    default void barrierArrives(Warp warp, Instruction i, int id, int lanes) { }

    /**
     * Everybody whom a barrier awaited has arrived.
     *
     * @param warps bit per warp of the block that took part
     */
    default void barrierCompletes(Block block, int id, long warps) { }

    /** These lanes of a warp have met at {@code bar.warp.sync} or another operation that synchronises them. */
    default void warpMeets(Warp warp, Instruction i, int lanes) { }
}
