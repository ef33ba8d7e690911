package dev.turningpoint.train;

import dev.turningpoint.credit.CreditAssigner.Credit;
import dev.turningpoint.grpo.UpdateStatistics;
import dev.turningpoint.reward.RewardMix;
import java.util.LinkedHashMap;
import java.util.Map;

/** The figures of one iteration and its updates, by the names that people know from flow_grpo and TurningPoint-GRPO. Steps of the window count from 0 as there. */
final class TrainingMetrics {
    private TrainingMetrics() {
    }

    /**
     * Figures of a rollout.
     *
     * @param scored what is trained on, whose figures follow, and each reward by itself
     */
    static Map<String, Double> rollout(RolloutRewards.Rewards scored, int epoch, Credit credit, int trajectories, int groupSize, int n, boolean completions) {
        float[] rewards = scored.summed();
        var m = new LinkedHashMap<String, Double>();
        m.put("epoch", (double) epoch);
        double last = mean(trajectories, b -> rewards[b * (n + 1) + n]);
        scored.reached().forEach((name, values) -> m.put("reward_" + name, RewardMix.mean(values)));
        m.put("reward_avg", last);
        m.put("group_size", (double) groupSize);
        m.put("trained_prompt_num", (double) trajectories / groupSize);
        double deviations = 0;
        int constant = 0, groups = trajectories / groupSize;
        for (int g = 0; g < groups; g++) {
            int first = g * groupSize;
            double std = std(groupSize, i -> rewards[(first + i) * (n + 1) + n]);
            deviations += std / groups;
            constant += std == 0 ? 1 : 0;
        }
        m.put("reward_std_mean", deviations);
        m.put("zero_std_ratio", (double) constant / groups);
        if (completions) {
            double ode = mean(trajectories, b -> rewards[b * (n + 1)]);
            m.put("train/reward_pure_ode_avg", ode);
            m.put("train/reward_diff_sde_vs_ode", last - ode);
            m.put("process_reward/delta_global_mean", last - ode);
        }
        for (int step = 0; step < n; step++) {
            int t = step;
            if (completions) {
                m.put("process_reward/R_t_" + t + "_mean", mean(trajectories, b -> credit.reward()[b * n + t]));
                m.put("process_reward/d_" + t + "_mean", mean(trajectories, b -> rewards[b * (n + 1) + t + 1] - rewards[b * (n + 1) + t]));
                m.put("process_reward/s_" + t + "_positive_ratio", mean(trajectories, b -> {
                    int row = b * (n + 1);
                    return (rewards[row + t + 1] - rewards[row + t]) * (rewards[row + n] - rewards[row]) > 0 ? 1 : 0;
                }));
                m.put("process_reward/B_t_" + t + "_nonzero_ratio", mean(trajectories, b -> credit.bonus()[b * n + t] != 0 ? 1 : 0));
                m.put("process_reward/bonus_trigger_" + t + "_ratio", mean(trajectories, b -> credit.indicator()[b * n + t]));
            }
            m.put("advantage/timestep_" + t + "_mean", mean(trajectories, b -> credit.advantage()[b * n + t]));
            m.put("advantage/timestep_" + t + "_std", std(trajectories, b -> credit.advantage()[b * n + t]));
            m.put("advantage/timestep_" + t + "_abs_mean", mean(trajectories, b -> Math.abs(credit.advantage()[b * n + t])));
        }
        return m;
    }

    /** Figures of one update. */
    static Map<String, Double> update(UpdateStatistics s, double klBeta, double gradNorm, double learningRate) {
        var m = new LinkedHashMap<String, Double>();
        m.put("loss", s.policyLoss() + (klBeta > 0 ? klBeta * s.kl() : 0));
        m.put("policy_loss", s.policyLoss());
        if (klBeta > 0) {
            m.put("kl_loss", s.kl());
            m.put("kl_beta", klBeta);
        }
        m.put("approx_kl", s.approxKl());
        m.put("clipfrac", s.clipFraction());
        m.put("clipfrac_gt_one", s.clipFractionAbove());
        m.put("clipfrac_lt_one", s.clipFractionBelow());
        m.put("ratio_mean", s.ratioMean());
        m.put("ratio_deviation_max", s.ratioDeviationMax());
        m.put("grad_norm", gradNorm);
        m.put("learning_rate", learningRate);
        return m;
    }

    static double mean(int count, java.util.function.IntToDoubleFunction value) {
        double sum = 0;
        for (int i = 0; i < count; i++) {
            sum += value.applyAsDouble(i);
        }
        return sum / count;
    }

    private static double std(int count, java.util.function.IntToDoubleFunction value) {
        double mean = mean(count, value);
        return Math.sqrt(mean(count, i -> {
            double d = value.applyAsDouble(i) - mean;
            return d * d;
        }));
    }

    static double mean(float[] values) {
        return mean(values.length, i -> values[i]);
    }
}
