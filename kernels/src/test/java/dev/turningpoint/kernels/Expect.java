package dev.turningpoint.kernels;

import static org.junit.jupiter.api.Assertions.fail;

import dev.turningpoint.gpu.DType;
import java.util.function.UnaryOperator;

/** Comparison of device results with float64, and gradients by differences of a float64 forward. */
final class Expect {
    private Expect() {
    }

    /** Every element within {@code relative * |expected| + absolute}; reports the worst one. */
    static void close(String what, double[] expected, float[] actual, double relative, double absolute) {
        double worst = 0;
        int at = -1;
        for (int i = 0; i < expected.length; i++) {
            double error = Math.abs(expected[i] - actual[i]) / (relative * Math.abs(expected[i]) + absolute);
            if (!(error <= worst)) {
                worst = error;
                at = i;
                if (Double.isNaN(error)) {
                    break;
                }
            }
        }
        if (!(worst <= 1)) {
            fail(what + "[" + at + "] is " + actual[at] + ", not " + expected[at] + ": " + worst + " times the tolerance, of " + expected.length + " elements");
        }
    }

    /** As {@link #close} for results in a storage type: the rounding to bf16 is allowed on top. */
    static void stored(String what, DType type, double[] expected, float[] actual, double relative, double absolute) {
        close(what, expected, actual, type == DType.BF16 ? relative + 1.0 / 256 : relative, absolute);
    }

    static double[] doubles(float[] values) {
        double[] d = new double[values.length];
        for (int i = 0; i < d.length; i++) {
            d[i] = values[i];
        }
        return d;
    }

    /** Gradient of {@code sum(weight * forward(at))} with respect to {@code at}, by central differences. */
    static double[] differences(UnaryOperator<double[]> forward, double[] at, double[] weight) {
        double[] gradient = new double[at.length];
        double step = 1e-5;
        for (int i = 0; i < at.length; i++) {
            double x = at[i];
            at[i] = x + step;
            double above = dot(forward.apply(at), weight);
            at[i] = x - step;
            double below = dot(forward.apply(at), weight);
            at[i] = x;
            gradient[i] = (above - below) / (2 * step);
        }
        return gradient;
    }

    static double dot(double[] a, double[] b) {
        double sum = 0;
        for (int i = 0; i < a.length; i++) {
            sum += a[i] * b[i];
        }
        return sum;
    }

    /** Root mean square of the difference. */
    static double rms(double[] expected, float[] actual) {
        double sum = 0;
        for (int i = 0; i < expected.length; i++) {
            sum += (expected[i] - actual[i]) * (expected[i] - actual[i]);
        }
        return Math.sqrt(sum / expected.length);
    }
}
