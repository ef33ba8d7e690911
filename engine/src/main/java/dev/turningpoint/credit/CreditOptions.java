package dev.turningpoint.credit;

import dev.turningpoint.kernels.CreditKernels;

/**
 * How rewards become advantages.
 *
 * @param mode          what a step is rewarded with
 * @param eta           factor of what turning points are rewarded with
 * @param balancing     whether a rollout keeps equally many turning points of either sign
 * @param normalization over what mean and standard deviation of an advantage are taken
 * @param clip          limit of an advantage's absolute value
 * @param zeroKeepsGain whether a turning point whose reward is exactly 0 keeps its gain, as in the published code
 */
public record CreditOptions(CreditMode mode, float eta, Balancing balancing, Normalization normalization, double clip, boolean zeroKeepsGain) {

    /** What ranks turning points where equally many of either sign stay (TP-GRPO, appendix D). */
    public enum Balancing {
        /** All stay. */
        NONE,
        /** Those stay whose assigned reward is of largest magnitude, as the paper says. */
        REWARD,
        /** Those of the trajectories with the largest magnitude of R_n - R_0, as the published code does: two turning points of one trajectory always tie. */
        TREND
    }

    /** {@code (r - mean) / (std + 1e-4)} at each step. */
    public enum Normalization {
        /** Mean and standard deviation of the prompt's trajectories. */
        GROUP,
        /** Mean of the prompt's trajectories, standard deviation of all. */
        GLOBAL_STD,
        /** Mean and standard deviation of all trajectories: prompts are not told apart. */
        GLOBAL
    }

    /** A mode as the paper defines it: no balancing, normalized by group, clipped to 5. */
    public static CreditOptions of(CreditMode mode) {
        return new CreditOptions(mode, 1, Balancing.NONE, Normalization.GROUP, 5, false);
    }

    /** As {@link CreditKernels#stepRewards} takes them. */
    public int flags() {
        return mode.flags() | (balancing == Balancing.TREND ? CreditKernels.RANK_BY_TREND : 0) | (zeroKeepsGain ? CreditKernels.ZERO_KEEPS_MAIN : 0);
    }

    /** Whether the rewards of the ODE branches R_0 .. R_{n-1} matter. */
    public boolean needsCompletions() {
        return mode != CreditMode.OUTCOME;
    }
}
