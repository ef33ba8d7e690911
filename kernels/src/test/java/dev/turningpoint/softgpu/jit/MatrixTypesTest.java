package dev.turningpoint.softgpu.jit;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Random;
import java.util.stream.Stream;

import static org.junit.jupiter.api.Assertions.assertEquals;

/** Products of matrices of all types but those of {@link MatrixTest}, on small whole numbers, whose sums every accumulator holds exactly in any order. */
class MatrixTypesTest {
    private static final Random RANDOM = new Random();

    static Stream<?> ways() { return Way.all(); }

    /** A matrix as numbers, to be laid out in memory as its kernel wants it. */
    private record Matrix(int rows, int columns, double[] of) {
        static Matrix random(int rows, int columns, int least, int most, long seed) {
            RANDOM.setSeed(seed);
            return new Matrix(rows, columns, RANDOM.ints((long) rows * columns, least, most + 1).asDoubleStream().toArray());
        }

        double at(int r, int c) { return of[r * columns + c]; }

        Matrix transposed() {
            double[] t = new double[of.length];
            for (int r = 0; r < rows; r++) for (int c = 0; c < columns; c++) t[c * rows + r] = at(r, c);
            return new Matrix(columns, rows, t);
        }

        /** Rows so many elements apart. */
        MemorySegment put(Arena arena, String type, int stride) {
            int bytes = switch (type) { case "i8" -> 1; case "f16", "bf16" -> 2; case "f64" -> 8; default -> 4; };
            MemorySegment s = arena.allocate((long) rows * stride * bytes, 64);
            for (int r = 0; r < rows; r++)
                for (int c = 0; c < columns; c++) {
                    double v = at(r, c);
                    long n = (long) r * stride + c;
                    switch (type) {
                        case "i8" -> s.setAtIndex(ValueLayout.JAVA_BYTE, n, (byte) (int) v);
                        case "f16" -> s.setAtIndex(ValueLayout.JAVA_SHORT, n, Float.floatToFloat16((float) v));
                        case "bf16" -> s.setAtIndex(ValueLayout.JAVA_SHORT, n, Launch.bf16((float) v));
                        case "i32" -> s.setAtIndex(ValueLayout.JAVA_INT, n, (int) v);
                        case "f64" -> s.setAtIndex(ValueLayout.JAVA_DOUBLE, n, v);
                        default -> s.setAtIndex(ValueLayout.JAVA_FLOAT, n, (float) v);
                    }
                }
            return s;
        }

        MemorySegment put(Arena arena, String type) { return put(arena, type, columns); }

        static double get(MemorySegment s, String type, int n) {
            return switch (type) {
                case "f16" -> Float.float16ToFloat(s.getAtIndex(ValueLayout.JAVA_SHORT, n));
                case "i32" -> s.getAtIndex(ValueLayout.JAVA_INT, n);
                case "f64" -> s.getAtIndex(ValueLayout.JAVA_DOUBLE, n);
                default -> s.getAtIndex(ValueLayout.JAVA_FLOAT, n);
            };
        }

        double product(Matrix b, int r, int c) {
            double sum = 0;
            for (int j = 0; j < columns; j++) sum += at(r, j) * b.at(j, c);
            return sum;
        }
    }

    private static MemorySegment room(Arena arena, int numbers) { return arena.allocate(8L * numbers, 64); }

    @ParameterizedTest @MethodSource("ways")
    void sumsInHalves(Way way) {
        try (Arena arena = Arena.ofConfined()) {
            for (int k : new int[]{8, 16}) {
                Matrix a = Matrix.random(16, k, -4, 4, k), b = Matrix.random(k, 8, -4, 4, k + 1), c = Matrix.random(16, 8, -100, 100, k + 2);
                var d = room(arena, 128);
                way.run("products", "halves" + k, 1, 32, d, a.put(arena, "f16"), b.transposed().put(arena, "f16"), c.put(arena, "f16"));
                for (int r = 0; r < 16; r++) for (int q = 0; q < 8; q++) assertEquals(c.at(r, q) + (k / 8) * a.product(b, r, q), Matrix.get(d, "f16", 8 * r + q), k + " at " + r + "," + q);
            }
        }
    }

    /** A sum that f16 does not hold goes to the even neighbour, once: 2048 + 1 + 1 is 2050 and not 2048. */
    @ParameterizedTest @MethodSource("ways")
    void sumsInHalvesAreRoundedOnce(Way way) {
        try (Arena arena = Arena.ofConfined()) {
            double[] ones = new double[16 * 8], few = new double[8 * 8], start = new double[16 * 8];
            java.util.Arrays.fill(ones, 1);
            java.util.Arrays.fill(start, 2048);
            for (int q = 0; q < 8; q++) for (int j = 0; j < q; j++) few[8 * j + q] = 1;   // column q sums up to q
            Matrix a = new Matrix(16, 8, ones), b = new Matrix(8, 8, few), c = new Matrix(16, 8, start);
            var d = room(arena, 128);
            way.run("products", "halves8", 1, 32, d, a.put(arena, "f16"), b.transposed().put(arena, "f16"), c.put(arena, "f16"));
            double[] want = {2048, 2048, 2050, 2052, 2052, 2052, 2054, 2056};   // 2049 lies half way to the even 2048, 2051 to 2052, 2053 to 2052, 2055 to 2056
            for (int r = 0; r < 16; r++) for (int q = 0; q < 8; q++) assertEquals(want[q], Matrix.get(d, "f16", 8 * r + q), "2048 + " + q);
        }
    }

    @ParameterizedTest @MethodSource("ways")
    void bytes(Way way) {
        try (Arena arena = Arena.ofConfined()) {
            Matrix a = Matrix.random(16, 16, -128, 127, 21), b = Matrix.random(16, 8, 0, 255, 22), c = Matrix.random(16, 8, -1000, 1000, 23);
            var d = room(arena, 512);
            way.run("products", "bytes16", 1, 32, d, a.put(arena, "i8"), b.transposed().put(arena, "i8"), c.put(arena, "i32"));
            for (int r = 0; r < 16; r++) for (int q = 0; q < 8; q++) assertEquals(c.at(r, q) + a.product(b, r, q), Matrix.get(d, "i32", 8 * r + q), r + "," + q);

            a = Matrix.random(16, 32, -128, 127, 24);
            b = Matrix.random(32, 8, -128, 127, 25);
            double[] near = c.of.clone();
            for (int n = 0; n < near.length; n++) if (n % 3 > 0) near[n] = n % 3 == 1 ? Integer.MAX_VALUE - 50 : Integer.MIN_VALUE + 50;
            c = new Matrix(16, 8, near);
            way.run("products", "bytes32", 1, 32, d, a.put(arena, "i8"), b.transposed().put(arena, "i8"), c.put(arena, "i32"));
            for (int r = 0; r < 16; r++)
                for (int q = 0; q < 8; q++) {
                    double sum = c.at(r, q) + a.product(b, r, q);
                    assertEquals((int) (long) sum, Matrix.get(d, "i32", 8 * r + q), "wraps at " + r + "," + q);
                    assertEquals((int) sum, Matrix.get(d, "i32", 128 + 8 * r + q), "clamps at " + r + "," + q);
                }
        }
    }

    @ParameterizedTest @MethodSource("ways")
    void doubles(Way way) {
        try (Arena arena = Arena.ofConfined()) {
            Matrix a = Matrix.random(8, 4, -1 << 20, 1 << 20, 31), b = Matrix.random(4, 8, -1 << 20, 1 << 20, 32), c = Matrix.random(8, 8, -1000, 1000, 33);
            var d = room(arena, 64);
            way.run("products", "doubles", 1, 32, d, a.put(arena, "f64"), b.transposed().put(arena, "f64"), c.put(arena, "f64"));
            for (int r = 0; r < 8; r++) for (int q = 0; q < 8; q++) assertEquals(c.at(r, q) + a.product(b, r, q), Matrix.get(d, "f64", 8 * r + q), r + "," + q);
        }
    }

    static Stream<Arguments> warpMatrices() {
        return Way.all().flatMap(w -> Stream.of(
                Arguments.of(w.get()[0], "warp_square", 16, 16, 16, "f16", false, 24, false, 16, "f32"),
                Arguments.of(w.get()[0], "warp_tall", 32, 8, 16, "f16", false, 16, true, 16, "f16"),
                Arguments.of(w.get()[0], "warp_wide", 8, 32, 16, "bf16", true, 8, false, 32, "f32"),
                Arguments.of(w.get()[0], "warp_bytes", 16, 16, 16, "i8", false, 16, true, 32, "i32"),
                Arguments.of(w.get()[0], "warp_doubles", 8, 8, 4, "f64", false, 4, true, 4, "f64")));
    }

    /** D = 2 (A B + C); A and B lie by rows or columns so many elements apart, C by columns. */
    @ParameterizedTest @MethodSource("warpMatrices")
    void warpMatrix(Way way, String kernel, int m, int n, int k, String type, boolean leftByColumns, int left, boolean rightByColumns, int right, String sums) {
        try (Arena arena = Arena.ofConfined()) {
            Matrix a = Matrix.random(m, k, -4, 4, 41), b = Matrix.random(k, n, -4, 4, 42), c = Matrix.random(m, n, -100, 100, 43);
            var d = room(arena, m * n);
            way.run("products", kernel, 1, 32, d, (leftByColumns ? a.transposed() : a).put(arena, type, left),
                    (rightByColumns ? b.transposed() : b).put(arena, type, right), c.transposed().put(arena, sums));
            for (int r = 0; r < m; r++) for (int q = 0; q < n; q++) assertEquals(2 * (c.at(r, q) + a.product(b, r, q)), Matrix.get(d, sums, n * r + q), kernel + " at " + r + "," + q);
        }
    }

    @ParameterizedTest @MethodSource("ways")
    void warpMatrixOfTf32(Way way) {
        try (Arena arena = Arena.ofConfined()) {
            Matrix a = Matrix.random(16, 8, -4, 4, 51), b = Matrix.random(8, 16, -4, 4, 52);
            var d = room(arena, 256);
            way.run("products", "warp_tf32", 1, 32, d, a.put(arena, "f32"), b.put(arena, "f32"));
            for (int r = 0; r < 16; r++) for (int q = 0; q < 16; q++) assertEquals(1 + a.product(b, r, q), Matrix.get(d, "f32", 16 * r + q), r + "," + q);
        }
    }
}
