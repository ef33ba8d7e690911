package dev.turningpoint.softgpu.jit;

import dev.turningpoint.softgpu.analysis.Effects;
import dev.turningpoint.softgpu.analysis.FlowGraph;
import dev.turningpoint.softgpu.analysis.KernelAnalysis;
import dev.turningpoint.softgpu.ptx.Instruction;
import dev.turningpoint.softgpu.ptx.Operand;
import dev.turningpoint.softgpu.ptx.Register;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.List;

/**
 * Places in memory for registers that LLVM must not take into its own hands, since functions get their addresses: registers that are never alive together share
 * one, so that hundreds of accumulators and fragments stay in the first-level cache. What a move or a matrix product hands on stays in its place where it can.
 */
final class SharedSlots {
    private SharedSlots() {}

    /** The place of each of these registers, counted from 0; -1 for the others. */
    static int[] assign(KernelAnalysis analysis, BitSet members) {
        int n = analysis.kernel().registers().size();
        int[] place = new int[n];
        Arrays.fill(place, -1);
        if (members.isEmpty()) return place;
        BitSet[] apart = new BitSet[n];
        List<List<Integer>> kin = new ArrayList<>();
        for (int r = 0; r < n; r++) { apart[r] = new BitSet(); kin.add(new ArrayList<>()); }
        var order = new java.util.LinkedHashSet<Integer>();
        FlowGraph graph = analysis.graph();
        for (int b = 0; b < graph.size(); b++) {
            FlowGraph.Block block = graph.block(b);
            BitSet[] after = analysis.liveAfter(b);
            for (int k = block.start(); k < block.end(); k++) {
                Instruction i = graph.instruction(k);
                var written = new BitSet();
                Effects.writes(i, r -> { if (members.get(r.id())) { written.set(r.id()); order.add(r.id()); } });
                if (written.isEmpty()) continue;
                var others = (BitSet) after[k - block.start()].clone();
                others.or(written);
                if (i.is("mma")) {   // results are written while the factors are still read
                    for (int o = 1; o <= 2; o++) Effects.registers(i.operand(o), r -> others.set(r.id()));
                    pair(i.operand(0).elements(), i.operand(3).elements(), members, kin);
                } else if (i.is("mov") && i.guard() == null) {
                    pair(List.of(i.operand(0)), List.of(i.operand(1)), members, kin);
                    if (i.operand(1) instanceof Operand.Reg same) others.clear(same.register().id());
                }
                others.and(members);
                for (int d = written.nextSetBit(0); d >= 0; d = written.nextSetBit(d + 1)) apart[d].or(others);
            }
        }
        for (int r = members.nextSetBit(0); r >= 0; r = members.nextSetBit(r + 1)) order.add(r);
        for (int d = members.nextSetBit(0); d >= 0; d = members.nextSetBit(d + 1))
            for (int o = apart[d].nextSetBit(0); o >= 0; o = apart[d].nextSetBit(o + 1)) apart[o].set(d);
        for (int r : order) {
            var taken = new BitSet();
            for (int o = apart[r].nextSetBit(0); o >= 0; o = apart[r].nextSetBit(o + 1)) if (place[o] >= 0) taken.set(place[o]);
            for (int o : kin.get(r)) if (place[r] < 0 && place[o] >= 0 && !taken.get(place[o])) place[r] = place[o];
            if (place[r] < 0) place[r] = taken.nextClearBit(0);
        }
        return place;
    }

    private static void pair(List<Operand> a, List<Operand> b, BitSet members, List<List<Integer>> kin) {
        for (int j = 0; j < Math.min(a.size(), b.size()); j++) {
            if (!(a.get(j) instanceof Operand.Reg x) || !(b.get(j) instanceof Operand.Reg y)) continue;
            Register p = x.register(), q = y.register();
            if (!members.get(p.id()) || !members.get(q.id())) continue;
            kin.get(p.id()).add(q.id());
            kin.get(q.id()).add(p.id());
        }
    }
}
