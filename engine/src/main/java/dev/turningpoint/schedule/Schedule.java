package dev.turningpoint.schedule;

/**
 * The noise levels of a sampling run: {@code sigmas[0] = 1} (or just below) down to {@code sigmas[steps] = 0}.
 *
 * @param sigmas [steps + 1], falling
 */
public record Schedule(double[] sigmas) {
    private static final int TRAIN_STEPS = 1000;

    public Schedule {
        if (sigmas.length < 2 || sigmas[sigmas.length - 1] != 0) {
            throw new IllegalArgumentException("a schedule has at least one step and ends at 0, not " + java.util.Arrays.toString(sigmas));
        }
        for (int i = 1; i < sigmas.length; i++) {
            if (!(sigmas[i] < sigmas[i - 1])) {
                throw new IllegalArgumentException("a schedule falls at every step, not from " + sigmas[i - 1] + " to " + sigmas[i]);
            }
        }
        sigmas = sigmas.clone();
    }

    /** Equal steps from 1 to 0, then {@code shift sigma / (1 + (shift - 1) sigma)}: the glyph model's. */
    public static Schedule shifted(int steps, double shift) {
        var sigmas = new double[positive(steps) + 1];
        for (int i = 0; i < steps; i++) {
            sigmas[i] = shift(1 - (double) i / steps, shift);
        }
        return new Schedule(sigmas);
    }

    /**
     * SD3's, as diffusers' {@code FlowMatchEulerDiscreteScheduler} makes it: the smallest of 1000 training sigmas is shifted, equal steps run from 1 to
     * it, and those are shifted a second time.
     */
    public static Schedule sd3(int steps, double shift) {
        double smallest = shift(1d / TRAIN_STEPS, shift);
        var sigmas = new double[positive(steps) + 1];
        for (int i = 0; i < steps; i++) {
            double sigma = steps == 1 ? 1 : 1 + (smallest - 1) * i / (steps - 1);
            sigmas[i] = shift(sigma, shift);
        }
        return new Schedule(sigmas);
    }

    /**
     * FLUX's: equal steps from 1 to 1 / steps, shifted by {@code e^mu / (e^mu + 1 / sigma - 1)}.
     *
     * @param mu of {@link #fluxMu}
     */
    public static Schedule flux(int steps, double mu) {
        var sigmas = new double[positive(steps) + 1];
        double e = Math.exp(mu);
        for (int i = 0; i < steps; i++) {
            double sigma = steps == 1 ? 1 : 1 + (1d / steps - 1) * i / (steps - 1);
            sigmas[i] = e / (e + (1 / sigma - 1));
        }
        return new Schedule(sigmas);
    }

    /** FLUX's shift for an image of {@code tokens} packed latents: 0.5 at 256, 1.15 at 4096, linear between and beyond. */
    public static double fluxMu(int tokens) {
        double slope = (1.15 - 0.5) / (4096 - 256);
        return tokens * slope + (0.5 - slope * 256);
    }

    public int steps() {
        return sigmas.length - 1;
    }

    /** Noise level before step {@code i}, or after the last for {@code i = steps}. */
    public double sigma(int i) {
        return sigmas[i];
    }

    @Override
    public double[] sigmas() {
        return sigmas.clone();
    }

    private static double shift(double sigma, double shift) {
        return shift * sigma / (1 + (shift - 1) * sigma);
    }

    private static int positive(int steps) {
        if (steps < 1) {
            throw new IllegalArgumentException("a schedule needs at least one step, not " + steps);
        }
        return steps;
    }
}
