package dev.turningpoint.kernels;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.Kernel;
import dev.turningpoint.gpu.Stream;

/**
 * The clipped policy loss of GRPO with its KL term and the gradient of both to the velocity ({@code grpo.cu}). The log-probability has the bits of
 * {@link SamplerKernels#step}: with unchanged weights the ratio is exactly 1.
 */
public final class GrpoKernels implements AutoCloseable {
    /** Doubles of one row's statistics, in the order of the constants below. */
    public static final int STATS = 8;
    /** Indices into one row's statistics; the last three count as 0 or 1. {@code APPROX_KL} is {@code (log p - old)^2 / 2}. */
    public static final int LOG_PROB = 0, RATIO = 1, POLICY_LOSS = 2, KL = 3, CLIPPED = 4, CLIPPED_ABOVE = 5, CLIPPED_BELOW = 6, APPROX_KL = 7;
    private static final int MAX_SHARED = 48 * 1024;

    private final PtxModule module;
    private final PtxModule.Storages loss;
    private final PtxModule.Storages normalizedLoss;

    public GrpoKernels(Device device) {
        module = new PtxModule(device, "grpo");
        loss = module.storages("grpo_loss");
        normalizedLoss = module.storages("grpo_loss_normalized");
    }

    /**
     * Loss and gradient of every row: {@code gradV = scale d(policy + klBeta KL) / dv}.
     *
     * @param x             f32 [batch, n], latents before the step
     * @param xNext         f32 [batch, n], latents after it, as the sampler stored them
     * @param v             T [batch, n], velocity of the model in training
     * @param vUncond       T [batch, n], its unconditional velocity; 0 without guidance
     * @param reference     T [batch, n], velocity of the reference model for the KL; 0 for none
     * @param referenceUncond T [batch, n], its unconditional velocity; 0 without guidance
     * @param rolloutMean   f32 [batch, n], the step's mean under the policy that sampled it: ratios are normalized and steps weighed as in
     *                      <a href="https://arxiv.org/abs/2510.22319">GRPO-Guard</a>; 0 for plain ratios
     * @param steps         table of coefficients, see {@link SamplerKernels}
     * @param rowStep       i32 [batch]
     * @param oldLogProb    f32 [batch], recorded by the sampler
     * @param advantage     f64 [batch], clipped here to plus or minus {@code advantageClip}
     * @param clipRange     c: the ratio is clipped to 1 - c .. 1 + c
     * @param scale         what a row counts: 1 / rows of the whole update
     * @param gradV         receives T [batch, n]
     * @param gradVUncond   receives T [batch, n]; 0 without guidance
     * @param stats         receives f64 [batch, 8], see {@link #LOG_PROB} and on
     */
    public void lossAndGradient(Stream stream, DType type, long x, long xNext, long v, long vUncond, float guidance, long reference, long referenceUncond,
                                long rolloutMean, long steps, long rowStep, long oldLogProb, long advantage, float advantageClip, float clipRange, float klBeta, float scale,
                                long gradV, long gradVUncond, long stats, int batch, int n) {
        SamplerKernels.shape(batch, n);
        int chunks = SamplerKernels.chunks(n), shared = (rolloutMean == 0 ? 2 : 3) * chunks * Float.BYTES;
        if (!(shared <= MAX_SHARED)) {
            throw new IllegalArgumentException("the loss holds " + shared + " bytes of partial sums for a latent of " + n + " elements, more than " + MAX_SHARED);
        }
        Check.address("gradient of the loss", gradV);
        Check.address("statistics of the loss", stats);
        Check.that(vUncond == 0 || reference == 0 || referenceUncond != 0, "with guidance the reference model needs its unconditional velocity too");
        Kernel kernel = (rolloutMean == 0 ? loss : normalizedLoss).of(type).grid(batch, 1, 1).block(256).shared(shared).arg(x).arg(xNext).arg(v).arg(vUncond).arg(guidance)
                .arg(reference).arg(referenceUncond);
        if (rolloutMean != 0) {
            kernel.arg(rolloutMean);
        }
        kernel.arg(steps).arg(rowStep).arg(oldLogProb).arg(advantage).arg(advantageClip).arg(clipRange).arg(klBeta).arg(scale).arg(gradV).arg(gradVUncond).arg(stats).arg(n)
                .arg(chunks).launch(stream);
    }

    @Override
    public void close() {
        module.close();
    }
}
