package dev.turningpoint.softgpu.jit;

import dev.turningpoint.softgpu.analysis.Shape;
import dev.turningpoint.softgpu.ptx.Instruction;
import dev.turningpoint.softgpu.ptx.MatrixShape;
import dev.turningpoint.softgpu.ptx.Operand;
import dev.turningpoint.softgpu.ptx.PtxType;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.IntUnaryOperator;

/**
 * {@code mma.sync} and {@code ldmatrix}. Lane l of a warp holds row l / 4 (and l / 4 + 8) of A and of the accumulators, columns 2 (l % 4) and the next;
 * of B it holds column l / 4. For every pair of k the elements of A and B that meet in a lane's accumulator are brought together by constant shuffles;
 * then one bf16 dot product (or two fma) a pair does the work. Sums of halves are made in f32 and rounded once. Without AVX-512, and in kernels of many products, this is a
 * function of {@link MatrixLibrary}; written out, what was brought together for one product serves the next.
 */
final class Matrix {
    private final KernelEmitter k;
    private final Ir ir;
    private final java.util.Map<String, String[]> halves = new java.util.HashMap<>();   // of accumulators: the next product takes them as they are

    private final MatrixLibrary library;

    Matrix(KernelEmitter k) { this.k = k; this.ir = k.ir; this.library = new MatrixLibrary(k); }

    void mma(Instruction i) {
        MatrixShape s = MatrixShape.of(i);
        if (s == null || isEightBitFloat(s.a())) throw k.refuse(i, "");
        List<Operand> d = i.operand(0).elements(), a = i.operand(1).elements(), b = i.operand(2).elements(), c = i.operand(3).elements();
        int tiles = s.m() / 8, registers = s.k() / 4 / parts(s.a()), sums = 2 * tiles / (s.c() == PtxType.F16 ? 2 : 1);   // registers of B; for each 8 rows A has as many
        if (b.size() != registers || a.size() != tiles * registers || c.size() != sums || d.size() != sums) throw k.refuse(i, "");
        if (s.a() == PtxType.F64) { doubles(tiles, d, a, b, c); return; }
        if (tiles != 2) throw k.refuse(i, "");
        boolean paired = s.c() == PtxType.F16, clamp = i.has("satfinite");
        String held = s.c() == PtxType.F32 ? "float" : "i32", work = s.a().isFloat() ? "float" : "i32";   // of an accumulator's register; of a sum
        if (k.inMemory(i)) {
            var places = new ArrayList<String>();
            for (Operand o : d) places.add(k.place(o));
            for (Operand o : a) places.add(k.place(o, "i32", places.size()));
            for (Operand o : b) places.add(k.place(o, "i32", places.size()));
            for (Operand o : c) places.add(k.place(o, held, places.size()));
            call(library.product(s, clamp), places);
            return;
        }
        var av = new ArrayList<String>();
        var bv = new ArrayList<String>();
        for (Operand o : a) av.add(k.vector(o, "i32"));
        for (Operand o : b) bv.add(k.vector(o, "i32"));
        String[][] acc = new String[4][2];   // accumulator j, half of the lanes
        for (int j = 0; j < 4; j++) {
            String v = k.vector(c.get(paired ? j / 2 : j), held);
            String[] known = halves.get(v);
            for (int h = 0; h < 2; h++) {
                int from = 16 * h;
                acc[j][h] = known != null ? known[h] : ir.shuffle(held, 32, v, null, 16, l -> from + l);
                if (paired) acc[j][h] = part(ir, 16, s.c(), acc[j][h], j % 2);
            }
        }
        String[][] start = new String[4][2];
        if (clamp) for (int j = 0; j < 4; j++) for (int h = 0; h < 2; h++) { start[j][h] = acc[j][h]; acc[j][h] = "zeroinitializer"; }
        for (int r = 0; r < registers; r++) {
            for (int q = 0; q < 4; q++) {   // lane q of a quad holds this pair (or this one k)
                int quad = q;
                String[] y = new String[2];
                for (int e = 0; e < 2; e++) { int odd = e; y[e] = pick(bv.get(r), l -> (2 * (l % 4) + odd) * 4 + quad); }
                for (int rows = 0; rows < 2; rows++) {
                    String from = av.get(2 * r + rows);
                    for (int h = 0; h < 2; h++) {
                        int half = h;
                        String x = pick(from, l -> half * 16 + l / 4 * 4 + quad);
                        for (int e = 0; e < 2; e++) acc[2 * rows + e][h] = dot(s, acc[2 * rows + e][h], x, y[e]);
                    }
                }
            }
        }
        if (clamp) for (int j = 0; j < 4; j++) for (int h = 0; h < 2; h++) acc[j][h] = ir.intrinsic("sadd.sat", "i32", 16, start[j][h], acc[j][h]);
        if (paired) {
            for (int r = 0; r < 2; r++) {
                String[] pair = new String[2];
                for (int h = 0; h < 2; h++) pair[h] = pair(ir, 16, acc[2 * r][h], acc[2 * r + 1][h]);
                k.writeVector(d.get(r), ir.concat("i32", List.of(pair[0], pair[1]), List.of(16, 16)), "i32");
            }
            return;
        }
        for (int j = 0; j < 4; j++) {
            String v = ir.concat(work, List.of(acc[j][0], acc[j][1]), List.of(16, 16));
            halves.put(v, acc[j]);
            k.writeVector(d.get(j), v, work);
        }
    }

    /** One lane holds one number of A for each 8 rows and 4 k, so a product is four steps of a few shuffles of whole registers. */
    private void doubles(int tiles, List<Operand> d, List<Operand> a, List<Operand> b, List<Operand> c) {
        String[] sum = new String[2 * tiles];
        for (int j = 0; j < sum.length; j++) sum[j] = k.vector(c.get(j), "double");
        for (int r = 0; r < b.size(); r++)
            for (int q = 0; q < 4; q++) {
                int quad = q;
                for (int t = 0; t < tiles; t++) {
                    String x = ir.shuffle("double", 32, k.vector(a.get(r * tiles + t), "double"), null, 32, l -> l / 4 * 4 + quad);
                    for (int e = 0; e < 2; e++) {
                        int odd = e;
                        String y = ir.shuffle("double", 32, k.vector(b.get(r), "double"), null, 32, l -> (2 * (l % 4) + odd) * 4 + quad);
                        sum[2 * t + e] = ir.intrinsic("fma", "double", true, x, y, sum[2 * t + e]);
                    }
                }
            }
        for (int j = 0; j < sum.length; j++) k.writeVector(d.get(j), sum[j], "double");
    }

    private static boolean isEightBitFloat(PtxType t) { return t == PtxType.E4M3 || t == PtxType.E5M2; }

    /** Numbers that share a register of a factor. */
    static int parts(PtxType t) { return Math.max(1, 4 / t.bytes()); }

    /** The n-th number in each of some registers of 32 bits: a float of short ones, an i32 of integers. */
    static String part(Ir ir, int lanes, PtxType t, String v, int n) {
        String whole = Ir.vector(lanes, "i32"), single = Ir.vector(lanes, "float");
        switch (t) {
            case S8, U8 -> {
                String up = n == 3 ? v : ir.temp("shl " + whole + " " + v + ", splat (i32 " + (24 - 8 * n) + ")");
                return ir.temp((t == PtxType.S8 ? "ashr " : "lshr ") + whole + " " + up + ", splat (i32 24)");
            }
            case F16 -> {
                String s = n == 0 ? v : ir.temp("lshr " + whole + " " + v + ", splat (i32 16)"), half = Ir.vector(lanes, "half"), bits = Ir.vector(lanes, "i16");
                return ir.temp("fpext " + half + " " + ir.temp("bitcast " + bits + " " + ir.temp("trunc " + whole + " " + s + " to " + bits) + " to " + half) + " to " + single);
            }
            case BF16 -> v = n == 0 ? ir.temp("shl " + whole + " " + v + ", splat (i32 16)") : ir.temp("and " + whole + " " + v + ", splat (i32 -65536)");
            case TF32 -> v = ir.temp("and " + whole + " " + v + ", splat (i32 -8192)");   // of tf32 the hardware reads the upper 19 bits
            default -> { }
        }
        return ir.temp("bitcast " + whole + " " + v + " to " + single);
    }

    /** Two vectors of floats as pairs of halves. */
    static String pair(Ir ir, int lanes, String low, String high) {
        String whole = Ir.vector(lanes, "i32"), single = Ir.vector(lanes, "float"), half = Ir.vector(lanes, "half"), bits = Ir.vector(lanes, "i16");
        String[] h = {low, high};
        for (int n = 0; n < 2; n++) {
            h[n] = ir.temp("bitcast " + half + " " + ir.temp("fptrunc " + single + " " + h[n] + " to " + half) + " to " + bits);
            h[n] = ir.temp("zext " + bits + " " + h[n] + " to " + whole);
        }
        return ir.temp("or " + whole + " " + h[0] + ", " + ir.temp("shl " + whole + " " + h[1] + ", splat (i32 16)"));
    }

    private void call(String function, List<String> pointers) {
        ir.line("call fastcc void " + function + "(ptr " + String.join(", ptr ", pointers) + ")");
    }

    private String pick(String v, IntUnaryOperator lane) { return ir.shuffle("i32", 32, v, null, 16, lane); }

    private String dot(MatrixShape s, String acc, String x, String y) {
        if (isDot(k.target, s.a())) return dot(ir, acc, x, y);
        String work = s.a().isFloat() ? "float" : "i32";
        for (int n = 0; n < parts(s.a()); n++) acc = add(ir, 16, work, acc, part(ir, 16, s.a(), x, n), part(ir, 16, s.b(), y, n));
        return acc;
    }

    /** Whether the processor multiplies pairs of these as they are. */
    static boolean isDot(Target target, PtxType t) { return t == PtxType.BF16 && target.bf16Dot(); }

    /** acc + x y of 16 pairs of bf16. */
    static String dot(Ir ir, String acc, String x, String y) {
        ir.declare("<16 x float> @llvm.x86.avx512bf16.dpbf16ps.512(<16 x float>, <32 x bfloat>, <32 x bfloat>)");
        String a = ir.temp("bitcast <16 x i32> " + x + " to <32 x bfloat>"), b = ir.temp("bitcast <16 x i32> " + y + " to <32 x bfloat>");
        return ir.temp("call <16 x float> @llvm.x86.avx512bf16.dpbf16ps.512(<16 x float> " + acc + ", <32 x bfloat> " + a + ", <32 x bfloat> " + b + ")");
    }

    /** acc + x y. */
    static String add(Ir ir, int lanes, String type, String acc, String x, String y) {
        if (type.equals("float")) return ir.intrinsic("fma", type, lanes, x, y, acc);
        String v = Ir.vector(lanes, type);
        return ir.temp("add " + v + " " + acc + ", " + ir.temp("mul " + v + " " + x + ", " + y));
    }

    /** Of an 8 x 8 matrix of 16 bits, whose rows follow one another in the lanes. */
    static String transposed(Ir ir, String v) {
        String t = ir.shuffle("i16", 64, ir.temp("bitcast <32 x i32> " + v + " to <64 x i16>"), null, 64, e -> (2 * (e / 2 % 4) + e % 2) * 8 + e / 2 / 4);
        return ir.temp("bitcast <64 x i16> " + t + " to <32 x i32>");
    }

    void movmatrix(Instruction i) { k.writeVector(i.operand(0), transposed(ir, k.vector(i.operand(1), "i32")), "i32"); }

    /** Lane 8 m + r holds the address of row r of matrix m. */
    void stmatrix(Instruction i) {
        if (!i.has("m8n8") || !i.has("b16") || !(i.operand(0) instanceof Operand.Address at)) throw k.refuse(i, "");
        if (i.modifiers().stream().noneMatch(m -> m.equals("shared") || m.equals("shared::cta"))) throw k.refuse(i, "");
        String lanes = k.vector(at.base(), "i32");
        List<Operand> from = i.operand(1).elements();
        for (int m = 0; m < from.size(); m++) {
            String v = k.vector(from.get(m), "i32");
            if (i.has("trans")) v = transposed(ir, v);
            for (int r = 0; r < 8; r++) {
                int first = 4 * r;
                String base = ir.temp("zext i32 " + ir.temp("extractelement <32 x i32> " + lanes + ", i64 " + (8 * m + r)) + " to i64");
                String p = ir.temp("getelementptr i8, ptr %shared, i64 " + (at.offset() == 0 ? base : ir.temp("add i64 " + base + ", " + at.offset())));
                ir.line("store <4 x i32> " + ir.shuffle("i32", 32, v, null, 4, e -> first + e) + ", ptr " + p + ", align 16");
            }
        }
    }

    /** Lane 8 m + r holds the address of row r of matrix m: eight 16-byte loads a matrix, then a shuffle if transposed. */
    void ldmatrix(Instruction i) {
        if (!i.has("m8n8") || !i.has("b16")) throw k.refuse(i, "");
        List<Operand> d = i.operand(0).elements();
        if (!(i.operand(1) instanceof Operand.Address at)) throw k.refuse(i, "");
        Shape s = k.analysis.of(at.base());
        boolean shared = i.has("shared") || i.modifiers().contains("shared::cta");
        if (!shared) throw k.refuse(i, "");
        String lanes = s.isVarying() ? k.vector(at.base(), "i32") : null, first = s.isVarying() ? null : k.scalar(at.base(), "i32");
        if (first != null && first.startsWith("%")) first = ir.temp("sext i32 " + first + " to i64");
        if (k.inMemory(i)) {
            var arguments = new ArrayList<String>();
            long[] pattern = lanes != null ? null : Arrays.stream(s.pattern(), 0, 8 * d.size()).map(p -> p - s.pattern()[0]).toArray();
            String base = ir.temp("getelementptr i8, ptr %shared, i64 " + at.offset());
            arguments.add(lanes != null ? base : ir.temp("getelementptr i8, ptr " + base + ", i64 " + first));
            if (lanes != null) arguments.add(k.place(at.base(), "i32", 0));
            for (Operand o : d) arguments.add(k.place(o));
            call(library.ldmatrix(d.size(), i.has("trans"), pattern), arguments);
            return;
        }
        for (int m = 0; m < d.size(); m++) {
            var rows = new ArrayList<String>();
            for (int r = 0; r < 8; r++) {
                int l = 8 * m + r;
                String base = lanes != null ? ir.temp("zext i32 " + ir.temp("extractelement <32 x i32> " + lanes + ", i64 " + l) + " to i64") : first;
                long plus = at.offset() + (lanes != null ? 0 : s.pattern()[l] - s.pattern()[0]);
                String p = ir.temp("getelementptr i8, ptr %shared, i64 " + (plus == 0 ? base : ir.temp("add i64 " + base + ", " + plus)));
                rows.add(ir.temp("load <4 x i32>, ptr " + p + ", align 16"));
            }
            String v = ir.concat("i32", rows, java.util.Collections.nCopies(8, 4));
            if (i.has("trans")) v = transposed(ir, v);
            k.writeVector(d.get(m), v, "i32");
        }
    }
}
