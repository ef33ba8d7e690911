package dev.turningpoint.compare;

import java.util.Arrays;

/**
 * A mean over seeds and how far it is to be trusted.
 *
 * @param mean  of the values; NaN of none
 * @param half  half the width of its 95 % confidence interval by Student's t; NaN for fewer than two values
 * @param count of values
 */
public record Estimate(double mean, double half, int count) {
    /** 97.5 % quantiles of Student's t for 1 to 30 degrees of freedom; beyond, the normal distribution's is at most 2 % less. */
    private static final double[] T = {12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281, 2.2010, 2.1788, 2.1604, 2.1448, 2.1314, 2.1199,
            2.1098, 2.1009, 2.0930, 2.0860, 2.0796, 2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484, 2.0452, 2.0423};

    public static Estimate of(double... values) {
        double[] known = Arrays.stream(values).filter(v -> !Double.isNaN(v)).toArray();
        int n = known.length;
        double mean = n == 0 ? Double.NaN : Arrays.stream(known).sum() / n;
        if (n < 2) return new Estimate(mean, Double.NaN, n);
        double squares = Arrays.stream(known).map(v -> (v - mean) * (v - mean)).sum();
        double t = n - 1 <= T.length ? T[n - 2] : 1.96;
        return new Estimate(mean, t * Math.sqrt(squares / (n - 1) / n), n);
    }

    public double low() { return mean - half; }

    public double high() { return mean + half; }
}
