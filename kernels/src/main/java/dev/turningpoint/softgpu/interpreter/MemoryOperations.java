package dev.turningpoint.softgpu.interpreter;

import dev.turningpoint.softgpu.interpreter.KernelFault.Kind;
import dev.turningpoint.softgpu.ptx.Instruction;
import dev.turningpoint.softgpu.ptx.MatrixShape;
import dev.turningpoint.softgpu.ptx.Operand;
import dev.turningpoint.softgpu.ptx.PtxType;
import dev.turningpoint.softgpu.ptx.Register;
import dev.turningpoint.softgpu.ptx.StateSpace;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.VarHandle;
import java.util.ArrayList;
import java.util.List;

/**
 * Loads, stores, atomics and copies. Each first finds where its lanes' addresses point, shows the access to the observer, then refuses what lies outside
 * any allocation or is misaligned, and only then touches memory.
 */
final class MemoryOperations {
    private static final MemorySegment ALL = MemorySegment.NULL.reinterpret(Long.MAX_VALUE);
    private static final VarHandle INT = ValueLayout.JAVA_INT.varHandle(), LONG = ValueLayout.JAVA_LONG.varHandle();

    private final Interpreter interpreter;
    private final Operands operands;
    private final long[] machine = new long[32];   // where the lanes' bytes are in this process

    MemoryOperations(Interpreter interpreter, Operands operands) {
        this.interpreter = interpreter;
        this.operands = operands;
    }

    // ---- places

    /** The address operand of an instruction. */
    private final class Place {
        final Instruction instruction;
        final Values base;
        final long offset;
        final StateSpace space;
        final int alignment;
        final boolean strong;

        Place(Instruction i, Operand o, StateSpace space, int alignment) {
            this(i, o instanceof Operand.Address a ? operands.source(i, a.base(), PtxType.U64) : null, o instanceof Operand.Address a ? a.offset() : 0, space, alignment);
            if (base == null) throw operands.refuse(i, "address " + o);
        }

        Place(Instruction i, Values base, long offset, StateSpace space, int alignment) {
            instruction = i;
            this.base = base;
            this.offset = offset;
            this.space = space;
            this.alignment = alignment;
            strong = i.has("volatile") || i.has("relaxed") || i.has("acquire") || i.has("release") || i.has("acq_rel") || i.has("mmio")
                    || i.is("atom") || i.is("red") || i.is("mbarrier");
        }

        /** Fills {@link #machine} for the lanes, which may all be touched when this returns. */
        void locate(Warp w, int lanes, Access.Kind kind, int bytes) {
            long[] from = base.of(w);
            if (space != StateSpace.GENERIC) {
                locate(w, lanes, kind, bytes, space, from);
                return;
            }
            Block b = w.block;
            int shared = 0, local = 0, param = 0;
            for (int rest = lanes; rest != 0; rest &= rest - 1) {
                int l = Integer.numberOfTrailingZeros(rest);
                long at = from[l] + offset;
                if (at - b.sharedAddress >= 0 && at - b.sharedAddress < b.sharedBytes) shared |= 1 << l;
                else if (at - w.localAddress >= 0 && at - w.localAddress < 32 * b.localStride) local |= 1 << l;
                else if (b.launch.isParameter(at, 1)) param |= 1 << l;
            }
            int global = lanes & ~shared & ~local & ~param;
            if (global != 0) locate(w, global, kind, bytes, StateSpace.GLOBAL, from);
            if (param != 0) locate(w, param, kind, bytes, StateSpace.PARAM, from);
            if (shared != 0) locate(w, shared, kind, bytes, StateSpace.SHARED, minus(from, b.sharedAddress));
            if (local != 0) {
                long[] own = minus(from, w.localAddress);
                for (int rest = local; rest != 0; rest &= rest - 1) {
                    int l = Integer.numberOfTrailingZeros(rest);
                    long at = own[l] + offset - l * b.localStride;
                    if (at < 0 || at >= b.localStride) throw interpreter.fault(Kind.ILLEGAL_ADDRESS, w, l, "a generic address in the local memory of another thread");
                    own[l] -= l * b.localStride;
                }
                locate(w, local, kind, bytes, StateSpace.LOCAL, own);
            }
        }

        private final long[] moved = new long[32];

        private long[] minus(long[] from, long start) {
            for (int l = 0; l < 32; l++) moved[l] = from[l] - start;
            return moved;
        }

        private void locate(Warp w, int lanes, Access.Kind kind, int bytes, StateSpace space, long[] from) {
            Access a = interpreter.access;
            long least = Long.MAX_VALUE, most = Long.MIN_VALUE, low = 0;
            for (int rest = lanes; rest != 0; rest &= rest - 1) {
                int l = Integer.numberOfTrailingZeros(rest);
                long at = from[l] + offset;
                if (space == StateSpace.SHARED || space == StateSpace.LOCAL) at = (int) at;
                a.address[l] = at;
                least = Math.min(least, at);
                most = Math.max(most, at);
                low |= at;
            }
            if (interpreter.watched()) {
                a.instruction = instruction;
                a.kind = kind;
                a.space = space;
                a.lanes = lanes;
                a.bytes = bytes;
                a.alignment = alignment;
                a.strong = strong;
                interpreter.observer().access(w, a);
            }
            if ((low & alignment - 1) != 0) throw misaligned(w, lanes);
            long end = most + bytes;
            boolean inside = switch (space) {
                case SHARED -> least >= 0 && end <= w.block.sharedBytes;
                case LOCAL -> least >= 0 && end <= w.block.localStride;
                case PARAM -> w.block.launch.isParameter(least, end - least);
                default -> interpreter.allocations.reachable(least, end - least);
            };
            if (!inside) reachEach(w, lanes, space, bytes);
            switch (space) {
                case SHARED -> { for (int l = 0; l < 32; l++) if ((lanes >>> l & 1) != 0) machine[l] = a.address[l] + w.block.sharedAddress; }
                case LOCAL -> { for (int l = 0; l < 32; l++) if ((lanes >>> l & 1) != 0) machine[l] = a.address[l] + w.localAddress + l * w.block.localStride; }
                default -> { for (int l = 0; l < 32; l++) if ((lanes >>> l & 1) != 0) machine[l] = a.address[l]; }
            }
        }

        private KernelFault misaligned(Warp w, int lanes) {
            for (int rest = lanes; rest != 0; rest &= rest - 1) {
                int l = Integer.numberOfTrailingZeros(rest);
                long at = interpreter.access.address[l];
                if ((at & alignment - 1) != 0) return interpreter.fault(Kind.MISALIGNED_ADDRESS, w, l, "address 0x" + Long.toHexString(at) + " is no multiple of " + alignment);
            }
            throw new IllegalStateException();
        }

        /** Lanes may lie in different allocations: none may lie in none. */
        private void reachEach(Warp w, int lanes, StateSpace space, int bytes) {
            for (int rest = lanes; rest != 0; rest &= rest - 1) {
                int l = Integer.numberOfTrailingZeros(rest);
                long at = interpreter.access.address[l];
                if (space == StateSpace.SHARED || space == StateSpace.LOCAL) {
                    long size = space == StateSpace.SHARED ? w.block.sharedBytes : w.block.localStride;
                    if (at < 0 || at + bytes > size)
                        throw interpreter.fault(Kind.ILLEGAL_ADDRESS, w, l, "offset " + at + " of " + size + " bytes of " + space.name().toLowerCase(java.util.Locale.ROOT) + " memory");
                } else if (space == StateSpace.PARAM) {
                    if (!w.block.launch.isParameter(at, bytes)) throw interpreter.fault(Kind.ILLEGAL_ADDRESS, w, l, bytes + " bytes at 0x" + Long.toHexString(at) + " are no parameter");
                } else if (!interpreter.allocations.reachable(at, bytes))
                    throw interpreter.fault(Kind.ILLEGAL_ADDRESS, w, l, bytes + " bytes at 0x" + Long.toHexString(at) + " are in no allocation");
            }
        }
    }

    private StateSpace space(Instruction i) {
        for (String m : i.modifiers()) {
            String s = m.startsWith("shared::") || m.startsWith("param::") ? m.substring(0, m.indexOf(':')) : m;
            if (m.equals("shared::cluster") && !i.is("mbarrier") && !i.is("cp")) throw operands.refuse(i, "shared memory of other blocks of a cluster");
            switch (s) {
                case "global": return StateSpace.GLOBAL;
                case "shared": return StateSpace.SHARED;
                case "local": return StateSpace.LOCAL;
                case "const": return StateSpace.CONST;
                case "param": return StateSpace.PARAM;
                default:
            }
        }
        return StateSpace.GENERIC;
    }

    // ---- bytes

    private static long read(long at, int bytes) {
        return switch (bytes) {
            case 1 -> ALL.get(ValueLayout.JAVA_BYTE, at) & 0xffL;
            case 2 -> ALL.get(ValueLayout.JAVA_SHORT_UNALIGNED, at) & 0xffffL;
            case 4 -> ALL.get(ValueLayout.JAVA_INT_UNALIGNED, at) & 0xffffffffL;
            default -> ALL.get(ValueLayout.JAVA_LONG_UNALIGNED, at);
        };
    }

    private static void write(long at, int bytes, long v) {
        switch (bytes) {
            case 1 -> ALL.set(ValueLayout.JAVA_BYTE, at, (byte) v);
            case 2 -> ALL.set(ValueLayout.JAVA_SHORT_UNALIGNED, at, (short) v);
            case 4 -> ALL.set(ValueLayout.JAVA_INT_UNALIGNED, at, (int) v);
            default -> ALL.set(ValueLayout.JAVA_LONG_UNALIGNED, at, v);
        }
    }

    private static long signExtended(long v, int bytes, Register to) {
        return v << 64 - 8 * bytes >> 64 - 8 * bytes & Operands.mask(to.type().bytes());
    }

    // ---- ld, st

    Operation load(Instruction i) {
        PtxType t = i.type();
        List<Operand> to = i.operand(0).elements();
        boolean wide = t == PtxType.B128;
        int bytes = t.bytes();
        var place = new Place(i, i.operand(1), space(i), bytes * to.size());
        return (w, lanes) -> {
            place.locate(w, lanes, Access.Kind.READ, bytes * to.size());
            for (int j = 0; j < to.size(); j++) {
                Register d = Operands.target(to.get(j));
                if (d == null) continue;
                long[] r = w.registers[d.id()];
                boolean sign = t.isSigned() && d.type().bytes() > bytes;
                for (int rest = lanes; rest != 0; rest &= rest - 1) {
                    int l = Integer.numberOfTrailingZeros(rest);
                    long at = machine[l] + (long) j * bytes, v = read(at, wide ? 8 : bytes);
                    r[l] = sign ? signExtended(v, bytes, d) : v;
                    if (wide) w.high[d.id()][l] = read(at + 8, 8);
                }
            }
        };
    }

    Operation store(Instruction i) {
        PtxType t = i.type();
        List<Operand> from = i.operand(1).elements();
        int bytes = t.bytes();
        boolean wide = t == PtxType.B128;
        var place = new Place(i, i.operand(0), space(i), bytes * from.size());
        var values = new Values[from.size()];
        for (int j = 0; j < values.length; j++) values[j] = operands.source(i, from.get(j), wide ? PtxType.B64 : t);
        return (w, lanes) -> {
            place.locate(w, lanes, Access.Kind.WRITE, bytes * values.length);
            for (int j = 0; j < values.length; j++) {
                long[] v = values[j].of(w);
                for (int rest = lanes; rest != 0; rest &= rest - 1) {
                    int l = Integer.numberOfTrailingZeros(rest);
                    long at = machine[l] + (long) j * bytes;
                    write(at, wide ? 8 : bytes, v[l]);
                    if (wide) write(at + 8, 8, w.high[Operands.target(from.get(j)).id()][l]);
                }
            }
        };
    }

    // ---- atom, red

    Operation atomic(Instruction i) {
        boolean result = i.is("atom");
        int a = result ? 1 : 0;
        if (i.has("async")) throw operands.refuse(i, "reductions into other blocks of a cluster");
        PtxType t = i.type();
        String op = null;
        for (String m : i.modifiers()) switch (m) { case "add", "min", "max", "exch", "cas", "and", "or", "xor", "inc", "dec" -> op = m; default -> { } }
        if (op == null) throw operands.refuse(i, "");
        List<Operand> b = i.operand(a + 1).elements(), d = result ? i.operand(0).elements() : List.of();
        boolean cas = op.equals("cas");
        int width = b.size(), bytes = t.bytes();
        var place = new Place(i, i.operand(a), space(i), bytes * width);
        if (t == PtxType.B128) return wideAtomic(i, place, op);
        Atomics.Change change = Atomics.change(op, t);
        if (change == null) throw operands.refuse(i, "");
        var values = new Values[width];
        for (int j = 0; j < width; j++) values[j] = operands.source(i, b.get(j), t);
        Values swap = cas ? operands.source(i, a + 2, t) : null;
        return (w, lanes) -> {
            place.locate(w, lanes, Access.Kind.READ_WRITE, bytes * width);
            for (int j = 0; j < width; j++) {
                long[] v = values[j].of(w), z = cas ? swap.of(w) : v;
                Register to = result ? Operands.target(d.get(j)) : null;
                for (int rest = lanes; rest != 0; rest &= rest - 1) {
                    int l = Integer.numberOfTrailingZeros(rest);
                    long old = exchange(machine[l] + (long) j * bytes, bytes, change, v[l], z[l]);
                    if (to != null) w.registers[to.id()][l] = old;
                }
            }
        };
    }

    private static long exchange(long at, int bytes, Atomics.Change change, long b, long c) {
        if (bytes == 8) {
            while (true) {
                long old = (long) LONG.getVolatile(ALL, at);
                if (LONG.compareAndSet(ALL, at, old, change.of(old, b, c))) return old;
            }
        }
        int shift = bytes == 4 ? 0 : (int) (at & 3) * 8;
        long word = at & ~3L, mask = Operands.mask(bytes);
        while (true) {
            int all = (int) INT.getVolatile(ALL, word);
            long old = (all & 0xffffffffL) >>> shift & mask;
            long now = change.of(old, b, c) & mask;
            if (INT.compareAndSet(ALL, word, all, (int) (all & ~(mask << shift) | now << shift))) return old;
        }
    }

    /** 128 bits: atomic among themselves, by a lock. */
    private Operation wideAtomic(Instruction i, Place place, String op) {
        int a = i.is("atom") ? 1 : 0;
        boolean cas = op.equals("cas");
        if (!cas && !op.equals("exch")) throw operands.refuse(i, "");
        Register d = a == 1 ? Operands.target(i.operand(0)) : null, b = Operands.target(i.operand(a + 1)), c = cas ? Operands.target(i.operand(a + 2)) : b;
        return (w, lanes) -> {
            place.locate(w, lanes, Access.Kind.READ_WRITE, 16);
            for (int rest = lanes; rest != 0; rest &= rest - 1) {
                int l = Integer.numberOfTrailingZeros(rest);
                long low, high;
                synchronized (Atomics.class) {
                    low = read(machine[l], 8);
                    high = read(machine[l] + 8, 8);
                    if (!cas || low == w.registers[b.id()][l] && high == w.high[b.id()][l]) {
                        write(machine[l], 8, w.registers[c.id()][l]);
                        write(machine[l] + 8, 8, w.high[c.id()][l]);
                    }
                }
                if (d != null) {
                    w.registers[d.id()][l] = low;
                    w.high[d.id()][l] = high;
                }
            }
        };
    }

    interface WordChange { long of(Warp w, int lane, long word); }

    /** A change of a 64-bit word in shared memory, lane after lane; its old value goes to {@code d}. */
    Operation onWord(Instruction i, int n, WordChange change, Register d) {
        StateSpace s = space(i);
        var place = new Place(i, i.operand(n), s, 8);
        return (w, lanes) -> {
            place.locate(w, lanes, Access.Kind.READ_WRITE, 8);
            for (int rest = lanes; rest != 0; rest &= rest - 1) {
                int l = Integer.numberOfTrailingZeros(rest);
                long old = read(machine[l], 8);
                write(machine[l], 8, change.of(w, l, old));
                if (d != null) w.registers[d.id()][l] = old;
            }
        };
    }

    // ---- cp.async

    /** The copy happens at once, which is one of the orders allowed; that it may not be relied on before a wait is the observer's business. */
    Operation copyAsync(Instruction i) {
        if (!i.has("async") || i.has("bulk") || i.has("tensor")) throw operands.refuse(i, "bulk and tensor copies");
        if (i.has("commit_group") || i.has("wait_group") || i.has("wait_all")) return (w, lanes) -> { };
        int size = (int) ((Operand.Immediate) i.operand(2)).bits();
        var to = new Place(i, i.operand(0), StateSpace.SHARED, size);
        var from = new Place(i, i.operand(1), StateSpace.GLOBAL, size);
        boolean policy = i.modifiers().stream().anyMatch(m -> m.equals("L2::cache_hint"));
        int extras = i.operands().size() - 3 - (policy ? 1 : 0);
        boolean ignore = extras > 0 && i.operand(3) instanceof Operand.Reg r && r.register().type() == PtxType.PRED;
        Values source = extras > 0 ? operands.source(i, 3, ignore ? PtxType.PRED : PtxType.U32) : null;
        long[] low = new long[32], high = new long[32];
        return (w, lanes) -> {
            long[] n = source == null ? null : source.of(w);
            int rest = lanes;
            while (rest != 0) {   // lanes that read as many bytes
                int first = Integer.numberOfTrailingZeros(rest), bytes = bytes(n, first, size, ignore), same = 0;
                for (int more = rest; more != 0; more &= more - 1) {
                    int l = Integer.numberOfTrailingZeros(more);
                    if (bytes(n, l, size, ignore) == bytes) same |= 1 << l;
                }
                rest &= ~same;
                if (bytes > 0) from.locate(w, same, Access.Kind.READ, bytes);
                for (int more = same; more != 0; more &= more - 1) {
                    int l = Integer.numberOfTrailingZeros(more);
                    low[l] = high[l] = 0;
                    for (int k = 0; k < bytes; k++) {
                        long v = read(machine[l] + k, 1);
                        if (k < 8) low[l] |= v << 8 * k;
                        else high[l] |= v << 8 * (k - 8);
                    }
                }
            }
            to.locate(w, lanes, Access.Kind.ASYNC_WRITE, size);
            for (rest = lanes; rest != 0; rest &= rest - 1) {
                int l = Integer.numberOfTrailingZeros(rest);
                write(machine[l], Math.min(size, 8), low[l]);
                if (size == 16) write(machine[l] + 8, 8, high[l]);
            }
        };
    }

    private static int bytes(long[] n, int lane, int size, boolean ignore) {
        return n == null ? size : ignore ? n[lane] != 0 ? 0 : size : (int) Math.min(size, n[lane]);
    }

    // ---- matrices in shared memory: lane 8 m + r names row r of matrix m

    Operation loadMatrix(Instruction i) {
        if (!i.has("m8n8") || !i.has("b16")) throw operands.refuse(i, "");
        List<Operand> d = i.operand(0).elements();
        boolean transposed = i.has("trans");
        var place = new Place(i, i.operand(1), space(i), 16);
        int named = d.size() == 4 ? -1 : (1 << 8 * d.size()) - 1;
        return (w, lanes) -> {
            place.locate(w, named, Access.Kind.READ, 16);
            for (int m = 0; m < d.size(); m++) {
                Register to = Operands.target(d.get(m));
                if (to == null) continue;
                for (int l = 0; l < 32; l++) {
                    long v = 0;
                    for (int e = 0; e < 2; e++) {   // lane l holds elements (l / 4, 2 (l % 4) + e)
                        int row = l / 4, column = 2 * (l % 4) + e;
                        if (transposed) { int t = row; row = column; column = t; }
                        v |= read(machine[8 * m + row] + 2L * column, 2) << 16 * e;
                    }
                    w.registers[to.id()][l] = v;
                }
            }
        };
    }

    Operation storeMatrix(Instruction i) {
        if (!i.has("m8n8") || !i.has("b16")) throw operands.refuse(i, "");
        List<Operand> from = i.operand(1).elements();
        boolean transposed = i.has("trans");
        var place = new Place(i, i.operand(0), space(i), 16);
        int named = from.size() == 4 ? -1 : (1 << 8 * from.size()) - 1;
        var values = new ArrayList<Values>();
        for (Operand o : from) values.add(operands.source(i, o, PtxType.B32));
        return (w, lanes) -> {
            place.locate(w, named, Access.Kind.WRITE, 16);
            for (int m = 0; m < values.size(); m++) {
                long[] v = values.get(m).of(w);
                for (int l = 0; l < 32; l++)
                    for (int e = 0; e < 2; e++) {
                        int row = l / 4, column = 2 * (l % 4) + e;
                        if (transposed) { int t = row; row = column; column = t; }
                        write(machine[8 * m + row] + 2L * column, 2, v[l] >>> 16 * e);
                    }
            }
        };
    }

    // ---- matrices of wmma

    /**
     * {@code wmma.load}, {@code wmma.store}: one access for each slot of the fragment. What CUDA demands of the matrix is demanded: its start a multiple of 32
     * bytes, or of a row (or column) shorter than that; the distance of its rows one of 16 bytes.
     */
    Operation warpMatrix(Instruction i) {
        boolean load = i.has("load"), byColumn = i.has("col");
        List<Operand> registers = i.operand(load ? 0 : 1).elements();
        if (!(i.operand(load ? 1 : 0) instanceof Operand.Address a)) throw operands.refuse(i, "");
        int[] size = MatrixShape.size(i);
        PtxType t = i.type();
        if (size == null || t == null) throw operands.refuse(i, "");
        boolean left = i.has("a"), right = i.has("b");
        int rows = right ? size[2] : size[0], columns = left ? size[2] : size[1], line = byColumn ? rows : columns;
        Fragment f = Fragment.spread(t, rows * columns, registers.size());
        Values start = operands.source(i, a.base(), PtxType.U64), stride = i.operands().size() > 2 ? operands.source(i, 2, PtxType.U32) : Operands.constant(line);
        Values[] values = load ? null : registers.stream().map(r -> operands.source(i, r, f.held())).toArray(Values[]::new);
        int bytes = t.bytes(), per = Fragment.perRegister(t), row = Math.min(32, line * bytes);
        long[] at = new long[32], first = new long[32], step = new long[32];
        var place = new Place(i, w -> at, a.offset(), space(i), bytes);
        return (w, lanes) -> {
            System.arraycopy(start.of(w), 0, first, 0, 32);   // a result may go where they are
            System.arraycopy(stride.of(w), 0, step, 0, 32);
            int l0 = Integer.numberOfTrailingZeros(lanes);
            if ((first[l0] + a.offset()) % row != 0 || step[l0] * bytes % Math.min(16, row) != 0)
                throw interpreter.fault(Kind.MISALIGNED_ADDRESS, w, l0, "a matrix at 0x" + Long.toHexString(first[l0] + a.offset()) + " with rows " + step[l0] * bytes
                        + " bytes apart: its start must be a multiple of " + row + ", their distance one of " + Math.min(16, row));
            for (int s = 0; s < f.slots(); s++) {
                for (int l = 0; l < 32; l++) {
                    int e = f.layout().element(l, s), r = e / columns, c = e % columns;
                    at[l] = first[l] + bytes * (byColumn ? c * step[l] + r : r * step[l] + c);
                }
                place.locate(w, lanes, load ? Access.Kind.READ : Access.Kind.WRITE, bytes);
                int shift = t.bits() * (s % per);
                if (!load) {
                    long[] v = values[s / per].of(w);
                    for (int rest = lanes; rest != 0; rest &= rest - 1) {
                        int l = Integer.numberOfTrailingZeros(rest);
                        write(machine[l], bytes, v[l] >>> shift);
                    }
                    continue;
                }
                Register d = Operands.target(registers.get(s / per));
                if (d == null) continue;
                long[] v = w.registers[d.id()];
                for (int rest = lanes; rest != 0; rest &= rest - 1) {
                    int l = Integer.numberOfTrailingZeros(rest);
                    long x = read(machine[l], bytes) << shift;
                    v[l] = shift == 0 ? x : v[l] | x;
                }
            }
        };
    }

    // ---- generic addresses

    /** {@code cvta}: a generic address is a machine address. */
    Operation convertAddress(Instruction i) {
        boolean back = i.has("to");
        StateSpace space = space(i);
        PtxType t = i.type();
        Values from = operands.source(i, 1, t);
        Register d = Operands.target(i.operand(0));
        return (w, lanes) -> {
            long[] v = from.of(w), r = w.registers[d.id()];
            for (int rest = lanes; rest != 0; rest &= rest - 1) {
                int l = Integer.numberOfTrailingZeros(rest);
                long start = switch (space) {
                    case SHARED -> w.block.sharedAddress;
                    case LOCAL -> w.localAddress + l * w.block.localStride;
                    default -> 0;
                };
                r[l] = (back ? v[l] - start : v[l] + start) & Operands.mask(d.type().bytes());
            }
        };
    }

    Operation isSpace(Instruction i) {
        StateSpace space = space(i);
        Values from = operands.source(i, 1, PtxType.U64);
        Register d = Operands.target(i.operand(0));
        return (w, lanes) -> {
            long[] v = from.of(w), r = w.registers[d.id()];
            for (int rest = lanes; rest != 0; rest &= rest - 1) {
                int l = Integer.numberOfTrailingZeros(rest);
                long shared = v[l] - w.block.sharedAddress, local = v[l] - w.localAddress;
                boolean isShared = shared >= 0 && shared < w.block.sharedBytes, isLocal = local >= 0 && local < 32 * w.block.localStride;
                r[l] = switch (space) { case SHARED -> isShared; case LOCAL -> isLocal; case GLOBAL -> !isShared && !isLocal; default -> false; } ? 1 : 0;
            }
        };
    }
}
