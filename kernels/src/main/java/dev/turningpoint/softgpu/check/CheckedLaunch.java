package dev.turningpoint.softgpu.check;

import dev.turningpoint.softgpu.analysis.Effects;
import dev.turningpoint.softgpu.interpreter.KernelFault;
import dev.turningpoint.softgpu.interpreter.Launch;
import dev.turningpoint.softgpu.interpreter.Observer;
import dev.turningpoint.softgpu.interpreter.Warp;
import dev.turningpoint.softgpu.interpreter.Watch;
import dev.turningpoint.softgpu.ptx.Instruction;
import dev.turningpoint.softgpu.ptx.Operand;
import dev.turningpoint.softgpu.ptx.PtxType;

import java.util.BitSet;
import java.util.Comparator;
import java.util.HashMap;
import java.util.Map;
import java.util.function.Consumer;
import java.util.function.Supplier;

/** One launch and what was found in it. */
final class CheckedLaunch implements Watch.Watched {
    /** Kept of one launch. */
    private static final int MOST = 50;

    /** The same fault of the same instructions is one finding, whoever committed it. */
    private record Key(String fault, Instruction by, Instruction other) {}

    private record Finding(long block, int order, String text) {}

    private final Launch launch;
    private final Allocations allocations;
    private final Consumer<String> log;
    private final Map<Key, Finding> findings = new HashMap<>();
    /** Null for a launch of one block. */
    private final BlockRaces races;
    /** Registers that some instruction of the kernel reads. */
    private BitSet read;

    CheckedLaunch(Launch launch, Allocations allocations, Consumer<String> log) {
        this.launch = launch;
        this.allocations = allocations;
        this.log = log;
        races = launch.blocks() == 1 ? null : new BlockRaces(launch, this);
    }

    @Override
    public Observer observer() { return new CheckedBlocks(launch, this, allocations, races); }

    /** Where an address of global memory lies, in words. */
    String place(long address) {
        Allocation a = allocations.find(address);
        return a == null ? "at 0x" + Long.toHexString(address) : a.describe(address);
    }

    /**
     * Something that does not end the launch.
     *
     * @param other the other party's instruction; null if there is none
     * @param text  what was done, put after who did it and where
     */
    synchronized void found(String fault, Warp w, int lane, Instruction by, Instruction other, Supplier<String> text) {
        boolean turned = other != null && other.line() < by.line();   // of a race either party may come second
        var key = new Key(fault, turned ? other : by, turned ? by : other);
        Finding known = findings.get(key);
        long block = w.block().index();
        if (known == null ? findings.size() >= MOST : known.block <= block) return;   // of a grid's blocks the first is named, in whatever order they ran
        findings.put(key, new Finding(block, known == null ? findings.size() : known.order, fault + ": " + w.where(by, lane) + ": " + text.get()));
    }

    @Override
    public void ends(KernelFault fault) {
        var all = findings.values().stream().sorted(Comparator.comparingLong(Finding::block).thenComparingInt(Finding::order)).toList();
        if (all.isEmpty()) return;
        for (Finding f : all.subList(fault == null ? 1 : 0, all.size())) log.accept(f.text);
        if (fault == null)
            throw new KernelFault(KernelFault.Kind.LAUNCH_FAILED, all.getFirst().text + (all.size() == 1 ? "" : " (and " + (all.size() - 1) + " more in the log before this line)"));
    }

    /**
     * Whether anybody looks at a byte that an instruction loads: of {@code ld.v4} with three elements in use, the fourth may be padding.
     *
     * @param byteOfLane counted from the lane's address
     */
    synchronized boolean matters(Instruction i, long byteOfLane) {
        if (!i.is("ld") && !i.is("ldu")) return true;
        if (read == null) {
            read = new BitSet();
            for (Instruction each : launch.kernel().instructions()) Effects.reads(each, r -> read.set(r.id()));
        }
        PtxType type = i.type();
        var elements = i.operand(0).elements();
        return elements.get((int) (byteOfLane / type.bytes())) instanceof Operand.Reg r && read.get(r.register().id());
    }
}
