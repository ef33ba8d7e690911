package dev.turningpoint.softgpu.check;

import dev.turningpoint.softgpu.interpreter.Access;
import dev.turningpoint.softgpu.interpreter.Block;
import dev.turningpoint.softgpu.interpreter.KernelFault;
import dev.turningpoint.softgpu.interpreter.Launch;
import dev.turningpoint.softgpu.interpreter.Warp;
import dev.turningpoint.softgpu.ptx.Instruction;
import dev.turningpoint.softgpu.ptx.Operand;
import dev.turningpoint.softgpu.ptx.PtxType;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * The shadow of a block's shared memory: who touched each byte last, and whether that was ordered before who touches it now.
 *
 * <p>Accesses of the block's warps are numbered as they happen. A barrier of the whole block orders all before all after it. Between such barriers each warp knows up to
 * which number it may rely on the accesses of every other warp (told by barriers of some warps, barrier objects, and fences with atomics), and each lane the same of
 * the lanes of its warp (told by {@code bar.warp.sync}). Two accesses of different threads to a byte, one of them a write, neither ordered before the other and not
 * both strong, are a race. Of unordered readers of a byte two are remembered.
 *
 * <p>The bytes of {@code cp.async} may arrive at any time until the thread that asked for them waits, so touching them before is a race whoever does it; a barrier
 * passes them on only after that wait.
 *
 * <p>Several writes of the same value are no race: the byte is the same whoever comes last.
 */
final class SharedMemory {
    private static final MemorySegment ALL = MemorySegment.NULL.reinterpret(Long.MAX_VALUE);
    /** Accesses between two barriers that are remembered; of longer stretches what came before is taken to be ordered. */
    private static final int MOST_EVENTS = 1 << 20;

    /** A {@code cp.async} of a warp. */
    private static final class Copy {
        final Instruction instruction;
        final Warp warp;
        /** How many groups its thread had committed before. */
        final int group;
        /** Lanes whose bytes may still be on the way. */
        int lanes;
        /** Number of the wait, 0 until all its lanes have waited. */
        long arrived;

        Copy(Instruction instruction, Warp warp, int group, int lanes) {
            this.instruction = instruction;
            this.warp = warp;
            this.group = group;
            this.lanes = lanes;
        }
    }

    private final CheckedLaunch launch;
    private final Launch shape;
    private final int warps;

    // For each byte number << 5 | lane of the access: its last write, and two reads since. Copies that have not been seen to arrive by index + 1 << 5 | lane.
    private long[] writes = {}, reads = {}, otherReads = {};
    private int[] copies = {};

    /** Number of the last access, counted over all blocks. Up to {@link #ordered}, accesses are before everything to come; up to {@link #begun}, of an earlier block. */
    private long clock, ordered, begun;
    // What was done by the accesses after ordered.
    private Instruction[] instructions = new Instruction[64];
    private short[] actors = new short[64];   // warp << 1 | strong

    /** Up to which number a warp relies on another: {@code [warp][other]}; and a lane on a lane of its warp: {@code [warp][lane * 32 + other]}. */
    private final long[][] known;
    private final long[][] knownLanes;

    // Barriers of some warps.
    private final long[][] told = new long[16][];
    private final int[][] comers = new int[16][];   // lanes that wait, per warp

    // What fences and atomics pass on.
    private final long[][] fenced, heard;
    private final Map<Long, long[]> published = new HashMap<>();

    private final List<Copy> copiesOfBlock = new ArrayList<>();
    private final List<List<Copy>> underWay = new ArrayList<>();
    private final int[][] committed;
    private Block block;

    SharedMemory(Launch shape, CheckedLaunch launch) {
        this.launch = launch;
        this.shape = shape;
        warps = shape.warps();
        known = new long[warps][warps];
        knownLanes = new long[warps][32 * 32];
        fenced = new long[warps][];
        heard = new long[warps][];
        committed = new int[warps][32];
        for (int w = 0; w < warps; w++) underWay.add(new ArrayList<>());
    }

    void begin(Block block) {
        this.block = block;
        if (writes.length < block.sharedBytes()) {
            int bytes = Math.toIntExact(block.sharedBytes());
            writes = new long[bytes];
            reads = new long[bytes];
            otherReads = new long[bytes];
            copies = new int[bytes];
        }
        if (!copiesOfBlock.isEmpty()) {
            copiesOfBlock.clear();
            for (var of : underWay) of.clear();
            Arrays.fill(copies, 0);
        }
        begun = ordered = clock;
        published.clear();
        Arrays.fill(fenced, null);
        Arrays.fill(heard, null);
        Arrays.fill(told, null);
    }

    // ---- accesses

    private long event(Warp w, Instruction i, boolean strong) {
        if (clock - ordered >= MOST_EVENTS) ordered = clock;
        int at = (int) (clock - ordered);
        if (at == instructions.length) {
            instructions = Arrays.copyOf(instructions, at * 2);
            actors = Arrays.copyOf(actors, at * 2);
        }
        instructions[at] = i;
        actors[at] = (short) (w.index() << 1 | (strong ? 1 : 0));
        return ++clock;
    }

    private Instruction instruction(long entry) { return instructions[(int) ((entry >>> 5) - ordered - 1)]; }

    private int actor(long entry) { return actors[(int) ((entry >>> 5) - ordered - 1)]; }

    /** Whether the access of an entry is before what this lane does now. */
    private boolean isOrdered(long entry, Warp w, int lane, boolean strong) {
        long number = entry >>> 5;
        if (number <= ordered) return true;
        int actor = actor(entry), other = actor >> 1;
        if (strong && (actor & 1) != 0) return true;
        if (other != w.index()) return number <= known[w.index()][other];
        int otherLane = (int) entry & 31;
        return otherLane == lane || number <= knownLanes[other][lane * 32 + otherLane];
    }

    void access(Warp w, Access a) {
        for (int rest = a.lanes; rest != 0; rest &= rest - 1) {
            int l = Integer.numberOfTrailingZeros(rest);
            long at = a.address[l];
            if (at < 0 || at + a.bytes > block.sharedBytes())
                throw new KernelFault(KernelFault.Kind.ILLEGAL_ADDRESS, "out of bounds: " + w.where(a.instruction, l) + ": " + CheckedBlocks.verb(a) + " of " + a.bytes + " bytes at offset " + at
                        + " of the block's " + block.sharedBytes() + " bytes of shared memory");
        }
        long number = event(w, a.instruction, a.strong);
        boolean reads = a.kind == Access.Kind.READ, async = a.kind == Access.Kind.ASYNC_WRITE;
        Copy copy = null;
        if (async) {
            copy = new Copy(a.instruction, w, committed[w.index()][Integer.numberOfTrailingZeros(a.lanes)], a.lanes);
            copiesOfBlock.add(copy);
            underWay.get(w.index()).add(copy);
        }
        for (int rest = a.lanes; rest != 0; rest &= rest - 1) {
            int l = Integer.numberOfTrailingZeros(rest);
            long entry = number << 5 | l;
            for (int k = 0; k < a.bytes; k++) {
                int at = (int) a.address[l] + k;
                if (copies[at] != 0) settle(w, a, l, at);
                if (reads) read(w, a, l, k, at, entry);
                else {
                    write(w, a, l, k, at, entry);
                    if (async) copies[at] = copiesOfBlock.size() << 5 | l;
                }
            }
        }
    }

    private void read(Warp w, Access a, int lane, int k, int at, long entry) {
        long write = writes[at];
        if (write >>> 5 <= begun) {
            if (launch.matters(a.instruction, k)) uninitialised(w, a, lane, at);
        } else if (!isOrdered(write, w, lane, a.strong)) race(w, a, lane, at, write, "wrote");
        if (isOrdered(reads[at], w, lane, false)) reads[at] = entry;
        else otherReads[at] = entry;
    }

    private void write(Warp w, Access a, int lane, int k, int at, long entry) {
        long write = writes[at];
        if (a.kind == Access.Kind.READ_WRITE && write >>> 5 <= begun && !a.instruction.is("mbarrier")) uninitialised(w, a, lane, at);
        if (!isOrdered(write, w, lane, a.strong) && !same(w, a, lane, k, at, write)) race(w, a, lane, at, write, "wrote");
        if (!isOrdered(reads[at], w, lane, a.strong)) race(w, a, lane, at, reads[at], "read");
        else if (!isOrdered(otherReads[at], w, lane, a.strong)) race(w, a, lane, at, otherReads[at], "read");
        writes[at] = entry;
        reads[at] = otherReads[at] = 0;
    }

    /** Whether a store changes nothing: it stores what an earlier one did, or another lane of the same. */
    private boolean same(Warp w, Access a, int lane, int k, int at, long write) {
        if (!a.instruction.is("st")) return false;
        int stored = stored(w, a.instruction, lane, k);
        if (stored < 0) return false;
        boolean together = write >>> 5 == clock;
        return stored == (together ? stored(w, a.instruction, (int) write & 31, k) : ALL.get(ValueLayout.JAVA_BYTE, block.sharedAddress() + at) & 0xff);
    }

    /** Whether a lane stores into the pair of bytes at a machine address what is there already. */
    static boolean stores(Warp w, Access a, int lane, long at) {
        if (!a.instruction.is("st")) return false;
        for (int b = 0; b < 2; b++) if (stored(w, a.instruction, lane, (int) (at - a.address[lane]) + b) != (ALL.get(ValueLayout.JAVA_BYTE, at + b) & 0xff)) return false;
        return true;
    }

    /** Byte {@code k} of what a lane stores; -1 if that is not easily told. */
    private static int stored(Warp w, Instruction store, int lane, int k) {
        PtxType type = store.type();
        if (type.bytes() > 8) return -1;
        Operand o = store.operand(1).elements().get(k / type.bytes());
        long bits = switch (o) {
            case Operand.Reg r -> w.bits(r.register(), lane);
            case Operand.Immediate i when i.kind() == Operand.Immediate.Kind.INTEGER -> i.bits();
            default -> -1;
        };
        return o instanceof Operand.Reg || o instanceof Operand.Immediate i && i.kind() == Operand.Immediate.Kind.INTEGER ? (int) (bits >>> 8 * (k % type.bytes())) & 0xff : -1;
    }

    private void uninitialised(Warp w, Access a, int lane, int at) {
        launch.found("uninitialised read", w, lane, a.instruction, null, () -> "nobody in the block wrote the byte at " + place(at));
    }

    private void race(Warp w, Access a, int lane, int at, long with, String did) {
        Instruction other = instruction(with);
        int warp = actor(with) >> 1;
        launch.found("race", w, lane, a.instruction, other, () -> CheckedBlocks.verb(a) + " at " + place(at) + ", which thread " + block.warp(warp).threadName((int) with & 31) + " " + did + " at "
                + w.line(other) + ", with nothing between that orders the two");
    }

    private String place(int at) {
        String variable = shape.kernel().sharedVariable(at);
        return "offset " + at + " of the block's " + block.sharedBytes() + " bytes of shared memory" + (variable == null ? "" : " (" + variable + ")");
    }

    // ---- order

    /** A barrier orders the accesses of these lanes, who have come to it, for each other. */
    void meets(Warp w, int lanes) {
        long[] mine = knownLanes[w.index()], all = new long[32];
        for (int rest = lanes; rest != 0; rest &= rest - 1) {
            int l = Integer.numberOfTrailingZeros(rest);
            for (int m = 0; m < 32; m++) all[m] = Math.max(all[m], (lanes >>> m & 1) != 0 ? clock : mine[l * 32 + m]);
        }
        for (int rest = lanes; rest != 0; rest &= rest - 1) System.arraycopy(all, 0, mine, Integer.numberOfTrailingZeros(rest) * 32, 32);
    }

    void arrives(Warp w, int id, int lanes, boolean goesOn) {
        if (told[id] == null) {
            told[id] = new long[warps];
            comers[id] = new int[warps];
        }
        merge(told[id], known[w.index()]);
        told[id][w.index()] = clock;
        if (!goesOn) comers[id][w.index()] |= lanes;
    }

    void completes(Block block, int id, long arrived, boolean wholeBlock) {
        if (wholeBlock) {
            ordered = clock;
            published.clear();
        } else {
            for (int w = 0; w < warps; w++) {
                if (comers[id][w] == 0) continue;
                merge(known[w], told[id]);
                meets(block.warp(w), comers[id][w]);
            }
        }
        told[id] = null;
    }

    private static void merge(long[] into, long[] from) { for (int i = 0; i < into.length; i++) into[i] = Math.max(into[i], from[i]); }

    private long[] knowledge(Warp w) {
        long[] all = known[w.index()].clone();
        all[w.index()] = clock;
        return all;
    }

    /** What the warp did is published by its next atomic access, and what it has heard by its last ones counts from here on. */
    void fence(Warp w) {
        if (heard[w.index()] != null) learn(w, heard[w.index()]);
        heard[w.index()] = null;
        fenced[w.index()] = knowledge(w);
    }

    private void learn(Warp w, long[] from) {
        merge(known[w.index()], from);
        long own = from[w.index()];   // heard from other lanes of the same warp
        if (own > ordered) {
            long[] lanes = knownLanes[w.index()];
            for (int i = 0; i < lanes.length; i++) lanes[i] = Math.max(lanes[i], own);
        }
    }

    /** An atomic or strong access, after which others may rely on what came before a fence. */
    void synchronises(Warp w, Access a) {
        if (block.sharedBytes() == 0) return;
        boolean object = a.instruction.is("mbarrier") || a.instruction.is("cp"), both = object || a.instruction.has("acq_rel");
        boolean acquires = both || a.instruction.has("acquire"), releases = both || a.instruction.has("release");
        for (int rest = a.lanes; rest != 0; rest &= rest - 1) {
            long at = a.address[Integer.numberOfTrailingZeros(rest)];
            if (a.kind != Access.Kind.WRITE) {
                long[] p = published.get(at);
                if (p != null && acquires) learn(w, p);
                else if (p != null) merge(heard[w.index()] == null ? heard[w.index()] = new long[warps] : heard[w.index()], p);
            }
            long[] mine = a.kind == Access.Kind.READ ? null : releases ? knowledge(w) : fenced[w.index()];
            if (mine != null) merge(published.computeIfAbsent(at, x -> new long[warps]), mine);
        }
    }

    // ---- cp.async

    /** {@code cp.async} other than the copy itself: groups are closed and waited for. */
    void copies(Warp w, Instruction i, int lanes) {
        int[] groups = committed[w.index()];
        boolean all = i.has("wait_all");
        if (i.has("commit_group") || all) for (int rest = lanes; rest != 0; rest &= rest - 1) groups[Integer.numberOfTrailingZeros(rest)]++;
        if (i.has("wait_group") || all) arrive(w, lanes, all ? 0 : (int) ((Operand.Immediate) i.operand(0)).bits());
        if (i.has("mbarrier")) arrive(w, lanes, -1);   // the object is told when they have arrived: whoever waits for it waits for them
    }

    /** All groups of these lanes but the last {@code pending} have arrived. */
    private void arrive(Warp w, int lanes, int pending) {
        var of = underWay.get(w.index());
        for (Copy c : of) {
            for (int rest = c.lanes & lanes; rest != 0; rest &= rest - 1) {
                int l = Integer.numberOfTrailingZeros(rest);
                if (c.group < committed[w.index()][l] - pending) c.lanes &= ~(1 << l);
            }
            if (c.lanes == 0) c.arrived = event(w, c.instruction, false);
        }
        of.removeIf(c -> c.lanes == 0);
    }

    /** A byte is touched that a copy brings: it has arrived, or it is too early. */
    private void settle(Warp w, Access a, int lane, int at) {
        Copy c = copiesOfBlock.get((copies[at] >>> 5) - 1);
        int asker = copies[at] & 31;
        if (c.arrived != 0) {
            writes[at] = c.arrived << 5 | asker;
            copies[at] = 0;
        } else if (c.lanes != 0) {
            launch.found("race", w, lane, a.instruction, c.instruction, () -> CheckedBlocks.verb(a) + " at " + place(at) + ", where the copy may still arrive that thread "
                    + c.warp.threadName(asker) + " began at " + w.line(c.instruction) + " and has not waited for");
        }
    }
}
