package dev.turningpoint.kernels;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.Kernel;
import dev.turningpoint.gpu.Stream;

/**
 * What stands between the matrix products ({@code mlp.cu}): activations, gated residuals, bias gradients, casts and sums. T is the storage type, f32 or bf16;
 * arithmetic is f32. Every forward is elementwise, hence independent of the batch; the sums of the backward have an order fixed by the shape.
 */
public final class MlpKernels implements AutoCloseable {
    /** Elements one block of an elementwise kernel does. */
    private static final int BLOCK_ELEMENTS = 2048;
    /** Rows one block of the bias gradient adds before they become one row of {@code partials}. */
    private static final int ROWS_PER_PARTIAL = 128;

    private final PtxModule module;
    private final PtxModule.Storages gelu;
    private final PtxModule.Storages geluBackward;
    private final PtxModule.Storages silu;
    private final PtxModule.Storages siluBackward;
    private final PtxModule.Storages gate;
    private final PtxModule.Storages gateBackward;
    private final PtxModule.Storages gateGradient;
    private final PtxModule.Storages columnSums;
    private final PtxModule.Storages add;
    private final Kernel sumPartials;
    private final Kernel f32ToBf16;
    private final Kernel bf16ToF32;

    public MlpKernels(Device device) {
        module = new PtxModule(device, "mlp");
        gelu = module.storages("gelu");
        geluBackward = module.storages("gelu_backward");
        silu = module.storages("silu");
        siluBackward = module.storages("silu_backward");
        gate = module.storages("gate_residual");
        gateBackward = module.storages("gate_residual_backward");
        gateGradient = module.storages("gate_gradient");
        columnSums = module.storages("column_sums");
        add = module.storages("add");
        sumPartials = module.kernel("sum_partials");
        f32ToBf16 = module.kernel("cast_f32_bf16");
        bf16ToF32 = module.kernel("cast_bf16_f32");
    }

    /** {@code y = x / 2 * (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))}, n elements of T; y may be x. */
    public void gelu(Stream stream, DType type, long x, long y, long n) {
        elementwise(gelu.of(type), n).arg(x).arg(y).arg(n).launch(stream);
    }

    /** {@code dx = dy * gelu'(x)}; x is the input of {@link #gelu}; dx may be dy or x. */
    public void geluBackward(Stream stream, DType type, long x, long dy, long dx, long n) {
        elementwise(geluBackward.of(type), n).arg(x).arg(dy).arg(dx).arg(n).launch(stream);
    }

    /** {@code y = x / (1 + exp(-x))}, n elements of T; y may be x. */
    public void silu(Stream stream, DType type, long x, long y, long n) {
        elementwise(silu.of(type), n).arg(x).arg(y).arg(n).launch(stream);
    }

    /** {@code dx = dy * silu'(x)}; x is the input of {@link #silu}; dx may be dy or x. */
    public void siluBackward(Stream stream, DType type, long x, long dy, long dx, long n) {
        elementwise(siluBackward.of(type), n).arg(x).arg(dy).arg(dx).arg(n).launch(stream);
    }

    /**
     * {@code out = x + gate * y}, the gate per sample.
     *
     * @param x             f32 [rows, d], the residual stream
     * @param gate          f32, row b at {@code gate + b * gateStride}: d values for sample b
     * @param y             T [rows, d]
     * @param out           receives f32 [rows, d]; may be x
     * @param rowsPerSample tokens of one sample; rows is a multiple of it
     */
    public void gateResidual(Stream stream, DType type, long x, long gate, int gateStride, long y, long out, int rows, int d, int rowsPerSample) {
        rowShape(rows, d, rowsPerSample);
        this.gate.of(type).grid(Check.blocks(rows, 4), 1, 1).block(128).shared(0)
                .arg(x).arg(gate).arg(y).arg(out).arg(gateStride).arg(rows).arg(d).arg(rowsPerSample).launch(stream);
    }

    /**
     * Backward of {@link #gateResidual}: {@code dy = gate * dOut}, {@code dGate = sum over the sample's tokens of dOut * y}; the gradient of x is dOut itself.
     *
     * @param dOut  f32 [rows, d]
     * @param dy    receives T [rows, d]; may be y
     * @param dGate f32, row b at {@code dGate + b * gateStride}, overwritten; 0 where nobody asks for it
     */
    public void gateResidualBackward(Stream stream, DType type, long dOut, long gate, int gateStride, long y, long dy, long dGate,
                                     int rows, int d, int rowsPerSample) {
        rowShape(rows, d, rowsPerSample);
        if (dGate != 0) {
            gateGradient.of(type).grid(Check.blocks(d, 32), rows / rowsPerSample, 1).block(256).shared(0)
                    .arg(dOut).arg(y).arg(dGate).arg(gateStride).arg(d).arg(rowsPerSample).launch(stream);
        }
        gateBackward.of(type).grid(Check.blocks(rows, 4), 1, 1).block(128).shared(0)
                .arg(dOut).arg(gate).arg(dy).arg(gateStride).arg(rows).arg(d).arg(rowsPerSample).launch(stream);
    }

    /**
     * Column sums: {@code dBias = sum over rows of dY}, or added to dBias.
     *
     * @param dY         T [rows, n]
     * @param dBias      f32 [n]
     * @param partials   scratch of {@link #biasGradientScratch} bytes
     * @param accumulate whether the sums are added to what dBias holds
     */
    public void biasGradient(Stream stream, DType type, long dY, long dBias, long partials, int rows, int n, boolean accumulate) {
        Check.positive("rows", rows);
        Check.positive("n", n);
        Check.address("partials of the bias gradient", partials);
        int chunks = Check.blocks(rows, ROWS_PER_PARTIAL);
        columnSums.of(type).grid(Check.blocks(n, 128), Check.blocks(chunks, 4), 1).block(128).shared(0)
                .arg(dY).arg(partials).arg(rows).arg(n).launch(stream);
        sumPartials(stream, partials, dBias, chunks, n, accumulate);
    }

    /** Bytes of scratch that {@link #biasGradient} needs. */
    public static long biasGradientScratch(int rows, int n) {
        return (long) Check.blocks(rows, ROWS_PER_PARTIAL) * n * Float.BYTES;
    }

    /** {@code out[n] (+)= sum over chunks of partials[chunks, n]}, f32, in the order of the chunks. */
    public void sumPartials(Stream stream, long partials, long out, int chunks, long n, boolean accumulate) {
        Check.positive("chunks", chunks);
        sumPartials.grid(Check.blocks(n, 32), 1, 1).block(256).shared(0)
                .arg(partials).arg(out).arg(chunks).arg(n).arg(accumulate ? 1 : 0).launch(stream);
    }

    /** Casts n elements; bf16 is rounded to nearest even. From and to are F32 and BF16, or the other way round. */
    public void cast(Stream stream, DType from, long source, DType to, long target, long n) {
        if (from == to) {
            stream.copyOnDevice(target, source, from.bytes(n));
            return;
        }
        if (!(from == DType.F32 && to == DType.BF16 || from == DType.BF16 && to == DType.F32)) {
            throw new IllegalArgumentException("no cast from " + from + " to " + to);
        }
        elementwise(from == DType.F32 ? f32ToBf16 : bf16ToF32, n).arg(source).arg(target).arg(n).launch(stream);
    }

    /** {@code out = a + b}, n elements of T; out may be a or b. */
    public void add(Stream stream, DType type, long a, long b, long out, long n) {
        elementwise(add.of(type), n).arg(a).arg(b).arg(out).arg(n).launch(stream);
    }

    @Override
    public void close() {
        module.close();
    }

    private static Kernel elementwise(Kernel kernel, long n) {
        if (!(n > 0)) {
            throw new IllegalArgumentException("n must be positive, not " + n);
        }
        return kernel.grid(Check.blocks(n, BLOCK_ELEMENTS), 1, 1).block(256).shared(0);
    }

    private static void rowShape(int rows, int d, int rowsPerSample) {
        Check.positive("rows", rows);
        Check.positive("d", d);
        if (!(rowsPerSample > 0 && rows % rowsPerSample == 0)) {
            throw new IllegalArgumentException("rows (" + rows + ") must be a multiple of rowsPerSample (" + rowsPerSample + ")");
        }
    }
}
