package dev.turningpoint.check;

import dev.turningpoint.kernels.OptimKernels;
import dev.turningpoint.optim.AdamW;
import java.util.Arrays;
import java.util.List;
import tools.jackson.databind.JsonNode;

/** {@code optimizer} and {@code ema}: the tensors of a file lie one after another in flat buffers, as in training. */
final class OptimizerCheck {
    private static final Tolerance VALUE = Tolerance.relative(1e-5);
    private static final Tolerance MOMENT = Tolerance.relative(1e-5, 1e-8);

    private OptimizerCheck() {}

    static void adamW(Gpu gpu, Golden golden, Results results) {
        JsonNode s = golden.settings();
        List<String> tensors = golden.names().stream().filter(t -> t.endsWith(".step0")).map(t -> t.replace(".step0", "")).toList();
        float[] start = flat(golden, tensors, ".step0");
        int n = start.length, steps = (int) golden.names().stream().filter(t -> t.startsWith("norm")).count();
        long p = gpu.put(start), m = gpu.put(new float[n]), v = gpu.put(new float[n]), norm = gpu.doubles(1), scratch = gpu.array(OptimKernels.scratch(n));
        double maxNorm = s.get("max_norm").asDouble(), lr = s.get("lr").asDouble(), b1 = s.get("betas").get(0).asDouble(), b2 = s.get("betas").get(1).asDouble();
        for (int step = 1; step <= steps; step++) {
            long g = gpu.put(flat(golden, tensors, ".grad" + step));
            gpu.optim.gradNorm(gpu.stream, g, norm, scratch, n);
            results.compare("optimizer", "norm", golden, "norm" + step, gpu.doubles(norm, 1), VALUE);
            gpu.optim.adamW(gpu.stream, p, g, m, v, 0, 0, norm, maxNorm, lr, b1, b2, s.get("eps").asDouble(), s.get("weight_decay").asDouble(), 0, step, n);
            split("parameter", ".step" + step, golden, tensors, gpu.floats(p, n), results, VALUE);
            split("exp_avg", ".exp_avg" + step, golden, tensors, gpu.floats(m, n), results, MOMENT);
            split("exp_avg_sq", ".exp_avg_sq" + step, golden, tensors, gpu.floats(v, n), results, MOMENT);
            // With beta1 = 0 the first moment is the clipped gradient itself.
            long clipped = gpu.put(new float[n]);
            gpu.optim.adamW(gpu.stream, gpu.put(new float[n]), g, clipped, gpu.put(new float[n]), 0, 0, norm, maxNorm, lr, 0, b2, 1e-8, 0, 0, 1, n);
            split("clipped gradient", ".clipped" + step, golden, tensors, gpu.floats(clipped, n), results, VALUE);
        }
    }

    static void ema(Gpu gpu, Golden golden, Results results) {
        List<String> tensors = golden.names().stream().filter(t -> t.endsWith(".init")).map(t -> t.replace(".init", "")).toList();
        long[] step = golden.i64("optimization_step");
        double limit = golden.settings().get("decay").asDouble();
        int interval = golden.settings().get("update_step_interval").asInt();
        var decays = new double[step.length];
        for (String tensor : tensors) {
            int n = golden.count(tensor + ".init");
            float[] values = golden.f32(tensor + ".value"), averages = new float[values.length];
            long ema = gpu.put(golden.f32(tensor + ".init"));
            for (int i = 0; i < step.length; i++) {
                decays[i] = AdamW.emaDecay(step[i], limit);
                if ((step[i] + 1) % interval == 0) gpu.optim.ema(gpu.stream, ema, gpu.put(Arrays.copyOfRange(values, i * n, (i + 1) * n)), decays[i], n);
                System.arraycopy(gpu.floats(ema, n), 0, averages, i * n, n);
            }
            results.compare("ema", "average", golden, tensor + ".ema", averages, Tolerance.relative(1e-6));
        }
        results.compare("ema", "decay", golden, "decay", decays, Tolerance.relative(1e-12));
    }

    private static float[] flat(Golden golden, List<String> tensors, String suffix) {
        var out = new float[tensors.stream().mapToInt(t -> golden.count(t + suffix)).sum()];
        int at = 0;
        for (String t : tensors) {
            float[] values = golden.f32(t + suffix);
            System.arraycopy(values, 0, out, at, values.length);
            at += values.length;
        }
        return out;
    }

    private static void split(String kind, String suffix, Golden golden, List<String> tensors, float[] all, Results results, Tolerance tolerance) {
        int at = 0;
        for (String t : tensors) {
            int n = golden.count(t + suffix);
            results.compare("optimizer", kind, golden, t + suffix, Arrays.copyOfRange(all, at, at + n), tolerance);
            at += n;
        }
    }
}
