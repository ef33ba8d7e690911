package dev.turningpoint.grpo;

import static dev.turningpoint.kernels.GrpoKernels.*;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * Means over the rows of one update, and the largest deviation of a ratio from 1, which is exactly 0 in the first update on a rollout.
 *
 * @param policyLoss        clipped policy loss
 * @param kl                KL to the reference model, before its weight
 * @param approxKl          mean of (log p - log p_old)^2 / 2
 * @param clipFraction      share of ratios outside 1 - c .. 1 + c
 * @param clipFractionAbove share above
 * @param clipFractionBelow share below
 */
public record UpdateStatistics(double policyLoss, double kl, double approxKl, double clipFraction, double clipFractionAbove, double clipFractionBelow,
                               double ratioMean, double ratioDeviationMax) {

    /** From the kernel's rows, f64 [rows, 8]. */
    static UpdateStatistics of(MemorySegment stats, int rows) {
        var sum = new double[STATS];
        double deviation = 0;
        for (int row = 0; row < rows; row++) {
            for (int i = 0; i < STATS; i++) {
                sum[i] += stats.getAtIndex(ValueLayout.JAVA_DOUBLE, (long) row * STATS + i);
            }
            deviation = Math.max(deviation, Math.abs(stats.getAtIndex(ValueLayout.JAVA_DOUBLE, (long) row * STATS + RATIO) - 1));
        }
        return new UpdateStatistics(sum[POLICY_LOSS] / rows, sum[KL] / rows, sum[APPROX_KL] / rows, sum[CLIPPED] / rows, sum[CLIPPED_ABOVE] / rows, sum[CLIPPED_BELOW] / rows,
                sum[RATIO] / rows, deviation);
    }
}
