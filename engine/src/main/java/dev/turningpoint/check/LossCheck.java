package dev.turningpoint.check;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.kernels.GrpoKernels;
import dev.turningpoint.kernels.SamplerKernels;
import dev.turningpoint.schedule.StepTable;
import java.util.List;
import java.util.stream.IntStream;
import tools.jackson.databind.JsonNode;

/** {@code grpo_loss_*}: clipped loss, KL, statistics and the gradient to the velocity. Where a step has no variance the reference's KL is infinite, and ours is refused. */
final class LossCheck {
    private static final String FAMILY = "grpo_loss_*";
    private static final Tolerance VALUE = Tolerance.relative(1e-4);
    private static final Tolerance STEP = Tolerance.relative(1e-5, 1e-6);

    private LossCheck() {}

    static void run(Gpu gpu, Golden golden, Results results) {
        JsonNode s = golden.settings();
        int batch = golden.dimension("x", 0), n = golden.count("x") / batch;
        int[] step = golden.i32("step_index");
        StepTable table = StepCheck.table(s.get("sde_type").asString(), golden.f64("sigmas"), s.get("noise_level").asDouble(), 0, s.get("schedule_steps").asInt());
        golden.f64("timestep");
        long x = gpu.put(golden.f32("x")), next = gpu.put(golden.f32("x_next")), v = gpu.put(golden.f32("v")), reference = gpu.put(golden.f32("v_ref"));
        long coefficients = gpu.put(table.floats()), rowStep = gpu.put(step), old = gpu.put(golden.f32("old_logp")), advantage = gpu.put(golden.f64("adv"));
        long mean = gpu.floats(batch * n), logProb = gpu.floats(batch), partials = gpu.array(SamplerKernels.scratch(batch, n));
        long gradient = gpu.floats(batch * n), stats = gpu.doubles(batch * GrpoKernels.STATS);

        gpu.sampler.replay(gpu.stream, DType.F32, x, v, 0, 1, next, mean, logProb, partials, coefficients, rowStep, batch, n);
        results.compare(FAMILY, "mean", golden, "mean", gpu.floats(mean, batch * n), STEP);
        results.compare(FAMILY, "log-prob", golden, "logp", gpu.floats(logProb, batch), STEP);
        gpu.sampler.replay(gpu.stream, DType.F32, x, reference, 0, 1, next, mean, logProb, partials, coefficients, rowStep, batch, n);
        results.compare(FAMILY, "mean", golden, "mean_ref", gpu.floats(mean, batch * n), STEP);
        results.compare(FAMILY, "std", golden, "std", IntStream.of(step).mapToDouble(i -> table.row(i).std()).toArray(), STEP);

        float limit = (float) s.get("adv_clip_max").asDouble();
        List<String> cases = golden.names().stream().filter(t -> t.endsWith(".policy_loss")).map(t -> t.replace(".policy_loss", "")).toList();
        for (String name : cases) {
            double clip = Double.parseDouble(name.replaceAll("clip(.*)\\.beta.*", "$1")), beta = Double.parseDouble(name.replaceAll(".*\\.beta", ""));
            boolean infinite = beta > 0 && !Double.isFinite(golden.f64(name + ".loss")[0]);
            gpu.grpo.lossAndGradient(gpu.stream, DType.F32, x, next, v, 0, 1, beta > 0 && !infinite ? reference : 0, 0, 0, coefficients, rowStep, old, advantage, limit,
                    (float) clip, (float) beta, 1f / batch, gradient, 0, stats, batch, n);
            double[] rows = gpu.doubles(stats, batch * GrpoKernels.STATS);
            double policy = mean(rows, GrpoKernels.POLICY_LOSS), kl = mean(rows, GrpoKernels.KL);
            results.compare(FAMILY, "ratio", golden, "ratio", IntStream.range(0, batch).mapToDouble(b -> rows[b * GrpoKernels.STATS + GrpoKernels.RATIO]).toArray(),
                    Tolerance.absolute(1e-6));
            results.compare(FAMILY, "policy loss", golden, name + ".policy_loss", new double[] {policy}, VALUE);
            results.compare(FAMILY, "approx_kl", golden, name + ".approx_kl", new double[] {mean(rows, GrpoKernels.APPROX_KL)}, VALUE);
            results.compare(FAMILY, "clip fractions", golden, name + ".clipfrac", new double[] {mean(rows, GrpoKernels.CLIPPED)}, Tolerance.EXACT);
            results.compare(FAMILY, "clip fractions", golden, name + ".clipfrac_gt_one", new double[] {mean(rows, GrpoKernels.CLIPPED_ABOVE)}, Tolerance.EXACT);
            results.compare(FAMILY, "clip fractions", golden, name + ".clipfrac_lt_one", new double[] {mean(rows, GrpoKernels.CLIPPED_BELOW)}, Tolerance.EXACT);
            if (infinite) {
                golden.untouched().removeIf(t -> t.startsWith(name + "."));
                results.notCompared(FAMILY, "loss, KL and gradient where std is 0 and beta > 0 (infinite; such a configuration is refused)");
                continue;
            }
            results.compare(FAMILY, "loss", golden, name + ".loss", new double[] {policy + beta * kl}, VALUE);
            if (golden.has(name + ".kl_loss")) results.compare(FAMILY, "KL", golden, name + ".kl_loss", new double[] {kl}, VALUE);
            results.compare(FAMILY, "gradient to the velocity", golden, name + ".grad_v", gpu.floats(gradient, batch * n), Tolerance.ofMax(1e-4));
        }
    }

    private static double mean(double[] rows, int statistic) {
        double sum = 0;
        for (int i = statistic; i < rows.length; i += GrpoKernels.STATS) sum += rows[i];
        return sum / (rows.length / GrpoKernels.STATS);
    }
}
