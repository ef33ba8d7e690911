package dev.turningpoint.schedule;

/**
 * One denoising step from {@code sigma} to {@code sigmaNext}: {@code mean = keep x + drift v}, {@code next = mean + spread noise},
 * {@code log p = logScale mean((next - mean)^2) + logOffset}, {@code KL = klScale mean((mean - meanRef)^2)}.
 *
 * <p>A step without spread has no density: its log-probability is 0 where the formula of {@code sde} divides by zero (the reference code gives NaN there and
 * never uses it), and {@code klScale} is infinite, as the KL between two different points is. Else the KL is that of the step's Gaussians before and after, a mean
 * over elements as the log-probability.
 *
 * @param std what the reference code calls {@code std_dev_t}: the spread of {@code cps}; of {@code sde} the spread over {@code sqrt(-dt)}
 */
public record StepCoefficients(double keep, double drift, double spread, double logScale, double logOffset, double klScale, double std) {
    private static final double LOG_SQRT_2PI = 0.5 * Math.log(2 * Math.PI);

    /** The deterministic step: {@code next = x + v (sigmaNext - sigma)}. */
    public static StepCoefficients ode(double sigma, double sigmaNext) {
        return new StepCoefficients(1, sigmaNext - sigma, 0, 0, 0, Double.POSITIVE_INFINITY, 0);
    }

    /**
     * Flow-SDE: {@code s = a sqrt(sigma / (1 - sigma))}.
     *
     * @param sigmaBelowOne takes the place of sigma = 1 in the denominator: the schedule's second sigma
     * @param noiseLevel    a
     * @see <a href="https://arxiv.org/abs/2505.05470">Flow-GRPO</a>
     */
    public static StepCoefficients sde(double sigma, double sigmaNext, double sigmaBelowOne, double noiseLevel) {
        return diffusion(sigma, sigmaNext, noiseLevel * Math.sqrt(sigma / (1 - (sigma == 1 ? sigmaBelowOne : sigma))));
    }

    /**
     * DanceGRPO's: the same equation with the same s at every sigma.
     *
     * @param noiseLevel s, eta in its paper
     * @see <a href="https://arxiv.org/abs/2505.07818">DanceGRPO</a>; {@code flux_step} in its <a href="https://github.com/XueZeyue/DanceGRPO">code</a>
     */
    public static StepCoefficients dance(double sigma, double sigmaNext, double noiseLevel) {
        return diffusion(sigma, sigmaNext, noiseLevel);
    }

    /** The stochastic equation that has the marginals of the flow, with noise s sqrt(-dt), and its Gaussian density, averaged over elements. */
    private static StepCoefficients diffusion(double sigma, double sigmaNext, double s) {
        double dt = sigmaNext - sigma, variance = s * s;
        double keep = 1 + variance / (2 * sigma) * dt, drift = (1 + variance * (1 - sigma) / (2 * sigma)) * dt, spread = s * Math.sqrt(-dt);
        if (spread == 0) {
            return ode(sigma, sigmaNext);
        }
        return new StepCoefficients(keep, drift, spread, -1 / (2 * variance * -dt), -Math.log(spread) - LOG_SQRT_2PI, 1 / (2 * variance * -dt), s);
    }

    /**
     * Coefficient-preserving: {@code s = sigmaNext sin(a pi / 2)}; its log-probability leaves the variance out.
     *
     * @param noiseLevel a, 0 to 1
     * @see <a href="https://arxiv.org/abs/2509.05952">Coefficients-Preserving Sampling</a>
     */
    public static StepCoefficients cps(double sigma, double sigmaNext, double noiseLevel) {
        double s = sigmaNext * Math.sin(noiseLevel * Math.PI / 2), rest = sigmaNext * Math.cos(noiseLevel * Math.PI / 2);  // sqrt(sigmaNext^2 - s^2)
        return new StepCoefficients(1 - sigmaNext + rest, -sigma * (1 - sigmaNext) + (1 - sigma) * rest, s, -1, 0, 1 / (2 * s * s), s);
    }

    /** Step {@code i} of a schedule. */
    public static StepCoefficients of(StepType type, Schedule schedule, int i, double noiseLevel) {
        double sigma = schedule.sigma(i), next = schedule.sigma(i + 1);
        return switch (type) {
            case ODE -> ode(sigma, next);
            case SDE -> sde(sigma, next, schedule.sigma(1), noiseLevel);
            case CPS -> cps(sigma, next, noiseLevel);
            case DANCE -> dance(sigma, next, noiseLevel);
        };
    }

    /**
     * The published code divides the KL by {@code 2 std^2} whatever the step; with {@code sde} the variance is {@code std^2 (-dt)}, so that its KL is smaller than that of
     * the two Gaussians by the factor -dt.
     */
    public StepCoefficients withPublishedKl() {
        return new StepCoefficients(keep, drift, spread, logScale, logOffset, 1 / (2 * std * std), std);
    }

    /**
     * As the kernels read them: 8 floats. The last two are those of <a href="https://arxiv.org/abs/2510.22319">GRPO-Guard</a>: the spread, which scales log ratios, and
     * 1 / -dt, which weighs the step's loss, from spread = std sqrt(-dt); only {@code sde} and {@code dance} have them.
     */
    public float[] floats() {
        return new float[] {(float) keep, (float) drift, (float) spread, (float) logScale, (float) logOffset, (float) klScale, (float) spread,
            spread == 0 ? 0 : (float) (std * std / (spread * spread))};
    }
}
