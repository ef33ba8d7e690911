package dev.turningpoint.softgpu.interpreter;

import dev.turningpoint.softgpu.ptx.Instruction;
import dev.turningpoint.softgpu.ptx.PtxType;
import dev.turningpoint.softgpu.ptx.Register;

import java.util.Arrays;
import java.util.List;

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
    /** The carry flag of each lane ({@code add.cc}). */
    final long[] carry = new long[32];
    /** Where each lane stands: index of its next instruction. */
    final int[] pc = new int[32];
    /** Lanes that exist and have not ended. */
    int alive;
    /** Lanes kept at a barrier of the block. */
    int barred;
    /** Lanes that wait for others of their warp. */
    int waiting;
    /** Lanes that ended the last turn, and those that let the others go first. */
    int last, behind;
    /** Machine address of lane 0's local memory. */
    long localAddress;

    Warp(Block block, int index, List<Register> registers) {
        this.block = block;
        this.index = index;
        this.registers = new long[registers.size()][32];
        this.high = new long[registers.size()][];
        for (Register r : registers) if (r.type() == PtxType.B128) high[r.id()] = new long[32];
    }

    /** A block begins: registers hold zeros, as those of compiled kernels do. */
    void begin(int threads) {
        for (long[] r : registers) Arrays.fill(r, 0);
        for (long[] h : high) if (h != null) Arrays.fill(h, 0);
        Arrays.fill(carry, 0);
        Arrays.fill(pc, 0);
        alive = threads == 32 ? -1 : (1 << threads) - 1;
        barred = waiting = last = behind = 0;
    }

    /** Lanes that wait for others at this place. */
    int waitingAt(int place) {
        int lanes = 0;
        for (int rest = waiting; rest != 0; rest &= rest - 1) {
            int l = Integer.numberOfTrailingZeros(rest);
            if (pc[l] == place) lanes |= 1 << l;
        }
        return lanes;
    }

    void go(int lanes, int to) {
        for (int rest = lanes; rest != 0; rest &= rest - 1) pc[Integer.numberOfTrailingZeros(rest)] = to;
    }

    public Block block() { return block; }
    public int index() { return index; }
    public int alive() { return alive; }

    /** Index of a lane's thread in its block, x fastest. */
    public int thread(int lane) { return index * 32 + lane; }

    /** Raw bits of a register, the low 64 of a longer one. */
    public long bits(Register r, int lane) { return registers[r.id()][lane]; }

    /** Where an instruction stands, in PTX and if that is known in CUDA C++, for messages; {@code instruction} may be null. */
    public String line(Instruction i) { return block.launch.kernel().module() + ".ptx" + (i == null ? "" : ":" + i.line() + (i.source() == null ? "" : " (" + i.source() + ")")); }

    /** Who does what where: kernel, line, block, thread and instruction, for messages. */
    public String where(Instruction i, int lane) {
        return "kernel " + block.launch.kernel().name() + ", " + line(i) + ", block (" + block.x + ", " + block.y + ", " + block.z + "), thread " + threadName(lane) + (i == null ? "" : ", " + i.name());
    }

    /** {@code (x, y, z)} of a lane's thread, for messages. */
    public String threadName(int lane) {
        int t = thread(lane), bx = block.launch.blockX(), by = block.launch.blockY();
        return "(" + t % bx + ", " + t / bx % by + ", " + t / (bx * by) + ")";
    }
}
