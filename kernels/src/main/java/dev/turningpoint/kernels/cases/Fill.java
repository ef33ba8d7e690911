package dev.turningpoint.kernels.cases;

import java.util.Random;

/** What an array holds before a case runs: the value of each element, drawn in the order of the elements. */
@FunctionalInterface
public interface Fill {
    /** The value of element {@code i}, before it is rounded to the array's type. */
    double at(long i, Random random);

    /** Normal with mean 0. */
    static Fill gaussian(double std) {
        return (_, random) -> std * random.nextGaussian();
    }

    /** Evenly between {@code low} and {@code high}. */
    static Fill uniform(double low, double high) {
        return (_, random) -> low + (high - low) * random.nextDouble();
    }

    /** 0, 1, .. {@code count - 1}, and again from 0: indices of which the first {@code count} are all different. */
    static Fill cyclic(int count) {
        return (i, _) -> i % count;
    }

    /** These values, again and again. */
    static Fill values(float... values) {
        return (i, _) -> values[(int) (i % values.length)];
    }
}
