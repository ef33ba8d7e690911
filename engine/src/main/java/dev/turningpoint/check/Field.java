package dev.turningpoint.check;

/**
 * The velocity field that stands for a network in {@code trajectory_*}, in double: {@code A x + b + u tau + P p}, or
 * {@code W2 tanh(W1 x + u tau + P p + b1) + b2}; x is a flattened latent, tau the timestep over 1000, p the pooled condition.
 */
final class Field {
    private final boolean linear;
    private final double[] first;
    private final double[] bias;
    private final double[] time;
    private final double[] condition;
    private final double[] second;
    private final double[] secondBias;

    Field(Golden golden) {
        linear = golden.has("vel.A");
        first = golden.f64(linear ? "vel.A" : "vel.W1");
        bias = golden.f64(linear ? "vel.b" : "vel.b1");
        time = golden.f64("vel.u");
        condition = golden.f64("vel.P");
        second = linear ? null : golden.f64("vel.W2");
        secondBias = linear ? null : golden.f64("vel.b2");
    }

    /**
     * @param x      [batch, n]
     * @param pooled [batch, 6]
     * @return velocities [batch, n]
     */
    float[] velocity(float[] x, double tau, double[] pooled, int batch) {
        int n = x.length / batch, p = pooled.length / batch, hidden = bias.length;
        var out = new float[x.length];
        for (int b = 0; b < batch; b++) {
            var h = new double[hidden];
            for (int i = 0; i < hidden; i++) {
                double sum = bias[i] + time[i] * tau;
                for (int j = 0; j < n; j++) sum += first[i * n + j] * x[b * n + j];
                for (int j = 0; j < p; j++) sum += condition[i * p + j] * pooled[b * p + j];
                h[i] = linear ? sum : Math.tanh(sum);
            }
            for (int i = 0; i < n; i++) {
                double sum = linear ? h[i] : secondBias[i];
                if (!linear) for (int j = 0; j < hidden; j++) sum += second[i * hidden + j] * h[j];
                out[b * n + i] = (float) sum;
            }
        }
        return out;
    }
}
