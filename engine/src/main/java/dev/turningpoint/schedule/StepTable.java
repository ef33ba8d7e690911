package dev.turningpoint.schedule;

/**
 * The steps of a rollout: stochastic inside the window {@code [windowStart, windowEnd)}, deterministic outside and in every ODE branch. On the device it is one
 * table of {@code 2 steps} coefficients: the trajectory's step i at row i, the ODE step i at row {@code steps + i}.
 */
public final class StepTable {
    private final Schedule schedule;
    private final int windowStart;
    private final int windowEnd;
    private final StepCoefficients[] rows;

    public StepTable(Schedule schedule, StepType type, double noiseLevel, int windowStart, int windowEnd) {
        if (windowStart < 0 || windowEnd < windowStart || windowEnd > schedule.steps()) {
            throw new IllegalArgumentException("a window of steps " + windowStart + " to " + windowEnd + " does not lie within " + schedule.steps() + " steps");
        }
        this.schedule = schedule;
        this.windowStart = windowStart;
        this.windowEnd = windowEnd;
        int steps = schedule.steps();
        rows = new StepCoefficients[2 * steps];
        for (int i = 0; i < steps; i++) {
            boolean inside = i >= windowStart && i < windowEnd;
            rows[i] = StepCoefficients.of(inside ? type : StepType.ODE, schedule, i, noiseLevel);
            rows[steps + i] = StepCoefficients.of(StepType.ODE, schedule, i, 0);
        }
    }

    /** Deterministic from the first step to the last. */
    public static StepTable ode(Schedule schedule) {
        return new StepTable(schedule, StepType.ODE, 0, 0, 0);
    }

    public Schedule schedule() {
        return schedule;
    }

    public int steps() {
        return schedule.steps();
    }

    public int windowStart() {
        return windowStart;
    }

    public int windowEnd() {
        return windowEnd;
    }

    /** Trained steps per trajectory, n. */
    public int window() {
        return windowEnd - windowStart;
    }

    /** Table row of the trajectory's step {@code i}. */
    public int trajectoryRow(int i) {
        return i;
    }

    /** Table row of the ODE step {@code i}. */
    public int odeRow(int i) {
        return steps() + i;
    }

    public StepCoefficients row(int row) {
        return rows[row];
    }

    /** The table as the kernels read it, f32 [2 steps, 8]. */
    public float[] floats() {
        var out = new float[rows.length * 8];
        for (int i = 0; i < rows.length; i++) {
            System.arraycopy(rows[i].floats(), 0, out, 8 * i, 8);
        }
        return out;
    }
}
