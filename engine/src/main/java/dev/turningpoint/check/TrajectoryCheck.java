package dev.turningpoint.check;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.kernels.SamplerKernels;
import dev.turningpoint.schedule.StepTable;
import java.util.Arrays;
import tools.jackson.databind.JsonNode;

/**
 * {@code trajectory_*}: mixed SDE/ODE runs with their ODE completions, once step by step from the reference's states and once as a whole from the same x_T, our
 * own states all the way. The velocity field is test data and is evaluated on the host; steps, guidance and log-probabilities come from the kernels.
 */
final class TrajectoryCheck {
    private static final String FAMILY = "trajectory_*";
    private static final Tolerance STEP = Tolerance.relative(1e-5, 1e-6);
    private static final Tolerance RUN = Tolerance.relative(1e-4, 1e-5);

    private final Gpu gpu;
    private final Golden golden;
    private final Results results;
    private final Field field;
    private final boolean flux;
    private final boolean guided;
    private final float guidance;
    private final int steps;
    private final int start;
    private final int end;
    private final int batch;
    private final int n;
    private final float[] timesteps;
    private final double[] positive;
    private final double[] negative;
    private final StepTable table;
    private final long coefficients;

    TrajectoryCheck(Gpu gpu, Golden golden, Results results) {
        this.gpu = gpu;
        this.golden = golden;
        this.results = results;
        JsonNode s = golden.settings();
        field = new Field(golden);
        flux = s.get("kind").asString().equals("flux");
        guidance = (float) s.get("guidance").asDouble();
        guided = !flux && guidance != 1;
        steps = s.get("T").asInt();
        start = s.get("window_start").asInt();
        end = s.get("window_end").asInt();
        batch = golden.dimension("xT", 0);
        n = golden.count("xT") / batch;
        timesteps = golden.f32("timesteps");
        positive = golden.f64("pooled_pos");
        negative = golden.has("pooled_neg") ? golden.f64("pooled_neg") : null;
        table = StepCheck.table(s.get("sde_type").asString(), golden.f64("sigmas"), s.get("noise").asDouble(), start, end);
        coefficients = gpu.put(table.floats());
    }

    void run() {
        single();
        whole();
        results.compare(FAMILY, "images of ODE completions", golden, "pure_ode_ref.image", image(ode(0, golden.f32("pure_ode_ref.xT"), null)), RUN);
    }

    /** Every step of the reference's run by itself. */
    private void single() {
        int row = batch * n;
        float[] x = golden.f32("main.x"), v = golden.f32("main.v"), eps = golden.f32("main.eps");
        var mean = new float[steps * row];
        var next = new float[steps * row];
        var logProb = new float[steps * batch];
        for (int i = 0; i < steps; i++) {
            Out out = step(table.trajectoryRow(i), slice(x, i, row), slice(v, i, row), null, slice(eps, i, row));
            System.arraycopy(out.mean, 0, mean, i * row, row);
            System.arraycopy(out.next, 0, next, i * row, row);
            System.arraycopy(out.logProb, 0, logProb, i * batch, batch);
        }
        results.compare(FAMILY, "mean of a step", golden, "main.mean", mean, STEP);
        results.compare(FAMILY, "latents after a step", golden.name + ": main.x", Golden.widen(Arrays.copyOfRange(x, row, x.length)), Golden.widen(next), STEP, false);
        results.compare(FAMILY, "log-prob of a step", golden, "main.logp_all", Golden.widen(logProb), STEP, true);
        var std = new double[steps];
        for (int i = start; i < end; i++) std[i] = table.row(i).std();
        results.compare(FAMILY, "std", golden, "main.std", std, STEP);
        var level = new double[steps];
        Arrays.fill(level, start, end, golden.settings().get("noise").asDouble());
        results.compare(FAMILY, "noise level", golden, "main.noise_level", level, Tolerance.relative(1e-7));
    }

    /** The run from x_T, and an ODE completion from each of its states. */
    private void whole() {
        int row = batch * n;
        float[] eps = golden.f32("main.eps"), x = golden.f32("xT");
        var states = new float[(steps + 1) * row];
        var logProb = new float[steps * batch];
        System.arraycopy(x, 0, states, 0, row);
        for (int i = 0; i < steps; i++) {
            Out out = step(table.trajectoryRow(i), x, positiveVelocity(x, i), negativeVelocity(x, i), slice(eps, i, row));
            x = out.next;
            System.arraycopy(x, 0, states, (i + 1) * row, row);
            System.arraycopy(out.logProb, 0, logProb, i * batch, batch);
        }
        results.compare(FAMILY, "latents of the run", golden, "main.x", states, RUN);
        results.compare(FAMILY, "image of the run", golden, "main.image", image(x), RUN);
        ode(0, slice(states, 0, row), "pure_ode");
        for (int k = 1; golden.has("ode" + k + ".x"); k++) ode(start + k, slice(states, start + k, row), "ode" + k);

        int window = end - start;
        var before = new float[batch * window * n];
        var after = new float[batch * window * n];
        var windowLogProb = new float[batch * window];
        for (int b = 0; b < batch; b++)
            for (int t = 0; t < window; t++) {
                System.arraycopy(states, (start + t) * row + b * n, before, (b * window + t) * n, n);
                System.arraycopy(states, (start + t + 1) * row + b * n, after, (b * window + t) * n, n);
                windowLogProb[b * window + t] = logProb[(start + t) * batch + b];
            }
        results.compare(FAMILY, "latents of the window", golden, "train.latents", before, RUN);
        results.compare(FAMILY, "latents of the window", golden, "train.next_latents", after, RUN);
        results.compare(FAMILY, "log-probs of the window", golden, "train.log_probs", windowLogProb, RUN);
        results.compare(FAMILY, "timesteps of the window", golden, "train.timesteps", Arrays.copyOfRange(timesteps, start, end), Tolerance.EXACT);
    }

    /** The ODE from the latents before a step to the end; compared with the run of that name, if it has one. Returns its last latents. */
    private float[] ode(int from, float[] x, String name) {
        int row = batch * n;
        var states = new float[(steps + 1 - from) * row];
        System.arraycopy(x, 0, states, 0, row);
        for (int i = from; i < steps; i++) {
            x = step(table.odeRow(i), x, positiveVelocity(x, i), negativeVelocity(x, i), null).next;
            System.arraycopy(x, 0, states, (i + 1 - from) * row, row);
        }
        if (name != null) {
            results.compare(FAMILY, "latents of ODE completions", golden, name + ".x", states, RUN);
            results.compare(FAMILY, "images of ODE completions", golden, name + ".image", image(x), RUN);
        }
        return x;
    }

    private float[] positiveVelocity(float[] x, int i) { return field.velocity(x, timesteps[i] / 1000., positive, batch); }

    private float[] negativeVelocity(float[] x, int i) { return guided ? field.velocity(x, timesteps[i] / 1000., negative, batch) : null; }

    private record Out(float[] mean, float[] next, float[] logProb) {}

    private Out step(int index, float[] x, float[] v, float[] vUncond, float[] noise) {
        long xNext = gpu.floats(batch * n), mean = gpu.floats(batch * n), logProb = gpu.floats(batch), partials = gpu.array(SamplerKernels.scratch(batch, n));
        var rowStep = new int[batch];
        Arrays.fill(rowStep, index);
        gpu.sampler.step(gpu.stream, DType.F32, gpu.put(x), gpu.put(v), vUncond == null ? 0 : gpu.put(vUncond), guidance, xNext, mean, logProb, partials, coefficients,
                gpu.put(rowStep), gpu.put(noise == null ? new float[batch * n] : noise), 0, 0, batch, n);
        return new Out(gpu.floats(mean, batch * n), gpu.floats(xNext, batch * n), gpu.floats(logProb, batch));
    }

    /** Packed latents [batch, tokens, 4 C] as images [batch, C, H, W]; other latents are images already. */
    private float[] image(float[] x) {
        if (!flux) return x;
        int tokens = golden.dimension("xT", 1), channels = golden.dimension("xT", 2) / 4, side = (int) Math.sqrt(tokens), width = 2 * side;
        var out = new float[x.length];
        for (int b = 0; b < batch; b++)
            for (int token = 0; token < tokens; token++)
                for (int c = 0; c < channels; c++)
                    for (int p = 0; p < 4; p++) {
                        int h = 2 * (token / side) + p / 2, w = 2 * (token % side) + p % 2;
                        out[((b * channels + c) * width + h) * width + w] = x[(b * tokens + token) * channels * 4 + c * 4 + p];
                    }
        return out;
    }

    private static float[] slice(float[] a, int i, int length) { return Arrays.copyOfRange(a, i * length, (i + 1) * length); }
}
