package dev.turningpoint.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.GemmWorkspace;
import dev.turningpoint.gpu.Stream;
import dev.turningpoint.kernels.MlpKernels;
import dev.turningpoint.tensor.ParameterLayout;
import dev.turningpoint.tensor.Parameters;
import dev.turningpoint.tensor.Tensor;
import dev.turningpoint.tensor.Workspace;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The low-rank branch and its gradients against float64, on all columns of an output and on some of a wider one. */
class LowRankTest {
    private static final float SCALE = 0.75f;
    private static Device device;
    private static Stream stream;

    @BeforeAll
    static void open() {
        device = Device.open();
        stream = device.newStream();
    }

    @AfterAll
    static void close() {
        stream.close();
        assertEquals("", device.outstanding());
        device.close();
    }

    @ParameterizedTest
    @CsvSource({
        "F32, 1, 8, 8, 8, 8, 0", "F32, 70, 96, 288, 288, 16, 0", "F32, 33, 40, 24, 96, 5, 32", "F32, 600, 33, 31, 31, 8, 0", "F32, 10, 132, 64, 128, 96, 64",
        "BF16, 1, 8, 8, 8, 8, 0", "BF16, 70, 96, 288, 288, 16, 0", "BF16, 33, 40, 24, 96, 8, 32", "BF16, 600, 32, 40, 40, 8, 0", "BF16, 16, 33, 31, 31, 5, 0", "BF16, 10, 128, 64, 128, 96, 64"})
    void branchAndGradientsMatchFloat64(DType type, int rows, int in, int columns, int out, int rank, int column) {
        var random = new Random(1);
        var layout = new ParameterLayout();
        var slotA = layout.add("a", rank, in);
        var slotB = layout.add("b", columns, rank);
        var memory = new Workspace("a test");
        Tensor x = memory.tensor("x", type, rows, in), y = memory.tensor("y", type, rows, out), dy = memory.tensor("dy", type, rows, out), dx = memory.tensor("dx", type, rows, in);
        Tensor kept = memory.tensor("kept", type, rows, rank), scratch = memory.tensor("scratch", type, rows, rank), gradient = memory.tensor("gradient", type, rows, rank);
        try (memory; var workspace = new GemmWorkspace(device); var mlp = new MlpKernels(device); var parameters = new Parameters(device, "a test", layout, type, Set.of(Parameters.Keep.GRADIENTS))) {
            memory.allocate(device);
            double[] a = gaussian(random, type, rank * in, 0.2), b = gaussian(random, type, columns * rank, 0.2), xs = put(x, gaussian(random, type, rows * in, 1)),
                    ys = put(y, gaussian(random, type, rows * out, 1)), dys = put(dy, gaussian(random, type, rows * out, 1)), dxs = put(dx, gaussian(random, type, rows * in, 1));
            double[] flat = new double[Math.toIntExact(layout.size())], before = gaussian(random, DType.F32, flat.length, 1);
            System.arraycopy(a, 0, flat, (int) slotA.offset(), a.length);
            System.arraycopy(b, 0, flat, (int) slotB.offset(), b.length);
            put(parameters.values(), flat);
            parameters.changed(mlp, stream);
            put(parameters.gradients(), before);
            try (var branch = new LowRank(workspace, parameters, slotA, slotB, SCALE, out, column, rows, kept, scratch, gradient)) {
                branch.forward(stream, x.address(), y.address(), rows, true);
                double some = 2e-6 * Math.sqrt(Math.max(rows, Math.max(in, out)));
                double[] low = get(kept), got = get(y), expected = ys.clone();
                assertClose("x A^T", type, product(xs, in, 1, a, 1, in, rows, rank, in, 1), low, some);
                for (int r = 0; r < rows; r++)
                    for (int c = 0; c < columns; c++)
                        for (int l = 0; l < rank; l++) expected[r * out + column + c] += SCALE * low[r * rank + l] * b[c * rank + l];
                assertSum("y", type, ys, expected, got, some);
                for (int r = 0; r < rows; r++)
                    for (int c = 0; c < out; c++) if (c < column || c >= column + columns) assertEquals(ys[r * out + c], got[r * out + c], "beside the columns of B");

                put(y, ys);
                long row = rows / 2;
                branch.forward(stream, x.address(row * in), y.address(row * out), 1, false);
                assertArrayEquals(Arrays.copyOfRange(got, (int) row * out, (int) (row + 1) * out), Arrays.copyOfRange(get(y), (int) row * out, (int) (row + 1) * out), "a row alone");
                assertArrayEquals(low, get(kept), "a forward that keeps nothing");

                branch.backward(stream, x.address(), dy.address(), dx.address(), rows);
                double[] part = new double[rows * columns];
                for (int r = 0; r < rows; r++) System.arraycopy(dys, r * out + column, part, r * columns, columns);
                double[] dLow = get(gradient), gradients = get(parameters.gradients());
                assertClose("scale dy B", type, product(part, columns, 1, b, rank, 1, rows, rank, columns, SCALE), dLow, some);
                assertClose("dB", DType.F32, sum(before, slotB, product(part, 1, columns, low, rank, 1, columns, rank, rows, SCALE)), slice(gradients, slotB), 4 * some);
                assertClose("dA", DType.F32, sum(before, slotA, product(dLow, 1, rank, xs, in, 1, rank, in, rows, 1)), slice(gradients, slotA), 4 * some);
                double[] dxExpected = product(dLow, rank, 1, a, in, 1, rows, in, rank, 1);
                for (int i = 0; i < dxExpected.length; i++) dxExpected[i] += dxs[i];
                assertSum("dx", type, dxs, dxExpected, get(dx), some);
            }
        }
    }

    /** c[m, n] = scale a[m, k] b[k, n], either side transposed by its strides. */
    private static double[] product(double[] a, int am, int ak, double[] b, int bk, int bn, int m, int n, int k, double scale) {
        var c = new double[m * n];
        for (int i = 0; i < m; i++)
            for (int j = 0; j < n; j++) {
                double sum = 0;
                for (int l = 0; l < k; l++) sum += a[i * am + l * ak] * b[l * bk + j * bn];
                c[i * n + j] = scale * sum;
            }
        return c;
    }

    private static double[] slice(double[] flat, ParameterLayout.Slot slot) {
        return Arrays.copyOfRange(flat, (int) slot.offset(), (int) (slot.offset() + slot.elements()));
    }

    private static double[] sum(double[] before, ParameterLayout.Slot slot, double[] addend) {
        double[] sum = slice(before, slot);
        for (int i = 0; i < sum.length; i++) sum[i] += addend[i];
        return sum;
    }

    private static void assertClose(String what, DType type, double[] expected, double[] actual, double absolute) { assertSum(what, type, expected, expected, actual, absolute); }

    /** Half a unit of bf16's last place for the result, and as much for what was added: a GPU's library rounds a product before it adds it. */
    private static void assertSum(String what, DType type, double[] before, double[] expected, double[] actual, double absolute) {
        for (int i = 0; i < expected.length; i++)
            assertEquals(expected[i], actual[i], absolute + (type == DType.BF16 ? (Math.abs(expected[i]) + Math.abs(expected[i] - before[i])) / 256 : 2e-6 * Math.abs(expected[i])), what + " at " + i);
    }

    private static double[] gaussian(Random random, DType type, int count, double deviation) {
        var values = new double[count];
        for (int i = 0; i < count; i++) {
            float v = (float) (deviation * random.nextGaussian());
            values[i] = type == DType.F32 ? v : Float.intBitsToFloat(bf16(v) << 16);
        }
        return values;
    }

    private static int bf16(float v) {
        int bits = Float.floatToRawIntBits(v);
        return bits + 0x7fff + (bits >>> 16 & 1) >>> 16;
    }

    private static double[] put(Tensor tensor, double[] values) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment host = arena.allocate(tensor.type().bytes(values.length), 64);
            for (int i = 0; i < values.length; i++) {
                if (tensor.type() == DType.F32) host.setAtIndex(ValueLayout.JAVA_FLOAT, i, (float) values[i]);
                else host.setAtIndex(ValueLayout.JAVA_SHORT, i, (short) bf16((float) values[i]));
            }
            stream.copyToDevice(tensor.address(), host);
            stream.synchronize();
        }
        return values;
    }

    private static double[] get(Tensor tensor) {
        var values = new double[Math.toIntExact(tensor.elements())];
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment host = arena.allocate(tensor.type().bytes(values.length), 64);
            stream.copyToHost(host, tensor.address());
            stream.synchronize();
            for (int i = 0; i < values.length; i++)
                values[i] = tensor.type() == DType.F32 ? host.getAtIndex(ValueLayout.JAVA_FLOAT, i) : Float.intBitsToFloat(host.getAtIndex(ValueLayout.JAVA_SHORT, i) << 16);
        }
        return values;
    }
}
