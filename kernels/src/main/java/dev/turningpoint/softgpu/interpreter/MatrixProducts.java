package dev.turningpoint.softgpu.interpreter;

import dev.turningpoint.softgpu.ptx.Instruction;
import dev.turningpoint.softgpu.ptx.Operand;
import dev.turningpoint.softgpu.ptx.PtxType;

import java.util.List;

/**
 * {@code mma.sync}: D[16, 8] = A[16, k] B[k, 8] + C in f32. Lane l holds rows l / 4 and l / 4 + 8, and columns of its place l % 4 in the quad. Sums are made in double
 * and rounded once; hardware's order of summation is not documented.
 */
final class MatrixProducts {
    private MatrixProducts() {}

    static Operation operation(Instruction i, Operands o) {
        int k = i.has("m16n8k16") ? 16 : i.has("m16n8k8") ? 8 : 0;
        int col = i.modifiers().indexOf("col");
        if (k == 0 || !i.has("row") || col < 0) throw o.refuse(i, "");
        List<String> types = i.modifiers().subList(col + 1, i.modifiers().size());
        if (types.size() != 4 || !types.get(0).equals("f32") || !types.get(3).equals("f32")) throw o.refuse(i, "");
        PtxType t = PtxType.of(types.get(1));
        boolean single = t == PtxType.TF32;
        if (!single && t != PtxType.F16 && t != PtxType.BF16 || single && k != 8) throw o.refuse(i, "");
        Values[] a = sources(i, o, 1), b = sources(i, o, 2), c = sources(i, o, 3);
        List<Operand> d = i.operand(0).elements();
        double[][] x = new double[16][k], y = new double[k][8], z = new double[16][8];
        int per = single ? 1 : 2;   // elements of a register
        return (w, lanes) -> {
            // register r of A: rows l / 4 + 8 (r odd), its k from 4 per (r / 2); register r of B: k from 4 per r, column l / 4
            for (int r = 0; r < a.length; r++) {
                long[] v = a[r].of(w);
                for (int l = 0; l < 32; l++) for (int e = 0; e < per; e++) x[l / 4 + 8 * (r & 1)][4 * per * (r / 2) + per * (l % 4) + e] = element(v[l], e, t);
            }
            for (int r = 0; r < b.length; r++) {
                long[] v = b[r].of(w);
                for (int l = 0; l < 32; l++) for (int e = 0; e < per; e++) y[4 * per * r + per * (l % 4) + e][l / 4] = element(v[l], e, t);
            }
            for (int r = 0; r < 4; r++) {
                long[] v = c[r].of(w);
                for (int l = 0; l < 32; l++) z[l / 4 + 8 * (r / 2)][2 * (l % 4) + r % 2] = Float.intBitsToFloat((int) v[l]);
            }
            for (int m = 0; m < 16; m++)
                for (int n = 0; n < 8; n++) {
                    double sum = z[m][n];
                    for (int q = 0; q < k; q++) sum += x[m][q] * y[q][n];
                    z[m][n] = sum;
                }
            for (int r = 0; r < 4; r++) {
                long[] to = w.registers[Operands.target(d.get(r)).id()];
                for (int l = 0; l < 32; l++) to[l] = Rounding.bits(z[l / 4 + 8 * (r / 2)][2 * (l % 4) + r % 2], PtxType.F32);
            }
        };
    }

    private static Values[] sources(Instruction i, Operands o, int n) {
        return i.operand(n).elements().stream().map(e -> o.source(i, e, PtxType.B32)).toArray(Values[]::new);
    }

    /** Of tf32 the hardware reads the upper 19 bits. */
    private static double element(long bits, int e, PtxType t) {
        return t == PtxType.TF32 ? Float.intBitsToFloat((int) bits & ~0x1fff) : Rounding.value(bits >>> 16 * e & 0xffff, t);
    }
}
