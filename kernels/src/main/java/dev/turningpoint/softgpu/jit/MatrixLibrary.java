package dev.turningpoint.softgpu.jit;

import dev.turningpoint.softgpu.ptx.MatrixShape;
import dev.turningpoint.softgpu.ptx.PtxType;

import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.IntUnaryOperator;

/**
 * {@code mma.sync} and {@code ldmatrix} as functions on registers in memory. A fragment of 32 lanes is two machine registers with AVX-512 and four without, and one
 * product 64 multiplications or more: written out at each use, a kernel of many products outgrows the instruction cache and takes LLVM many seconds. A call
 * costs a few per cent of a product. The order of summation is that of {@link Matrix}.
 */
final class MatrixLibrary {
    private final KernelEmitter k;
    private final int width;   // lanes of a machine register
    private final Map<String, String> patterns = new HashMap<>();

    MatrixLibrary(KernelEmitter k) {
        this.k = k;
        width = k.target.avx512() ? 16 : 8;
    }

    /**
     * d = a b + c. Eight accumulators at a time stay in machine registers, enough to hide the latency of a multiplication.
     *
     * @param clamp integers out of range become the nearest, else they wrap around
     * @return the function's name; it takes the addresses of d, a, b and c, where d may be c
     */
    String product(MatrixShape shape, boolean clamp) {
        PtxType left = shape.a(), right = shape.b();
        boolean paired = shape.c() == PtxType.F16, dot = Matrix.isDot(k.target, left);
        int parts = Matrix.parts(left), registers = shape.k() / 4 / parts, sums = paired ? 2 : 4;   // registers of B; A has twice as many
        int steps = dot ? 1 : parts;   // multiplications for what one register holds
        String held = shape.c() == PtxType.F32 ? "float" : "i32", work = left.isFloat() ? "float" : "i32";   // of an accumulator's register; of a sum
        String name = ("@tp_mma_" + left + "_" + right + "_" + shape.c() + "_" + registers + (clamp ? "_clamped" : "")).toLowerCase(java.util.Locale.ROOT);
        k.helper(name, () -> {
            var f = new Ir();
            String[][] b = new String[registers][32 / width];
            for (int r = 0; r < registers; r++) for (int n = 0; n < 32 / width; n++) b[r][n] = load(f, "i32", "%b" + r, n);
            for (int g = 0; g < 32 / width; g += 2) {
                String[][] start = new String[4][2], sum = new String[4][2];
                for (int j = 0; j < 4; j++) for (int h = 0; h < 2; h++) {
                    String c = load(f, held, "%c" + (paired ? j / 2 : j), g + h);
                    if (paired) c = Matrix.part(f, width, PtxType.F16, c, j % 2);
                    start[j][h] = c;
                    sum[j][h] = clamp ? "zeroinitializer" : c;
                }
                for (int r = 0; r < registers; r++) {
                    String[][] a = new String[2][2];
                    for (int rows = 0; rows < 2; rows++) for (int h = 0; h < 2; h++) a[rows][h] = load(f, "i32", "%a" + (2 * r + rows), g + h);
                    for (int q = 0; q < 4; q++) for (int p = 0; p < steps; p++) {   // lane q of a quad holds these k
                        int pair = q;
                        String[] y = new String[2];
                        for (int odd = 0; odd < 2; odd++) y[odd] = columns(f, right, b[r], q, dot ? -1 : p, odd);
                        for (int rows = 0; rows < 2; rows++) for (int h = 0; h < 2; h++) {
                            String x = shuffle(f, "i32", a[rows][h], null, e -> e / 4 * 4 + pair);
                            if (!dot) x = Matrix.part(f, width, left, x, p);
                            for (int odd = 0; odd < 2; odd++) sum[2 * rows + odd][h] = dot ? Matrix.dot(f, sum[2 * rows + odd][h], x, y[odd]) : Matrix.add(f, width, work, sum[2 * rows + odd][h], x, y[odd]);
                        }
                    }
                }
                if (clamp) for (int j = 0; j < 4; j++) for (int h = 0; h < 2; h++) sum[j][h] = f.intrinsic("sadd.sat", "i32", width, start[j][h], sum[j][h]);
                if (paired) for (int r = 0; r < 2; r++) for (int h = 0; h < 2; h++) store(f, "i32", Matrix.pair(f, width, sum[2 * r][h], sum[2 * r + 1][h]), "%d" + r, g + h);
                else for (int j = 0; j < 4; j++) for (int h = 0; h < 2; h++) store(f, work, sum[j][h], "%d" + j, g + h);
            }
            return function(name, parameters("d", sums) + ", " + parameters("a", 2 * registers) + ", " + parameters("b", registers) + ", " + parameters("c", sums), f);
        });
        return name;
    }

    /**
     * What the even or the odd columns of B hold for the k of lane q of a quad, in every group of four lanes the same.
     *
     * @param b    a register of B
     * @param part which of the numbers in it; -1 for all, as they are
     */
    private String columns(Ir f, PtxType type, String[] b, int q, int part, int odd) {
        if (width == 16) {
            String v = shuffle(f, "i32", b[0], b[1], e -> (2 * (e % 4) + odd) * 4 + q);
            return part < 0 ? v : Matrix.part(f, 16, type, v, part);
        }
        String[] u = new String[2];
        for (int n = 0; n < 2; n++) u[n] = shuffle(f, "i32", b[2 * n], b[2 * n + 1], e -> e / 4 * 4 + q / 2 * 2 + e % 4 / 2 + e % 2 * 8);   // of four columns
        String all = shuffle(f, "i32", u[0], u[1], e -> e / 4 * 4 + q % 2 * 2 + e % 2 + e % 4 / 2 * 8);
        return shuffle(f, type.isFloat() ? "float" : "i32", Matrix.part(f, 8, type, all, part), null, e -> 4 * odd + e % 4);
    }

    private String load(Ir f, String type, String from, int n) { return f.temp("load " + Ir.vector(width, type) + ", ptr " + at(f, from, 4L * width * n) + ", align " + 4 * width); }

    private void store(Ir f, String type, String v, String to, int n) { f.line("store " + Ir.vector(width, type) + " " + v + ", ptr " + at(f, to, 4L * width * n) + ", align " + 4 * width); }

    private static String at(Ir f, String pointer, long bytes) { return bytes == 0 ? pointer : f.temp("getelementptr i8, ptr " + pointer + ", i64 " + bytes); }

    private String shuffle(Ir f, String type, String a, String b, IntUnaryOperator index) { return f.shuffle(type, width, a, b, width, index); }

    /**
     * Matrices of 8 x 8 halves from shared memory, each row 16 bytes.
     *
     * @param pattern where the rows are, relative to the first argument, 8 for each matrix; null if the second argument points to 32 such numbers
     * @return the function's name; it takes an address (and the offsets), and the addresses of the results
     */
    String ldmatrix(int matrices, boolean transposed, long[] pattern) {
        String known = pattern == null ? "any" : patterns.computeIfAbsent(java.util.Arrays.toString(pattern), p -> "p" + patterns.size());
        String name = "@tp_ldmatrix_" + matrices + (transposed ? "_trans_" : "_") + known;
        k.helper(name, () -> {
            var f = new Ir();
            for (int m = 0; m < matrices; m++) {
                String[] rows = new String[8];
                for (int r = 0; r < 8; r++) {
                    String p = pattern != null ? at(f, "%base", pattern[8 * m + r])
                            : f.temp("getelementptr i8, ptr %base, i64 " + f.temp("sext i32 " + f.temp("load i32, ptr " + at(f, "%rows", 4L * (8 * m + r))) + " to i64"));
                    rows[r] = f.temp("load <8 x i16>, ptr " + p + ", align 16");
                }
                if (width == 16) {   // written as whole registers: as such they are read
                    String v = f.temp("bitcast <64 x i16> " + f.concat("i16", List.of(rows), Collections.nCopies(8, 8)) + " to <32 x i32>");
                    f.line("store <32 x i32> " + (transposed ? Matrix.transposed(f, v) : v) + ", ptr %d" + m + ", align 64");
                    continue;
                }
                // interleaving rows 4 apart turns the index (row, column) of 6 bits by one; three turns exchange row and column
                if (transposed) for (int turn = 0; turn < 3; turn++) {
                    String[] next = new String[8];
                    for (int r = 0; r < 8; r++) {
                        int from = r % 2 * 4;
                        next[r] = f.shuffle("i16", 8, rows[r / 2], rows[r / 2 + 4], 8, e -> from + e / 2 + e % 2 * 8);
                    }
                    rows = next;
                }
                for (int r = 0; r < 8; r++) f.line("store <8 x i16> " + rows[r] + ", ptr " + at(f, "%d" + m, 16L * r) + ", align 16");
            }
            return function(name, "ptr %base, " + (pattern == null ? "ptr %rows, " : "") + parameters("d", matrices), f);
        });
        return name;
    }

    private static String parameters(String stem, int n) {
        var s = new StringBuilder();
        for (int i = 0; i < n; i++) s.append(i == 0 ? "" : ", ").append("ptr nocapture %").append(stem).append(i);
        return s.toString();
    }

    private String function(String name, String parameters, Ir body) {
        k.ir.declareAll(body);
        return "define internal fastcc void " + name + "(" + parameters + ") noinline #0 {\n" + body.take() + "  ret void\n}\n";
    }
}
