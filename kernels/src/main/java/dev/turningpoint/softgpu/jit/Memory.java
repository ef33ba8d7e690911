package dev.turningpoint.softgpu.jit;

import dev.turningpoint.softgpu.analysis.Shape;
import dev.turningpoint.softgpu.ptx.Instruction;
import dev.turningpoint.softgpu.ptx.Operand;
import dev.turningpoint.softgpu.ptx.PtxType;
import dev.turningpoint.softgpu.ptx.Register;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Loads, stores, atomics. Where the lane pattern of the address is known, the bytes all lanes touch are covered by few runs: a load reads each run as one
 * vector and shuffles, a store shuffles and writes each run. A uniform address is one scalar access. Everything else gathers or scatters.
 */
final class Memory {
    private static final int GAP_BYTES = 32;

    private final KernelEmitter k;
    private final Ir ir;
    private final GatherLibrary library;
    private final Runs.Of runs = new Runs.Of();

    Memory(KernelEmitter k) { this.k = k; this.ir = k.ir; this.library = new GatherLibrary(k); }

    /** An address: base operand, constant offset, space, and how it varies. */
    private record Place(Operand base, long offset, String space, Shape shape) {}

    private Place place(Instruction i, Operand o) {
        if (!(o instanceof Operand.Address a)) throw k.refuse(i, "address " + o);
        String space = "generic";
        for (String s : List.of("global", "shared", "const", "param", "local")) if (i.has(s)) space = s;
        for (String m : i.modifiers()) if (m.startsWith("shared::")) { if (!m.equals("shared::cta")) throw k.refuse(i, ""); space = "shared"; }
        if (space.equals("param") && a.base() instanceof Operand.Symbol s) throw k.refuse(i, "parameter " + s.variable().name() + " of a call");
        return place(space, a);
    }

    private Place place(String space, Operand.Address a) {
        Shape s = k.analysis.of(a.base());
        if (space.equals("local") && !s.isVarying()) {   // lane l's memory starts at l * stride
            long[] p = new long[32];
            for (int l = 0; l < 32; l++) p[l] = s.pattern()[l] + l * k.localStride;
            s = new Shape(p, 0, null);
        }
        return new Place(a.base(), a.offset(), space, s);
    }

    /** Address of lane 0 plus a constant, as a pointer. */
    private String pointer(Place p, long plus) {
        long offset = p.offset + plus;
        switch (p.space) {
            case "shared", "local" -> {
                String v = k.scalar(p.base, "i32");
                String wide = v.startsWith("%") ? ir.temp("sext i32 " + v + " to i64") : v;
                String at = offset == 0 ? wide : ir.temp("add i64 " + wide + ", " + offset);
                return ir.temp("getelementptr i8, ptr %" + p.space + ", i64 " + at);
            }
            case "param" -> {
                if (p.base instanceof Operand.Param q) return ir.temp("getelementptr i8, ptr %params, i64 " + (q.param().offset() + offset));
            }
            case "const", "global" -> {
                if (p.base instanceof Operand.Symbol s) return ir.temp("getelementptr i8, ptr @tp_module_data, i64 " + (s.variable().offset() + offset));
            }
            default -> { }
        }
        String v = k.scalar(p.base, "i64");
        return ir.temp("inttoptr i64 " + (offset == 0 ? v : ir.temp("add i64 " + v + ", " + offset)) + " to ptr");
    }

    /** Addresses of all lanes. */
    private String pointers(Place p, long plus) {
        long offset = p.offset + plus;
        if (p.space.equals("shared") || p.space.equals("local")) {
            String v = ir.temp("sext <32 x i32> " + k.vector(p.base, "i32") + " to <32 x i64>");
            if (p.space.equals("local")) v = ir.temp("add <32 x i64> " + v + ", " + Ir.lanes("i64", KernelEmitter.tabulate(l -> l * k.localStride), 0));
            if (offset != 0) v = ir.temp("add <32 x i64> " + v + ", " + Ir.constant("i64", true, offset));
            return ir.temp("getelementptr i8, ptr %" + p.space + ", <32 x i64> " + v);
        }
        String v = k.vector(p.base, "i64");
        if (offset != 0) v = ir.temp("add <32 x i64> " + v + ", " + Ir.constant("i64", true, offset));
        return ir.temp("inttoptr <32 x i64> " + v + " to <32 x ptr>");
    }

    /** Where a generic address points: shared and local memory of the block lie in its own two areas, everything else is global. */
    void isSpace(Instruction i) {
        String at = k.vector(i.operand(1), "i64");
        String shared = within(at, "%shared", k.sharedBytes()), local = within(at, "%local", 32 * k.localStride);
        String r = i.has("global") ? ir.maskNot(ir.binary("or", "i1", true, shared, local)) : i.has("local") ? local
                : i.modifiers().stream().anyMatch(m -> m.startsWith("shared")) ? shared : "zeroinitializer";
        k.writeVector(i.operand(0), r, "i1");
    }

    private String within(String at, String area, long bytes) {
        String from = ir.binary("sub", "i64", true, at, ir.splat("i64", ir.temp("ptrtoint ptr " + area + " to i64")));
        return ir.compare("ult", "i64", true, from, Ir.constant("i64", true, bytes));
    }

    /** The lanes' pointers that an address operand gives. */
    String addresses(Instruction i, Operand o) { return pointers(place(i, o), 0); }

    // ---- runs

    /** Mask of the elements of run r, from the mask of lanes; each element belongs to one lane or none. */
    private String elementMask(Runs runs, int r, int width, String mask) {
        int before = 0;
        for (int q = 0; q < r; q++) before += runs.length()[q];
        int[] owner = new int[runs.length()[r]];
        Arrays.fill(owner, 32);
        for (int l = 0; l < 32; l++) for (int j = 0; j < width; j++) {
            int e = runs.index()[l * width + j] - before;
            if (e >= 0 && e < owner.length) owner[e] = l;
        }
        return ir.temp("shufflevector <32 x i1> " + mask + ", <32 x i1> zeroinitializer, " + Ir.vector(owner.length, "i32") + " " + Ir.indices(owner.length, e -> owner[e]));
    }

    // ---- loads

    void load(Instruction i) {
        PtxType t = i.type();
        List<Operand> to = i.operand(0).elements();
        Place p = place(i, i.operand(1));
        boolean invariant = i.has("nc") || p.space.equals("param") || p.space.equals("const");
        if (t == PtxType.B128) throw k.refuse(i, "");
        String y = KernelEmitter.typeOf(t);
        loadInto(i, p, y, t.bytes(), to.size(), invariant, i.has("volatile") || i.has("relaxed") || i.has("acquire"), (j, v, vec) -> put(to.get(j), v, t, y, vec));
    }

    /** Four neighbours of 4 bytes a lane, lanes one after the other. */
    private void loadQuads(String how, String y, String tail, Place p, Component out) {
        var component = new ArrayList<List<String>>();   // of the lanes 0 to 15 and 16 to 31
        for (int half = 0; half < 2; half++) {
            var rows = new ArrayList<String>();
            for (int r = 0; r < 4; r++) rows.add(ir.temp(how + "<16 x " + y + ">, ptr " + pointer(p, 256 * half + 64 * r) + ", align 4" + tail));
            component.add(Interleave.apart(ir, y, rows));
        }
        for (int c = 0; c < 4; c++) out.put(c, ir.concat(y, List.of(component.get(0).get(c), component.get(1).get(c)), List.of(16, 16)), true);
    }

    /** The reverse of {@link #loadQuads}. */
    private void storeQuads(String y, Place p, List<String> values) {
        for (int half = 0; half < 2; half++) {
            int base = 16 * half;
            List<String> rows = Interleave.together(ir, y, values.stream().map(v -> ir.shuffle(y, 32, v, null, 16, e -> base + e)).toList());
            for (int r = 0; r < 4; r++) ir.line("store <16 x " + y + "> " + rows.get(r) + ", ptr " + pointer(p, 256 * half + 64 * r) + ", align 4");
        }
    }

    private interface Component { void put(int j, String v, boolean vec); }

    /** A loaded value into its register, extended by its own sign. */
    private void put(Operand d, String v, PtxType t, String y, boolean vec) {
        if (!(d instanceof Operand.Reg reg)) return;
        Register r = reg.register();
        if (r.type().bytes() > t.bytes() && t.isSigned()) {
            String w = "i" + r.type().bits();
            v = ir.cast("sext", y, w, vec, v);
            y = w;
        }
        k.write(d, v, y, vec, Shape.UNIFORM);
    }

    private void loadInto(Instruction i, Place p, String y, int bytes, int width, boolean invariant, boolean isVolatile, Component out) {
        String tail = invariant ? ", !invariant.load !0" : "", how = isVolatile ? "load volatile " : "load ";
        String mask = k.mask();
        if (p.shape.isUniform()) {
            for (int j = 0; j < width; j++) {
                String v = ir.temp(how + y + ", ptr " + pointer(p, (long) j * bytes) + ", align " + bytes + tail);
                out.put(j, v, false);
            }
            return;
        }
        if (!p.shape.isVarying()) {
            Runs runs = this.runs.pattern(p.shape.pattern(), bytes, width, GAP_BYTES);
            if (runs != null && mask == null && bytes == 4 && width == 4 && runs.inOrder()) {
                loadQuads(how, y, tail, p, out);
                return;
            }
            if (runs != null && masked(runs, bytes, width, mask)) {
                var parts = new ArrayList<String>();
                var lengths = new ArrayList<Integer>();
                for (int r = 0; r < runs.length().length; r++) {
                    int n = runs.length()[r];
                    String at = pointer(p, runs.start()[r]);
                    if (mask == null) parts.add(ir.temp(how + Ir.vector(n, y) + ", ptr " + at + ", align " + bytes + tail));
                    else {
                        String m = elementMask(runs, r, width, mask), v = Ir.vector(n, y), f = "@llvm.masked.load." + Ir.suffix(y, n) + ".p0";
                        if (n == 1) f = "@llvm.masked.load.v1" + Ir.suffix(y, 1) + ".p0";
                        ir.declare(v + " " + f + "(ptr, i32, " + Ir.vector(n, "i1") + ", " + v + ")");
                        parts.add(ir.temp("call " + v + " " + f + "(ptr " + at + ", i32 " + bytes + ", " + Ir.vector(n, "i1") + " " + m + ", " + v + " zeroinitializer)"));
                    }
                    lengths.add(n);
                }
                String all = ir.concat(y, parts, lengths);
                for (int j = 0; j < width; j++) {
                    int c = j;
                    boolean identity = runs.total() == 32 && width == 1;
                    for (int l = 0; l < 32 && identity; l++) identity = runs.index()[l] == l;
                    out.put(j, identity ? all : ir.shuffle(y, runs.total(), all, null, 32, l -> runs.index()[l * width + c]), true);
                }
                return;
            }
        }
        if (scattered(p, bytes, width)) note(i, "gathers", p);
        if (byFunction(mask, width)) {
            String to = lanes(library.load(y, bytes, width), p, bytes * width, k.activeMask(), null);
            for (int j = 0; j < width; j++) out.put(j, ir.temp("load " + Ir.vector(y) + ", ptr " + (j == 0 ? to : ir.temp("getelementptr i8, ptr " + to + ", i64 " + 32 * j * bytes))), true);
            return;
        }
        for (int j = 0; j < width; j++) out.put(j, gather(y, pointers(p, (long) j * bytes), bytes, k.activeMask()), true);
    }

    /** Gathers and scatters are functions where the processor has none. */
    private boolean byFunction() { return !k.target.avx512(); }

    /** Those of a vector a lane are functions on every processor: written out, they would be most of a kernel that reads its rows so. */
    private boolean byFunction(String mask, int width) { return byFunction() || mask == null && width > 1; }

    /** Whether runs are loaded or stored as vectors under this mask. */
    private boolean masked(Runs runs, int bytes, int width, String mask) {
        return mask == null || runs.oneToOne() && (!byFunction() || width == 1 && bytes >= 4 && runs.length().length == 1);
    }

    /** Whether the lanes are in no few places, whatever the mask. */
    private boolean scattered(Place p, int bytes, int width) { return p.shape.isVarying() || runs.pattern(p.shape.pattern(), bytes, width, GAP_BYTES) == null; }

    /** Calls a function of the {@link GatherLibrary}; values that are stored are in its memory already. */
    private String lanes(String function, Place p, int bytes, String mask, String from) {
        String values = from != null ? from : k.scratch("values", 32 * bytes), base, offsets;
        if (p.shape.isVarying()) {
            base = "0";
            offsets = k.scratch("offsets", 256);
            ir.line("store <32 x i64> " + ir.temp("ptrtoint <32 x ptr> " + pointers(p, 0) + " to <32 x i64>") + ", ptr " + offsets);
        } else {
            base = ir.temp("ptrtoint ptr " + pointer(p, 0) + " to i64");
            offsets = library.table(p.shape.pattern());
        }
        if (from == null && mask.startsWith("%")) {   // lanes that do not load get 0
            ir.declare("void @llvm.memset.p0.i64(ptr, i8, i64, i1)");
            ir.line("call void @llvm.memset.p0.i64(ptr align 64 " + values + ", i8 0, i64 " + 32 * bytes + ", i1 false)");
        }
        ir.line("call fastcc void " + function + "(ptr " + values + ", i64 " + base + ", ptr " + offsets + ", i32 " + (mask.startsWith("%") ? ir.maskBits(mask) : "-1") + ")");
        return values;
    }

    private String gather(String y, String at, int bytes, String mask) {
        String v = Ir.vector(y), f = "@llvm.masked.gather." + Ir.suffix(y, 32) + ".v32p0";
        ir.declare(v + " " + f + "(<32 x ptr>, i32, <32 x i1>, " + v + ")");
        return ir.temp("call " + v + " " + f + "(<32 x ptr> " + at + ", i32 " + bytes + ", <32 x i1> " + mask + ", " + v + " zeroinitializer)");
    }

    private void note(Instruction i, String what, Place p) {
        String s = "kernel " + k.kernel.name() + ", " + k.kernel.module() + ".ptx:" + i.line() + (i.source() == null ? "" : " (" + i.source() + ")") + ": " + i.name() + " " + what
                + (p.shape.isVarying() ? ": its address escapes the lane analysis" : ": its lanes touch memory in too many places");
        if (!k.report.contains(s)) k.report.add(s);
    }

    // ---- stores

    void store(Instruction i) {
        PtxType t = i.type();
        if (t == PtxType.B128) throw k.refuse(i, "");
        List<Operand> from = i.operand(1).elements();
        Place p = place(i, i.operand(0));
        String y = KernelEmitter.typeOf(t);
        if (p.shape.isUniform()) {
            for (int j = 0; j < from.size(); j++) {
                String v = k.analysis.of(from.get(j)).isUniform() ? k.scalar(from.get(j), y) : lastLane(k.vector(from.get(j), y), y);
                ir.line("store " + y + " " + v + ", ptr " + pointer(p, (long) j * t.bytes()) + ", align " + t.bytes());
            }
            return;
        }
        var values = new ArrayList<String>();
        for (Operand o : from) values.add(k.vector(o, y));
        storeFrom(i, p, y, t.bytes(), values);
    }

    /** Of lanes that store to one address the last active one wins. */
    private String lastLane(String v, String y) {
        String lane = "31";
        if (k.mask() != null) lane = ir.temp("sub i32 31, " + ir.countZeros("ctlz", "i32", false, ir.maskBits(k.mask())));
        return ir.temp("extractelement " + Ir.vector(y) + " " + v + ", i32 " + lane);
    }

    private void storeFrom(Instruction i, Place p, String y, int bytes, List<String> values) {
        int width = values.size();
        String mask = k.mask();
        if (!p.shape.isVarying()) {
            Runs runs = this.runs.pattern(p.shape.pattern(), bytes, width, 0);
            if (runs != null && masked(runs, bytes, width, mask)) {
                if (mask == null && bytes == 4 && width == 4 && runs.inOrder()) {
                    storeQuads(y, p, values);
                    return;
                }
                String all = ir.concat(y, values, java.util.Collections.nCopies(width, 32));
                int before = 0;
                for (int r = 0; r < runs.length().length; r++) {
                    int n = runs.length()[r], from = before;
                    before += n;
                    boolean identity = width == 1 && n == 32;
                    for (int e = 0; e < n && identity; e++) identity = runs.last()[from + e] == e;
                    String v = identity ? all : ir.shuffle(y, 32 * width, all, null, n, e -> runs.last()[from + e]);
                    String at = pointer(p, runs.start()[r]);
                    if (mask == null) ir.line("store " + Ir.vector(n, y) + " " + v + ", ptr " + at + ", align " + bytes);
                    else {
                        String m = elementMask(runs, r, width, mask), f = "@llvm.masked.store." + (n == 1 ? "v1" : "") + Ir.suffix(y, n) + ".p0";
                        ir.declare("void " + f + "(" + Ir.vector(n, y) + ", ptr, i32, " + Ir.vector(n, "i1") + ")");
                        ir.line("call void " + f + "(" + Ir.vector(n, y) + " " + v + ", ptr " + at + ", i32 " + bytes + ", " + Ir.vector(n, "i1") + " " + m + ")");
                    }
                }
                return;
            }
        }
        if (scattered(p, bytes, width)) note(i, "scatters", p);
        if (byFunction(mask, width)) {
            String from = k.scratch("values", 32 * bytes * width);
            for (int j = 0; j < width; j++)
                ir.line("store " + Ir.vector(y) + " " + values.get(j) + ", ptr " + (j == 0 ? from : ir.temp("getelementptr i8, ptr " + from + ", i64 " + 32 * j * bytes)));
            lanes(library.store(y, bytes, width), p, bytes * width, k.activeMask(), from);
            return;
        }
        String f = "@llvm.masked.scatter." + Ir.suffix(y, 32) + ".v32p0";
        ir.declare("void " + f + "(" + Ir.vector(y) + ", <32 x ptr>, i32, <32 x i1>)");
        for (int j = 0; j < width; j++)
            ir.line("call void " + f + "(" + Ir.vector(y) + " " + values.get(j) + ", <32 x ptr> " + pointers(p, (long) j * bytes) + ", i32 " + bytes + ", <32 x i1> " + k.activeMask() + ")");
    }

    // ---- prefetch

    /** A hint for each lane, whether it is masked or not: a prefetch of any address does no harm. Lines that lanes share are asked for again, which costs little. */
    void prefetch(Instruction i) {
        String at = k.scratch("offsets", 256);
        ir.line("store <32 x ptr> " + pointers(place(i, i.operand(0)), 0) + ", ptr " + at);
        ir.line("call fastcc void " + library.prefetch() + "(ptr " + at + ")");
    }

    // ---- cp.async

    /** {@code cp.async}: the copy happens here and now; commit and wait have nothing left to do. */
    void copyAsync(Instruction i) {
        if (!i.has("async")) throw k.refuse(i, "");
        if (i.has("commit_group") || i.has("wait_group") || i.has("wait_all")) return;
        if (i.has("bulk") || i.has("mbarrier") || i.operands().size() < 3 || i.operands().size() > 5) throw k.refuse(i, "");
        if (!(i.operand(0) instanceof Operand.Address to) || !(i.operand(1) instanceof Operand.Address from)) throw k.refuse(i, "");
        Place d = place("shared", to), s = place("global", from);
        int bytes = (int) (long) k.analysis.of(i.operand(2)).value(), width = bytes / 4;
        int given = i.operands().size() - (i.has("L2::cache_hint") ? 1 : 0);   // the policy comes last
        Operand sourceBytes = given > 3 ? i.operand(3) : null;
        Long known = sourceBytes == null ? Long.valueOf(bytes) : k.analysis.of(sourceBytes).value();
        var values = new String[width];
        if (known != null && known == bytes) {
            loadInto(i, s, "i32", 4, width, false, false, (j, v, vec) -> values[j] = vec ? v : ir.splat("i32", v));
        } else {
            String n = k.vector(sourceBytes, "i32");
            for (int j = 0; j < width; j++) {
                String m = ir.compare("ugt", "i32", true, n, Ir.constant("i32", true, 4L * j));
                if (k.mask() != null) m = ir.maskAnd(k.mask(), m);
                if (byFunction()) values[j] = ir.temp("load <32 x i32>, ptr " + lanes(library.load("i32", 4, 1), new Place(s.base, s.offset + 4L * j, s.space, s.shape), 4, m, null));
                else values[j] = gather("i32", pointers(s, 4L * j), 4, m);
            }
        }
        if (d.shape.isUniform()) {
            for (int j = 0; j < width; j++) ir.line("store i32 " + lastLane(values[j], "i32") + ", ptr " + pointer(d, 4L * j) + ", align 4");
            return;
        }
        storeFrom(i, d, "i32", 4, List.of(values));
    }

    // ---- atomics

    /** One lane after the other; on shared memory, which one thread of the host works on, plain loads and stores do. */
    void atomic(Instruction i) {
        boolean result = i.is("atom");
        int a = result ? 1 : 0;
        PtxType t = i.type();
        String y = KernelEmitter.typeOf(t);
        Place p = place(i, i.operand(a));
        String op = null;
        for (String m : i.modifiers()) switch (m) { case "add", "min", "max", "exch", "cas", "and", "or", "xor", "inc", "dec" -> op = m; default -> { } }
        boolean cas = op != null && op.equals("cas"), shared = p.space.equals("shared");
        if (op == null || t == PtxType.B128 || t.isFloat() && !op.equals("add") || !t.isFloat() && t.bytes() < 4 && !cas) throw k.refuse(i, "");
        String name = "tp_atom_" + op + "_" + t.name().toLowerCase() + (shared ? "_shared" : ""), finalOp = op;
        ir.declare("i32 @llvm.cttz.i32(i32, i1)");
        boolean shortFloat = t.isFloat() && t != PtxType.F32 && t != PtxType.F64;
        if (shortFloat) k.helper("sum " + t, () -> shortSum(t, y));
        k.helper(name, () -> atomicHelper(name, finalOp, t, y, shared));
        String bits = k.mask() == null ? "-1" : ir.maskBits(k.mask());
        List<Operand> values = i.operand(a + 1).elements();
        var before = new ArrayList<String>();   // the elements of a vector are changed one after the other
        for (int j = 0; j < values.size(); j++) {
            String v = k.vector(values.get(j), y), w = cas ? k.vector(i.operand(a + 2), y) : "poison";
            String at = ir.temp("ptrtoint <32 x ptr> " + pointers(p, (long) j * t.bytes()) + " to <32 x i64>");
            before.add(ir.temp("call " + Ir.vector(y) + " @" + name + "(<32 x i64> " + at + ", " + Ir.vector(y) + " " + v + ", " + Ir.vector(y) + " " + w + ", i32 " + bits + ")"));
        }
        if (result) for (int j = 0; j < before.size(); j++) k.writeVector(i.operand(0).elements().get(j), before.get(j), y);
    }

    /** Adds a short float, or each half of a pair, in single precision, which rounds the sum once; tries until nobody has come between. Gives what was there. */
    private static String shortSum(PtxType t, String y) {
        boolean pair = t.bytes() == 4, half = t == PtxType.F16 || t == PtxType.F16X2;
        var f = new StringBuilder("define internal " + y + " @tp_sum_" + t.name().toLowerCase() + "(ptr %p, " + y + " %x) noinline #0 {\nentry:\n  %first = load atomic " + y
                + ", ptr %p seq_cst, align " + t.bytes() + "\n  br label %try\ntry:\n  %old = phi " + y + " [ %first, %entry ], [ %seen, %try ]\n");
        for (int h = 0; h < (pair ? 2 : 1); h++) {
            for (String v : List.of("old", "x")) {
                String n = v + h;
                if (pair) f.append("  %").append(n).append(".w = lshr i32 %").append(v).append(", ").append(16 * h).append("\n  %").append(n).append(" = trunc i32 %").append(n).append(".w to i16\n");
                else f.append("  %").append(n).append(" = or i16 %").append(v).append(", 0\n");
                if (half) f.append("  %").append(n).append(".h = bitcast i16 %").append(n).append(" to half\n  %").append(n).append(".f = fpext half %").append(n).append(".h to float\n");
                else f.append("  %").append(n).append(".z = zext i16 %").append(n).append(" to i32\n  %").append(n).append(".s = shl i32 %").append(n).append(".z, 16\n  %")
                        .append(n).append(".f = bitcast i32 %").append(n).append(".s to float\n");
            }
            f.append("  %sum").append(h).append(" = fadd float %old").append(h).append(".f, %x").append(h).append(".f\n");
            if (half) f.append("  %n").append(h).append(".h = fptrunc float %sum").append(h).append(" to half\n  %n").append(h).append(" = bitcast half %n").append(h).append(".h to i16\n");
            else f.append("""
                      %bN = bitcast float %sumN to i32
                      %uN = lshr i32 %bN, 16
                      %oN = and i32 %uN, 1
                      %rN = add i32 %oN, 32767
                      %aN = add i32 %bN, %rN
                      %qN = or i32 %bN, 4194304
                      %nanN = fcmp uno float %sumN, %sumN
                      %cN = select i1 %nanN, i32 %qN, i32 %aN
                      %dN = lshr i32 %cN, 16
                      %nN = trunc i32 %dN to i16
                    """.replace("N", "" + h));
        }
        if (pair) f.append("  %lo = zext i16 %n0 to i32\n  %hi = zext i16 %n1 to i32\n  %up = shl i32 %hi, 16\n  %new = or i32 %lo, %up\n");
        else f.append("  %new = or i16 %n0, 0\n");
        return f.append("  %tried = cmpxchg ptr %p, ").append(y).append(" %old, ").append(y).append(" %new seq_cst seq_cst\n  %seen = extractvalue { ").append(y)
                .append(", i1 } %tried, 0\n  %done = extractvalue { ").append(y).append(", i1 } %tried, 1\n  br i1 %done, label %end, label %try\nend:\n  ret ").append(y).append(" %old\n}\n").toString();
    }

    private static String atomicHelper(String name, String op, PtxType t, String y, boolean shared) {
        String s = t.isSigned() ? "" : "u", v = Ir.vector(y);
        String body;
        if (t.isFloat() && t != PtxType.F32 && t != PtxType.F64) {
            body = "  %old = call " + y + " @tp_sum_" + t.name().toLowerCase() + "(ptr %p, " + y + " %x)\n";
        } else if (op.equals("cas")) {
            body = shared ? "  %old = load " + y + ", ptr %p\n  %same = icmp eq " + y + " %old, %x\n  %new = select i1 %same, " + y + " %z, " + y + " %old\n  store " + y + " %new, ptr %p\n"
                    : "  %pair = cmpxchg ptr %p, " + y + " %x, " + y + " %z seq_cst seq_cst\n  %old = extractvalue { " + y + ", i1 } %pair, 0\n";
        } else if (!shared) {
            String rmw = switch (op) {
                case "add" -> t.isFloat() ? "fadd" : "add"; case "exch" -> "xchg"; case "inc" -> "uinc_wrap"; case "dec" -> "udec_wrap";
                case "min", "max" -> s + op; default -> op;
            };
            body = "  %old = atomicrmw " + rmw + " ptr %p, " + y + " %x seq_cst\n";
        } else {
            String c = t.isSigned() ? "s" : "u";
            body = "  %old = load " + y + ", ptr %p\n" + switch (op) {
                case "add" -> "  %new = " + (t.isFloat() ? "fadd " : "add ") + y + " %old, %x\n";
                case "exch" -> "  %new = select i1 true, " + y + " %x, " + y + " %x\n";
                case "min", "max" -> "  %c = icmp " + c + (op.equals("min") ? "lt " : "gt ") + y + " %old, %x\n  %new = select i1 %c, " + y + " %old, " + y + " %x\n";
                case "inc" -> "  %c = icmp uge " + y + " %old, %x\n  %n = add " + y + " %old, 1\n  %new = select i1 %c, " + y + " 0, " + y + " %n\n";
                case "dec" -> "  %c0 = icmp eq " + y + " %old, 0\n  %c1 = icmp ugt " + y + " %old, %x\n  %c = or i1 %c0, %c1\n  %n = sub " + y + " %old, 1\n  %new = select i1 %c, " + y + " %x, " + y + " %n\n";
                default -> "  %new = " + op + " " + y + " %old, %x\n";
            } + "  store " + y + " %new, ptr %p\n";
        }
        return "define internal " + v + " @" + name + "(<32 x i64> %at, " + v + " %value, " + v + " %other, i32 %lanes) noinline #0 {\nentry:\n"
                + "  %as = alloca <32 x i64>\n  store <32 x i64> %at, ptr %as\n  %vs = alloca " + v + "\n  store " + v + " %value, ptr %vs\n"
                + (op.equals("cas") ? "  %zs = alloca " + v + "\n  store " + v + " %other, ptr %zs\n" : "")
                + "  %none = icmp eq i32 %lanes, 0\n  br i1 %none, label %done, label %loop\nloop:\n  %m = phi i32 [ %lanes, %entry ], [ %rest, %loop ]\n"
                + "  %l = call i32 @llvm.cttz.i32(i32 %m, i1 true)\n"
                + "  %ap = getelementptr i64, ptr %as, i32 %l\n  %a = load i64, ptr %ap\n  %p = inttoptr i64 %a to ptr\n"
                + "  %xp = getelementptr " + y + ", ptr %vs, i32 %l\n  %x = load " + y + ", ptr %xp\n"
                + (op.equals("cas") ? "  %zp = getelementptr " + y + ", ptr %zs, i32 %l\n  %z = load " + y + ", ptr %zp\n" : "")
                + body + "  store " + y + " %old, ptr %xp\n"
                + "  %less = sub i32 %m, 1\n  %rest = and i32 %m, %less\n  %more = icmp ne i32 %rest, 0\n  br i1 %more, label %loop, label %done\n"
                + "done:\n  %r = load " + v + ", ptr %vs\n  ret " + v + " %r\n}\n";
    }
}
