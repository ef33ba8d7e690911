package dev.turningpoint.check;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.kernels.SamplerKernels;
import dev.turningpoint.schedule.Schedule;
import dev.turningpoint.schedule.StepTable;
import dev.turningpoint.schedule.StepType;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.stream.IntStream;

/** {@code schedules} and {@code sde_step}: sigmas, and single steps of every type at every noise level, row i of a batch at step i. */
final class StepCheck {
    private static final Tolerance STEP = Tolerance.relative(1e-5, 1e-6);

    private StepCheck() {}

    /** The coefficients of a run whose file gives its sigmas, with the published code's KL. */
    static StepTable table(String type, double[] sigmas, double noiseLevel, int windowStart, int windowEnd) {
        return StepTable.of(new Schedule(sigmas), StepType.valueOf(type.toUpperCase(Locale.ROOT)), noiseLevel, windowStart, windowEnd).withPublishedKl();
    }

    static void schedules(Golden golden, Results results) {
        for (String name : golden.names().stream().filter(t -> t.endsWith(".sigmas")).map(t -> t.replace(".sigmas", "")).toList()) {
            String[] parts = name.split("\\.");
            int steps = Integer.parseInt(parts[1].substring(1));
            double mu = parts[0].equals("flux") ? Schedule.fluxMu(Integer.parseInt(parts[2].substring(3))) : 0;
            double[] sigmas = (parts[0].equals("flux") ? Schedule.flux(steps, mu) : Schedule.sd3(steps, golden.settings().get("sd3").get("shift").asDouble())).sigmas();
            double[] timesteps = Arrays.stream(sigmas, 0, steps).map(sigma -> 1000 * sigma).toArray();
            results.compare("schedules", "sigmas", golden, name + ".sigmas", sigmas, Tolerance.absolute(2e-7));
            results.compare("schedules", "timesteps", golden, name + ".timesteps", timesteps, Tolerance.absolute(2e-4));
            if (parts[0].equals("flux")) results.compare("schedules", "mu", golden, name + ".mu", new double[] {mu}, Tolerance.relative(1e-9));
        }
    }

    static void steps(Gpu gpu, Golden golden, Results results) {
        String family = "sde_step";
        for (String schedule : golden.names().stream().filter(t -> t.endsWith(".eps")).map(t -> t.replace(".eps", "")).toList()) {
            int batch = golden.dimension(schedule + ".x", 0), n = golden.count(schedule + ".x") / batch;
            golden.f64(schedule + ".timestep");
            double[] sigmas = golden.f64(schedule + ".sigmas");
            long x = gpu.put(golden.f32(schedule + ".x")), v = gpu.put(golden.f32(schedule + ".v")), eps = gpu.put(golden.f32(schedule + ".eps"));
            long given = gpu.put(golden.f32(schedule + ".x_next_given")), rowStep = gpu.put(IntStream.range(0, batch).toArray());
            long next = gpu.floats(batch * n), mean = gpu.floats(batch * n), logProb = gpu.floats(batch), partials = gpu.array(SamplerKernels.scratch(batch, n));
            List<String> cases = golden.names().stream().filter(t -> t.startsWith(schedule + ".") && t.endsWith(".logp")).map(t -> t.replace(".logp", "")).toList();
            for (String name : cases) {
                String type = name.split("\\.")[1];
                StepTable table = table(type, sigmas, Double.parseDouble(name.replaceAll(".*\\.nl", "")), 0, batch);
                long coefficients = gpu.put(table.floats());
                gpu.sampler.step(gpu.stream, DType.F32, x, v, 0, 1, next, mean, logProb, partials, coefficients, rowStep, eps, 0, 0, batch, n);
                results.compare(family, type + " mean", golden, name + ".mean", gpu.floats(mean, batch * n), STEP);
                results.compare(family, type + " next", golden, name + ".next", gpu.floats(next, batch * n), STEP);
                results.compare(family, type + " log-prob", golden, name + ".logp", Golden.widen(gpu.floats(logProb, batch)), STEP, true);
                results.compare(family, type + " std", golden, name + ".std", IntStream.range(0, batch).mapToDouble(i -> table.row(i).std()).toArray(), STEP);
                replay(gpu, golden, results, type + " log-prob of given", name + ".logp_given", x, v, given, logProb, partials, coefficients, rowStep, batch, n);
                if (golden.has(name + ".logp_bf16_next")) {
                    float[] rounded = golden.f32(name + ".next");
                    for (int i = 0; i < rounded.length; i++) rounded[i] = bf16(rounded[i]);
                    replay(gpu, golden, results, type + " log-prob of bf16", name + ".logp_bf16_next", x, v, gpu.put(rounded), logProb, partials, coefficients, rowStep, batch, n);
                }
            }
        }
    }

    private static void replay(Gpu gpu, Golden golden, Results results, String kind, String tensor, long x, long v, long next, long logProb, long partials,
                               long coefficients, long rowStep, int batch, int n) {
        gpu.sampler.replay(gpu.stream, DType.F32, x, v, 0, 1, next, 0, logProb, partials, coefficients, rowStep, batch, n);
        results.compare("sde_step", kind, golden, tensor, Golden.widen(gpu.floats(logProb, batch)), STEP, true);
    }

    /** To bfloat16 and back, nearest even. */
    private static float bf16(float f) {
        int bits = Float.floatToRawIntBits(f);
        return Float.intBitsToFloat(bits + 0x7fff + (bits >>> 16 & 1) & 0xffff0000);
    }
}
