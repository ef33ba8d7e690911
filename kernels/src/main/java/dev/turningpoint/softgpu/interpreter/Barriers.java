package dev.turningpoint.softgpu.interpreter;

import dev.turningpoint.softgpu.interpreter.KernelFault.Kind;
import dev.turningpoint.softgpu.ptx.Instruction;
import dev.turningpoint.softgpu.ptx.Operand;
import dev.turningpoint.softgpu.ptx.PtxType;
import dev.turningpoint.softgpu.ptx.Register;

import java.util.List;

/**
 * What threads of a block wait at: its 16 barriers ({@code bar}, {@code barrier}), and barrier objects in shared memory ({@code mbarrier}).
 *
 * <p>An object is one 64-bit word, opaque to programs: bits 0-19 arrivals a phase expects, 20-39 those still to come, 40-60 bytes still to come
 * (two's complement), 63 parity of the phase.
 */
final class Barriers {
    private static final int COUNT = 16, FIELD = 0xfffff;

    private static final class Barrier {
        int threads, rounded;    // arrivals: lanes, and with whole warps counted as 32
        long expected;           // threads, -1: all of the block
        long sum;                // bar.red: how many predicates held
        int[] lanes;             // per warp: kept here
        Instruction[] at;        // per warp: by which instruction
        long arrivedWarps;
    }

    private final Interpreter interpreter;
    private final Operands operands;
    private final Barrier[] barriers = new Barrier[COUNT];
    private Block block;

    Barriers(Interpreter interpreter, Operands operands) {
        this.interpreter = interpreter;
        this.operands = operands;
    }

    void begin(Block block) {
        this.block = block;
        for (int id = 0; id < COUNT; id++) {
            Barrier b = barriers[id];
            if (b == null || b.lanes.length < block.warps.length) {
                b = barriers[id] = new Barrier();
                b.lanes = new int[block.warps.length];
                b.at = new Instruction[block.warps.length];
            }
            clear(b);
            java.util.Arrays.fill(b.lanes, 0);
        }
    }

    private static void clear(Barrier b) {
        b.threads = b.rounded = 0;
        b.sum = b.arrivedWarps = 0;
        b.expected = 0;
    }

    // ---- barriers of the block

    /** Whether all living lanes of a warp must come to it together. */
    static boolean aligned(Instruction i) { return i.is("bar") || i.has("aligned"); }

    Operation barrier(Instruction i) {
        if (i.has("cluster")) throw operands.refuse(i, "clusters of blocks");
        boolean red = i.has("red"), arrive = i.has("arrive"), aligned = aligned(i);
        int first = red ? 1 : 0, size = i.operands().size();
        boolean counted = size - first - (red ? 1 : 0) > 1;
        Values id = operands.source(i, first, PtxType.U32), count = counted ? operands.source(i, first + 1, PtxType.U32) : null;
        Values predicate = red ? operands.source(i, size - 1, PtxType.PRED) : null;
        return (w, lanes) -> {
            if (aligned && lanes != (w.alive & ~w.barred))
                throw interpreter.fault(Kind.LAUNCH_FAILED, w, Integer.numberOfTrailingZeros(lanes), "only lanes 0x" + Integer.toHexString(lanes) + " of the warp's 0x"
                        + Integer.toHexString(w.alive & ~w.barred) + " come to this barrier together");
            long[] ids = id.of(w);
            int rest = lanes;
            while (rest != 0) {
                int lane = Integer.numberOfTrailingZeros(rest), which = (int) ids[lane], same = 0;
                if (which < 0 || which >= COUNT) throw interpreter.fault(Kind.ILLEGAL_INSTRUCTION, w, lane, "barrier " + which + " of 16");
                for (int more = rest; more != 0; more &= more - 1) {
                    int l = Integer.numberOfTrailingZeros(more);
                    if (ids[l] == which) same |= 1 << l;
                }
                rest &= ~same;
                arrive(w, i, which, same, count == null ? -1 : count.of(w)[lane] & 0xffffffffL, predicate == null ? null : predicate.of(w), arrive, lane);
            }
        };
    }

    private void arrive(Warp w, Instruction i, int id, int lanes, long expected, long[] predicate, boolean goesOn, int lane) {
        Barrier b = barriers[id];
        if (expected > 0 && expected % 32 != 0) throw interpreter.fault(Kind.ILLEGAL_INSTRUCTION, w, lane, "barrier of " + expected + " threads, which is no multiple of 32");
        if (b.threads > 0 && b.expected != expected)
            throw interpreter.fault(Kind.ILLEGAL_INSTRUCTION, w, lane, "barrier " + id + " awaits " + count(expected) + " here and " + count(b.expected) + " elsewhere");
        b.expected = expected;
        if (interpreter.watched()) interpreter.observer().barrierArrives(w, i, id, lanes);
        b.threads += Integer.bitCount(lanes);
        b.rounded += lanes == w.alive ? 32 : Integer.bitCount(lanes);
        b.arrivedWarps |= 1L << w.index;
        if (predicate != null) for (int rest = lanes; rest != 0; rest &= rest - 1) b.sum += predicate[Integer.numberOfTrailingZeros(rest)];
        if (goesOn) advance(w, lanes);
        else {
            b.lanes[w.index] |= lanes;
            b.at[w.index] = i;
            w.barred |= lanes;
        }
        if (complete(b)) release(id, b);
    }

    private static String count(long threads) { return threads < 0 ? "the whole block" : threads + " threads"; }

    private boolean complete(Barrier b) {
        if (b.threads == 0) return false;
        if (b.expected >= 0) return b.rounded >= b.expected;
        int alive = 0;
        for (Warp w : block.warps) alive += Integer.bitCount(w.alive);
        return b.threads >= alive;
    }

    private void release(int id, Barrier b) {
        if (interpreter.watched()) interpreter.observer().barrierCompletes(block, id, b.arrivedWarps);
        for (Warp w : block.warps) {
            int lanes = b.lanes[w.index];
            if (lanes == 0) continue;
            Instruction i = b.at[w.index];
            if (i.has("red")) {
                long v = i.has("popc") ? b.sum : i.has("and") ? b.sum == b.threads ? 1 : 0 : b.sum > 0 ? 1 : 0;
                Register d = Operands.target(i.operand(0));
                if (d != null) for (int rest = lanes; rest != 0; rest &= rest - 1) w.registers[d.id()][Integer.numberOfTrailingZeros(rest)] = v;
            }
            b.lanes[w.index] = 0;
            w.barred &= ~lanes;
            advance(w, lanes);
        }
        clear(b);
    }

    private static void advance(Warp w, int lanes) { for (int rest = lanes; rest != 0; rest &= rest - 1) w.pc[Integer.numberOfTrailingZeros(rest)]++; }

    /** Lanes of the warp have ended: barriers of all threads await fewer. */
    void ended(Warp w) {
        for (int id = 0; id < COUNT; id++) if (barriers[id].threads > 0 && complete(barriers[id])) release(id, barriers[id]);
    }

    /** What a lane waits at, for messages. */
    String describe(Warp w, int lane) {
        for (int id = 0; id < COUNT; id++) {
            Barrier b = barriers[id];
            if ((b.lanes[w.index] >>> lane & 1) == 0) continue;
            var ended = new StringBuilder();
            for (Warp v : block.warps) if ((b.arrivedWarps >>> v.index & 1) == 0) ended.append(ended.isEmpty() ? "" : ", ").append(v.index);
            return "barrier " + id + ", where " + b.threads + " threads have come and " + count(b.expected) + (b.expected < 0 ? " is" : " are") + " awaited"
                    + (ended.isEmpty() ? "" : "; warps " + ended + " are not there");
        }
        return "a barrier";
    }

    // ---- barrier objects

    /** {@code mbarrier.*} and {@code cp.async.mbarrier.arrive}. */
    Operation object(Instruction i) {
        if (i.has("shared::cluster") && i.operand(0) instanceof Operand.Sink) throw operands.refuse(i, "barriers of other blocks of a cluster");
        var memory = new MemoryOperations(interpreter, operands);
        List<Operand> o = i.operands();
        if (i.is("cp")) {
            boolean counted = i.has("noinc");   // else the copy's own arrival was added to the expected ones
            return memory.onWord(i, 0, (w, l, word) -> counted ? arrived(word, 1, 0) : word, null);
        }
        if (i.has("pending_count")) {
            Values state = operands.source(i, 1, PtxType.B64);
            Register d = Operands.target(o.get(0));
            return (w, lanes) -> {
                long[] s = state.of(w);
                for (int rest = lanes; rest != 0; rest &= rest - 1) {
                    int l = Integer.numberOfTrailingZeros(rest);
                    w.registers[d.id()][l] = s[l] >>> 20 & FIELD;
                }
            };
        }
        if (i.has("init")) {
            Values count = operands.source(i, 1, PtxType.U32);
            return memory.onWord(i, 0, (w, l, word) -> {
                long n = count.of(w)[l];
                if (n < 1 || n > FIELD) throw interpreter.fault(Kind.ILLEGAL_INSTRUCTION, w, l, n + " arrivals; 1 to " + FIELD + " are possible");
                return n | n << 20;
            }, null);
        }
        if (i.has("inval")) return memory.onWord(i, 0, (w, l, word) -> 0, null);
        if (i.has("test_wait") || i.has("try_wait")) {
            boolean parity = i.has("parity");
            Values state = operands.source(i, 2, parity ? PtxType.U32 : PtxType.B64);
            Register d = Operands.target(o.get(0));
            return memory.onWord(i, 1, (w, l, word) -> {
                long awaited = parity ? state.of(w)[l] & 1 : state.of(w)[l] >>> 63;
                boolean done = word >>> 63 != awaited;
                w.registers[d.id()][l] = done ? 1 : 0;
                if (!done) interpreter.yieldTurn();
                return word;
            }, null);
        }
        if (i.has("complete_tx")) {
            Values bytes = operands.source(i, 1, PtxType.U32);
            return memory.onWord(i, 0, (w, l, word) -> arrived(word, 0, -bytes.of(w)[l]), null);
        }
        if (i.has("expect_tx") && !i.has("arrive") && !i.has("arrive_drop")) {
            Values bytes = operands.source(i, 1, PtxType.U32);
            return memory.onWord(i, 0, (w, l, word) -> transactions(word, bytes.of(w)[l]), null);
        }
        if (i.has("arrive") || i.has("arrive_drop")) {
            boolean expects = i.has("expect_tx"), drops = i.has("arrive_drop"), result = !(o.get(0) instanceof Operand.Address);
            int at = result ? 1 : 0;
            Values extra = o.size() > at + 1 ? operands.source(i, at + 1, PtxType.U32) : null;
            Register d = result ? Operands.target(o.get(0)) : null;
            return memory.onWord(i, at, (w, l, word) -> {
                long count = extra == null || expects ? 1 : extra.of(w)[l];
                if ((word >>> 20 & FIELD) < count) throw interpreter.fault(Kind.ILLEGAL_INSTRUCTION, w, l, count + " arrivals at a barrier object that awaits " + (word >>> 20 & FIELD));
                if (drops) word -= count;
                if (expects) word = transactions(word, extra.of(w)[l]);
                return arrived(word, count, 0);
            }, d);
        }
        throw operands.refuse(i, "");
    }

    private static long transactions(long word, long bytes) {
        long tx = (word << 3 >> 43) + bytes;
        return word & ~(0x1fffffL << 40) | (tx & 0x1fffff) << 40;
    }

    /** The word after arrivals and a change of the bytes to come; the phase ends where both are none. */
    private static long arrived(long word, long count, long bytes) {
        word = transactions(word - (count << 20), bytes);
        if ((word >>> 20 & FIELD) != 0 || (word >>> 40 & 0x1fffff) != 0) return word;
        return (word ^ Long.MIN_VALUE) | (word & FIELD) << 20;
    }
}
