package dev.turningpoint.kernels;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;

import dev.turningpoint.gpu.DType;
import java.util.Arrays;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/** The low-rank branch and its gradients against float64. */
class LoraKernelsTest {
    static DeviceFixture on;
    static LoraKernels kernels;

    @BeforeAll
    static void open() {
        on = new DeviceFixture();
        kernels = new LoraKernels(on.device);
    }

    @AfterAll
    static void close() {
        kernels.close();
        on.close();
    }

    static Stream<Arguments> shapes() {  // rows, in, out, rank
        return NormKernelsTest.shapes(new int[][] {{1, 1, 1, 1}, {70, 96, 288, 16}, {33, 40, 65, 5}, {600, 33, 31, 8}, {10, 130, 64, 64}, {5, 64, 96, 33}});
    }

    /** c[m, n] (+)= scale * a[m, k] b[k, n], either side transposed by its strides. */
    static void multiply(double[] c, double[] a, int am, int ak, double[] b, int bk, int bn, int m, int n, int k, double scale) {
        for (int i = 0; i < m; i++) {
            for (int j = 0; j < n; j++) {
                double sum = 0;
                for (int l = 0; l < k; l++) {
                    sum += a[i * am + l * ak] * b[l * bk + j * bn];
                }
                c[i * n + j] += scale * sum;
            }
        }
    }

    @ParameterizedTest @MethodSource("shapes")
    void branchAndGradientsMatchFloat64(int[] s, DType type) {
        int rows = s[0], in = s[1], out = s[2], rank = s[3];
        float scale = 0.75f;
        var random = new Random(1);
        float[] x = DeviceFixture.gaussian(random, type, rows * in, 1), a = DeviceFixture.gaussian(random, type, rank * in, 0.2), b = DeviceFixture.gaussian(random, type, out * rank, 0.2);
        float[] y = DeviceFixture.gaussian(random, type, rows * out, 1), dY = DeviceFixture.gaussian(random, type, rows * out, 1), dx = DeviceFixture.gaussian(random, type, rows * in, 1);
        float[] dA = DeviceFixture.gaussian(random, DType.F32, rank * in, 1), dB = DeviceFixture.gaussian(random, DType.F32, out * rank, 1);
        long atX = on.store(type, x), atA = on.store(type, a), atB = on.store(type, b), down = on.store(type, new float[rows * rank]), atY = on.store(type, y);
        kernels.forward(on.stream, type, atX, atA, atB, down, atY, out, rows, in, out, rank, scale);
        double[] downExpected = new double[rows * rank], yExpected = Expect.doubles(y);
        multiply(downExpected, Expect.doubles(x), in, 1, Expect.doubles(a), 1, in, rows, rank, in, 1);
        float[] downGot = on.read(type, down, rows * rank), yGot = on.read(type, atY, rows * out);
        double some = 1e-6 * Math.sqrt(Math.max(rows, Math.max(in, out)));
        Expect.stored("down", type, downExpected, downGot, 1e-6, some);
        multiply(yExpected, Expect.doubles(downGot), rank, 1, Expect.doubles(b), 1, rank, rows, out, rank, scale);  // from the stored, rounded down
        Expect.stored("y", type, yExpected, yGot, 1e-6, some);

        int row = rows / 2;
        long yAlone = on.store(type, Arrays.copyOfRange(y, row * out, (row + 1) * out));
        kernels.forward(on.stream, type, atX + type.bytes(row * in), atA, atB, down + type.bytes(row * rank), yAlone, out, 1, in, out, rank, scale);
        assertArrayEquals(Arrays.copyOfRange(yGot, row * out, (row + 1) * out), on.read(type, yAlone, out), "a row alone");

        long dDown = on.store(type, new float[rows * rank]), atDY = on.store(type, dY), scratch = on.allocate(LoraKernels.scratch(rows, in, out, rank));
        float[][] runs = new float[2][];
        long atDA = 0, atDB = 0, atDx = 0;
        for (int run = 0; run < 2; run++) {
            atDA = on.f32(dA);
            atDB = on.f32(dB);
            atDx = on.store(type, dx);
            kernels.backward(on.stream, type, atX, atA, atB, down, atDY, out, dDown, atDA, atDB, atDx, scratch, rows, in, out, rank, scale);
            runs[run] = on.readF32(atDA, rank * in);
        }
        assertArrayEquals(runs[0], runs[1]);
        double[] dDownExpected = new double[rows * rank], dAExpected = Expect.doubles(dA), dBExpected = Expect.doubles(dB), dxExpected = Expect.doubles(dx);
        multiply(dDownExpected, Expect.doubles(dY), out, 1, Expect.doubles(b), rank, 1, rows, rank, out, scale);
        float[] dDownGot = on.read(type, dDown, rows * rank);
        Expect.stored("dDown", type, dDownExpected, dDownGot, 1e-6, some);
        multiply(dBExpected, Expect.doubles(dY), 1, out, Expect.doubles(downGot), rank, 1, out, rank, rows, scale);
        Expect.close("dB", dBExpected, on.readF32(atDB, out * rank), 2e-6, 4 * some);
        multiply(dAExpected, Expect.doubles(dDownGot), 1, rank, Expect.doubles(x), in, 1, rank, in, rows, 1);
        Expect.close("dA", dAExpected, runs[0], 2e-6, 4 * some);
        multiply(dxExpected, Expect.doubles(dDownGot), rank, 1, Expect.doubles(a), in, 1, rows, in, rank, 1);
        Expect.stored("dx", type, dxExpected, on.read(type, atDx, rows * in), 1e-6, some);
    }

    /** Some columns of a wider output: the bits of a matrix of its own, and nothing beside them changes. */
    @ParameterizedTest @EnumSource(value = DType.class, names = {"F32", "BF16"})
    void columnsOfAWiderMatrix(DType type) {
        int rows = 37, in = 48, out = 40, rank = 6, wide = 111, first = 33;
        var random = new Random(3);
        float[] x = DeviceFixture.gaussian(random, type, rows * in, 1), a = DeviceFixture.gaussian(random, type, rank * in, 0.2), b = DeviceFixture.gaussian(random, type, out * rank, 0.2);
        float[] y = DeviceFixture.gaussian(random, type, rows * wide, 1), narrow = new float[rows * out];
        for (int r = 0; r < rows; r++) System.arraycopy(y, r * wide + first, narrow, r * out, out);
        long atX = on.store(type, x), atA = on.store(type, a), atB = on.store(type, b), down = on.store(type, new float[rows * rank]), atY = on.store(type, y), atNarrow = on.store(type, narrow);
        long[] gradients = new long[2], dx = new long[2], dB = new long[2];
        long dDown = on.store(type, new float[rows * rank]), scratch = on.allocate(LoraKernels.scratch(rows, in, out, rank));
        for (int i = 0; i < 2; i++) {
            gradients[i] = on.f32(new float[rank * in]);
            dB[i] = on.f32(new float[out * rank]);
            dx[i] = on.store(type, new float[rows * in]);
            long at = i == 0 ? atNarrow : atY + type.bytes(first);
            kernels.backward(on.stream, type, atX, atA, atB, down, at, i == 0 ? out : wide, dDown, gradients[i], dB[i], dx[i], scratch, rows, in, out, rank, 0.5f);
            kernels.forward(on.stream, type, atX, atA, atB, down, at, i == 0 ? out : wide, rows, in, out, rank, 0.5f);
            on.stream.fill(down, (byte) 0, type.bytes(rows * rank));
        }
        float[] alone = on.read(type, atNarrow, rows * out), all = on.read(type, atY, rows * wide);
        for (int r = 0; r < rows; r++) System.arraycopy(alone, r * out, y, r * wide + first, out);
        assertArrayEquals(y, all);
        assertArrayEquals(on.readF32(gradients[0], rank * in), on.readF32(gradients[1], rank * in));
        assertArrayEquals(on.readF32(dB[0], out * rank), on.readF32(dB[1], out * rank));
        assertArrayEquals(on.read(type, dx[0], rows * in), on.read(type, dx[1], rows * in));
    }
}
