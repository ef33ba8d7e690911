package dev.turningpoint.softgpu.check;

import dev.turningpoint.softgpu.interpreter.Access;
import dev.turningpoint.softgpu.interpreter.Block;
import dev.turningpoint.softgpu.interpreter.KernelFault;
import dev.turningpoint.softgpu.interpreter.Launch;
import dev.turningpoint.softgpu.interpreter.Observer;
import dev.turningpoint.softgpu.interpreter.Warp;
import dev.turningpoint.softgpu.ptx.Instruction;
import dev.turningpoint.softgpu.ptx.StateSpace;
import dev.turningpoint.softgpu.system.Heap;

/** Looks on at the blocks of one launch that one thread of the device runs. Bounds of parameters and local memory are the interpreter's own business. */
final class CheckedBlocks implements Observer {
    private static final int BARRIERS = 16;

    private final CheckedLaunch launch;
    private final Allocations allocations;
    private final SharedMemory shared;
    /** Where the last access to global memory was: most often the next one is there too. */
    private Allocation last;
    /** Who came first to a barrier that awaits the whole block. */
    private final Instruction[] first = new Instruction[BARRIERS];
    private final Warp[] firstWarp = new Warp[BARRIERS];
    private final int[] firstLane = new int[BARRIERS];

    /** Null if the launch has one block. */
    private final BlockRaces.View races;
    /** Whether the block has met others by an atomic or strong access: from there on it may rely on what they did. */
    private boolean met;

    CheckedBlocks(Launch launch, CheckedLaunch findings, Allocations allocations, BlockRaces races) {
        this.races = races == null ? null : races.new View();
        this.launch = findings;
        this.allocations = allocations;
        shared = new SharedMemory(launch, findings);
    }

    @Override
    public void blockBegins(Block block) {
        shared.begin(block);
        met = false;
        java.util.Arrays.fill(first, null);
    }

    @Override
    public void instruction(Warp w, Instruction i, int active, int lanes) {
        switch (i.opcode()) {
            case "membar", "fence" -> shared.fence(w);
            case "cp" -> { if (lanes != 0) shared.copies(w, i, lanes); }
            default -> { }
        }
    }

    @Override
    public void access(Warp w, Access a) {
        requireAligned(w, a);
        switch (a.space) {
            case GLOBAL, CONST -> global(w, a);
            case SHARED -> shared.access(w, a);
            default -> { }
        }
        if (a.strong && (a.space == StateSpace.GLOBAL || a.space == StateSpace.SHARED)) shared.synchronises(w, a);
    }

    private static void requireAligned(Warp w, Access a) {
        for (int rest = a.lanes; rest != 0; rest &= rest - 1) {
            int l = Integer.numberOfTrailingZeros(rest);
            if ((a.address[l] & a.alignment - 1) != 0)
                throw new KernelFault(KernelFault.Kind.MISALIGNED_ADDRESS, "misaligned " + verb(a) + ": " + w.where(a.instruction, l) + ": "
                        + (a.space == StateSpace.SHARED || a.space == StateSpace.LOCAL ? "offset " + a.address[l] + " of " + a.space.name().toLowerCase(java.util.Locale.ROOT) + " memory"
                        : "address 0x" + Long.toHexString(a.address[l])) + " is no multiple of " + a.alignment);
        }
    }

    static String verb(Access a) {
        return switch (a.kind) { case READ -> "read"; case WRITE, ASYNC_WRITE -> "write"; case READ_WRITE -> "atomic access"; };
    }

    // ---- global memory

    private void global(Warp w, Access a) {
        for (int rest = a.lanes; rest != 0; rest &= rest - 1) {
            int l = Integer.numberOfTrailingZeros(rest);
            long at = a.address[l];
            Allocation in = last;
            if (in == null || !in.holds(at, a.bytes)) {
                if (Heap.contains(at, a.bytes)) continue;   // what device code allocated for itself
                in = allocations.find(at);
                if (in == null || !in.holds(at, a.bytes)) throw outside(w, a, l, in);
                last = in;
            }
            long offset = at - in.start();
            if (a.kind == Access.Kind.READ || a.kind == Access.Kind.READ_WRITE) {
                for (long unwritten = in.unwritten(offset, a.bytes); unwritten >= 0; unwritten = in.unwritten(unwritten + 1, offset + a.bytes - unwritten - 1)) {
                    if (!launch.matters(a.instruction, unwritten - offset)) continue;
                    Allocation allocation = in;
                    long address = in.start() + unwritten;
                    launch.found("uninitialised read", w, l, a.instruction, null, () -> "nobody wrote the byte " + allocation.describe(address));
                    break;
                }
            }
            if (a.kind != Access.Kind.READ) in.write(offset, a.bytes);
            if (races != null && !met && !a.strong) races.access(w, a, l);
        }
        met |= a.strong;
    }

    private KernelFault outside(Warp w, Access a, int lane, Allocation near) {
        long at = a.address[lane];
        boolean freed = near != null && near.isFreed() && near.encloses(at, 1);
        return new KernelFault(KernelFault.Kind.ILLEGAL_ADDRESS, (freed ? "use after free" : "out of bounds") + ": " + w.where(a.instruction, lane) + ": " + verb(a) + " of " + a.bytes
                + " bytes at 0x" + Long.toHexString(at) + ", " + allocations.describe(at, a.bytes));
    }

    // ---- barriers

    @Override
    public void barrierArrives(Warp w, Instruction i, int id, int lanes) {
        if (awaitsBlock(i)) {
            if (first[id] == null) {
                first[id] = i;
                firstWarp[id] = w;
                firstLane[id] = Integer.numberOfTrailingZeros(lanes);
            } else if (first[id] != i && !(i.source() != null && i.source().equals(first[id].source()))) {
                Instruction other = first[id];
                launch.found("divergent barrier", w, Integer.numberOfTrailingZeros(lanes), i, other, () -> "the whole block has to come to one barrier " + id + ", and thread "
                        + firstWarp[id].threadName(firstLane[id]) + " waits at the one of " + w.line(other));
            }
        }
        shared.arrives(w, id, lanes, i.has("arrive"));
    }

    @Override
    public void barrierCompletes(Block block, int id, long warps) {
        shared.completes(block, id, warps, first[id] != null);
        first[id] = null;
    }

    /** Whether no number of threads is given. */
    private static boolean awaitsBlock(Instruction i) { return i.operands().size() - (i.has("red") ? 2 : 0) == 1; }

    @Override
    public void warpMeets(Warp w, Instruction i, int lanes) {
        if (i.is("bar") || i.is("barrier")) shared.meets(w, lanes);   // shfl, vote and their like let nobody see what others stored
    }
}
