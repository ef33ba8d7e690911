package dev.turningpoint.check;

import static dev.turningpoint.kernels.CreditKernels.BONUS;
import static dev.turningpoint.kernels.CreditKernels.DROP_MAIN;
import static dev.turningpoint.kernels.CreditKernels.FIRST;
import static dev.turningpoint.kernels.CreditKernels.FIRST_CONSISTENT;
import static dev.turningpoint.kernels.CreditKernels.INNER_CONSISTENT;
import static dev.turningpoint.kernels.CreditKernels.LOCAL_FLIP;
import static dev.turningpoint.kernels.CreditKernels.MAIN_IS_TREND;
import static dev.turningpoint.kernels.CreditKernels.POSITIVE_ONLY;
import static dev.turningpoint.kernels.CreditKernels.PROPAGATE;
import static dev.turningpoint.kernels.CreditKernels.RANK_BY_TREND;
import static dev.turningpoint.kernels.CreditKernels.SUFFIX;
import static dev.turningpoint.kernels.CreditKernels.TREND;
import static dev.turningpoint.kernels.CreditKernels.ZERO_KEEPS_MAIN;

import dev.turningpoint.credit.CreditOptions;
import dev.turningpoint.kernels.CreditKernels;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import tools.jackson.databind.JsonNode;

/**
 * {@code credit_*}: rewards along trajectories to step rewards and advantages, under each published set of flags. Where balancing meets equal magnitudes
 * ({@code tie_at_cutoff}) which of them stays is the reference's accident: there only what stays is compared, as a multiset.
 */
final class CreditCheck {
    private static final Tolerance ADVANTAGE = Tolerance.relative(1e-9, 1e-12);
    private static final Map<String, Integer> FLAGS = Map.ofEntries(Map.entry("apply_first_step_bonus", FIRST), Map.entry("use_delta_global", TREND),
            Map.entry("take_delta_global_as_main", MAIN_IS_TREND), Map.entry("select_first_step_only_from_consistent_trajectory", FIRST_CONSISTENT),
            Map.entry("select_inter_step_only_from_consistent_trajectory", INNER_CONSISTENT), Map.entry("select_only_positive_intermediate_step", POSITIVE_ONLY),
            Map.entry("use_sde_minus_rt", SUFFIX), Map.entry("propagate_bonus_to_future_steps", PROPAGATE), Map.entry("drop_original_reward_when_having_bonus", DROP_MAIN),
            Map.entry("indicator_wo_delta_global_constraint", LOCAL_FLIP));

    private final Gpu gpu;
    private final Golden golden;
    private final Results results;
    private final String family;
    private final int batch;
    private final int n;
    private final int[] group;
    private final long rewards;
    private final long rowGroup;
    private final long rowBatch;
    private final long reward;
    private final long indicator;
    private final long main;
    private final long bonus;
    private final long advantage;
    private final long scratch;

    CreditCheck(Gpu gpu, Golden golden, Results results) {
        this.gpu = gpu;
        this.golden = golden;
        this.results = results;
        family = golden.name.startsWith("credit_n") ? "credit_n*" : golden.name;
        batch = golden.dimension("R", 0);
        n = golden.dimension("R", 1) - 1;
        group = golden.i32("group");
        rewards = gpu.put(golden.f32("R"));
        rowGroup = gpu.put(group);
        rowBatch = gpu.put(golden.i32("batch"));
        reward = gpu.floats(batch * n);
        indicator = gpu.floats(batch * n);
        main = gpu.floats(batch * n);
        bonus = gpu.floats(batch * n);
        advantage = gpu.doubles(batch * n);
        scratch = gpu.array(CreditKernels.scratch(batch, n));
    }

    void run() {
        credit(0, false, 1);
        compare("d", "d", floats(reward), Tolerance.EXACT);
        credit(MAIN_IS_TREND | TREND, false, 1);
        float[] trend = floats(main);
        compare("delta_global", "delta_global", every(trend, n), Tolerance.EXACT);

        credit(CreditOptions.outcome().flags(), false, 1);
        compareAdvantage("flowgrpo.adv_groupstd", false, Double.POSITIVE_INFINITY);
        compareAdvantage("flowgrpo.adv_globalstd", true, Double.POSITIVE_INFINITY);

        for (String name : golden.names().stream().filter(t -> t.endsWith(".indicator")).map(t -> t.replace(".indicator", "")).toList()) config(name);
        golden.untouched().remove("s");                                        // sign(d) sign(D): inside the indicator
        for (String name : golden.untouched().stream().filter(t -> t.startsWith("mask_")).toList()) {
            golden.untouched().remove(name);
            results.notServed(family, "mask_* (dropping rows whose advantages are all 0)");
        }
    }

    private void config(String name) {
        CreditOptions options = options(name);
        credit(options.flags(), options.balancing(), options.eta());

        if (golden.has(name + ".tie_at_cutoff") && Arrays.stream(golden.f64(name + ".tie_at_cutoff")).sum() > 0) {
            float[] delta = golden.f32("delta_global");
            results.compare(family, "indicator (multiset)", golden.name + ": " + name + ".indicator", kept(golden.f32(name + ".indicator"), delta), kept(floats(indicator), delta),
                    Tolerance.EXACT, false);
            golden.untouched().removeIf(t -> t.startsWith(name + "."));      // all follow from which of the tied points stayed
            return;
        }
        compare("indicator", name + ".indicator", floats(indicator), Tolerance.EXACT);
        compare("reward", name + ".reward", floats(reward), Tolerance.EXACT);
        compare("bonus", name + ".bonus", floats(bonus), Tolerance.EXACT);
        compare("main", name + ".main", floats(main), Tolerance.EXACT);
        compareAdvantage(name + ".adv_groupstd", false, Double.POSITIVE_INFINITY);
        compareAdvantage(name + ".adv_globalstd", true, Double.POSITIVE_INFINITY);
        if (golden.has(name + ".adv_clipped1")) compareAdvantage(name + ".adv_clipped1", false, 1);
        if (golden.has(name + ".adv_clipped5")) compareAdvantage(name + ".adv_clipped5", false, 5);
        if (golden.untouched().remove(name + ".adv_nogroup")) results.notServed(family, "paper.adv_nogroup (advantages over all prompts at once)");
    }

    /** The engine's own modes where the set of flags is one of them, else what the file's flags say. */
    private CreditOptions options(String name) {
        return switch (name) {
            case "paper" -> CreditOptions.consistentTurningPoint().balanced().asPublished();
            case "def51_nobal" -> CreditOptions.consistentTurningPoint().asPublished();
            case "def41_bal" -> CreditOptions.turningPoint().balanced().asPublished();
            case "def41_nobal" -> CreditOptions.turningPoint().asPublished();
            case "incremental" -> CreditOptions.incremental();
            default -> published(golden.settings().get("base_flags"), golden.settings().path("configs").path(name).path("flags"));
        };
    }

    /** The training script's flags, the file's base set and what this one changes, as ours. */
    private static CreditOptions published(JsonNode base, JsonNode changed) {
        int flags = RANK_BY_TREND | ZERO_KEEPS_MAIN | (changed.path("turn_on_bonus_global_step").asLong(0) == 0 ? BONUS : 0);
        for (var flag : FLAGS.entrySet()) if (changed.path(flag.getKey()).asBoolean(base.path(flag.getKey()).asBoolean(false))) flags |= flag.getValue();
        boolean balanced = changed.path("use_balanced_bonus").asBoolean(base.get("use_balanced_bonus").asBoolean());
        return new CreditOptions(flags, (float) changed.path("eta").asDouble(base.get("eta").asDouble()), balanced, false, 5);
    }

    private void credit(int flags, boolean balanced, float eta) {
        gpu.credit.stepRewards(gpu.stream, rewards, balanced ? rowBatch : 0, reward, indicator, main, bonus, scratch, batch, n, flags, eta);
    }

    private void compareAdvantage(String tensor, boolean globalStd, double limit) {
        gpu.credit.advantages(gpu.stream, reward, rowGroup, advantage, batch, n, Arrays.stream(group).max().orElseThrow() + 1, globalStd, limit);
        double[] ours = gpu.doubles(advantage, batch * n), reference = golden.f64(tensor);
        String kind = tensor.substring(tensor.indexOf('.') + 1);
        results.compare(family, kind, golden, tensor, ours, ADVANTAGE);
        int[] still = IntStream.range(0, batch * n).filter(i -> unanimous(reference, i)).toArray();
        results.compare(family, kind + ", std 0", golden.name + ": " + tensor, new double[still.length], Arrays.stream(still).mapToDouble(i -> ours[i]).toArray(), Tolerance.EXACT, false);
    }

    /** Whether all advantages of the entry's group and step are exactly 0. */
    private boolean unanimous(double[] advantages, int i) {
        return IntStream.range(0, batch).filter(b -> group[b] == group[i / n]).allMatch(b -> advantages[b * n + i % n] == 0);
    }

    private double[] kept(float[] at, float[] delta) {
        var list = new ArrayList<Double>();
        for (int i = 0; i < at.length; i++) if (at[i] > 0) list.add((double) delta[i / n]);
        return list.stream().sorted().mapToDouble(d -> d).toArray();
    }

    private void compare(String kind, String tensor, float[] ours, Tolerance tolerance) { results.compare(family, kind, golden, tensor, ours, tolerance); }

    private float[] floats(long address) { return gpu.floats(address, batch * n); }

    private static float[] every(float[] a, int stride) {
        var out = new float[a.length / stride];
        for (int i = 0; i < out.length; i++) out[i] = a[i * stride];
        return out;
    }
}
