package dev.turningpoint.credit;

import dev.turningpoint.kernels.CreditKernels;

/**
 * How rewards become advantages.
 *
 * @param flags     of {@link CreditKernels}
 * @param eta       factor of the bonus
 * @param balancing as many positive as negative turning points, those of largest magnitude
 * @param globalStd divide by the standard deviation over all trajectories at a step instead of over the prompt's
 * @param clip      limit of an advantage's absolute value
 */
public record CreditOptions(int flags, float eta, boolean balancing, boolean globalStd, double clip) {
    private static final int AGGREGATED = CreditKernels.BONUS | CreditKernels.FIRST | CreditKernels.TREND | CreditKernels.SUFFIX | CreditKernels.DROP_MAIN;

    /** The last reward at every step: Flow-GRPO. */
    public static CreditOptions outcome() {
        return of(CreditKernels.OUTCOME);
    }

    /** {@code R_t - R_{t-1}} alone. */
    public static CreditOptions incremental() {
        return of(0);
    }

    /** Definition 4.1: at turning points the aggregated {@code R_n - R_{t-1}}. */
    public static CreditOptions turningPoint() {
        return of(AGGREGATED);
    }

    /** Definition 5.1: at consistent turning points. */
    public static CreditOptions consistentTurningPoint() {
        return of(AGGREGATED | CreditKernels.FIRST_CONSISTENT | CreditKernels.INNER_CONSISTENT);
    }

    private static CreditOptions of(int flags) {
        return new CreditOptions(flags, 1, false, false, 5);
    }

    /** Balanced by the assigned reward, as the paper says. */
    public CreditOptions balanced() {
        return new CreditOptions(flags, eta, true, globalStd, clip);
    }

    /** As the published code does it: balancing ranks by {@code R_n - R_0}, and an aggregated reward of exactly 0 leaves the increment in place. */
    public CreditOptions asPublished() {
        return new CreditOptions(flags | CreditKernels.RANK_BY_TREND | CreditKernels.ZERO_KEEPS_MAIN, eta, balancing, globalStd, clip);
    }

    public CreditOptions withGlobalStd(boolean global) {
        return new CreditOptions(flags, eta, balancing, global, clip);
    }

    public CreditOptions withClip(double limit) {
        return new CreditOptions(flags, eta, balancing, globalStd, limit);
    }

    /** Whether the rewards of the ODE branches R_0 .. R_{n-1} matter. */
    public boolean needsCompletions() {
        return (flags & CreditKernels.OUTCOME) == 0;
    }
}
