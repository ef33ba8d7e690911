package dev.turningpoint.softgpu.interpreter;

/**
 * A warp as it runs: for each register 32 values as raw bits. A narrow value lies in the low bits with zeros above; a predicate is 0 or 1;
 * of a 128-bit register the high half lies in {@code high}.
 */
public final class Warp {
    final Block block;
    /** Place in the block. */
    final int index;
    /** Raw bits, {@code [register id][lane]}. */
    final long[][] registers;
    /** High halves of {@code b128} registers, {@code [register id]} null for others. */
    final long[][] high;
    /** Lanes that exist and have not ended. */
    int alive;

    Warp(Block block, int index, int registers) {
        this.block = block;
        this.index = index;
        this.registers = new long[registers][32];
        this.high = new long[registers][];
    }

    public Block block() { return block; }
    public int index() { return index; }
    public int alive() { return alive; }

    /** Index of a lane's thread in its block, x fastest. */
    public int thread(int lane) { return index * 32 + lane; }

    /** {@code (x, y, z)} of a lane's thread, for messages. */
    public String threadName(int lane) {
        int t = thread(lane), bx = block.launch.blockX(), by = block.launch.blockY();
        return "(" + t % bx + ", " + t / bx % by + ", " + t / (bx * by) + ")";
    }
}
