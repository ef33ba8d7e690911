package dev.turningpoint.kernels;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.Kernel;
import dev.turningpoint.gpu.Stream;

/**
 * Denoising steps with their log-probability, noise, and flow matching ({@code sampler.cu}). Every argument called an address is a device address; T is the
 * storage type of velocities; n, the elements of one latent, is a multiple of 4. The bits of a row depend on that row alone.
 *
 * <p>The coefficients of a step are 8 floats, {@code {keep, drift, spread, logScale, logOffset, klScale, ratioScale, policyWeight}}, in a table aligned to 32 bytes, the last two for {@link GrpoKernels}:
 * {@code mean = keep x + drift v}, {@code xNext = mean + spread noise}, {@code log p = logScale mean_n((xNext - mean)^2) + logOffset}.
 */
public final class SamplerKernels implements AutoCloseable {
    /** Floats of one step's coefficients. */
    public static final int STEP_FLOATS = 8;
    private static final int CHUNK = 512;
    private static final int CHUNKS_PER_BLOCK = 4;

    private final PtxModule module;
    private final PtxModule.Storages step;
    private final PtxModule.Storages replay;
    private final PtxModule.Storages flowMatchingLoss;
    private final Kernel logProb;
    private final Kernel rowMean;
    private final Kernel initialNoise;
    private final Kernel gatherRows;
    private final Kernel roundToBf16;
    private final Kernel flowMatchingNoise;

    public SamplerKernels(Device device) {
        module = new PtxModule(device, "sampler");
        step = module.storages("flow_step");
        replay = module.storages("replay_log_prob");
        flowMatchingLoss = module.storages("flow_matching_loss");
        logProb = module.kernel("log_prob_f32");
        rowMean = module.kernel("row_mean_f32");
        initialNoise = module.kernel("initial_noise_f32");
        gatherRows = module.kernel("gather_rows_f32");
        roundToBf16 = module.kernel("round_to_bf16_f32");
        flowMatchingNoise = module.kernel("flow_matching_noise_f32");
    }

    /** Bytes of scratch that a launch with a result per row needs: one float per chunk of 512 elements. */
    public static long scratch(int batch, int n) {
        return (long) batch * chunks(n) * Float.BYTES;
    }

    /**
     * One denoising step of every row, each with the coefficients it names: SDE and ODE steps may share the launch.
     *
     * @param x             f32 [batch, n], latents at sigma
     * @param v             T [batch, n], velocity {@code eps - x0}
     * @param vUncond       T [batch, n], unconditional velocity: v becomes {@code vUncond + guidance (v - vUncond)}; 0 for none
     * @param xNext         receives f32 [batch, n], latents at sigma_next; may be {@code x}
     * @param mean          receives f32 [batch, n]; 0 where it is not wanted
     * @param logProb       receives f32 [batch]; 0 where it is not wanted, and then {@code partials} may be 0
     * @param partials      {@link #scratch} bytes
     * @param steps         table of coefficients
     * @param rowStep       i32 [batch], row in that table; also the step that keys drawn noise
     * @param noise         f32 [batch, n], or 0: drawn by (seed, trajectory, step, element), rows without spread draw none
     * @param rowTrajectory i32 [batch]; 0 if noise is given
     */
    public void step(Stream stream, DType type, long x, long v, long vUncond, float guidance, long xNext, long mean, long logProb, long partials, long steps,
                     long rowStep, long noise, long rowTrajectory, long seed, int batch, int n) {
        shape(batch, n);
        Check.address("x of a denoising step", x);
        Check.address("velocity of a denoising step", v);
        Check.address("xNext of a denoising step", xNext);
        Check.that(noise != 0 || rowTrajectory != 0, "a denoising step needs given noise or the rows' trajectories");
        Check.that(logProb == 0 || partials != 0, "the log-probability of a denoising step needs scratch");
        rows(step.of(type), batch, n).arg(x).arg(v).arg(vUncond).arg(guidance).arg(xNext).arg(mean).arg(logProb == 0 ? 0 : partials).arg(steps).arg(rowStep)
                .arg(noise).arg(rowTrajectory).arg(seed).arg(n / 4).arg(chunks(n)).launch(stream);
        if (logProb != 0) {
            sumLogProb(stream, partials, logProb, steps, rowStep, batch, n);
        }
    }

    /**
     * The log-probability of given next latents; the bits that {@link #step} gave if {@code xNext} is what it stored.
     *
     * @param xNext f32 [batch, n], as stored
     * @param mean  receives f32 [batch, n]; 0 where it is not wanted
     * @see #step for the others
     */
    public void replay(Stream stream, DType type, long x, long v, long vUncond, float guidance, long xNext, long mean, long logProb, long partials, long steps,
                       long rowStep, int batch, int n) {
        shape(batch, n);
        Check.address("xNext of a replay", xNext);
        Check.address("logProb of a replay", logProb);
        Check.address("scratch of a replay", partials);
        rows(replay.of(type), batch, n).arg(x).arg(v).arg(vUncond).arg(guidance).arg(xNext).arg(mean).arg(partials).arg(steps).arg(rowStep)
                .arg(n / 4).arg(chunks(n)).launch(stream);
        sumLogProb(stream, partials, logProb, steps, rowStep, batch, n);
    }

    /** x_T: {@code x[b]} becomes standard normal, keyed by (seed, {@code rowTrajectory[b]}). */
    public void initialNoise(Stream stream, long x, long rowTrajectory, long seed, int batch, int n) {
        shape(batch, n);
        rows(initialNoise, batch, n).arg(x).arg(rowTrajectory).arg(seed).arg(n / 4).arg(chunks(n)).launch(stream);
    }

    /** {@code out[b] = in[row[b]]}: f32 rows of n elements, {@code row} i32 [batch]; out must not overlap in. */
    public void gatherRows(Stream stream, long in, long row, long out, int batch, int n) {
        shape(batch, n);
        rows(gatherRows, batch, n).arg(in).arg(row).arg(out).arg(n / 4).arg(chunks(n)).launch(stream);
    }

    /** {@code x} to bf16 and back, nearest even: f32 [batch, n] with bf16 values. */
    public void roundToBf16(Stream stream, long x, int batch, int n) {
        shape(batch, n);
        rows(roundToBf16, batch, n).arg(x).arg(n / 4).arg(chunks(n)).launch(stream);
    }

    /**
     * Noising of flow matching: {@code x = (1 - sigma) x0 + sigma eps}.
     *
     * @param x0        f32 [batch, n], images
     * @param sigma     f32 [batch]
     * @param rowSample i32 [batch], keys eps together with the seed; {@link #flowMatchingLoss} draws the same
     * @param x         receives f32 [batch, n]
     */
    public void flowMatchingNoise(Stream stream, long x0, long sigma, long rowSample, long x, long seed, int batch, int n) {
        shape(batch, n);
        rows(flowMatchingNoise, batch, n).arg(x0).arg(sigma).arg(rowSample).arg(x).arg(seed).arg(n / 4).arg(chunks(n)).launch(stream);
    }

    /**
     * Flow-matching loss {@code mean_n((v - (eps - x0))^2)} of every row and its gradient.
     *
     * @param v        T [batch, n], the model's velocity at {@link #flowMatchingNoise}'s x
     * @param gradient receives T [batch, n], {@code weight} times the loss's gradient to v; 0 where it is not wanted
     * @param loss     receives f32 [batch]
     * @param partials {@link #scratch} bytes
     * @param weight   what a row's loss counts: 1 / batch for the mean of the batch
     */
    public void flowMatchingLoss(Stream stream, DType type, long v, long x0, long rowSample, long gradient, long loss, long partials, long seed, float weight,
                                 int batch, int n) {
        shape(batch, n);
        Check.address("scratch of the flow-matching loss", partials);
        rows(flowMatchingLoss.of(type), batch, n).arg(v).arg(x0).arg(rowSample).arg(gradient).arg(partials).arg(seed).arg(2f * weight / n)
                .arg(n / 4).arg(chunks(n)).launch(stream);
        rowMean.grid(Check.blocks(batch, 8), 1, 1).block(256).shared(0).arg(partials).arg(loss).arg(batch).arg(n).arg(chunks(n)).launch(stream);
    }

    @Override
    public void close() {
        module.close();
    }

    static int chunks(int n) {
        return Check.blocks(n, CHUNK);
    }

    static void shape(int batch, int n) {
        Check.positive("batch", batch);
        if (!(batch <= 65535)) {
            throw new IllegalArgumentException("a launch serves at most 65535 rows, not " + batch);
        }
        if (!(n > 0 && n % 4 == 0)) {
            throw new IllegalArgumentException("a latent must have a positive multiple of 4 elements, not " + n);
        }
    }

    private void sumLogProb(Stream stream, long partials, long out, long steps, long rowStep, int batch, int n) {
        logProb.grid(Check.blocks(batch, 8), 1, 1).block(256).shared(0).arg(partials).arg(out).arg(steps).arg(rowStep).arg(batch).arg(n).arg(chunks(n))
                .launch(stream);
    }

    private static Kernel rows(Kernel kernel, int batch, int n) {
        return kernel.grid(Check.blocks(chunks(n), CHUNKS_PER_BLOCK), batch, 1).block(32 * CHUNKS_PER_BLOCK).shared(0);
    }
}
