package dev.turningpoint.softgpu.analysis;

import dev.turningpoint.softgpu.ptx.Instruction;
import dev.turningpoint.softgpu.ptx.Operand;
import dev.turningpoint.softgpu.ptx.PtxKernel;

import java.util.BitSet;
import java.util.List;

/**
 * Where threads of a kernel wait for others otherwise than at barrier 0 of the whole block: at other barriers, at barrier objects, or in loops that read
 * memory again and again until somebody changes it.
 */
public final class Waits {
    private final FlowGraph graph;
    private final BitSet spins = new BitSet();
    private boolean any;

    public Waits(PtxKernel kernel, FlowGraph graph) {
        this.graph = graph;
        for (Instruction i : kernel.instructions())
            any |= isBarrier(i) && !plain(i) || isTest(i);
        for (int b = 0; b < graph.size(); b++)
            for (int to : graph.block(b).successors()) if (to <= b) loop(to, b);
        any |= !spins.isEmpty();
    }

    /** Whether there is any such place. */
    public boolean any() { return any; }

    /** A barrier of the block. */
    public static boolean isBarrier(Instruction i) { return (i.is("bar") || i.is("barrier")) && !i.has("warp"); }

    /** A question whether the phase of a barrier object is over. */
    public static boolean isTest(Instruction i) { return i.is("mbarrier") && (i.has("test_wait") || i.has("try_wait")); }

    /** Whether the instruction with this index reads what the loop around it waits for, or sleeps there. */
    public boolean spins(int index) { return spins.get(index); }

    private static boolean plain(Instruction i) {
        return !i.has("red") && !i.has("arrive") && i.operands().size() == 1 && i.operand(0) instanceof Operand.Immediate k && k.bits() == 0;
    }

    /** A loop without effects in which memory is read strongly, or an exchange with operands of outside is tried, waits. */
    private void loop(int from, int to) {
        var written = new BitSet();
        int start = graph.block(from).start(), end = graph.block(to).end();
        for (int k = start; k < end; k++) Effects.writes(graph.instruction(k), r -> written.set(r.id()));
        var found = new BitSet();
        for (int k = start; k < end; k++) {
            Instruction i = graph.instruction(k);
            switch (i.opcode()) {
                case "st", "red", "cp", "bar", "barrier", "mma", "call", "stmatrix", "wmma" -> { return; }
                case "mbarrier" -> { if (!isTest(i)) return; }
                case "atom" -> {
                    boolean[] fixed = {true};
                    List<Operand> o = i.operands();
                    for (int n = 1; n < o.size(); n++) Effects.registers(o.get(n), r -> fixed[0] &= !written.get(r.id()));
                    if (!fixed[0]) return;
                    found.set(k);
                }
                case "ld" -> { if (i.has("volatile") || i.has("relaxed") || i.has("acquire") || i.has("mmio")) found.set(k); }
                case "nanosleep" -> found.set(k);
                default -> { }
            }
        }
        spins.or(found);
    }
}
