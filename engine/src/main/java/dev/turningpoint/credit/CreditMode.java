package dev.turningpoint.credit;

import static dev.turningpoint.kernels.CreditKernels.BONUS;
import static dev.turningpoint.kernels.CreditKernels.DROP_MAIN;
import static dev.turningpoint.kernels.CreditKernels.FIRST;
import static dev.turningpoint.kernels.CreditKernels.FIRST_CONSISTENT;
import static dev.turningpoint.kernels.CreditKernels.INNER_CONSISTENT;
import static dev.turningpoint.kernels.CreditKernels.MAIN_IS_TREND;
import static dev.turningpoint.kernels.CreditKernels.POSITIVE_ONLY;
import static dev.turningpoint.kernels.CreditKernels.PROPAGATE;
import static dev.turningpoint.kernels.CreditKernels.SUFFIX;
import static dev.turningpoint.kernels.CreditKernels.TREND;

import dev.turningpoint.kernels.CreditKernels;

/**
 * What a step of a trajectory is rewarded with. R_k is the reward of the image after k stochastic steps and then ODE steps, d_t = R_t - R_{t-1} the gain of step
 * t, D = R_n - R_0 the trend. The first four are methods of their own; the others change one thing about the turning points of TP-GRPO, as the experiments of its
 * published code do.
 *
 * @see <a href="https://arxiv.org/abs/2602.06422">TP-GRPO</a>, definitions 4.1 and 5.1
 */
public enum CreditMode {
    /** R_n at every step: <a href="https://arxiv.org/abs/2505.05470">Flow-GRPO</a>. */
    OUTCOME(CreditKernels.OUTCOME),
    /** d_t, without turning points. */
    INCREMENTAL(0),
    /** R_n - R_{t-1} at the turning points of definition 4.1, d_t elsewhere. */
    TURNING_POINT(Set.REPLACING),
    /** The same at the turning points of definition 5.1, whose gain points where the rest of the trajectory goes. */
    CONSISTENT_TURNING_POINT(Set.CONSISTENT),
    /** Definition 5.1 for the first step, 4.1 for the others. */
    CONSISTENT_FIRST_STEP(Set.REPLACING | FIRST_CONSISTENT),
    /** Definition 4.1 for the first step, 5.1 for the others. */
    CONSISTENT_INNER_STEPS(Set.REPLACING | INNER_CONSISTENT),
    /** Definition 5.1, but the first step is never a turning point. */
    NO_FIRST_STEP(Set.CONSISTENT & ~FIRST),
    /** Definition 5.1, but an inner step turns wherever d_{t-1} d_t is negative, whatever the trend. */
    LOCAL_FLIP(Set.CONSISTENT | CreditKernels.LOCAL_FLIP),
    /** Definition 5.1, but an inner step turns only in trajectories with D above 0. */
    RISING_ONLY(Set.CONSISTENT | POSITIVE_ONLY),
    /** Definition 5.1 with D as the reward of a turning point. */
    TREND_BONUS(Set.CONSISTENT & ~SUFFIX),
    /** Definition 5.1 with R_n as the reward of a turning point. */
    OUTCOME_BONUS(Set.CONSISTENT & ~(SUFFIX | TREND)),
    /** Definition 5.1 with the reward of a turning point added to its d_t instead of replacing it. */
    ADDED_BONUS(Set.CONSISTENT & ~DROP_MAIN),
    /** D at every step, and d_t besides at the turning points of definition 4.1. */
    TREND_AND_GAIN(BONUS | FIRST | TREND | MAIN_IS_TREND),
    /** Definition 5.1 with rewards above 0 spread to all later steps and those below 0 to all earlier ones. */
    SPREAD_BONUS(Set.CONSISTENT | PROPAGATE);

    private static final class Set {
        static final int REPLACING = BONUS | FIRST | TREND | SUFFIX | DROP_MAIN, CONSISTENT = REPLACING | FIRST_CONSISTENT | INNER_CONSISTENT;
    }

    private final int flags;

    CreditMode(int flags) { this.flags = flags; }

    /** As {@link CreditKernels#stepRewards} takes them. */
    public int flags() { return flags; }

    /** Whether there are turning points at all. */
    public boolean turns() { return (flags & BONUS) != 0; }
}
