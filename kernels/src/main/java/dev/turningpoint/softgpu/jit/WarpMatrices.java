package dev.turningpoint.softgpu.jit;

import dev.turningpoint.softgpu.ptx.Instruction;
import dev.turningpoint.softgpu.ptx.MatrixShape;
import dev.turningpoint.softgpu.ptx.Operand;
import dev.turningpoint.softgpu.ptx.PtxType;

import java.util.ArrayList;
import java.util.List;

/**
 * {@code wmma}. PTX leaves open which lane holds what: here slot s of lane l is element 32 s + l, row by row (again from the first where there are more slots than
 * elements), as in the interpreter. So a slot of all lanes is a run of the matrix, and a fragment becomes a matrix in memory by storing its slots one after
 * another. Products and the way between such a matrix and one whose rows or columns lie apart are functions.
 */
final class WarpMatrices {
    private final KernelEmitter k;
    private final Ir ir;
    private final Memory memory;

    WarpMatrices(KernelEmitter k, Memory memory) {
        this.k = k;
        this.ir = k.ir;
        this.memory = memory;
    }

    void emit(Instruction i) {
        if (i.has("mma")) multiply(i);
        else move(i, i.has("load"));
    }

    // ---- load and store

    private void move(Instruction i, boolean load) {
        int[] size = MatrixShape.size(i);
        PtxType t = i.type();
        if (size == null || t == null) throw k.refuse(i, "");
        boolean byColumn = i.has("col");
        int rows = i.has("b") ? size[2] : size[0], columns = i.has("a") ? size[2] : size[1], elements = rows * columns, per = Matrix.parts(t);
        String y = "i" + t.bits(), held = t.bytes() == 8 ? "i64" : "i32", tight = k.scratch("matrix.c", elements * 8);
        List<Operand> registers = i.operand(load ? 0 : 1).elements();
        String step = "" + (byColumn ? rows : columns);
        if (i.operands().size() > 2) step = ir.temp("zext i32 " + ir.temp("extractelement <32 x i32> " + k.vector(i.operand(2), "i32") + ", i64 0") + " to i64");
        String at = ir.temp("extractelement <32 x ptr> " + memory.addresses(i, i.operand(load ? 1 : 0)) + ", i64 0");
        String call = "call fastcc void " + function(load, y, elements, columns) + "(ptr " + tight + ", ptr " + at + ", i64 " + (byColumn ? "1" : step) + ", i64 " + (byColumn ? step : "1") + ")";
        if (load) {
            ir.line(call);
            for (int r = 0; r < registers.size(); r++) {
                String v = null;
                for (int e = 0; e < per; e++) {
                    String x = ir.cast("zext", y, held, true, ir.temp("load <32 x " + y + ">, ptr " + run(tight, y, r * per + e, elements) + ", align 64"));
                    if (e > 0) x = ir.temp("or <32 x i32> " + v + ", " + ir.temp("shl <32 x i32> " + x + ", splat (i32 " + e * t.bits() + ")"));
                    v = x;
                }
                k.writeVector(registers.get(r), v, held);
            }
            return;
        }
        for (int s = 0; s < elements / 32; s++) {
            String v = k.vector(registers.get(s / per), held);
            if (s % per > 0) v = ir.temp("lshr <32 x i32> " + v + ", splat (i32 " + s % per * t.bits() + ")");
            ir.line("store <32 x " + y + "> " + ir.cast("trunc", held, y, true, v) + ", ptr " + run(tight, y, s, elements) + ", align 64");
        }
        ir.line(call);
    }

    /** Address of the run of elements that a slot holds. */
    private String run(String matrix, String type, int slot, int elements) {
        int at = 32 * slot % elements * Ir.bytes(type);
        return at == 0 ? matrix : ir.temp("getelementptr i8, ptr " + matrix + ", i64 " + at);
    }

    /** The copy of a matrix whose rows follow one another from, or to, one whose rows and columns lie any number of elements apart. */
    private String function(boolean load, String type, int elements, int columns) {
        String name = "@tp_matrix_" + (load ? "load_" : "store_") + type + "_" + elements + "_" + columns;
        k.helper(name, () -> {
            var f = new Ir();
            f.line("br label %element");
            f.label("element");
            f.line("%e = phi i64 [ 0, %entry ], [ %next, %element ]");
            String row = f.temp("mul i64 " + f.temp("udiv i64 %e, " + columns) + ", %rows"), column = f.temp("mul i64 " + f.temp("urem i64 %e, " + columns) + ", %columns");
            String inside = f.temp("getelementptr " + type + ", ptr %tight, i64 %e"), outside = f.temp("getelementptr " + type + ", ptr %apart, i64 " + f.temp("add i64 " + row + ", " + column));
            String align = ", align " + Ir.bytes(type);
            String v = f.temp("load " + type + ", ptr " + (load ? outside : inside) + align);
            f.line("store " + type + " " + v + ", ptr " + (load ? inside : outside) + align);
            f.line("%next = add i64 %e, 1");
            f.line("%more = icmp ult i64 %next, " + elements);
            f.line("br i1 %more, label %element, label %done");
            f.label("done");
            return "define internal fastcc void " + name + "(ptr %tight, ptr %apart, i64 %rows, i64 %columns) noinline #0 {\nentry:\n" + f.take() + "  ret void\n}\n";
        });
        return name;
    }

    // ---- products

    private void multiply(Instruction i) {
        MatrixShape s = MatrixShape.of(i);
        if (s == null) throw k.refuse(i, "");
        String work = s.a() == PtxType.F64 ? "double" : s.a().isFloat() ? "float" : "i32";
        int m = s.m(), n = s.n(), depth = s.k(), bytes = Ir.bytes(work);
        String[] place = new String[3];
        for (int o = 0; o < 3; o++) {
            PtxType t = o == 0 ? s.a() : o == 1 ? s.b() : s.c();
            int elements = o == 0 ? m * depth : o == 1 ? depth * n : m * n, per = Matrix.parts(t);
            List<Operand> registers = i.operand(o + 1).elements();
            if (registers.size() * per * 32 < elements) throw k.refuse(i, "");
            place[o] = k.scratch("matrix." + "abc".charAt(o), elements * 8);
            for (int slot = 0; slot < elements / 32; slot++) {
                Operand r = registers.get(slot / per);
                String v = work.equals("double") || per == 1 && t != PtxType.TF32 ? k.vector(r, work) : Matrix.part(ir, 32, t, k.vector(r, "i32"), slot % per);
                ir.line("store <32 x " + work + "> " + v + ", ptr " + run(place[o], work, slot, elements) + ", align 64");
            }
        }
        ir.line("call fastcc void " + product(s, work, i.has("satfinite")) + "(ptr " + place[0] + ", ptr " + place[1] + ", ptr " + place[2] + ")");
        List<Operand> d = i.operand(0).elements();
        int per = Matrix.parts(s.d());
        if (d.size() * per * 32 != m * n) throw k.refuse(i, "");
        for (int r = 0; r < d.size(); r++) {
            var v = new ArrayList<String>();
            for (int e = 0; e < per; e++) v.add(ir.temp("load <32 x " + work + ">, ptr " + run(place[2], work, r * per + e, m * n) + ", align 64"));
            if (per == 2) k.writeVector(d.get(r), Matrix.pair(ir, 32, v.get(0), v.get(1)), "i32");
            else k.writeVector(d.get(r), v.get(0), work);
        }
    }

    /** c += a b, row after row of c, in the order of k. */
    private String product(MatrixShape s, String work, boolean clamp) {
        int n = s.n(), depth = s.k();
        String name = "@tp_matrix_" + work + "_" + s.m() + "_" + n + "_" + depth + (clamp ? "_clamped" : "");
        k.helper(name, () -> {
            var f = new Ir();
            String row = Ir.vector(n, work), align = ", align " + Ir.bytes(work);
            f.line("br label %row");
            f.label("row");
            f.line("%r = phi i64 [ 0, %entry ], [ %next, %row ]");
            String left = f.temp("getelementptr " + work + ", ptr %a, i64 " + f.temp("mul i64 %r, " + depth)), to = f.temp("getelementptr " + row + ", ptr %c, i64 %r");
            String start = f.temp("load " + row + ", ptr " + to + align), sum = clamp ? "zeroinitializer" : start;
            for (int j = 0; j < depth; j++) {
                String x = f.temp("load " + work + ", ptr " + f.temp("getelementptr " + work + ", ptr " + left + ", i64 " + j) + align);
                x = f.shuffle(work, n, f.temp("insertelement " + row + " poison, " + work + " " + x + ", i64 0"), null, n, e -> 0);
                String y = f.temp("load " + row + ", ptr " + f.temp("getelementptr " + row + ", ptr %b, i64 " + j) + align);
                sum = work.equals("i32") ? f.temp("add " + row + " " + sum + ", " + f.temp("mul " + row + " " + x + ", " + y)) : f.intrinsic("fma", work, n, x, y, sum);
            }
            if (clamp) sum = f.intrinsic("sadd.sat", work, n, start, sum);
            f.line("store " + row + " " + sum + ", ptr " + to + align);
            f.line("%next = add i64 %r, 1");
            f.line("%more = icmp ult i64 %next, " + s.m());
            f.line("br i1 %more, label %row, label %done");
            f.label("done");
            if (!work.equals("i32")) k.ir.declare(row + " @llvm.fma." + Ir.suffix(work, n) + "(" + row + ", " + row + ", " + row + ")");
            if (clamp) k.ir.declare(row + " @llvm.sadd.sat." + Ir.suffix(work, n) + "(" + row + ", " + row + ")");
            return "define internal fastcc void " + name + "(ptr %a, ptr %b, ptr %c) noinline #0 {\nentry:\n" + f.take() + "  ret void\n}\n";
        });
        return name;
    }
}
