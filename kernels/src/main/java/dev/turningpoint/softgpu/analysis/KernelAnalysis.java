package dev.turningpoint.softgpu.analysis;

import dev.turningpoint.softgpu.ptx.Instruction;
import dev.turningpoint.softgpu.ptx.Operand;
import dev.turningpoint.softgpu.ptx.PtxKernel;
import dev.turningpoint.softgpu.ptx.PtxType;
import dev.turningpoint.softgpu.ptx.Register;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;

/**
 * Liveness, divergence, lane shapes and intervals of one kernel for one block shape.
 *
 * <p>A register has one {@link Shape} for the whole kernel, the meet over its definitions. Registers whose value depends on which way lanes went
 * are varying: that is what {@link #divergentBlocks()} and the regions of divergent branches are for.
 */
public final class KernelAnalysis {
    private final PtxKernel kernel;
    private final Geometry geometry;
    private final FlowGraph graph;
    private final int registers;
    private final Shape[] shapes;
    private final List<List<Instruction>> definitions = new ArrayList<>();
    private final Interval[] intervals;
    private final byte[] intervalState;   // 0 not yet, 1 in work, 2 done
    private BitSet[] liveIn, liveOut;
    private final BitSet divergent = new BitSet();
    private final BitSet joins = new BitSet();

    public KernelAnalysis(PtxKernel kernel, Geometry geometry) {
        kernel.requireServed();
        this.kernel = kernel;
        this.geometry = geometry;
        this.graph = new FlowGraph(kernel);
        this.registers = kernel.registers().size();
        this.shapes = new Shape[registers];
        this.intervals = new Interval[registers];
        this.intervalState = new byte[registers];
        for (int r = 0; r < registers; r++) definitions.add(new ArrayList<>(1));
        for (Instruction i : kernel.instructions()) Effects.writes(i, r -> definitions.get(r.id()).add(i));
        liveness();
        shapes();
    }

    public FlowGraph graph() { return graph; }
    public Geometry geometry() { return geometry; }
    public PtxKernel kernel() { return kernel; }

    /** Bytes from one lane's local memory to the next one's. */
    public long localStride() { return (kernel.localBytes() + 15) / 16 * 16; }

    public Shape shape(Register r) { return shapes[r.id()]; }
    public BitSet liveIn(int block) { return liveIn[block]; }
    public BitSet liveOut(int block) { return liveOut[block]; }
    /** Blocks that some lanes may run while others are elsewhere. */
    public BitSet divergentBlocks() { return divergent; }
    /** Blocks where lanes of a divergent branch meet again. */
    public BitSet joins() { return joins; }

    // ---- liveness

    private void liveness() {
        int n = graph.size();
        liveIn = new BitSet[n + 1];
        liveOut = new BitSet[n + 1];
        BitSet[] gen = new BitSet[n], kill = new BitSet[n];
        for (int b = 0; b <= n; b++) { liveIn[b] = new BitSet(registers); liveOut[b] = new BitSet(registers); }
        for (int b = 0; b < n; b++) {
            BitSet g = new BitSet(registers), k = new BitSet(registers);
            FlowGraph.Block block = graph.block(b);
            for (int i = block.end() - 1; i >= block.start(); i--) step(graph.instruction(i), g, k);
            gen[b] = g;
            kill[b] = k;
        }
        for (boolean changed = true; changed; ) {
            changed = false;
            for (int b = n - 1; b >= 0; b--) {
                for (int s : graph.block(b).successors()) liveOut[b].or(liveIn[s]);
                var in = (BitSet) liveOut[b].clone();
                in.andNot(kill[b]);
                in.or(gen[b]);
                if (!in.equals(liveIn[b])) { liveIn[b] = in; changed = true; }
            }
        }
    }

    /** One instruction backwards: written registers leave the live set, read ones enter it; a guarded write may leave the old value. */
    private static void step(Instruction i, BitSet live, BitSet kill) {
        if (i.guard() == null) Effects.writes(i, r -> { live.clear(r.id()); if (kill != null) kill.set(r.id()); });
        Effects.reads(i, r -> live.set(r.id()));
    }

    /** Registers live after each instruction of a block, in order. */
    public BitSet[] liveAfter(int b) {
        FlowGraph.Block block = graph.block(b);
        var out = new BitSet[block.end() - block.start()];
        var live = (BitSet) liveOut[b].clone();
        for (int i = block.end() - 1; i >= block.start(); i--) {
            out[i - block.start()] = (BitSet) live.clone();
            step(graph.instruction(i), live, null);
        }
        return out;
    }

    // ---- shapes and divergence

    /** An instruction with a result, the registers it reads and writes, and when it was last evaluated. */
    private static final class Definition {
        final Instruction instruction;
        final Register[] writes;
        final int[] reads;
        int evaluated;

        Definition(Instruction i) {
            instruction = i;
            var registers = new ArrayList<Register>();
            Effects.writes(i, registers::add);
            writes = registers.toArray(Register[]::new);
            registers.clear();
            Effects.reads(i, registers::add);
            reads = registers.stream().mapToInt(Register::id).toArray();
        }
    }

    /** Rounds over all instructions until nothing changes. In a round only those are evaluated that read what changed since they last were: most are, once. */
    private void shapes() {
        var all = kernel.instructions().stream().filter(Effects::hasResult).map(Definition::new).toArray(Definition[]::new);
        var changed = new int[registers];   // when a register's shape last did; time is counted in evaluations
        int now = 0;
        var forced = new BitSet();
        for (Definition d : all) d.evaluated = -1;
        while (true) {
            for (int before = -1; before != now; ) {
                before = now;
                for (Definition d : all) {
                    if (d.evaluated >= 0 && !readsLaterThan(d, changed)) continue;
                    d.evaluated = now;
                    Shape s = result(d.instruction);
                    if (s == null) continue;
                    boolean shuffle = d.instruction.is("shfl") && d.instruction.operand(0) instanceof Operand.Pair;
                    for (Register r : d.writes) {
                        Shape mine = shuffle && r.type() == PtxType.PRED ? Shape.VARYING : s, old = shapes[r.id()];
                        Shape m = Shape.meet(old == null ? mine : old, mine);   // with itself at first: a meet moves what it can of the pattern into u
                        if (m.equals(old)) continue;
                        shapes[r.id()] = m;
                        changed[r.id()] = ++now;
                    }
                }
            }
            for (int r = 0; r < registers; r++) if (shapes[r] == null) shapes[r] = Shape.UNIFORM;   // never written
            var more = (BitSet) forced.clone();
            diverge(more);
            if (more.equals(forced)) return;
            now++;
            for (int r = more.nextSetBit(0); r >= 0; r = more.nextSetBit(r + 1)) {
                if (forced.get(r) || shapes[r].isVarying()) continue;
                shapes[r] = Shape.VARYING;
                changed[r] = now;
            }
            forced.or(more);
        }
    }

    private static boolean readsLaterThan(Definition d, int[] changed) {
        for (int r : d.reads) if (changed[r] > d.evaluated) return true;
        return false;
    }

    /** Finds divergent branches, the blocks they govern, and the registers that come out different depending on the way taken. */
    private void diverge(BitSet forced) {
        divergent.clear();
        joins.clear();
        int n = graph.size();
        if (!geometry.fullWarps()) divergent.set(0, n);
        for (int b = 0; b < n; b++) {
            Instruction t = graph.terminator(b);
            if (t == null || !isDivergent(t)) continue;
            int stop = graph.postDominator(b);
            List<Integer> successors = graph.block(b).successors();
            var reach = new ArrayList<BitSet>();
            var written = new ArrayList<BitSet>();
            var read = new ArrayList<BitSet>();
            for (int s : successors) {
                BitSet r = reachable(s, stop), w = new BitSet(), l = new BitSet();
                for (int x = r.nextSetBit(0); x >= 0; x = r.nextSetBit(x + 1)) {
                    l.or(liveIn[x]);
                    for (int i = graph.block(x).start(); i < graph.block(x).end(); i++) Effects.writes(graph.instruction(i), q -> w.set(q.id()));
                }
                reach.add(r);
                written.add(w);
                read.add(l);
                divergent.or(r);
            }
            if (stop < n) joins.set(stop);
            for (int i = 0; i < reach.size(); i++) {
                var w = (BitSet) written.get(i).clone();
                if (graph.irreducible()) { forced.or(w); continue; }
                var atStop = (BitSet) w.clone();
                atStop.and(liveIn[stop]);
                forced.or(atStop);
                for (int j = 0; j < reach.size(); j++) {
                    if (i == j) continue;
                    var both = (BitSet) w.clone();
                    both.and(read.get(j));
                    forced.or(both);
                }
            }
        }
    }

    private boolean isDivergent(Instruction t) {
        if (t.guard() != null && !shapes[t.guard().register().id()].isUniform()) return true;
        return t.is("brx") && !of(t.operand(0)).isUniform();
    }

    private BitSet reachable(int from, int stop) {
        var seen = new BitSet();
        var work = new ArrayDeque<Integer>();
        work.push(from);
        while (!work.isEmpty()) {
            int b = work.pop();
            if (b == stop || b >= graph.size() || seen.get(b)) continue;
            seen.set(b);
            work.addAll(graph.block(b).successors());
        }
        return seen;
    }

    /** Shape of an operand; null while its register has not been reached yet. */
    public Shape of(Operand o) {
        return switch (o) {
            case Operand.Reg r -> shapes[r.register().id()];
            case Operand.Immediate k -> k.kind() == Operand.Immediate.Kind.INTEGER ? Shape.constant(k.bits()) : Shape.UNIFORM;
            case Operand.Special s -> special(s.name());
            case Operand.Symbol s -> switch (s.variable().space()) {
                case SHARED -> Shape.constant(kernel.sharedOffset(s.variable().name()));
                case LOCAL -> Shape.constant(s.variable().offset());
                default -> Shape.uniform(4);
            };
            case Operand.Param p -> Shape.uniform(3);
            case Operand.Address a -> of(a.base());
            case Operand.Vector v -> {
                boolean all = true;
                for (int e = 0; e < v.elements().size(); e++) {   // an iterator for each was a twelfth of what a translation allocates
                    Shape s = of(v.elements().get(e));
                    if (s == null) yield null;
                    all &= s.isUniform();
                }
                yield all ? Shape.UNIFORM : Shape.VARYING;
            }
            default -> Shape.UNIFORM;
        };
    }

    private Shape special(String name) {
        return switch (name) {
            case "%tid.x", "%tid" -> geometry.tidX();
            case "%tid.y" -> geometry.tidY();
            case "%tid.z" -> geometry.tidZ();
            case "%ntid.x", "%ntid" -> Shape.constant(geometry.x());
            case "%ntid.y" -> Shape.constant(geometry.y());
            case "%ntid.z" -> Shape.constant(geometry.z());
            case "%laneid" -> Shape.known(Geometry.lanes(1));
            case "%lanemask_eq", "%lanemask_lt", "%lanemask_le", "%lanemask_gt", "%lanemask_ge" -> Shape.VARYING;
            default -> Shape.UNIFORM;
        };
    }

    /** Shape of what an instruction writes, from the shapes of what it reads; null while one of those is not known yet. */
    public Shape result(Instruction i) {
        if (i.guard() != null) {
            Shape g = shapes[i.guard().register().id()];
            if (g == null) return null;
            if (!g.isUniform()) return Shape.VARYING;
        }
        int n = i.operands().size();
        var a = new Shape[Math.max(0, n - 1)];
        boolean allUniform = true;
        for (int k = 1; k < n; k++) {
            a[k - 1] = of(i.operand(k));
            if (a[k - 1] == null) return null;
            allUniform &= a[k - 1].isUniform();
        }
        switch (i.opcode()) {
            case "mma", "wmma", "ldmatrix", "movmatrix", "atom", "match", "elect", "call", "isspacep", "mbarrier", "addc", "subc", "madc" -> { return Shape.VARYING; }
            case "shfl" -> {
                boolean broadcast = i.has("idx") && a[1].value() != null && a[2].value() != null && (a[2].value() & 0x1f1f) == 0x1f && geometry.fullWarps();
                return broadcast || a[0].isUniform() && i.has("idx") ? Shape.UNIFORM : Shape.VARYING;
            }
            case "activemask" -> { return Shape.UNIFORM; }
            case "vote", "redux" -> { return a[n - 2].isUniform() ? Shape.UNIFORM : Shape.VARYING; }   // of one group of lanes, or several side by side
            case "ld", "ldu" -> { return a[0].isUniform() && !i.has("local") ? Shape.UNIFORM : Shape.VARYING; }
            default -> { }
        }
        if (i.operand(0) instanceof Operand.Vector || n > 1 && i.operand(1) instanceof Operand.Vector) return allUniform ? Shape.UNIFORM : Shape.VARYING;
        if (i.has("cc")) return Shape.VARYING;
        PtxType type = i.type();
        if (i.operand(0) instanceof Operand.Reg d && d.register().type() != PtxType.PRED && type != null && !type.isFloat()) {
            Interval exact = interval(i);
            if (exact != null && exact.isConstant()) return Shape.constant(exact.lo());
        }
        if (i.is("setp") && n == 3) {
            Boolean known = compare(i);
            if (known != null) return Shape.constant(known ? 1 : 0);
        }
        Shape s = affine(i, a);
        if (s != null) return s.isVarying() && allUniform ? Shape.UNIFORM : clip(i, s);
        return allUniform ? Shape.UNIFORM : Shape.VARYING;
    }

    /** Patterns of 32-bit results are taken modulo 2^32, as signed numbers. */
    private static Shape clip(Instruction i, Shape s) {
        if (s.isVarying() || !(i.operand(0) instanceof Operand.Reg d) || d.register().type().bytes() != 4) return s;
        if (s.min() >= Integer.MIN_VALUE && s.max() <= Integer.MAX_VALUE && (s.constant() == null || s.constant() == s.constant().intValue())) return s;
        return s.isUniform() ? Shape.UNIFORM : Shape.VARYING;
    }

    /** Rules for integer operations that keep patterns; null if this one does not. */
    private Shape affine(Instruction i, Shape[] a) {
        PtxType t = i.type();
        if (t == null || t.isFloat() && !i.is("mov")) return null;
        boolean wide = i.has("wide");
        switch (i.opcode()) {
            case "mov" -> { return i.operand(0) instanceof Operand.Reg d && d.register().type().isFloat() != isFloat(i.operand(1)) ? null : a[0]; }
            case "cvta" -> {
                if (i.has("shared") && !i.has("to")) return new Shape(a[0].pattern(), Math.min(a[0].align(), 6), null);
                if (i.has("shared")) return a[0].isVarying() ? Shape.VARYING : Shape.affine(a[0].pattern(), 0);
                if (i.has("local") && !a[0].isVarying()) {   // lane l's memory starts at l * stride
                    long[] p = new long[Shape.LANES];
                    for (int l = 0; l < p.length; l++) p[l] = a[0].pattern()[l] + (i.has("to") ? -l : l) * localStride();
                    return Shape.affine(p, Math.min(a[0].align(), 4));
                }
                return a[0];
            }
            case "cvt" -> { return convert(i, a[0]); }
            case "add" -> { return i.has("sat") || i.has("cc") ? null : Shape.add(a[0], a[1], 1); }
            case "sub" -> { return i.has("sat") || i.has("cc") ? null : Shape.add(a[0], a[1], -1); }
            case "mul", "mad" -> {
                if (i.has("hi") || i.has("cc") || i.has("sat")) return null;
                Shape x = a[0], y = a[1];
                if (wide) {
                    x = Shape.widen(x, t.isSigned() || exact(i.operand(1)), t.isSigned() ? 0 : t.bits());
                    y = Shape.widen(y, t.isSigned() || exact(i.operand(2)), t.isSigned() ? 0 : t.bits());
                }
                Shape p = Shape.mul(x, y);
                return i.is("mul") ? p : Shape.add(p, a[2], 1);
            }
            case "not" -> { return Shape.add(Shape.constant(-1), a[0], -1); }
            case "neg" -> { return Shape.add(Shape.constant(0), a[0], -1); }
            case "shl" -> { return Shape.shl(a[0], a[1]); }
            case "shr" -> { return Shape.shr(a[0], a[1], !t.isSigned() && !exact(i.operand(1))); }
            case "and" -> { return Shape.bitwise(a[0], a[1], (x, y) -> x & y); }
            case "or" -> { return Shape.bitwise(a[0], a[1], (x, y) -> x | y); }
            case "xor" -> { return Shape.bitwise(a[0], a[1], (x, y) -> x ^ y); }
            case "bfi" -> {
                Long pos = a[2].value(), len = a[3].value();
                if (pos == null || len == null || pos < 0 || len < 0 || pos + len > 62 || len == 0) return null;
                long field = (1L << len) - 1;
                Shape in = Shape.shl(Shape.bitwise(a[0], Shape.constant(field), (x, y) -> x & y), Shape.constant(pos));
                Shape rest = Shape.bitwise(a[1], Shape.constant(~(field << pos) & (t.bits() == 32 ? 0xffffffffL : -1)), (x, y) -> x & y);
                return Shape.bitwise(in, rest, (x, y) -> x | y);
            }
            case "prmt" -> {
                Long sel = a[2].value();
                if (sel == null || (sel & 0x8888) != 0 || i.modifiers().size() > 1) return null;
                Shape r = Shape.constant(0);
                for (int b = 0; b < 4; b++) {
                    int from = (int) (sel >> 4 * b) & 7;
                    Shape in = a[from >> 2];
                    if (from % 4 != 0) in = Shape.shr(in, Shape.constant(8L * (from & 3)), !exact(i.operand(1 + (from >> 2))));
                    in = Shape.shl(Shape.bitwise(in, Shape.constant(255), (x, y) -> x & y), Shape.constant(8L * b));
                    r = Shape.bitwise(r, in, (x, y) -> x | y);
                }
                return r;
            }
            case "selp" -> {
                if (!a[2].isUniform()) return null;
                Long known = a[2].value();
                if (known != null && i.operand(3) instanceof Operand.Reg p) return (known != 0) != p.negated() ? a[0] : a[1];
                return Shape.meet(a[0], a[1]);
            }
            default -> { return null; }
        }
    }

    private boolean isFloat(Operand o) {
        return o instanceof Operand.Reg r ? r.register().type().isFloat() : o instanceof Operand.Immediate k && k.kind() != Operand.Immediate.Kind.INTEGER;
    }

    private Shape convert(Instruction i, Shape a) {
        List<PtxType> t = i.types();
        if (t.size() != 2 || t.get(0).isFloat() || t.get(1).isFloat() || i.has("sat")) return null;
        PtxType to = t.get(0), from = t.get(1);
        if (to.bytes() > from.bytes()) return Shape.widen(a, from.isSigned() || exact(i.operand(1)), from.isSigned() ? 0 : from.bits());
        if (to.bytes() < 4) {   // narrow values are kept zero- or sign-extended in wider registers: only what fits survives
            if (a.isUniform()) return a.value() != null && a.value() >= 0 && a.value() < 1L << to.bits() - 1 ? a : Shape.UNIFORM;
            return a.constant() != null && a.fits() && a.constant() >= 0 && a.constant() + a.max() < 1L << to.bits() - 1 ? a : null;
        }
        return a;
    }

    /** A value with a non-negative interval does not wrap around when taken apart. */
    private boolean exact(Operand o) {
        Interval v = interval(o);
        return v != null && v.nonNegative();
    }

    // ---- intervals

    private Interval interval(Operand o) {
        return switch (o) {
            case Operand.Reg r -> interval(r.register());
            case Operand.Immediate k -> k.kind() == Operand.Immediate.Kind.INTEGER ? Interval.of(k.bits()) : null;
            case Operand.Special s -> switch (s.name()) {
                case "%tid.x" -> new Interval(0, geometry.x() - 1);
                case "%tid.y" -> new Interval(0, geometry.y() - 1);
                case "%tid.z" -> new Interval(0, geometry.z() - 1);
                case "%ntid.x" -> Interval.of(geometry.x());
                case "%ntid.y" -> Interval.of(geometry.y());
                case "%ntid.z" -> Interval.of(geometry.z());
                case "%laneid" -> new Interval(0, 31);
                case "%warpid" -> new Interval(0, 31);
                case "%ctaid.x", "%nctaid.x" -> new Interval(0, mostBlocks());   // the emitted entry refuses more
                case "%ctaid.y", "%ctaid.z", "%nctaid.y", "%nctaid.z" -> new Interval(0, 65535);
                default -> null;
            };
            case Operand.Symbol s when s.variable().space() == dev.turningpoint.softgpu.ptx.StateSpace.SHARED -> Interval.of(kernel.sharedOffset(s.variable().name()));
            default -> null;
        };
    }

    /** Blocks along x for which {@code blockIdx.x * blockDim.x + threadIdx.x} stays an int. */
    public long mostBlocks() { return Integer.MAX_VALUE / geometry.threads(); }

    private Interval interval(Register r) {
        int id = r.id();
        if (intervalState[id] == 1) return null;   // a loop: nothing known
        if (intervalState[id] == 2) return intervals[id];
        intervalState[id] = 1;
        Interval v = null;
        List<Instruction> d = definitions.get(id);
        for (int k = 0; k < d.size(); k++) {
            Instruction i = d.get(k);
            Interval x = i.operand(0) instanceof Operand.Reg ? interval(i) : null;
            v = k == 0 ? x : Interval.union(v, x);
            if (v == null) break;
        }
        intervalState[id] = 2;
        return intervals[id] = v;
    }

    /** Interval of an integer result from those of the operands; null if unknown or if it could wrap around. */
    private Interval interval(Instruction i) {
        PtxType t = i.type();
        if (t == null || t.isFloat() || t == PtxType.PRED || i.has("hi") || i.has("sat") || i.has("cc") || !(i.operand(0) instanceof Operand.Reg)) return null;
        int bits = i.has("wide") ? 2 * t.bits() : t.bits();
        Interval r = interval(i, t);
        return r == null ? null : r.within(bits);
    }

    private Interval interval(Instruction i, PtxType t) {
        switch (i.opcode()) {
            case "mov" -> { return interval(i.operand(1)); }
            case "ld" -> {
                boolean vector = i.operand(0) instanceof Operand.Vector;
                return vector ? null : t == PtxType.U8 ? new Interval(0, 255) : t == PtxType.U16 ? new Interval(0, 65535) : null;
            }
            case "cvt" -> {
                List<PtxType> both = i.types();
                if (both.size() != 2 || both.get(1).isFloat() || both.get(0).isFloat()) return null;
                Interval a = interval(i.operand(1));
                if (a != null && a.within(both.get(0).bits()) != null && (a.nonNegative() || both.get(1).isSigned())) return a;
                PtxType narrow = both.get(0).bytes() < both.get(1).bytes() ? both.get(0) : both.get(1);
                return narrow.bytes() < 4 && !narrow.isSigned() && !both.get(0).isSigned() ? new Interval(0, (1L << narrow.bits()) - 1) : null;
            }
            case "and" -> {
                Interval a = interval(i.operand(1)), b = interval(i.operand(2));
                if (a != null && b != null && a.isConstant() && b.isConstant()) return Interval.of(a.lo() & b.lo());
                if (b != null && b.nonNegative()) return new Interval(0, a != null && a.nonNegative() ? Math.min(a.hi(), b.hi()) : b.hi());
                return a != null && a.nonNegative() ? new Interval(0, a.hi()) : null;
            }
            case "or", "xor" -> {
                Interval a = interval(i.operand(1)), b = interval(i.operand(2));
                if (a == null || b == null || !a.nonNegative() || !b.nonNegative()) return null;
                if (a.isConstant() && b.isConstant()) return Interval.of(i.is("or") ? a.lo() | b.lo() : a.lo() ^ b.lo());
                long top = Long.highestOneBit(Math.max(a.hi(), b.hi()) | 1);
                return new Interval(i.is("or") ? Math.max(a.lo(), b.lo()) : 0, 2 * top - 1);
            }
            case "popc", "clz" -> { return new Interval(0, 64); }
            default -> { }
        }
        if (i.operands().size() < 3) return null;
        Interval a = interval(i.operand(1)), b = interval(i.operand(2));
        if (i.is("rem") && b != null && b.isConstant() && b.lo() > 0 && (!t.isSigned() || a != null && a.nonNegative())) return new Interval(0, b.lo() - 1);
        if (i.is("shr") && !t.isSigned() && a == null && b != null && b.isConstant() && b.lo() > 0 && b.lo() < t.bits()) return new Interval(0, (1L << t.bits() - b.lo()) - 1);
        if (a == null || b == null || outside(a) || outside(b)) return null;
        boolean same = t.isSigned() || a.nonNegative() && b.nonNegative();
        switch (i.opcode()) {
            case "add" -> { return new Interval(a.lo() + b.lo(), a.hi() + b.hi()); }
            case "sub" -> { return new Interval(a.lo() - b.hi(), a.hi() - b.lo()); }
            case "mul" -> { return i.has("wide") && !same ? null : product(a, b); }
            case "mad" -> {
                Interval c = interval(i.operand(3));
                if (c == null || outside(c) || i.has("wide") && !same) return null;
                Interval p = product(a, b);
                return outside(p) ? null : new Interval(p.lo() + c.lo(), p.hi() + c.hi());
            }
            case "shl" -> { return b.isConstant() && b.lo() >= 0 && b.lo() < 31 ? product(a, Interval.of(1L << b.lo())) : null; }
            case "shr" -> { return b.isConstant() && b.lo() >= 0 && b.lo() < t.bits() && same ? new Interval(a.lo() >> b.lo(), a.hi() >> b.lo()) : null; }
            case "div" -> { return b.isConstant() && b.lo() > 0 && same ? new Interval(a.lo() / b.lo(), a.hi() / b.lo()) : null; }
            case "min" -> { return same ? new Interval(Math.min(a.lo(), b.lo()), Math.min(a.hi(), b.hi())) : null; }
            case "max" -> { return same ? new Interval(Math.max(a.lo(), b.lo()), Math.max(a.hi(), b.hi())) : null; }
            case "selp" -> { return Interval.union(a, b); }
            default -> { return null; }
        }
    }

    private static boolean outside(Interval v) { return v.lo() < -(1L << 40) || v.hi() > 1L << 40; }

    private static Interval product(Interval a, Interval b) {
        if (outside(a) || outside(b) || Math.max(Math.abs(a.lo()), Math.abs(a.hi())) > (1L << 62) / Math.max(1, Math.max(Math.abs(b.lo()), Math.abs(b.hi())))) return new Interval(Long.MIN_VALUE, Long.MAX_VALUE);
        long p = a.lo() * b.lo(), q = a.lo() * b.hi(), r = a.hi() * b.lo(), s = a.hi() * b.hi();
        return new Interval(Math.min(Math.min(p, q), Math.min(r, s)), Math.max(Math.max(p, q), Math.max(r, s)));
    }

    /** The outcome of a comparison that the intervals settle, else null. */
    private Boolean compare(Instruction i) {
        PtxType t = i.type();
        if (t == null || t.isFloat() || t == PtxType.PRED) return null;
        Interval x = interval(i.operand(1)), y = interval(i.operand(2));
        if (x == null || y == null || x.within(t.bits()) == null || y.within(t.bits()) == null) return null;
        if (!t.isSigned() && !(x.nonNegative() && y.nonNegative())) return null;
        boolean less = x.hi() < y.lo(), greaterEqual = x.lo() >= y.hi(), greater = x.lo() > y.hi(), lessEqual = x.hi() <= y.lo();
        boolean equal = x.isConstant() && x.equals(y), apart = less || greater;
        return switch (i.modifiers().get(0)) {
            case "lt", "lo" -> less ? Boolean.TRUE : greaterEqual ? Boolean.FALSE : null;
            case "le", "ls" -> lessEqual ? Boolean.TRUE : greater ? Boolean.FALSE : null;
            case "gt", "hi" -> greater ? Boolean.TRUE : lessEqual ? Boolean.FALSE : null;
            case "ge", "hs" -> greaterEqual ? Boolean.TRUE : less ? Boolean.FALSE : null;
            case "eq" -> equal ? Boolean.TRUE : apart ? Boolean.FALSE : null;
            case "ne" -> equal ? Boolean.FALSE : apart ? Boolean.TRUE : null;
            default -> null;
        };
    }
}
