package dev.turningpoint.softgpu.jit;

import dev.turningpoint.softgpu.analysis.Effects;
import dev.turningpoint.softgpu.analysis.FlowGraph;
import dev.turningpoint.softgpu.analysis.Geometry;
import dev.turningpoint.softgpu.analysis.KernelAnalysis;
import dev.turningpoint.softgpu.analysis.Shape;
import dev.turningpoint.softgpu.analysis.Waits;
import dev.turningpoint.softgpu.ptx.Instruction;
import dev.turningpoint.softgpu.ptx.Operand;
import dev.turningpoint.softgpu.ptx.PtxException;
import dev.turningpoint.softgpu.ptx.PtxKernel;
import dev.turningpoint.softgpu.ptx.PtxType;
import dev.turningpoint.softgpu.ptx.Register;
import dev.turningpoint.softgpu.system.SystemCall;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.List;

/**
 * One kernel as LLVM IR. A warp is a function; a register is a stack slot holding {@code <32 x T>}, or one T where the analysis found it uniform
 * or a pattern (then the slot holds the uniform part). LLVM makes SSA of the slots.
 *
 * <p>Each block exists in a <i>full</i> version, all lanes active, following PTX's own control flow, and where lanes may diverge in a <i>masked</i> one.
 * The masked versions are a function of their own, {@code @tp_masked}: {@code %pend.b} holds the lanes waiting to run block b, and the dispatch chain
 * {@code C.b}, in the order of {@link FlowGraph#position}, runs the first block with waiting lanes. Where the branches of a full warp meet again with all
 * lanes, it returns. Its registers are in a frame in memory, filled where a full warp diverges and read where it comes back: what is rarely run would
 * otherwise make the registers of the full version hard to allocate, and LLVM slow.
 *
 * <p>A barrier stores the live registers into the warp's context and returns the number of the place to go on from.
 */
final class KernelEmitter {
    final Ir ir = new Ir();
    final KernelAnalysis analysis;
    final FlowGraph graph;
    final PtxKernel kernel;
    final Geometry geometry;
    final Target target;
    final MathLibrary math;
    final List<String> report = new ArrayList<>();
    final long localStride;

    private final long sharedBytes;
    private final Arithmetic arithmetic;
    private final Memory memory;
    private final Matrix matrix;
    private final WarpMatrices warpMatrices;
    private final BarrierObjects objects;
    private final Waits waits;
    private final Turns turns;                             // null where all warps wait at barrier 0 only
    private final Carries carries;
    private final Groups groups;
    private final boolean productsInMemory;
    private final StringBuilder helpers = new StringBuilder();
    private final java.util.Set<String> helperNames = new java.util.HashSet<>();
    private final List<Resume> resumes = new ArrayList<>();
    private final java.util.TreeSet<Integer> entrances = new java.util.TreeSet<>();   // blocks where a chain of masked blocks begins
    private final BitSet framed = new BitSet(), framedWritten = new BitSet();          // registers of masked blocks, and those they write
    private final int[] definitionCount;
    private final BitSet pendable = new BitSet();
    private final BitSet local = new BitSet();             // registers of one block: values, no slots
    private final BitSet inMemory = new BitSet();          // registers whose addresses are handed to functions
    private final int[] sharedSlot;                        // their places
    private final java.util.TreeMap<String, Integer> scratchFull = new java.util.TreeMap<>(), scratchMasked = new java.util.TreeMap<>();   // memory of each function
    private final String[] held;                           // the value a register has, as far as known: since the last label for those with slots
    private long contextBytes;

    /** A place to go on from after a barrier. */
    private record Resume(String label, boolean masked) {}

    /**
     * Matrix products of a kernel that are written out where the processor has the registers for it. A kernel of a few is a fifth faster so; one of 24 to 48
     * is 6 to 18 per cent slower than with functions, and takes LLVM twice as long.
     */
    private static final int MOST_WRITTEN_OUT = 20;

    /** {@code @tp_masked} returns this plus b where all lanes go on with block b. */
    private static final int TOGETHER = 1 << 20;

    // where the emission stands
    private boolean inMasked;   // writing @tp_masked
    private String mask;        // active lanes, null = all
    private boolean guarded;    // mask includes a guard: every write keeps the old value of the other lanes
    private BitSet liveOut;
    private Instruction current;

    KernelEmitter(KernelAnalysis analysis, Target target, long sharedBytes) {
        this.analysis = analysis;
        this.graph = analysis.graph();
        this.kernel = analysis.kernel();
        this.geometry = analysis.geometry();
        this.target = target;
        this.sharedBytes = sharedBytes;
        this.math = new MathLibrary(target, ir);
        this.localStride = analysis.localStride();
        this.arithmetic = new Arithmetic(this);
        this.memory = new Memory(this);
        this.matrix = new Matrix(this);
        this.warpMatrices = new WarpMatrices(this, memory);
        this.objects = new BarrierObjects(this, memory);
        this.waits = new Waits(kernel, graph);
        this.turns = waits.any() || kernel.syncsGrid() ? new Turns(geometry.warps()) : null;
        this.carries = new Carries(this);
        this.groups = new Groups(this);
        definitionCount = new int[kernel.registers().size()];
        for (Instruction i : kernel.instructions()) Effects.writes(i, r -> definitionCount[r.id()]++);
        held = new String[kernel.registers().size()];
        localRegisters();
        productsInMemory = !target.avx512() || kernel.instructions().stream().filter(i -> i.is("mma")).count() > MOST_WRITTEN_OUT;
        for (Instruction i : kernel.instructions())
            if (inMemory(i)) {
                List<Operand> o = i.operands();
                for (Operand each : i.is("mma") ? o : o.subList(0, 1)) Effects.registers(each, r -> { if (analysis.shape(r).isVarying()) inMemory.set(r.id()); });
            }
        local.andNot(inMemory);
        sharedSlot = SharedSlots.assign(analysis, inMemory);
        ir.atLabel(() -> { for (int r = local.nextClearBit(0); r < held.length; r = local.nextClearBit(r + 1)) held[r] = null; });
    }

    /** Registers that are written (unguarded) and read in one block only, with no barrier between. */
    private void localRegisters() {
        local.set(0, held.length);
        int[] home = new int[held.length];
        Arrays.fill(home, -1);
        for (int b = 0; b < graph.size(); b++) {
            int block = b;
            BitSet[] after = null;
            for (int k = graph.block(b).start(); k < graph.block(b).end(); k++) {
                Instruction i = graph.instruction(k);
                java.util.function.Consumer<Register> at = r -> {
                    if (home[r.id()] < 0) home[r.id()] = block;
                    else if (home[r.id()] != block) local.clear(r.id());
                };
                Effects.reads(i, at);
                Effects.writes(i, at);
                if (i.guard() != null) Effects.writes(i, r -> local.clear(r.id()));
                if (i.is("bar") || i.is("barrier") || Waits.isTest(i) || waits.spins(k)) {
                    if (after == null) after = analysis.liveAfter(b);
                    local.andNot(after[k - graph.block(b).start()]);
                }
            }
            local.andNot(analysis.liveIn(b));
            local.andNot(analysis.liveOut(b));
        }
    }

    /** What a register's slot would hold. */
    private String read(Register r, String type) {
        if (held[r.id()] == null) {
            if (local.get(r.id())) return type.startsWith("<") ? "zeroinitializer" : Ir.isFloat(type) ? "0.0" : "0";   // read before it is written: anything will do
            held[r.id()] = ir.temp("load " + type + ", ptr " + slot(r));
        }
        return held[r.id()];
    }

    private void keep(Register r, String v, String type) {
        held[r.id()] = v;
        if (!local.get(r.id())) ir.line("store " + type + " " + v + ", ptr " + slot(r));
    }

    PtxException refuse(Instruction i, String why) { return kernel.refusal(i, "is not compiled", why); }

    /** Adds a helper function's text once. */
    void helper(String name, java.util.function.Supplier<String> text) {
        if (helperNames.add(name)) helpers.append(text.get());
    }

    Instruction current() { return current; }
    String mask() { return mask; }

    // ---- operands

    static String typeOf(PtxType t) {
        return switch (t) {
            case PRED -> "i1";
            case B8, U8, S8, E4M3, E5M2 -> "i8";
            case B16, U16, S16, F16, BF16, E4M3X2, E5M2X2 -> "i16";
            case B32, U32, S32, F16X2, BF16X2, TF32 -> "i32";
            case F32 -> "float";
            case B64, U64, S64 -> "i64";
            case F64 -> "double";
            case B128 -> "i128";
        };
    }

    String slot(Register r) { return inMemory.get(r.id()) && !inMasked ? "%S" + sharedSlot[r.id()] : "%R" + r.id(); }

    /** Whether an instruction is a function on registers in memory: see {@link MatrixLibrary}. */
    boolean inMemory(Instruction i) { return productsInMemory && (i.is("mma") && i.type() != PtxType.F64 || i.is("ldmatrix")); }

    /** Address of the memory that receives all lanes of a register; what is known of its value is forgotten. */
    String place(Operand d) {
        Register r = ((Operand.Reg) d).register();
        held[r.id()] = null;
        return slot(r);
    }

    /** Address of memory that holds all lanes of an operand; n tells apart the operands of one instruction that have no memory of their own. */
    String place(Operand o, String type, int n) {
        if (o instanceof Operand.Reg r && inMemory.get(r.register().id())) return slot(r.register());
        String memory = scratch("passed." + n, 32 * Ir.bytes(type));
        ir.line("store " + Ir.vector(type) + " " + vector(o, type) + ", ptr " + memory);
        return memory;
    }

    /** Memory of the function that is being written, for what a call takes or gives; the same name is the same memory. */
    String scratch(String name, int bytes) {
        (inMasked ? scratchMasked : scratchFull).merge(name, bytes, Math::max);
        return "%" + name;
    }

    /** Value of lane 0 of an operand that is not varying. */
    String scalar(Operand o, String type) {
        switch (o) {
            case Operand.Reg r -> {
                Shape s = analysis.shape(r.register());
                String own = typeOf(r.register().type());
                String v;
                if (s.constant() != null && !Ir.isFloat(own)) v = Ir.integer(own, s.constant() + s.pattern()[0]);
                else {
                    v = read(r.register(), own);
                    if (s.pattern()[0] != 0) v = ir.temp("add " + own + " " + v + ", " + Ir.integer(own, s.pattern()[0]));
                }
                v = convert(v, own, type, false);
                return r.negated() ? ir.temp("xor i1 " + v + ", true") : v;
            }
            case Operand.Immediate k -> { return immediate(k, type); }
            case Operand.Special s -> { return convert(special(s), specialType(s), type, false); }
            case Operand.Symbol s -> {
                return switch (s.variable().space()) {
                    case SHARED -> Ir.integer(type, kernel.sharedOffset(s.variable().name()));
                    case LOCAL -> Ir.integer(type, s.variable().offset());
                    case GLOBAL, CONST -> convert(ir.temp("add i64 " + ir.temp("ptrtoint ptr @tp_module_data to i64") + ", " + s.variable().offset()), "i64", type, false);
                    default -> throw refuse(current, "address of " + s.variable().name());
                };
            }
            case Operand.Param p -> { return convert(ir.temp("add i64 " + ir.temp("ptrtoint ptr %params to i64") + ", " + p.param().offset()), "i64", type, false); }
            default -> throw refuse(current, "operand " + o);
        }
    }

    private String immediate(Operand.Immediate k, String type) {
        if (Ir.isFloat(type)) {
            return switch (k.kind()) {
                case INTEGER -> Ir.bits(type, k.bits());   // mov.b32 of an integer into a float register keeps the bits
                case SINGLE -> type.equals("float") ? Ir.bits("float", k.bits()) : Ir.real(type, Float.intBitsToFloat((int) k.bits()));
                case DOUBLE -> type.equals("double") ? Ir.bits("double", k.bits()) : Ir.real(type, Double.longBitsToDouble(k.bits()));
            };
        }
        return Ir.integer(type, k.bits());
    }

    private static String specialType(Operand.Special s) {
        return switch (s.name()) { case "%clock64", "%globaltimer", "%gridid" -> "i64"; default -> "i32"; };
    }

    private String special(Operand.Special s) {
        int x = geometry.x(), y = geometry.y();
        String first = "%lane0";   // linear index of lane 0
        return switch (s.name()) {
            case "%tid.x", "%tid" -> y == 1 && geometry.z() == 1 ? first : ir.temp("urem i32 " + first + ", " + x);
            case "%tid.y" -> geometry.z() == 1 ? ir.temp("udiv i32 " + first + ", " + x) : ir.temp("urem i32 " + ir.temp("udiv i32 " + first + ", " + x) + ", " + y);
            case "%tid.z" -> ir.temp("udiv i32 " + first + ", " + x * y);
            case "%ntid.x", "%ntid" -> "" + x;
            case "%ntid.y" -> "" + y;
            case "%ntid.z" -> "" + geometry.z();
            case "%ctaid.x", "%ctaid" -> "%bx";
            case "%ctaid.y" -> "%by";
            case "%ctaid.z" -> "%bz";
            case "%nctaid.x", "%nctaid" -> "%gx";
            case "%nctaid.y" -> "%gy";
            case "%nctaid.z" -> "%gz";
            case "%laneid" -> "0";
            case "%warpid" -> "%warp";
            case "%nwarpid" -> "" + geometry.warps();
            // launched without clusters, each block is one of its own
            case "%clusterid.x", "%clusterid" -> "%bx";
            case "%clusterid.y" -> "%by";
            case "%clusterid.z" -> "%bz";
            case "%nclusterid.x", "%nclusterid" -> "%gx";
            case "%nclusterid.y" -> "%gy";
            case "%nclusterid.z" -> "%gz";
            case "%cluster_ctaid.x", "%cluster_ctaid", "%cluster_ctaid.y", "%cluster_ctaid.z", "%cluster_ctarank", "%smid" -> "0";
            case "%cluster_nctaid.x", "%cluster_nctaid", "%cluster_nctaid.y", "%cluster_nctaid.z", "%cluster_nctarank", "%nsmid" -> "1";
            case "%total_smem_size", "%dynamic_smem_size" -> "" + (s.name().startsWith("%total") ? sharedBytes : sharedBytes - kernel.staticShared());
            case "%gridid" -> "0";
            case "%globaltimer" -> nanos();
            case "%globaltimer_lo" -> ir.temp("trunc i64 " + nanos() + " to i32");
            case "%globaltimer_hi" -> ir.temp("trunc i64 " + ir.temp("lshr i64 " + nanos() + ", 32") + " to i32");
            case "%clock_hi" -> {
                ir.declare("i64 @llvm.readcyclecounter()");
                yield ir.temp("trunc i64 " + ir.temp("lshr i64 " + ir.temp("call i64 @llvm.readcyclecounter()") + ", 32") + " to i32");
            }
            case "%envreg1", "%envreg2" -> {   // the two halves of the address of the grid's workspace
                String v = ir.temp("load i64, ptr " + ir.temp("getelementptr i8, ptr %params, i64 " + kernel.workspaceOffset()));
                yield ir.temp("trunc i64 " + (s.name().equals("%envreg2") ? v : ir.temp("lshr i64 " + v + ", 32")) + " to i32");
            }
            case "%is_explicit_cluster" -> "0";
            case "%aggr_smem_size" -> "" + sharedBytes;
            case "%clock64" -> { ir.declare("i64 @llvm.readcyclecounter()"); yield ir.temp("call i64 @llvm.readcyclecounter()"); }
            case "%clock" -> { ir.declare("i64 @llvm.readcyclecounter()"); yield ir.temp("trunc i64 " + ir.temp("call i64 @llvm.readcyclecounter()") + " to i32"); }
            default -> throw refuse(current, "special register " + s.name());
        };
    }

    /** The system's time in nanoseconds. */
    private String nanos() {
        ir.declare("i32 @clock_gettime(i32, ptr)");
        helper("nanos", () -> """
                define internal i64 @tp_nanos() noinline #0 {
                  %t = alloca [2 x i64]
                  %r = call i32 @clock_gettime(i32 0, ptr %t)
                  %s = load i64, ptr %t
                  %at = getelementptr i64, ptr %t, i64 1
                  %n = load i64, ptr %at
                  %m = mul i64 %s, 1000000000
                  %a = add i64 %m, %n
                  ret i64 %a
                }
                """);
        return ir.temp("call i64 @tp_nanos()");
    }

    /** All lanes of an operand. */
    String vector(Operand o, String type) {
        if (o instanceof Operand.Reg r && analysis.shape(r.register()).isVarying()) {
            String own = typeOf(r.register().type());
            String v = convert(read(r.register(), Ir.vector(own)), own, type, true);
            return r.negated() ? ir.maskNot(v) : v;
        }
        if (o instanceof Operand.Special s) {
            if (analysis.of(o).isVarying()) return convert(varyingSpecial(s), "i32", type, true);
        }
        Shape s = analysis.of(o);
        if (s.isUniform()) return ir.splat(type, scalar(o, type));
        // the pattern is added at the operand's own width, where it may wrap around
        String own = o instanceof Operand.Reg r ? typeOf(r.register().type()) : o instanceof Operand.Special ? "i32" : type;
        long[] p = s.pattern();
        String v = ir.temp("add " + Ir.vector(own) + " " + ir.splat(own, scalar(o, own)) + ", " + Ir.lanes(own, p, p[0]));
        return convert(v, own, type, true);
    }

    private String varyingSpecial(Operand.Special s) {
        String lane = Ir.lanes("i32", tabulate(l -> l), 0);
        switch (s.name()) {
            case "%lanemask_eq": return Ir.lanes("i32", tabulate(l -> 1L << l), 0);
            case "%lanemask_lt": return Ir.lanes("i32", tabulate(l -> (1L << l) - 1), 0);
            case "%lanemask_le": return Ir.lanes("i32", tabulate(l -> (2L << l) - 1), 0);
            case "%lanemask_gt": return Ir.lanes("i32", tabulate(l -> -(2L << l)), 0);
            case "%lanemask_ge": return Ir.lanes("i32", tabulate(l -> -(1L << l)), 0);
            default:
        }
        String linear = ir.temp("add <32 x i32> " + ir.splat("i32", "%lane0") + ", " + lane);
        String x = Ir.constant("i32", true, geometry.x()), y = Ir.constant("i32", true, geometry.y());
        return switch (s.name()) {
            case "%tid.x", "%tid" -> ir.binary("urem", "i32", true, linear, x);
            case "%tid.y" -> ir.binary("urem", "i32", true, ir.binary("udiv", "i32", true, linear, x), y);
            case "%tid.z" -> ir.binary("udiv", "i32", true, linear, Ir.constant("i32", true, (long) geometry.x() * geometry.y()));
            default -> throw refuse(current, "special register " + s.name());
        };
    }

    static long[] tabulate(java.util.function.IntToLongFunction f) {
        long[] p = new long[32];
        for (int l = 0; l < 32; l++) p[l] = f.applyAsLong(l);
        return p;
    }

    String value(Operand o, String type, boolean vec) { return vec ? vector(o, type) : scalar(o, type); }

    /** Bits kept: same size by bitcast, otherwise cut or filled with zeros. */
    String convert(String v, String from, String to, boolean vec) {
        if (from.equals(to)) return v;
        int a = Ir.bytes(from), b = Ir.bytes(to);
        if (from.equals("i1")) return ir.cast("zext", from, to, vec, v);
        if (a == b) return ir.cast("bitcast", from, to, vec, v);
        String fi = "i" + a * 8, ti = "i" + b * 8;
        v = ir.cast(Ir.isFloat(from) ? "bitcast" : "trunc", from, fi, vec, v);
        v = ir.cast(a > b ? "trunc" : "zext", fi, ti, vec, v);
        return ir.cast("bitcast", ti, to, vec, v);
    }

    // ---- results

    /** Writes a vector into a register (or nowhere). */
    void writeVector(Operand d, String v, String type) {
        if (!(d instanceof Operand.Reg reg)) return;
        Register r = reg.register();
        String own = typeOf(r.type());
        v = convert(v, type, own, true);
        if (!analysis.shape(r).isVarying()) throw new IllegalStateException(kernel.name() + ": vector for " + analysis.shape(r) + " register in " + current);
        if (mask != null && !local.get(r.id()) && (guarded || definitionCount[r.id()] > 1 || liveOut.get(r.id()) || inMasked || inMemory.get(r.id())))
            v = ir.select(own, true, mask, v, read(r, Ir.vector(own)));
        keep(r, v, Ir.vector(own));
    }

    /** Writes a value of known shape: {@code v} is its lane 0. */
    void writeScalar(Operand d, String v, String type, Shape shape) {
        if (!(d instanceof Operand.Reg reg)) return;
        Register r = reg.register();
        Shape own = analysis.shape(r);
        String t = typeOf(r.type());
        v = convert(v, type, t, false);
        if (own.isVarying()) {
            String w = ir.splat(t, v);
            if (!shape.isUniform()) w = ir.temp("add " + Ir.vector(t) + " " + w + ", " + Ir.lanes(t, shape.pattern(), shape.pattern()[0]));
            writeVector(d, w, t);
            return;
        }
        if (own.pattern()[0] != 0) v = ir.temp("sub " + t + " " + v + ", " + Ir.integer(t, own.pattern()[0]));
        keep(r, v, t);
    }

    void write(Operand d, String v, String type, boolean vec, Shape shape) {
        if (vec) writeVector(d, v, type); else writeScalar(d, v, type, shape);
    }

    /** Whether an instruction's guard differs between lanes. */
    boolean guardVaries(Instruction i) { return i.guard() != null && !analysis.shape(i.guard().register()).isUniform(); }

    /** Start of each lane's local memory as {@code <32 x i64>}. */
    String localBase() {
        String base = ir.splat("i64", ir.temp("ptrtoint ptr %local to i64"));
        return ir.temp("add <32 x i64> " + base + ", " + Ir.lanes("i64", tabulate(l -> l * localStride), 0));
    }

    /** Bits as a mask. Without mask registers a mask is what a comparison gives, and LLVM would take bits apart one by one. */
    private String maskOf(String bits) {
        if (target.avx512()) return ir.maskOf(bits);
        String m = ir.compare("ne", "i32", true, ir.temp("and <32 x i32> " + ir.splat("i32", bits) + ", " + Ir.lanes("i32", tabulate(l -> 1L << l), 0)), Ir.constant("i32", true, 0));
        ir.isBits(m, bits);
        return m;
    }

    /** Active lanes as a mask value, all ones if unmasked. */
    String activeMask() { return mask == null ? "splat (i1 true)" : mask; }

    // ---- instructions

    private void instruction(Instruction i) {
        current = i;
        if (i.guard() == null) { operation(i); return; }
        Operand.Reg g = i.guard();
        if (analysis.shape(g.register()).isUniform()) {
            Long known = analysis.shape(g.register()).value();
            if (known != null) {
                if ((known != 0) != g.negated()) operation(i);
                return;
            }
            String then = ir.newLabel("if"), after = ir.newLabel("fi");
            ir.line("br i1 " + scalar(g, "i1") + ", label %" + then + ", label %" + after);
            ir.label(then);
            operation(i);
            ir.line("br label %" + after);
            ir.label(after);
            return;
        }
        String outer = mask;
        boolean outerGuarded = guarded;
        String p = vector(g, "i1");
        mask = outer == null ? p : ir.maskAnd(outer, p);
        guarded = true;
        boolean effect = switch (i.opcode()) { case "st", "red", "atom", "cp", "trap", "call" -> true; default -> false; };
        if (effect) {
            String then = ir.newLabel("if"), after = ir.newLabel("fi");
            ir.line("br i1 " + ir.compare("ne", "i32", false, ir.maskBits(mask), "0") + ", label %" + then + ", label %" + after);
            ir.label(then);
            operation(i);
            ir.line("br label %" + after);
            ir.label(after);
        } else operation(i);
        mask = outer;
        guarded = outerGuarded;
    }

    private void operation(Instruction i) {
        try {
            dispatch(i);
        } catch (IndexOutOfBoundsException | ClassCastException | NullPointerException | IllegalArgumentException e) {
            PtxException p = refuse(i, "with these operands");
            p.initCause(e);
            throw p;
        }
    }

    private void dispatch(Instruction i) {
        switch (i.opcode()) {
            case "ld", "ldu" -> memory.load(i);
            case "st" -> memory.store(i);
            case "atom", "red" -> memory.atomic(i);
            case "cp" -> { if (i.has("mbarrier")) objects.emit(i); else memory.copyAsync(i); }
            case "mbarrier" -> objects.emit(i);
            case "prefetch" -> memory.prefetch(i);
            case "prefetchu", "membar", "fence", "nanosleep", "discard", "applypriority", "griddepcontrol" -> { }
            case "createpolicy" -> writeScalar(i.operand(0), "0", "i64", Shape.UNIFORM);   // caches are the processor's: a policy is only handed on
            case "mma" -> { whole(i); matrix.mma(i); }
            case "wmma" -> { whole(i); warpMatrices.emit(i); }
            case "ldmatrix" -> { whole(i); matrix.ldmatrix(i); }
            case "stmatrix" -> { whole(i); matrix.stmatrix(i); }
            case "movmatrix" -> { whole(i); matrix.movmatrix(i); }
            case "trap", "brkpt" -> fault(CompiledKernel.TRAP);
            case "call" -> systemCall(i);
            case "isspacep" -> memory.isSpace(i);
            case "pmevent" -> { }   // nobody profiles
            default -> {
                if (Carries.takesPart(i)) carries.emit(i);
                else if (groups.takesPart(i)) groups.emit(i);
                else arithmetic.emit(i);
            }
        }
    }

    /** An operation that takes all 32 lanes. */
    private void whole(Instruction i) {
        if (guarded) {
            String bad = ir.newLabel("part"), ok = ir.newLabel("whole");
            ir.line("br i1 " + ir.compare("eq", "i32", false, ir.maskBits(mask), "-1") + ", label %" + ok + ", label %" + bad);
            ir.label(bad);
            ir.line("ret i32 -" + CompiledKernel.DIVERGENT);
            ir.label(ok);
        }
    }

    private void fault(int code) {
        ir.line("ret i32 -" + code);
        ir.label(ir.newLabel("dead"));
    }

    /** The lanes' arguments go to the host in one table, their results come back in its first row. */
    private void systemCall(Instruction i) {
        SystemCall c = SystemCall.of(((Operand.Label) i.operand(1)).name());
        if (c == null) throw refuse(i, "of " + i.operand(1));
        int n = c.arguments();
        String f = SystemStubs.symbol(c), where = "i32 %lanes, i32 %bx, i32 %by, i32 %bz, i32 %lane0, i32 " + geometry.x() + ", i32 " + geometry.y();
        ir.declare("i32 @" + f + "(ptr, i32, i32, i32, i32, i32, i32, i32)");
        helper("call " + f, () -> {
            var s = new StringBuilder("define internal { i32, <32 x i64> } @").append(f).append(".warp(");
            for (int a = 0; a < n; a++) s.append("<32 x i64> %a").append(a).append(", ");
            s.append("i32 %lanes, i32 %bx, i32 %by, i32 %bz, i32 %lane0) noinline #0 {\n  %table = alloca [").append(n).append(" x <32 x i64>]\n");
            for (int a = 0; a < n; a++)
                s.append("  %p").append(a).append(" = getelementptr <32 x i64>, ptr %table, i64 ").append(a).append("\n  store <32 x i64> %a").append(a).append(", ptr %p").append(a).append('\n');
            return s.append("  %code = call i32 @").append(f).append("(ptr %table, ").append(where).append(")\n  %r = load <32 x i64>, ptr %table\n")
                    .append("  %x = insertvalue { i32, <32 x i64> } poison, i32 %code, 0\n  %y = insertvalue { i32, <32 x i64> } %x, <32 x i64> %r, 1\n  ret { i32, <32 x i64> } %y\n}\n").toString();
        });
        var call = new StringBuilder("call { i32, <32 x i64> } @").append(f).append(".warp(");
        for (int a = 0; a < n; a++) call.append("<32 x i64> ").append(vector(i.operand(2 + a), "i64")).append(", ");
        String r = ir.temp(call.append("i32 ").append(mask == null ? "-1" : ir.maskBits(mask)).append(", i32 %bx, i32 %by, i32 %bz, i32 %lane0)").toString());
        String code = ir.temp("extractvalue { i32, <32 x i64> } " + r + ", 0"), bad = ir.newLabel("failed"), ok = ir.newLabel("called");
        String result = ir.temp("extractvalue { i32, <32 x i64> } " + r + ", 1");
        ir.line("br i1 " + ir.compare("eq", "i32", false, code, "0") + ", label %" + ok + ", label %" + bad);
        ir.label(bad);
        ir.line("ret i32 " + ir.temp("sub i32 0, " + code));
        ir.label(ok);
        writeVector(i.operand(0), result, "i64");
    }

    // ---- barriers

    /** The warp waits at a barrier of the block, or just says that it has come. Gives the mask after it. */
    private String barrier(Instruction i, BitSet live, String mask) {
        if (i.has("cluster")) throw refuse(i, "");
        if (i.has("warp")) return mask;
        if (mask != null) {
            String others = null;
            for (int b = pendable.nextSetBit(0); b >= 0; b = pendable.nextSetBit(b + 1)) {
                String v = ir.temp("load i32, ptr %pend." + b);
                others = others == null ? v : ir.temp("or i32 " + others + ", " + v);
            }
            if (others != null) {
                String bad = ir.newLabel("split"), ok = ir.newLabel("together");
                ir.line("br i1 " + ir.compare("eq", "i32", false, others, "0") + ", label %" + ok + ", label %" + bad);
                ir.label(bad);
                ir.line("ret i32 -" + CompiledKernel.BARRIER);
                ir.label(ok);
            }
        }
        if (turns == null) return suspend(live, mask, false);
        List<Operand> o = i.operands();
        boolean red = i.has("red");
        int first = red ? 1 : 0;
        boolean counted = o.size() - first - (red ? 1 : 0) > 1;
        if (!analysis.of(o.get(first)).isUniform() || counted && !analysis.of(o.get(first + 1)).isUniform()) throw refuse(i, "barriers that differ between lanes");
        String id = scalar(o.get(first), "i32"), expected = counted ? scalar(o.get(first + 1), "i32") : "-1";
        String sum = "0", lanes = mask == null ? "32" : ir.intrinsic("ctpop", "i32", false, ir.maskBits(mask));
        if (red) {
            String p = vector(o.getLast(), "i1");
            sum = ir.intrinsic("ctpop", "i32", false, ir.maskBits(mask == null ? p : ir.maskAnd(mask, p)));
        }
        ir.line("call void @tp_arrive(ptr %state.area, i32 " + id + ", i32 " + expected + ", i32 " + lanes + ", i32 " + sum + ")");
        if (i.has("arrive")) return mask;
        ir.line("store i32 " + ir.temp("add i32 " + ir.temp("and i32 " + id + ", 15") + ", 1") + ", ptr " + ofWarp(turns.waitsAt()));
        mask = suspend(live, mask, false);
        if (red) {
            this.mask = mask;
            String held = ir.temp("load i32, ptr " + ofWarp(turns.sumAt())), threads = ir.temp("load i32, ptr " + ofWarp(turns.threadsAt()));
            if (i.has("popc")) write(o.get(0), held, "i32", false, Shape.UNIFORM);
            else write(o.get(0), i.has("and") ? ir.compare("eq", "i32", false, held, threads) : ir.compare("ne", "i32", false, held, "0"), "i1", false, Shape.UNIFORM);
        }
        return mask;
    }

    /** This warp's entry of one of the arrays in the block's state. */
    private String ofWarp(int array) { return ir.temp("getelementptr i32, ptr %state.area, i32 " + ir.temp("add i32 %warp, " + array)); }

    /** The other warps have their turn before this one goes on. Gives the mask after it. */
    private String giveTurn(BitSet live, String mask) { return suspend(live, mask, mask != null); }

    /** As {@link #giveTurn}, if the condition holds. */
    private String giveTurnIf(String condition, BitSet live, String mask) {
        String wait = ir.newLabel("wait"), on = ir.newLabel("on");
        if (mask != null) ir.line("store i32 " + ir.maskBits(mask) + ", ptr %turn.mask");
        ir.line("br i1 " + condition + ", label %" + wait + ", label %" + on);
        ir.label(wait);
        String m = giveTurn(live, mask);
        if (m != null) ir.line("store i32 " + ir.maskBits(m) + ", ptr %turn.mask");
        ir.line("br label %" + on);
        ir.label(on);
        carries.blockBegins();
        return mask == null ? null : maskOf(ir.temp("load i32, ptr %turn.mask"));
    }

    /**
     * Suspends the warp: live registers into the context, return; the resume label takes them back. Gives the mask after it.
     *
     * @param divided whether lanes may be waiting for their turn in other blocks of the program
     */
    private String suspend(BitSet live, String mask, boolean divided) {
        int number = resumes.size() + 1;
        String label = "resume." + number;
        resumes.add(new Resume(label, inMasked));
        if (divided) {   // what the lanes in other blocks still need
            live = (BitSet) live.clone();
            for (int b = pendable.nextSetBit(0); b >= 0; b = pendable.nextSetBit(b + 1)) live.or(analysis.liveIn(b));
        }
        var saved = new ArrayList<Object[]>();
        long at = 64;
        for (int id = live.nextSetBit(0); id >= 0; id = live.nextSetBit(id + 1)) {
            Register r = kernel.registers().get(id);
            Shape s = analysis.shape(r);
            String t = typeOf(r.type());
            if (!s.isVarying() && s.constant() != null) continue;
            boolean vec = s.isVarying(), bit = t.equals("i1");
            long size = vec ? bit ? 4 : 32L * Ir.bytes(t) : bit ? 1 : Ir.bytes(t);
            long align = Math.min(64, size);
            at = (at + align - 1) / align * align;
            saved.add(new Object[]{r, vec ? bit ? "i32" : Ir.vector(t) : t, at, align, vec && bit});
            at += size;
        }
        long pendingAt = (at + 3) / 4 * 4;
        contextBytes = Math.max(contextBytes, divided ? pendingAt + 4L * pendable.length() : at);
        if (mask != null) ir.line("store i32 " + ir.maskBits(mask) + ", ptr %context");
        if (divided) pendable.stream().forEach(b -> ir.line("store i32 " + ir.temp("load i32, ptr %pend." + b) + ", ptr " + ir.temp("getelementptr i8, ptr %context, i64 " + (pendingAt + 4L * b))));
        for (Object[] s : saved) {
            Register r = (Register) s[0];
            boolean bits = (boolean) s[4];
            String v = ir.temp("load " + (bits ? Ir.MASK : (String) s[1]) + ", ptr " + slot(r));
            if (bits) v = ir.maskBits(v);
            ir.line("store " + s[1] + " " + v + ", ptr " + ir.temp("getelementptr i8, ptr %context, i64 " + s[2]) + ", align " + s[3]);
        }
        ir.line("ret i32 " + number);
        ir.label(label);
        if (inMasked) clearPending();
        if (divided) pendable.stream().forEach(b -> ir.line("store i32 " + ir.temp("load i32, ptr " + ir.temp("getelementptr i8, ptr %context, i64 " + (pendingAt + 4L * b))) + ", ptr %pend." + b));
        for (Object[] s : saved) {
            Register r = (Register) s[0];
            boolean bits = (boolean) s[4];
            String v = ir.temp("load " + s[1] + ", ptr " + ir.temp("getelementptr i8, ptr %context, i64 " + s[2]) + ", align " + s[3]);
            if (bits) v = maskOf(v);
            ir.line("store " + (bits ? Ir.MASK : (String) s[1]) + " " + v + ", ptr " + slot(r));
        }
        return mask == null ? null : maskOf(ir.temp("load i32, ptr %context"));
    }

    // ---- blocks

    private String chainAfter(int position) {
        for (int p = position; p < graph.size(); p++) if (pendable.get(graph.atPosition(p))) return "C." + graph.atPosition(p);
        return "exit";
    }

    private void clearPending() {
        ir.declare("void @llvm.memset.p0.i64(ptr, i8, i64, i1)");
        ir.line("call void @llvm.memset.p0.i64(ptr align 64 %frame, i8 0, i64 " + pendable.cardinality() * 4L + ", i1 false)");
    }

    /** From the full version to {@code @tp_masked}: the registers into the frame, the lanes to their blocks. */
    private void diverge(BitSet live, int[] next, String[] lanes) {
        live.stream().filter(framed::get).forEach(r -> copy(kernel.registers().get(r), false));
        clearPending();
        int first = graph.size();
        for (int i = 0; i < next.length; i++) {
            first = Math.min(first, graph.position(next[i]));
            pend(next[i], lanes[i]);
        }
        String chain = chainAfter(first);
        if (chain.equals("exit")) { ir.line("br label %exit"); return; }
        int b = Integer.parseInt(chain.substring(2));
        entrances.add(b);
        ir.line("store i32 " + b + ", ptr %entrance");
        ir.line("br label %diverged");
    }

    /** Where all lanes go on with block b after {@code @tp_masked}. */
    private void together(int b) {
        ir.label("B." + b);
        analysis.liveIn(b).stream().filter(framedWritten::get).forEach(r -> copy(kernel.registers().get(r), true));
        ir.line("br label %F." + b);
    }

    /** A register from its place in the full version to the frame, or back. */
    private void copy(Register r, boolean back) {
        Shape shape = analysis.shape(r);
        if (!shape.isVarying() && shape.constant() != null) return;
        String t = Ir.type(typeOf(r.type()), shape.isVarying()), frame = "%frame.R" + r.id();
        ir.line("store " + t + " " + ir.temp("load " + t + ", ptr " + (back ? frame : slot(r))) + ", ptr " + (back ? slot(r) : frame));
    }

    private String full(int b) { return b >= graph.size() ? "exit" : "F." + b; }

    private void pend(int b, String lanes) {
        if (b >= graph.size()) return;
        String old = ir.temp("load i32, ptr %pend." + b);
        ir.line("store i32 " + ir.temp("or i32 " + old + ", " + lanes) + ", ptr %pend." + b);
    }

    /** Emits a block's instructions; gives the mask at its end. */
    private String body(int b, String blockMask) {
        FlowGraph.Block block = graph.block(b);
        Instruction terminator = graph.terminator(b);
        BitSet[] after = null;
        Arrays.fill(held, null);
        mask = blockMask;
        guarded = false;
        liveOut = analysis.liveOut(b);
        for (int k = block.start(); k < block.end(); k++) {
            Instruction i = graph.instruction(k);
            if (i == terminator && !i.is("trap")) break;
            if (Waits.isTest(i) || waits.spins(k)) {
                if (i.guard() != null) throw refuse(i, "a guarded wait");
                current = i;
                if (after == null) after = analysis.liveAfter(b);
                BitSet live = after[k - block.start()];
                if (Waits.isTest(i)) {
                    String over = objects.over(i), open = ir.maskNot(over);
                    writeVector(i.operand(0), over, "i1");
                    mask = giveTurnIf(ir.compare("ne", "i32", false, ir.maskBits(mask == null ? open : ir.maskAnd(mask, open)), "0"), live, mask);
                } else {
                    instruction(i);
                    mask = giveTurn(live, mask);
                }
                continue;
            }
            if (i.is("bar") || i.is("barrier")) {
                current = i;
                if (after == null) after = analysis.liveAfter(b);
                if (i.guard() == null) { mask = barrier(i, after[k - block.start()], mask); continue; }
                if (!analysis.shape(i.guard().register()).isUniform()) throw refuse(i, "a barrier that only some lanes reach");
                String then = ir.newLabel("if"), fi = ir.newLabel("fi");
                if (mask != null) throw refuse(i, "a guarded barrier in divergent code");
                ir.line("br i1 " + scalar(i.guard(), "i1") + ", label %" + then + ", label %" + fi);
                ir.label(then);
                barrier(i, after[k - block.start()], null);
                ir.line("br label %" + fi);
                ir.label(fi);
                continue;
            }
            if (blockMask != null && (i.is("mma") || i.is("wmma") || i.is("ldmatrix") || i.is("stmatrix") || i.is("movmatrix"))) {
                ir.line("ret i32 -" + CompiledKernel.DIVERGENT);
                ir.label(ir.newLabel("dead"));
                continue;
            }
            instruction(i);
        }
        current = terminator;
        return mask;
    }

    private void fullBlock(int b) {
        ir.label("F." + b);
        body(b, null);
        Instruction t = graph.terminator(b);
        List<Integer> next = graph.block(b).successors();
        mask = null;
        if (t != null && t.is("trap")) { ir.line("unreachable"); return; }
        if (t != null && t.is("brx")) { table(b, t, null); return; }
        if (next.size() == 1) { ir.line("br label %" + full(next.get(0))); return; }
        Operand.Reg g = t.guard();
        if (analysis.shape(g.register()).isUniform()) {
            ir.line("br i1 " + scalar(g, "i1") + ", label %" + full(next.get(0)) + ", label %" + full(next.get(1)));
            return;
        }
        String bits = ir.maskBits(vector(g, "i1"));
        String all = ir.compare("eq", "i32", false, bits, "-1");
        ir.line("br i1 " + all + ", label %" + full(next.get(0)) + ", label %N." + b);
        ir.label("N." + b);
        String none = ir.compare("eq", "i32", false, bits, "0");
        ir.line("br i1 " + none + ", label %" + full(next.get(1)) + ", label %D." + b + ", !prof !1");
        ir.label("D." + b);
        diverge(analysis.liveOut(b), new int[]{next.get(0), next.get(1)}, new String[]{bits, ir.temp("xor i32 " + bits + ", -1")});
    }

    private void maskedBlock(int b) {
        int p = graph.position(b);
        ir.label("C." + b);
        String waiting = ir.temp("load i32, ptr %pend." + b);
        boolean back = analysis.joins().get(b);
        String run = back ? "J." + b : "M." + b;
        ir.line("br i1 " + ir.compare("ne", "i32", false, waiting, "0") + ", label %" + run + ", label %" + chainAfter(p + 1));
        if (back) {
            ir.label(run);
            ir.line("store i32 0, ptr %pend." + b);
            ir.line("br i1 " + ir.compare("eq", "i32", false, waiting, "-1") + ", label %B." + b + ", label %M." + b);
            ir.label("B." + b);
            ir.line("ret i32 " + (TOGETHER + b));
        }
        ir.label("M." + b);
        if (!analysis.divergentBlocks().get(b)) {   // only ever reached by all lanes together
            ir.line("ret i32 -" + CompiledKernel.DIVERGENT);
            return;
        }
        ir.line("store i32 0, ptr %pend." + b);
        String m = body(b, maskOf(waiting));
        Instruction t = graph.terminator(b);
        List<Integer> next = graph.block(b).successors();
        mask = null;
        if (t != null && t.is("trap")) { ir.line("unreachable"); return; }
        if (t != null && t.is("brx")) { table(b, t, m); return; }
        if (next.isEmpty()) { ir.line("br label %" + chainAfter(p + 1)); return; }
        String lanes = ir.maskBits(m);
        if (next.size() == 1) {
            pend(next.get(0), lanes);
            ir.line("br label %" + chainAfter(Math.min(graph.position(next.get(0)), p + 1)));
            return;
        }
        Operand.Reg g = t.guard();
        String taken = ir.maskBits(ir.maskAnd(m, vector(g, "i1")));
        String rest = ir.temp("xor i32 " + lanes + ", " + taken);
        pend(next.get(0), taken);
        pend(next.get(1), rest);
        backward(new int[]{next.get(0), next.get(1)}, new String[]{taken, rest}, p);
    }

    /** Goes to the first of the successors before position p that got lanes, else on along the chain. */
    private void backward(int[] next, String[] lanes, int p) {
        Integer[] order = new Integer[next.length];
        for (int i = 0; i < order.length; i++) order[i] = i;
        Arrays.sort(order, java.util.Comparator.comparingInt(i -> graph.position(next[i])));
        for (int i : order) {
            if (graph.position(next[i]) > p) break;
            String other = ir.newLabel("on");
            ir.line("br i1 " + ir.compare("ne", "i32", false, lanes[i], "0") + ", label %C." + next[i] + ", label %" + other);
            ir.label(other);
        }
        ir.line("br label %" + chainAfter(p + 1));
    }

    /** {@code brx.idx}. */
    private void table(int b, Instruction t, String blockMask) {
        List<String> targets = graph.table(t);
        if (t.guard() != null) throw refuse(t, "a guarded jump table");
        boolean uniform = analysis.of(t.operand(0)).isUniform();
        if (uniform && blockMask == null) {
            var s = new StringBuilder("switch i32 " + scalar(t.operand(0), "i32") + ", label %" + full(graph.blockOf(targets.get(targets.size() - 1))) + " [");
            for (int k = 0; k + 1 < targets.size(); k++) s.append(" i32 ").append(k).append(", label %").append(full(graph.blockOf(targets.get(k))));
            ir.line(s.append(" ]").toString());
            return;
        }
        String index = vector(t.operand(0), "i32");
        int[] next = new int[targets.size()];
        String[] lanes = new String[targets.size()];
        for (int k = 0; k < next.length; k++) {
            next[k] = graph.blockOf(targets.get(k));
            String m = ir.compare("eq", "i32", true, index, Ir.constant("i32", true, k));
            lanes[k] = ir.maskBits(blockMask == null ? m : ir.maskAnd(blockMask, m));
        }
        if (blockMask == null) { diverge(analysis.liveOut(b), next, lanes); return; }
        for (int k = 0; k < next.length; k++) pend(next[k], lanes[k]);
        backward(next, lanes, graph.position(b));
    }

    // ---- the whole

    /** Registers of masked blocks; where such a block has a barrier, also what is alive across it. */
    private void frame() {
        BitSet divergent = analysis.divergentBlocks();
        boolean barrier = turns != null;
        for (int b = divergent.nextSetBit(0); b >= 0; b = divergent.nextSetBit(b + 1))
            for (int k = graph.block(b).start(); k < graph.block(b).end(); k++) {
                Instruction i = graph.instruction(k);
                barrier |= i.is("bar") || i.is("barrier");
                Effects.reads(i, r -> framed.set(r.id()));
                Effects.writes(i, r -> { framed.set(r.id()); framedWritten.set(r.id()); });
            }
        if (barrier) {   // what comes back from a barrier finds its registers in the frame only
            for (int b = pendable.nextSetBit(0); b >= 0; b = pendable.nextSetBit(b + 1)) { framed.or(analysis.liveIn(b)); framed.or(analysis.liveOut(b)); }
            framedWritten.or(framed);
        }
        framed.andNot(local);
        framedWritten.andNot(local);
    }

    /**
     * Lays out the frame: the lanes that wait, vectors by size in shared places, then what is the same in all lanes and written for all of them at once, each in
     * a place of its own.
     *
     * @param names receives text that names the places of registers by this prefix
     * @return its bytes
     */
    private long frameLayout(StringBuilder names, String prefix) {
        long at = 0;
        for (int b = pendable.nextSetBit(0); b >= 0; b = pendable.nextSetBit(b + 1), at += 4) framePlace(names, "%pend." + b, at);
        for (int bytes : new int[]{256, 128, 64, 32, 4, 0}) {
            var members = new BitSet();
            framed.stream().filter(r -> frameBytes(kernel.registers().get(r)) == bytes).forEach(members::set);
            at = (at + 63) / 64 * 64;
            if (bytes == 0) {
                for (int r = members.nextSetBit(0); r >= 0; r = members.nextSetBit(r + 1), at += 16) framePlace(names, prefix + r, at);
                continue;
            }
            int[] places = SharedSlots.assign(analysis, members);
            for (int r = members.nextSetBit(0); r >= 0; r = members.nextSetBit(r + 1)) framePlace(names, prefix + r, at + (long) places[r] * bytes);
            at += (Arrays.stream(places).max().orElse(-1) + 1L) * bytes;
        }
        return at;
    }

    private static void framePlace(StringBuilder names, String name, long at) {
        names.append("  ").append(name).append(" = getelementptr i8, ptr %frame, i64 ").append(at).append('\n');
    }

    /** Bytes of a vector; 0 for a register that is not varying. */
    private int frameBytes(Register r) {
        String t = typeOf(r.type());
        return !analysis.shape(r).isVarying() ? 0 : t.equals("i1") ? 4 : 32 * Ir.bytes(t);
    }

    /** Text of the LLVM module. */
    String emit() {
        BitSet divergent = analysis.divergentBlocks();
        boolean diverges = !divergent.isEmpty() || !analysis.joins().isEmpty();
        if (diverges) { pendable.or(divergent); pendable.or(analysis.joins()); frame(); }
        int n = graph.size();
        for (int b = 0; b < n; b++) fullBlock(b);
        if (!geometry.fullWarps()) {
            ir.label("partial");
            diverge(analysis.liveIn(0), new int[]{0}, new String[]{Ir.integer("i32", (1L << geometry.threads() % 32) - 1)});
        }
        if (diverges) for (int b = 0; b < n; b++) if (analysis.joins().get(b)) together(b);
        String blocks = ir.take();
        inMasked = true;
        math.outOfLine(!target.avx512());
        for (int p = 0; p < n; p++) if (pendable.get(graph.atPosition(p))) maskedBlock(graph.atPosition(p));
        String maskedBlocks = ir.take();
        inMasked = false;

        boolean barriers = !resumes.isEmpty() || turns != null;
        long localBytes = localStride * 32;
        long context = (Math.max(contextBytes, 64) + 63) / 64 * 64 + (localBytes + 63) / 64 * 64;
        long localAt = context - (localBytes + 63) / 64 * 64;
        int warps = geometry.warps();
        long shared = (sharedBytes + 63) / 64 * 64;
        long states = ((turns == null ? warps * 4L : turns.stateBytes()) + 63) / 64 * 64;
        scratchBytes = shared + states + context * (barriers ? warps : 1) + 64;

        String parameters = "ptr noalias readonly %params, ptr noalias %shared, ptr noalias %context, i32 %state, i32 %bx, i32 %by, i32 %bz, i32 %gx, i32 %gy, i32 %gz, i32 %warp";
        String prologue = "entry:\n" + (turns == null ? "" : "  %turn.mask = alloca i32\n  %state.area = getelementptr i8, ptr %shared, i64 " + shared + "\n") + "  %lane0 = shl i32 %warp, 5\n  %local = getelementptr i8, ptr %context, i64 " + localAt + "\n";
        var s = new StringBuilder(blocks.length() + maskedBlocks.length() + 20000);
        s.append("target triple = \"").append(target.triple()).append("\"\n@tp_module_data = external global i8\n");
        s.append("define internal i32 @tp_warp(").append(parameters).append(") #0 {\n").append(prologue);
        scratchFull.forEach((name, bytes) -> s.append("  %").append(name).append(" = alloca [").append(bytes).append(" x i8], align 64\n"));
        for (int p = 0; p <= Arrays.stream(sharedSlot).max().orElse(-1); p++) s.append("  %S").append(p).append(" = alloca <32 x i32>\n");
        for (Register r : kernel.registers()) {
            if (inMemory.get(r.id()) && analysis.liveIn(0).get(r.id())) s.append("  store <32 x i32> zeroinitializer, ptr ").append(slot(r)).append('\n');
            if (local.get(r.id()) || inMemory.get(r.id())) continue;
            Shape shape = analysis.shape(r);
            String t = Ir.type(typeOf(r.type()), shape.isVarying());
            s.append("  ").append(slot(r)).append(" = alloca ").append(t).append('\n');
            if (analysis.liveIn(0).get(r.id())) s.append("  store ").append(t).append(" zeroinitializer, ptr ").append(slot(r)).append('\n');
        }
        if (diverges) {
            var names = new StringBuilder();
            long bytes = frameLayout(names, "%frame.R");
            s.append("  %entrance = alloca i32\n  %frame = alloca [").append(bytes).append(" x i8], align 64\n").append(names);
        }
        String start = geometry.fullWarps() ? "F.0" : "begin";
        if (barriers) {
            s.append("  switch i32 %state, label %").append(start).append(" [");
            for (int k = 0; k < resumes.size(); k++) s.append(" i32 ").append(k + 1).append(", label %").append(resumes.get(k).masked ? "resumed" : resumes.get(k).label);
            s.append(" ]\n");
        } else s.append("  br label %").append(start).append('\n');
        if (start.equals("begin")) s.append("begin:\n  %part = icmp eq i32 %warp, ").append(warps - 1).append("\n  br i1 %part, label %partial, label %F.0\n");
        s.append(blocks);
        if (diverges) {
            if (resumes.stream().anyMatch(Resume::masked)) s.append("resumed:\n  %resume = sub i32 0, %state\n  store i32 %resume, ptr %entrance\n  br label %diverged\n");
            s.append("diverged:\n  %where = load i32, ptr %entrance\n  %after = call fastcc i32 @tp_masked(").append(parameters.replace("noalias ", "").replace("readonly ", ""))
                    .append(", ptr %frame, i32 %where)\n  switch i32 %after, label %return [");
            for (int b = 0; b < n; b++) if (analysis.joins().get(b)) s.append(" i32 ").append(TOGETHER + b).append(", label %B.").append(b);
            s.append(" ]\nreturn:\n  ret i32 %after\n");
        }
        s.append("exit:\n  ret i32 0\n}\n\n");
        if (diverges) {
            s.append("define internal fastcc i32 @tp_masked(").append(parameters).append(", ptr noalias nocapture %frame, i32 %where) noinline #0 {\n").append(prologue);
            scratchMasked.forEach((name, bytes) -> s.append("  %").append(name).append(" = alloca [").append(bytes).append(" x i8], align 64\n"));
            frameLayout(s, "%R");
            s.append("  switch i32 %where, label %exit [");
            for (int b : entrances) s.append(" i32 ").append(b).append(", label %C.").append(b);
            for (int k = 0; k < resumes.size(); k++) if (resumes.get(k).masked) s.append(" i32 ").append(-1 - k).append(", label %").append(resumes.get(k).label);
            s.append(" ]\n").append(maskedBlocks).append("exit:\n  ret i32 0\n}\n\n");
        }
        s.append(entry(barriers, shared, states, context, warps));
        if (turns != null) s.append(turns.helpers());
        s.append(helpers).append(math.definitions()).append(ir.declarations());
        s.append("attributes #0 = { nounwind \"stackrealign\" \"prefer-vector-width\"=\"512\" \"min-legal-vector-width\"=\"").append(target.avx512() ? 512 : 256).append("\" }\n");
        s.append("!0 = !{}\n!1 = !{!\"branch_weights\", i32 2000, i32 1}\n");
        return s.toString();
    }

    private long scratchBytes;
    long scratchBytes() { return scratchBytes; }
    long sharedBytes() { return sharedBytes; }

    /** The function the driver calls: blocks in order, in each block the warps in order, from barrier to barrier. */
    private String entry(boolean barriers, long shared, long states, long context, int warps) {
        String call = "call i32 @tp_warp(ptr %params, ptr %scratch, ptr %context, i32 %state, i32 %bx, i32 %by, i32 %bz, i32 %gx, i32 %gy, i32 %gz, i32 %w)";
        String head = "define i32 @" + symbol(kernel.name()) + "(ptr noalias readonly %params, ptr noalias %scratch, i64 %first, i64 %end, i32 %gx, i32 %gy, i32 %gz) #0 {\n"
                + "entry:\n"
                + "  %fits = icmp ule i32 %gx, " + analysis.mostBlocks() + "\n"
                + "  br i1 %fits, label %go, label %large\n"
                + "large:\n"
                + "  ret i32 " + CompiledKernel.GRID + "\n"
                + "go:\n"
                + "  %single = icmp eq i64 %end, -1\n"
                + "  %some = icmp ult i64 %first, %end\n"
                + "  %gx64 = zext i32 %gx to i64\n"
                + "  %gy64 = zext i32 %gy to i64\n"
                + "  br i1 %some, label %block, label %done\n"
                + "block:\n"
                + "  %b = phi i64 [ %first, %go ], [ %b.next, %block.end ]\n"
                + "  %bx64 = urem i64 %b, %gx64\n"
                + "  %yz = udiv i64 %b, %gx64\n"
                + "  %by64 = urem i64 %yz, %gy64\n"
                + "  %bz64 = udiv i64 %yz, %gy64\n"
                + "  %bx = trunc i64 %bx64 to i32\n"
                + "  %by = trunc i64 %by64 to i32\n"
                + "  %bz = trunc i64 %bz64 to i32\n";
        String tail = "block.end:\n"
                + "  %b.next = add i64 %b, 1\n"
                + "  %more = icmp ult i64 %b.next, %end\n"
                + "  br i1 %more, label %block, label %done\n"
                + "fault:\n"
                + "  %code = sub i32 0, %r\n"
                + "  ret i32 %code\n"
                + "done:\n"
                + "  ret i32 0\n}\n";
        if (!barriers) {
            return head
                    + "  br label %warps\n"
                    + "warps:\n"
                    + "  %w = phi i32 [ 0, %block ], [ %w.next, %warp.end ]\n"
                    + "  %context = getelementptr i8, ptr %scratch, i64 " + (shared + states) + "\n"
                    + "  %r = " + call.replace("%state", "0") + "\n"
                    + "  %bad = icmp slt i32 %r, 0\n"
                    + "  br i1 %bad, label %fault, label %warp.end\n"
                    + "warp.end:\n"
                    + "  %w.next = add i32 %w, 1\n"
                    + "  %w.more = icmp ult i32 %w.next, " + warps + "\n"
                    + "  br i1 %w.more, label %warps, label %block.end\n" + tail;
        }
        ir.declare("void @llvm.memset.p0.i64(ptr, i8, i64, i1)");
        if (turns != null) return head + turns.turns(call, shared, states, context) + tail;
        // Every pass runs each unfinished warp to its next barrier; state -1 is a finished warp.
        return head
                + "  %states = getelementptr i8, ptr %scratch, i64 " + shared + "\n"
                + "  call void @llvm.memset.p0.i64(ptr align 64 %states, i8 0, i64 " + warps * 4L + ", i1 false)\n"
                + "  br label %pass\n"
                + "pass:\n"
                + "  br label %warps\n"
                + "warps:\n"
                + "  %w = phi i32 [ 0, %pass ], [ %w.next, %warp.end ]\n"
                + "  %waiting = phi i32 [ 0, %pass ], [ %waiting.next, %warp.end ]\n"
                + "  %state.at = getelementptr i32, ptr %states, i32 %w\n"
                + "  %state = load i32, ptr %state.at\n"
                + "  %finished = icmp eq i32 %state, -1\n"
                + "  br i1 %finished, label %warp.end, label %run\n"
                + "run:\n"
                + "  %w64 = zext i32 %w to i64\n"
                + "  %context.offset = mul i64 %w64, " + context + "\n"
                + "  %contexts = getelementptr i8, ptr %scratch, i64 " + (shared + states) + "\n"
                + "  %context = getelementptr i8, ptr %contexts, i64 %context.offset\n"
                + "  %r = " + call + "\n"
                + "  %bad = icmp slt i32 %r, 0\n"
                + "  br i1 %bad, label %fault, label %ran\n"
                + "ran:\n"
                + "  %ended = icmp eq i32 %r, 0\n"
                + "  %new = select i1 %ended, i32 -1, i32 %r\n"
                + "  store i32 %new, ptr %state.at\n"
                + "  %one = select i1 %ended, i32 0, i32 1\n"
                + "  %count = add i32 %waiting, %one\n"
                + "  br label %warp.end\n"
                + "warp.end:\n"
                + "  %waiting.next = phi i32 [ %waiting, %warps ], [ %count, %ran ]\n"
                + "  %w.next = add i32 %w, 1\n"
                + "  %w.more = icmp ult i32 %w.next, " + warps + "\n"
                + "  br i1 %w.more, label %warps, label %pass.end\n"
                + "pass.end:\n"
                + "  %again = icmp ne i32 %waiting.next, 0\n"
                + "  br i1 %again, label %pass, label %block.end\n" + tail;
    }

    /** Entry names may hold characters LLVM wants quoted. */
    static String symbol(String name) { return name.matches("[A-Za-z_][A-Za-z0-9_]*") ? name : "\"" + name + "\""; }
}
