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
import static dev.turningpoint.kernels.CreditKernels.SUFFIX;
import static dev.turningpoint.kernels.CreditKernels.TREND;

import dev.turningpoint.credit.CreditMode;
import dev.turningpoint.credit.CreditOptions;
import dev.turningpoint.credit.CreditOptions.Balancing;
import dev.turningpoint.credit.CreditOptions.Normalization;
import dev.turningpoint.credit.ZeroAdvantages;
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
    private static final int BATCHES_PER_EPOCH = 4;
    private static final Tolerance ADVANTAGE = Tolerance.relative(1e-9, 1e-12);
    /** The reference takes the advantages of all prompts together in f32, mean and all. */
    private static final Tolerance F32_ADVANTAGE = Tolerance.relative(1e-6, 1e-6);
    private static final Map<String, Integer> FLAGS = Map.ofEntries(Map.entry("apply_first_step_bonus", FIRST), Map.entry("use_delta_global", TREND),
            Map.entry("take_delta_global_as_main", MAIN_IS_TREND), Map.entry("select_first_step_only_from_consistent_trajectory", FIRST_CONSISTENT),
            Map.entry("select_inter_step_only_from_consistent_trajectory", INNER_CONSISTENT), Map.entry("select_only_positive_intermediate_step", POSITIVE_ONLY),
            Map.entry("use_sde_minus_rt", SUFFIX), Map.entry("propagate_bonus_to_future_steps", PROPAGATE), Map.entry("drop_original_reward_when_having_bonus", DROP_MAIN),
            Map.entry("indicator_wo_delta_global_constraint", LOCAL_FLIP));

    /** The published experiments by what the reference data calls them, as modes of the engine; balancing and eta are options beside the mode. */
    private static final Map<String, CreditMode> MODES = Map.ofEntries(Map.entry("paper", CreditMode.CONSISTENT_TURNING_POINT),
            Map.entry("def51_nobal", CreditMode.CONSISTENT_TURNING_POINT), Map.entry("eta05_nobal", CreditMode.CONSISTENT_TURNING_POINT),
            Map.entry("def41_bal", CreditMode.TURNING_POINT), Map.entry("def41_nobal", CreditMode.TURNING_POINT), Map.entry("incremental", CreditMode.INCREMENTAL),
            Map.entry("firstct_nobal", CreditMode.CONSISTENT_FIRST_STEP), Map.entry("interct_nobal", CreditMode.CONSISTENT_INNER_STEPS),
            Map.entry("nofirst_nobal", CreditMode.NO_FIRST_STEP), Map.entry("localflip_nobal", CreditMode.LOCAL_FLIP), Map.entry("posonly_nobal", CreditMode.RISING_ONLY),
            Map.entry("agg_delta_nobal", CreditMode.TREND_BONUS), Map.entry("agg_sde_nobal", CreditMode.OUTCOME_BONUS), Map.entry("keep_main_nobal", CreditMode.ADDED_BONUS),
            Map.entry("main_delta_nobal", CreditMode.TREND_AND_GAIN), Map.entry("propagate_nobal", CreditMode.SPREAD_BONUS));

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
    private final int batches;
    private final long reward;
    private final long indicator;
    private final long main;
    private final long bonus;
    private final long advantage;
    private final long deviation;
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
        int[] sampled = golden.i32("batch");
        rowBatch = gpu.put(sampled);
        batches = Arrays.stream(sampled).max().orElseThrow() + 1;
        reward = gpu.floats(batch * n);
        indicator = gpu.floats(batch * n);
        main = gpu.floats(batch * n);
        bonus = gpu.floats(batch * n);
        advantage = gpu.doubles(batch * n);
        deviation = gpu.doubles(n);
        scratch = gpu.array(CreditKernels.scratch(batch, n));
    }

    void run() {
        credit(0, false, 1);
        compare("d", "d", floats(reward), Tolerance.EXACT);
        credit(MAIN_IS_TREND | TREND, false, 1);
        float[] trend = floats(main);
        compare("delta_global", "delta_global", every(trend, n), Tolerance.EXACT);

        credit(CreditMode.OUTCOME.flags(), false, 1);
        compareAdvantages("flowgrpo");

        for (String name : golden.names().stream().filter(t -> t.endsWith(".indicator")).map(t -> t.replace(".indicator", "")).toList()) config(name);
        golden.untouched().remove("s");                                        // sign(d) sign(D): inside the indicator
        for (String name : golden.names().stream().filter(t -> t.endsWith(".kept")).map(t -> t.replace(".kept", "")).toList()) zeroAdvantages(name);
    }

    /** The filter of advantages that are all 0. Which of those fill up the last part is the reference's accident: compared are how many stay and that all others do. */
    private void zeroAdvantages(String name) {
        double[] advantages = golden.f64(name + ".adv");
        int[] reference = golden.i32(name + ".kept"), every = IntStream.range(0, batch).toArray();
        int[] ours = ZeroAdvantages.drop(advantages, n, every, BATCHES_PER_EPOCH);
        results.compare(family, "zero-advantage filter", golden.name + ": " + name + ".kept", new double[] {reference.length}, new double[] {ours.length}, Tolerance.EXACT, false);
        results.compare(family, "zero-advantage filter", golden.name + ": " + name + ".kept", teaching(reference, advantages), teaching(ours, advantages), Tolerance.EXACT, false);
    }

    private double[] teaching(int[] rows, double[] advantages) {
        return Arrays.stream(rows).filter(row -> Arrays.stream(advantages, row * n, (row + 1) * n).anyMatch(a -> a != 0)).asDoubleStream().toArray();
    }

    private void config(String name) {
        CreditOptions options = options(name);
        credit(options.flags(), options.balancing() != Balancing.NONE, options.eta());

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
        compareAdvantages(name);
    }

    /** The engine's options for a published experiment; where the file says its flags, they must be the same. */
    private CreditOptions options(String name) {
        CreditMode mode = MODES.get(name);
        if (mode == null) throw new IllegalArgumentException("'" + name + "' is not among the published experiments: " + MODES.keySet().stream().sorted().toList());
        boolean balanced = name.equals("paper") || name.endsWith("_bal");
        float eta = name.startsWith("eta05") ? 0.5f : 1;
        JsonNode base = golden.settings().get("base_flags"), changed = golden.settings().path("configs").path(name).path("flags");
        if (!changed.isMissingNode()) {
            int flags = flags(base, changed);
            boolean balances = changed.path("use_balanced_bonus").asBoolean(base.get("use_balanced_bonus").asBoolean());
            if (flags != mode.flags() || mode.turns() && balances != balanced || changed.path("eta").asDouble(base.get("eta").asDouble()) != eta)
                throw new IllegalArgumentException("'" + name + "' has other flags than the engine's " + mode + ": " + changed);
        }
        return new CreditOptions(mode, eta, balanced ? Balancing.TREND : Balancing.NONE, Normalization.GROUP, 5, true);
    }

    /** The training script's flags, the file's base set and what this one changes, as the kernel's. */
    private static int flags(JsonNode base, JsonNode changed) {
        int flags = changed.path("turn_on_bonus_global_step").asLong(0) == 0 ? BONUS : 0;
        for (var flag : FLAGS.entrySet()) if (changed.path(flag.getKey()).asBoolean(base.path(flag.getKey()).asBoolean(false))) flags |= flag.getValue();
        return (flags & (BONUS | MAIN_IS_TREND)) == 0 ? 0 : flags;           // without turning points the others say nothing
    }

    private void credit(int flags, boolean balanced, float eta) {
        gpu.credit.stepRewards(gpu.stream, rewards, balanced ? rowBatch : 0, batches, reward, indicator, main, bonus, scratch, batch, n, flags, eta);
    }

    /** The advantages of the step rewards on the device, in every normalization that the file has. */
    private void compareAdvantages(String name) {
        compareAdvantage(name + ".adv_groupstd", Normalization.GROUP, Double.POSITIVE_INFINITY, ADVANTAGE);
        compareAdvantage(name + ".adv_globalstd", Normalization.GLOBAL_STD, Double.POSITIVE_INFINITY, ADVANTAGE);
        if (golden.has(name + ".adv_clipped1")) compareAdvantage(name + ".adv_clipped1", Normalization.GROUP, 1, ADVANTAGE);
        if (golden.has(name + ".adv_clipped5")) compareAdvantage(name + ".adv_clipped5", Normalization.GROUP, 5, ADVANTAGE);
        if (golden.has(name + ".adv_nogroup")) compareAdvantage(name + ".adv_nogroup", Normalization.GLOBAL, Double.POSITIVE_INFINITY, F32_ADVANTAGE);
    }

    private void compareAdvantage(String tensor, Normalization normalization, double limit, Tolerance tolerance) {
        boolean together = normalization == Normalization.GLOBAL;
        gpu.credit.advantages(gpu.stream, reward, together ? gpu.put(new int[batch]) : rowGroup, advantage, normalization == Normalization.GROUP ? 0 : deviation, batch, n,
                together ? 1 : Arrays.stream(group).max().orElseThrow() + 1, limit);
        double[] ours = gpu.doubles(advantage, batch * n), reference = golden.f64(tensor);
        String kind = tensor.substring(tensor.indexOf('.') + 1);
        results.compare(family, kind, golden, tensor, ours, tolerance);
        if (together) return;
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
