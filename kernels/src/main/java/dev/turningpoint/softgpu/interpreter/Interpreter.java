package dev.turningpoint.softgpu.interpreter;

import dev.turningpoint.softgpu.interpreter.KernelFault.Kind;
import dev.turningpoint.softgpu.ptx.Instruction;
import dev.turningpoint.softgpu.ptx.Operand;
import dev.turningpoint.softgpu.ptx.PtxException;
import dev.turningpoint.softgpu.ptx.PtxKernel;
import dev.turningpoint.softgpu.ptx.PtxModule;
import dev.turningpoint.softgpu.ptx.PtxType;
import dev.turningpoint.softgpu.ptx.Register;
import dev.turningpoint.softgpu.system.Heap;
import dev.turningpoint.softgpu.system.SystemCall;

import java.lang.foreign.Arena;
import java.util.List;

/**
 * Runs blocks of one kernel, instruction by instruction. Made once for a kernel and a thread, and used by that thread alone.
 *
 * <p>Every lane has a place in the program of its own. Of the lanes of a warp that can go on, those with the smallest place run together until they reach the
 * place of others. Lanes that come to an operation which names members ({@code shfl.sync}, {@code bar.warp.sync}, {@code mma.sync}) wait until all living
 * members have come. Warps of a block take turns: at barriers, when they wait or sleep, and when they have run long without one. Where the same lanes end two
 * turns running, the others of their warp go first for once, so that a lane that spins sees what another lane of its warp stores.
 */
public final class Interpreter {
    /** Which addresses the device may touch. */
    public interface Allocations {
        /** Whether all of these bytes lie in one live allocation, module variable or pinned host range. */
        boolean reachable(long address, long bytes);
    }

    /** Instructions a warp runs before another has its turn, so that a warp that spins on another's store sees it. */
    private static final int TURN = 50_000;
    private static final int NOWHERE = Integer.MAX_VALUE;

    private enum Flow { PLAIN, MEMBERS, BRANCH, TABLE, END, TRAP, BARRIER, YIELD }

    private static final class Step {
        final Instruction instruction;
        Flow flow = Flow.PLAIN;
        Operation operation;
        int guard = -1;          // register, -1 none
        long guardValue;         // what it must be
        int target = NOWHERE;
        int[] table;
        Values index;            // into the table
        Values members;
        boolean aligned;         // a barrier to which the lanes of a warp come together

        Step(Instruction instruction) { this.instruction = instruction; }

        int lanes(Warp w, int active) {
            if (guard < 0) return active;
            long[] p = w.registers[guard];
            int lanes = 0;
            for (int rest = active; rest != 0; rest &= rest - 1) {
                int l = Integer.numberOfTrailingZeros(rest);
                if (p[l] == guardValue) lanes |= 1 << l;
            }
            return lanes;
        }
    }

    private final PtxKernel kernel;
    private final PtxModule module;
    private final Step[] steps;
    final Allocations allocations;
    final Access access = new Access();
    private final Barriers barriers;
    private Observer observer = Observer.NONE;
    private boolean watched;
    private Instruction current;
    private boolean yields;

    /** @throws PtxException if the kernel has an instruction that is not served, naming its line */
    public Interpreter(PtxModule module, PtxKernel kernel, Allocations allocations) {
        kernel.requireServed();
        this.module = module;
        this.kernel = kernel;
        this.allocations = (address, bytes) -> allocations.reachable(address, bytes) || Heap.contains(address, bytes);
        var operands = new Operands(module, kernel);
        barriers = new Barriers(this, operands);
        var memory = new MemoryOperations(this, operands);
        var between = new WarpOperations(operands);
        List<Instruction> list = kernel.instructions();
        steps = new Step[list.size() + 1];
        for (int pc = 0; pc < list.size(); pc++) {
            Instruction i = list.get(pc);
            try {
                steps[pc] = step(i, operands, memory, between);
            } catch (IndexOutOfBoundsException | ClassCastException | NullPointerException | IllegalArgumentException e) {
                PtxException refused = operands.refuse(i, "with these operands");
                refused.initCause(e);
                throw refused;
            }
        }
        Step end = new Step(null);   // running off the end of the text ends the thread
        end.flow = Flow.END;
        steps[list.size()] = end;
    }

    private Step step(Instruction i, Operands operands, MemoryOperations memory, WarpOperations between) {
        var s = new Step(i);
        if (i.guard() != null) {
            s.guard = i.guard().register().id();
            s.guardValue = i.guard().negated() ? 0 : 1;
        }
        switch (i.opcode()) {
            case "bra" -> {
                s.flow = Flow.BRANCH;
                s.target = place(((Operand.Label) i.operand(0)).name());
            }
            case "brx" -> {
                s.flow = Flow.TABLE;
                s.index = operands.source(i, 0, PtxType.U32);
                s.table = kernel.branchTables().get(((Operand.Label) i.operand(1)).name()).stream().mapToInt(this::place).toArray();
            }
            case "ret", "exit" -> s.flow = Flow.END;
            case "trap", "brkpt" -> s.flow = Flow.TRAP;
            case "nanosleep" -> s.flow = Flow.YIELD;
            case "bar", "barrier" -> {
                if (i.has("warp")) {
                    s.flow = Flow.MEMBERS;
                    s.members = operands.source(i, 0, PtxType.B32);
                    s.operation = (w, lanes) -> { };
                } else {
                    s.flow = Flow.BARRIER;
                    s.aligned = Barriers.aligned(i);
                    s.operation = barriers.barrier(i);
                }
            }
            case "mbarrier" -> s.operation = barriers.object(i);
            case "membar", "fence", "prefetch", "prefetchu", "discard", "applypriority", "griddepcontrol", "createpolicy", "pmevent" -> s.operation = (w, lanes) -> { };
            case "ld", "ldu" -> s.operation = memory.load(i);
            case "st" -> s.operation = memory.store(i);
            case "atom", "red" -> s.operation = memory.atomic(i);
            case "cp" -> s.operation = i.has("mbarrier") ? barriers.object(i) : memory.copyAsync(i);
            case "cvta" -> s.operation = memory.convertAddress(i);
            case "isspacep" -> s.operation = memory.isSpace(i);
            case "ldmatrix" -> { whole(s); s.operation = memory.loadMatrix(i); }
            case "stmatrix" -> { whole(s); s.operation = memory.storeMatrix(i); }
            case "movmatrix" -> { whole(s); s.operation = between.transpose(i); }
            case "mma" -> { whole(s); s.operation = MatrixProducts.operation(i, operands); }
            case "wmma" -> { whole(s); s.operation = i.has("mma") ? MatrixProducts.operation(i, operands) : memory.warpMatrix(i); }
            case "shfl", "vote", "match", "redux", "elect" -> {
                if (!i.has("sync")) throw operands.refuse(i, "without .sync, of before sm_70");
                s.flow = Flow.MEMBERS;
                s.members = operands.source(i, i.operands().size() - 1, PtxType.B32);
                s.operation = between.operation(i);
            }
            case "call" -> s.operation = call(i, operands);
            case "activemask" -> s.operation = between.activeMask(i);
            default -> s.operation = Arithmetic.operation(i, operands);
        }
        return s;
    }

    /** An operation of all 32 lanes. */
    private static void whole(Step s) {
        s.flow = Flow.MEMBERS;
        s.members = Operands.constant(-1);
    }

    private Operation call(Instruction i, Operands operands) {
        SystemCall c = SystemCall.of(((Operand.Label) i.operand(1)).name());
        if (c == null) throw operands.refuse(i, "of " + i.operand(1));
        var sources = new Values[c.arguments()];
        for (int n = 0; n < sources.length; n++) sources[n] = operands.source(i, 2 + n, PtxType.B64);
        Register d = Operands.target(i.operand(0));
        long[] a = new long[sources.length];
        return (w, lanes) -> {
            KernelFault fault = null;
            for (int rest = lanes; rest != 0; rest &= rest - 1) {
                int l = Integer.numberOfTrailingZeros(rest), t = w.thread(l), x = w.block.launch.blockX(), y = w.block.launch.blockY();
                for (int n = 0; n < a.length; n++) a[n] = sources[n].of(w)[l];
                switch (c.call(a, new SystemCall.Caller(w.block.x, w.block.y, w.block.z, t % x, t / x % y, t / (x * y)))) {
                    case DONE -> { }
                    case ASSERTION -> fault = fault(Kind.ASSERT, w, l, "an assertion failed");
                    case NO_BLOCK -> fault = fault(Kind.LAUNCH_FAILED, w, l, "free of an address that malloc did not give");
                }
                if (d != null) w.registers[d.id()][l] = a[0] & Operands.mask(d.type().bytes());
            }
            if (fault != null) throw fault;
        };
    }

    private int place(String label) { return kernel.labels().get(label); }

    // ---- faults

    /** Ends the launch: kernel, lines, block and thread are put before the message. */
    KernelFault fault(Kind kind, Warp w, int lane, String message) { return new KernelFault(kind, w.where(current, lane) + ": " + message); }

    Observer observer() { return observer; }
    /** Whether accesses need to be shown. */
    boolean watched() { return watched; }
    /** The warp gives its turn to others after this instruction. */
    void yieldTurn() { yields = true; }

    // ---- blocks

    /**
     * Runs the blocks {@code [first, end)} of a launch in linear order, x fastest.
     *
     * @throws KernelFault if the kernel does what a GPU would stop it for; the message tells where
     */
    public void run(Launch launch, long first, long end, Observer observer) {
        try (Arena arena = Arena.ofConfined()) {
            var block = block(launch, observer, arena);
            for (long b = first; b < end; b++) {
                begin(block, b);
                while (turn(block)) { }
            }
        }
    }

    /** Memory for a block of a launch, to be run by this interpreter; it lives as long as the arena. */
    public Block block(Launch launch, Observer observer, Arena arena) {
        this.observer = observer;
        watched = observer != Observer.NONE;
        long shared = kernel.staticShared() + launch.dynamicShared();
        long local = Math.max(16, (kernel.localBytes() + 15) / 16 * 16);
        var block = new Block(launch, shared);
        block.sharedAddress = arena.allocate(Math.max(shared, 16), 1024).address();
        block.localStride = local;
        for (int w = 0; w < block.warps.length; w++) {
            block.warps[w] = new Warp(block, w, kernel.registers());
            block.warps[w].localAddress = arena.allocate(local * 32, 16).address();
        }
        return block;
    }

    /** The memory becomes that of the block with this index in the grid, whose threads have not begun. */
    public void begin(Block block, long index) {
        Launch launch = block.launch;
        block.index = index;
        block.x = (int) (index % launch.gridX());
        block.y = (int) (index / launch.gridX() % launch.gridY());
        block.z = (int) (index / launch.gridX() / launch.gridY());
        int threads = launch.threads();
        barriers.begin(block);
        for (Warp w : block.warps) w.begin(Math.min(32, threads - w.index * 32));
        if (watched) observer.blockBegins(block);
    }

    /** Each warp of the block runs until it waits or its turn is over; whether one is left that has more to do. */
    public boolean turn(Block block) {
        boolean alive = false, ran = false;
        for (Warp w : block.warps) {
            if (w.alive == 0) continue;
            alive = true;
            if ((w.alive & ~w.barred) != 0) ran |= run(w);
        }
        if (alive && !ran) throw stuck(block);
        if (alive) return true;
        current = null;
        if (watched) observer.blockEnds(block);
        return false;
    }

    /** Nobody can go on: some wait for lanes or warps that will never come. */
    private KernelFault stuck(Block block) {
        for (Warp w : block.warps)
            if (w.waiting != 0) {
                int lane = Integer.numberOfTrailingZeros(w.waiting);
                Step s = steps[w.pc[lane]];
                current = s.instruction;
                int named = (int) s.members.of(w)[lane];
                return fault(Kind.LAUNCH_FAILED, w, lane, "waits forever for lanes 0x" + Integer.toHexString(named & ~w.waiting) + " of its mask 0x" + Integer.toHexString(named)
                        + (w.barred != 0 ? ", which wait at a barrier of the block" : ", which are elsewhere"));
            }
        for (Warp w : block.warps)
            if (w.barred != 0) {
                int lane = Integer.numberOfTrailingZeros(w.barred);
                current = steps[w.pc[lane]].instruction;
                return fault(Kind.LAUNCH_FAILED, w, lane, "waits forever at " + barriers.describe(w, lane));
            }
        throw new IllegalStateException("a block with living threads that neither run nor wait");
    }

    // ---- warps

    /** Runs a warp until it waits, ends or its turn is over; whether it did anything. */
    private boolean run(Warp w) {
        int turn = TURN, active = 0;
        boolean ran = false;
        yields = false;
        while (true) {
            int ready = w.alive & ~w.barred & ~w.waiting;
            if (ready == 0) {
                if (w.waiting != 0 && meetElsewhere(w)) { ran = true; continue; }
                return ran;
            }
            if (yields || turn <= 0) {
                w.behind = active == w.last ? active : 0;
                w.last = active;
                return true;
            }
            ran = true;
            if ((ready & ~w.behind) == 0) w.behind = 0;
            int pc = NOWHERE, others = NOWHERE;   // others: the smallest place where lanes of the warp may join
            active = 0;
            for (int rest = ready & ~w.behind; rest != 0; rest &= rest - 1) {
                int l = Integer.numberOfTrailingZeros(rest), at = w.pc[l];
                if (at == pc) active |= 1 << l;
                else if (at < pc) { others = pc; pc = at; active = 1 << l; }
                else if (at < others) others = at;
            }
            turn -= straight(w, pc, active, others, turn);
        }
    }

    /** Runs lanes that are together until they part, stop, or reach the place of others; gives the number of instructions. */
    private int straight(Warp w, int pc, int active, int others, int turn) {
        int count = 0;
        while (true) {
            Step s = steps[pc];
            current = s.instruction;
            count++;
            int lanes = s.lanes(w, active);
            if (w.behind != 0 && s.aligned && lanes != 0) {   // those let go first have to wait here for those they left behind
                w.behind = 0;
                w.go(active, pc);
                return count;
            }
            if (watched && s.instruction != null) observer.instruction(w, s.instruction, active, lanes);
            switch (s.flow) {
                case PLAIN -> {
                    if (lanes != 0) {
                        s.operation.run(w, lanes);
                        if (yields) { w.go(active, pc + 1); return count; }
                    }
                    pc++;
                }
                case BRANCH -> {
                    if (s.guard >= 0 && watched) observer.branch(w, s.instruction, active, lanes);
                    if (lanes == active) pc = s.target;
                    else if (lanes == 0) pc++;
                    else {
                        w.go(lanes, s.target);
                        w.go(active & ~lanes, pc + 1);
                        return count;
                    }
                    if (count > turn) { w.go(active, pc); return count; }
                }
                case TABLE -> {
                    long[] index = s.index.of(w);
                    for (int rest = lanes; rest != 0; rest &= rest - 1) {
                        int l = Integer.numberOfTrailingZeros(rest);
                        if (index[l] >= s.table.length) throw fault(Kind.ILLEGAL_INSTRUCTION, w, l, "branch " + index[l] + " of a table of " + s.table.length);
                        w.pc[l] = s.table[(int) index[l]];
                    }
                    w.go(active & ~lanes, pc + 1);
                    return count;
                }
                case END -> {
                    w.alive &= ~lanes;
                    w.go(active & ~lanes, pc + 1);
                    while (w.waiting != 0 && meetWithout(w)) { }
                    barriers.ended(w);
                    return count;
                }
                case TRAP -> {
                    if (lanes != 0) throw fault(Kind.LAUNCH_FAILED, w, Integer.numberOfTrailingZeros(lanes), "trap");
                    pc++;
                }
                case YIELD -> {
                    w.go(active, pc + 1);
                    yields = lanes != 0;
                    return count;
                }
                case BARRIER -> {
                    w.go(active & ~lanes, pc + 1);
                    if (lanes != 0) {
                        w.go(lanes, pc);
                        s.operation.run(w, lanes);   // moves on those it does not keep
                    }
                    return count;
                }
                case MEMBERS -> {
                    if (lanes == 0) { pc++; break; }
                    int met = w.waitingAt(pc);
                    w.waiting &= ~met;
                    lanes |= met;
                    active |= met;
                    int here = together(w, s, lanes);
                    if (here == 0) {
                        w.waiting |= lanes;
                        w.go(lanes, pc);
                        w.go(active & ~lanes, pc + 1);
                        return count;
                    }
                    if (watched) observer.warpMeets(w, s.instruction, here);
                    s.operation.run(w, here);
                    if (here == active) { pc++; break; }
                    w.go(here, pc + 1);
                    w.go(lanes & ~here, pc);
                    w.go(active & ~lanes, pc + 1);
                    return count;
                }
            }
            if (pc >= others) {
                w.go(active, pc);
                return count;
            }
        }
    }

    /** Of the lanes at an operation a group whose living members are all here; 0 if there is none yet. */
    private int together(Warp w, Step s, int lanes) {
        long[] masks = s.members.of(w);
        for (int rest = lanes; rest != 0; rest &= rest - 1) {
            int l = Integer.numberOfTrailingZeros(rest), named = (int) masks[l];
            if ((named >>> l & 1) == 0) throw fault(Kind.ILLEGAL_INSTRUCTION, w, l, "its mask 0x" + Integer.toHexString(named) + " does not name the thread itself");
            int members = named & w.alive, same = 0;
            if ((members & ~lanes) != 0) continue;
            for (int more = members; more != 0; more &= more - 1) {
                int m = Integer.numberOfTrailingZeros(more);
                if ((int) masks[m] == named) same |= 1 << m;
            }
            if (same == members) return members;
        }
        return 0;
    }

    /** Lanes have ended: those who waited for nobody else go on. */
    private boolean meetWithout(Warp w) {
        int rest = w.waiting;
        while (rest != 0) {
            int pc = w.pc[Integer.numberOfTrailingZeros(rest)], lanes = w.waitingAt(pc);
            rest &= ~lanes;
            Step s = steps[pc];
            int here = together(w, s, lanes);
            if (here == 0) continue;
            current = s.instruction;
            if (watched) observer.warpMeets(w, s.instruction, here);
            s.operation.run(w, here);
            w.go(here, pc + 1);
            w.waiting &= ~here;
            return true;
        }
        return false;
    }

    /** {@code bar.warp.sync} with one mask in several places of the program is one meeting. */
    private boolean meetElsewhere(Warp w) {
        for (int rest = w.waiting; rest != 0; rest &= rest - 1) {
            int l = Integer.numberOfTrailingZeros(rest);
            Step s = steps[w.pc[l]];
            if (!s.instruction.is("bar") && !s.instruction.is("barrier")) continue;
            int named = (int) s.members.of(w)[l], here = 0;
            for (int more = w.waiting & named; more != 0; more &= more - 1) {
                int m = Integer.numberOfTrailingZeros(more);
                Step t = steps[w.pc[m]];
                if (t.instruction.is(s.instruction.opcode()) && (int) t.members.of(w)[m] == named) here |= 1 << m;
            }
            if (here != (named & w.alive)) continue;
            current = s.instruction;
            if (watched) observer.warpMeets(w, s.instruction, here);
            for (int more = here; more != 0; more &= more - 1) w.pc[Integer.numberOfTrailingZeros(more)]++;
            w.waiting &= ~here;
            return true;
        }
        return false;
    }
}
