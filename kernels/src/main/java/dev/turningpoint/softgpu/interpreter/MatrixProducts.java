package dev.turningpoint.softgpu.interpreter;

import dev.turningpoint.softgpu.ptx.Instruction;
import dev.turningpoint.softgpu.ptx.MatrixShape;
import dev.turningpoint.softgpu.ptx.Operand;
import dev.turningpoint.softgpu.ptx.PtxType;

import java.util.List;

/**
 * {@code mma.sync} and {@code wmma.mma}: D[m, n] = A[m, k] B[k, n] + C. Sums of short floats are made in double from C on, in the order of k, and rounded once;
 * hardware's order of summation is not documented. Sums of doubles are rounded at each product, which is fused; those of integers are exact.
 */
final class MatrixProducts {
    private MatrixProducts() {}

    static Operation operation(Instruction i, Operands o) {
        MatrixShape shape = MatrixShape.of(i);
        if (shape == null) throw o.refuse(i, "");
        int m = shape.m(), n = shape.n(), k = shape.k();
        Fragment a, b, c, d;
        if (i.is("wmma")) {
            a = Fragment.spread(shape.a(), m * k, i.operand(1).elements().size());
            b = Fragment.spread(shape.b(), k * n, i.operand(2).elements().size());
            c = Fragment.spread(shape.c(), m * n, i.operand(3).elements().size());
            d = Fragment.spread(shape.d(), m * n, i.operand(0).elements().size());
        } else {
            a = Fragment.left(shape.a(), m, k);
            b = Fragment.right(shape.b(), k);
            c = Fragment.sum(shape.c(), m);
            d = Fragment.sum(shape.d(), m);
        }
        Values[] av = sources(i, o, 1, a), bv = sources(i, o, 2, b), cv = sources(i, o, 3, c);
        List<Operand> to = i.operand(0).elements();
        if (to.size() != d.registers()) throw o.refuse(i, "with these operands");
        double[] x = new double[m * k], y = new double[k * n], z = new double[m * n];
        boolean fused = shape.a() == PtxType.F64, clamp = i.has("satfinite");
        return (w, lanes) -> {
            a.read(w, av, x);
            b.read(w, bv, y);
            c.read(w, cv, z);
            for (int r = 0; r < m; r++)
                for (int q = 0; q < n; q++) {
                    double sum = z[r * n + q];
                    if (fused) for (int j = 0; j < k; j++) sum = Math.fma(x[r * k + j], y[j * n + q], sum);
                    else for (int j = 0; j < k; j++) sum += x[r * k + j] * y[j * n + q];
                    z[r * n + q] = sum;
                }
            d.write(w, to, z, clamp);
        };
    }

    private static Values[] sources(Instruction i, Operands o, int n, Fragment f) {
        List<Operand> elements = i.operand(n).elements();
        if (elements.size() != f.registers()) throw o.refuse(i, "with these operands");
        return elements.stream().map(e -> o.source(i, e, f.held())).toArray(Values[]::new);
    }
}
