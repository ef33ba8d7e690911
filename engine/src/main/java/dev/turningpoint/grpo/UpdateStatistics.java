package dev.turningpoint.grpo;

import static dev.turningpoint.kernels.GrpoKernels.*;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;

/** Means over the rows of the last update of a {@link PolicyUpdate}, which fills them anew: a reader keeps the numbers, not this. */
public final class UpdateStatistics {
    private final double[] mean = new double[STATS];
    private double ratioDeviationMax;

    UpdateStatistics() {
    }

    /** From the kernel's rows, f64 [rows, 8]. */
    void fill(MemorySegment stats, int rows) {
        Arrays.fill(mean, 0);
        ratioDeviationMax = 0;
        for (int row = 0; row < rows; row++) {
            for (int i = 0; i < STATS; i++) {
                mean[i] += stats.getAtIndex(ValueLayout.JAVA_DOUBLE, (long) row * STATS + i);
            }
            ratioDeviationMax = Math.max(ratioDeviationMax, Math.abs(stats.getAtIndex(ValueLayout.JAVA_DOUBLE, (long) row * STATS + RATIO) - 1));
        }
        for (int i = 0; i < STATS; i++) {
            mean[i] /= rows;
        }
    }

    /** Clipped policy loss. */
    public double policyLoss() {
        return mean[POLICY_LOSS];
    }

    /** KL to the reference model, before its weight. */
    public double kl() {
        return mean[KL];
    }

    /** Mean of (log p - log p_old)^2 / 2. */
    public double approxKl() {
        return mean[APPROX_KL];
    }

    /** Share of ratios outside 1 - c .. 1 + c. */
    public double clipFraction() {
        return mean[CLIPPED];
    }

    /** Share of ratios above 1 + c. */
    public double clipFractionAbove() {
        return mean[CLIPPED_ABOVE];
    }

    /** Share of ratios below 1 - c. */
    public double clipFractionBelow() {
        return mean[CLIPPED_BELOW];
    }

    /** Mean of the ratios p / p_old. */
    public double ratioMean() {
        return mean[RATIO];
    }

    /** Largest deviation of a ratio from 1, which is exactly 0 in the first update on a rollout. */
    public double ratioDeviationMax() {
        return ratioDeviationMax;
    }
}
