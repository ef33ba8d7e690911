package dev.turningpoint.kernels;

import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.Kernel;
import dev.turningpoint.gpu.Stream;

/** The optimizer over flat buffers ({@code optim.cu}): gradient norm, AdamW with clipping, moving average, bf16 copy. Addresses are aligned to 16 bytes. */
public final class OptimKernels implements AutoCloseable {
    private static final int NORM_CHUNK = 8192;
    private static final int STEP_CHUNK = 1024;

    private final PtxModule module;
    private final Kernel normPartial;
    private final Kernel norm;
    private final Kernel adamw;
    private final Kernel ema;

    public OptimKernels(Device device) {
        module = new PtxModule(device, "optim");
        normPartial = module.kernel("grad_norm_partial");
        norm = module.kernel("grad_norm");
        adamw = module.kernel("adamw_f32");
        ema = module.kernel("ema_f32");
    }

    /** Bytes of scratch of {@link #gradNorm}. */
    public static long scratch(long n) {
        return Check.blocks(n, NORM_CHUNK) * (long) Double.BYTES;
    }

    /**
     * The global L2 norm of the gradients, summed in double in an order that n alone decides.
     *
     * @param gradients f32 [n]
     * @param result    receives f64 [1]
     * @param scratch   {@link #scratch} bytes
     */
    public void gradNorm(Stream stream, long gradients, long result, long scratch, long n) {
        count(n);
        int blocks = Check.blocks(n, NORM_CHUNK);
        normPartial.grid(blocks, 1, 1).block(256).shared(0).arg(gradients).arg(scratch).arg(n).launch(stream);
        norm.grid(1, 1, 1).block(256).shared(0).arg(scratch).arg(result).arg(blocks).launch(stream);
    }

    /**
     * One AdamW step with decoupled weight decay after scaling the gradients by {@code min(1, maxNorm / (norm + 1e-6))}; then
     * {@code ema += (1 - emaDecay) (parameter - ema)} and the bf16 copy.
     *
     * @param parameters f32 [n]
     * @param m          f32 [n], first moment
     * @param v          f32 [n], second moment
     * @param average    f32 [n]; 0 for none
     * @param copy       bf16 [n], receives the rounded parameters; 0 for none
     * @param norm       f64 [1] of {@link #gradNorm}; not read if {@code maxNorm} is 0
     * @param maxNorm    0: no clipping
     * @param step       counts from 1
     */
    public void adamW(Stream stream, long parameters, long gradients, long m, long v, long average, long copy, long norm, double maxNorm, double learningRate,
                      double beta1, double beta2, double eps, double weightDecay, double emaDecay, long step, long n) {
        count(n);
        if (!(step >= 1)) {
            throw new IllegalArgumentException("the optimizer's step counts from 1, not " + step);
        }
        Check.that(maxNorm == 0 || norm != 0, "clipping needs the gradient norm");
        adamw.grid(Check.blocks(n, STEP_CHUNK), 1, 1).block(256).shared(0).arg(parameters).arg(gradients).arg(m).arg(v).arg(average).arg(copy).arg(norm)
                .arg((float) maxNorm).arg((float) (1 - learningRate * weightDecay)).arg((float) (learningRate / (1 - Math.pow(beta1, step))))
                .arg((float) (1 - beta1)).arg((float) beta2).arg((float) (1 - beta2)).arg((float) (1 / Math.sqrt(1 - Math.pow(beta2, step)))).arg((float) eps)
                .arg((float) (1 - emaDecay)).arg(n).launch(stream);
    }

    /** {@code average += (1 - decay) (parameters - average)}, f32 [n] both. */
    public void ema(Stream stream, long average, long parameters, double decay, long n) {
        count(n);
        ema.grid(Check.blocks(n, STEP_CHUNK), 1, 1).block(256).shared(0).arg(average).arg(parameters).arg((float) (1 - decay)).arg(n).launch(stream);
    }

    @Override
    public void close() {
        module.close();
    }

    private static void count(long n) {
        if (!(n > 0)) {
            throw new IllegalArgumentException("the optimizer needs parameters, not " + n);
        }
    }
}
