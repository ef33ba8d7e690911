package dev.turningpoint.softgpu.jit;

import dev.turningpoint.softgpu.ptx.MatrixShape;
import dev.turningpoint.softgpu.ptx.PtxType;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.Map;
import java.util.function.IntUnaryOperator;

/**
 * {@code mma.sync} and {@code ldmatrix} as functions on registers in memory, for processors with sixteen registers of 256 bits. There a fragment of 32 lanes is four
 * machine registers and one product more than 256 multiplications: written out at each use, a kernel outgrows the instruction cache and takes LLVM many
 * seconds. A call costs a few per cent of a product.
 */
final class MatrixLibrary {
    private static final int BYTES = 32;   // of a machine register: a quarter of a fragment

    private final KernelEmitter k;
    private final Map<String, String> patterns = new HashMap<>();

    MatrixLibrary(KernelEmitter k) { this.k = k; }

    /**
     * d = a b + c. Eight accumulators at a time stay in machine registers, enough to hide the latency of a multiplication. The order of summation is that of
     * {@link Matrix}.
     *
     * @param clamp integers out of range become the nearest, else they wrap around
     * @return the function's name; it takes the addresses of d, a, b and c, where d may be c
     */
    String product(MatrixShape shape, boolean clamp) {
        PtxType left = shape.a(), right = shape.b();
        boolean paired = shape.c() == PtxType.F16;
        int parts = Matrix.parts(left), registers = shape.k() / 4 / parts, sums = paired ? 2 : 4;   // registers of B; A has twice as many
        String work = left.isFloat() ? "float" : "i32";
        String name = ("@tp_mma_" + left + "_" + right + "_" + shape.c() + "_" + registers + (clamp ? "_clamped" : "")).toLowerCase(java.util.Locale.ROOT);
        k.helper(name, () -> {
            var f = new Ir();
            var columns = new ArrayList<String>();   // [register][pair][part][odd], each over both rows of a machine register
            for (int r = 0; r < registers; r++) {
                var v = new String[4];
                for (int c = 0; c < 4; c++) v[c] = load(f, "i32", "%b" + r, c);   // columns 2 c and 2 c + 1
                String[] low = {unpack(f, v[0], v[1], 0), unpack(f, v[2], v[3], 0)}, high = {unpack(f, v[0], v[1], 2), unpack(f, v[2], v[3], 2)};
                for (int q = 0; q < 4; q++) {
                    String[] u = q < 2 ? low : high;
                    int from = 2 * (q % 2);
                    String t = shuffle(f, "i32", u[0], u[1], e -> e / 4 * 4 + from + e % 2 + e % 4 / 2 * 8);
                    for (int p = 0; p < parts; p++) {
                        String w = Matrix.part(f, 8, right, t, p);
                        for (int odd = 0; odd < 2; odd++) { int half = odd; columns.add(shuffle(f, work, w, null, e -> 4 * half + e % 4)); }
                    }
                }
            }
            k.ir.declare("<8 x float> @llvm.fma.v8f32(<8 x float>, <8 x float>, <8 x float>)");
            for (int g = 0; g < 4; g += 2) {
                String[][] start = new String[4][2], sum = new String[4][2];
                for (int j = 0; j < 4; j++) for (int h = 0; h < 2; h++) {
                    String c = paired ? Matrix.part(f, 8, PtxType.F16, load(f, "i32", "%c" + j / 2, g + h), j % 2) : load(f, work, "%c" + j, g + h);
                    start[j][h] = c;
                    sum[j][h] = clamp ? "zeroinitializer" : c;
                }
                for (int r = 0; r < registers; r++) {
                    String[][] a = new String[2][2];
                    for (int rows = 0; rows < 2; rows++) for (int h = 0; h < 2; h++) a[rows][h] = load(f, "i32", "%a" + (2 * r + rows), g + h);
                    for (int q = 0; q < 4; q++) for (int p = 0; p < parts; p++) {
                        int pair = q, at = ((r * 4 + q) * parts + p) * 2;
                        for (int rows = 0; rows < 2; rows++) for (int h = 0; h < 2; h++) {
                            String x = Matrix.part(f, 8, left, shuffle(f, "i32", a[rows][h], null, e -> e / 4 * 4 + pair), p);
                            for (int odd = 0; odd < 2; odd++) {
                                String y = columns.get(at + odd), to = sum[2 * rows + odd][h];
                                sum[2 * rows + odd][h] = left.isFloat() ? f.intrinsic("fma", "float", 8, x, y, to) : f.temp("add <8 x i32> " + to + ", " + f.temp("mul <8 x i32> " + x + ", " + y));
                            }
                        }
                    }
                }
                if (clamp) for (int j = 0; j < 4; j++) for (int h = 0; h < 2; h++) {
                    k.ir.declare("<8 x i32> @llvm.sadd.sat.v8i32(<8 x i32>, <8 x i32>)");
                    sum[j][h] = f.intrinsic("sadd.sat", "i32", 8, start[j][h], sum[j][h]);
                }
                if (paired) for (int r = 0; r < 2; r++) for (int h = 0; h < 2; h++)
                    f.line("store <8 x i32> " + Matrix.pair(f, 8, sum[2 * r][h], sum[2 * r + 1][h]) + ", ptr " + at(f, "%d" + r, (g + h) * BYTES) + ", align " + BYTES);
                else for (int j = 0; j < 4; j++) for (int h = 0; h < 2; h++) f.line("store <8 x " + work + "> " + sum[j][h] + ", ptr " + at(f, "%d" + j, (g + h) * BYTES) + ", align " + BYTES);
            }
            return function(name, parameters("d", sums) + ", " + parameters("a", 2 * registers) + ", " + parameters("b", registers) + ", " + parameters("c", sums), f);
        });
        return name;
    }

    private static String load(Ir f, String type, String from, int quarter) { return f.temp("load <8 x " + type + ">, ptr " + at(f, from, quarter * BYTES) + ", align " + BYTES); }

    private static String at(Ir f, String pointer, long bytes) { return bytes == 0 ? pointer : f.temp("getelementptr i8, ptr " + pointer + ", i64 " + bytes); }

    private static String shuffle(Ir f, String type, String a, String b, IntUnaryOperator index) { return f.shuffle(type, 8, a, b, 8, index); }

    /** In each half of 128 bits the elements from, from + 1 of a and b in turn. */
    private static String unpack(Ir f, String a, String b, int from) { return shuffle(f, "i32", a, b, e -> e / 4 * 4 + from + e % 4 / 2 + e % 2 * 8); }

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
                var v = new String[8];
                for (int r = 0; r < 8; r++) {
                    String p = pattern != null ? at(f, "%base", pattern[8 * m + r])
                            : f.temp("getelementptr i8, ptr %base, i64 " + f.temp("sext i32 " + f.temp("load i32, ptr " + at(f, "%rows", 4L * (8 * m + r))) + " to i64"));
                    v[r] = f.temp("load <8 x i16>, ptr " + p + ", align 16");
                }
                // interleaving rows 4 apart turns the index (row, column) of 6 bits by one; three turns exchange row and column
                if (transposed) for (int turn = 0; turn < 3; turn++) {
                    var next = new String[8];
                    for (int r = 0; r < 8; r++) {
                        int from = r % 2 * 4;
                        next[r] = f.shuffle("i16", 8, v[r / 2], v[r / 2 + 4], 8, e -> from + e / 2 + e % 2 * 8);
                    }
                    v = next;
                }
                for (int r = 0; r < 8; r++) f.line("store <8 x i16> " + v[r] + ", ptr " + at(f, "%d" + m, 16L * r) + ", align 16");
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

    private static String function(String name, String parameters, Ir body) {
        return "define internal fastcc void " + name + "(" + parameters + ") noinline #0 {\n" + body.take() + "  ret void\n}\n";
    }
}
