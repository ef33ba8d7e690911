package dev.turningpoint.schedule;

import java.util.Arrays;

/**
 * The steps of a rollout: stochastic inside a trajectory's window, deterministic outside and in every ODE branch. On the device it is a table of coefficients, in
 * blocks of {@code steps} rows: stochastic steps, where the window can lie; ODE steps; and, where completions take several steps at once, those.
 */
public final class StepTable {
    private final Schedule schedule;
    private final Window window;
    private final int stride;
    private final StepCoefficients[] rows;

    /**
     * @param noiseLevels      a of each step, [steps]
     * @param completionStride steps of the schedule that ODE branches take at once: 1 is exact, more costs fewer forwards and is an approximation. Branches meet on
     *                         every {@code completionStride}-th step, counted from the end
     */
    public StepTable(Schedule schedule, StepType type, double[] noiseLevels, Window window, int completionStride) {
        int steps = schedule.steps();
        if (window.end() > steps || noiseLevels.length != steps || completionStride < 1) {
            throw new IllegalArgumentException("a window of steps " + window.first() + " to " + window.end() + ", " + noiseLevels.length + " noise levels and completions of every "
                    + completionStride + "th step do not suit " + steps + " steps");
        }
        this.schedule = schedule;
        this.window = window;
        stride = completionStride;
        rows = new StepCoefficients[(stride == 1 ? 2 : 3) * steps];
        for (int i = 0; i < steps; i++) {
            boolean stochastic = i >= window.first() && i < window.end();
            rows[i] = StepCoefficients.of(stochastic ? type : StepType.ODE, schedule, i, noiseLevels[i]);
            rows[steps + i] = StepCoefficients.of(StepType.ODE, schedule, i, 0);
            if (stride > 1) {
                rows[2 * steps + i] = StepCoefficients.ode(schedule.sigma(i), schedule.sigma(steps - (steps - 1 - i) / stride * stride));
            }
        }
    }

    private StepTable(StepTable from, StepCoefficients[] rows) {
        schedule = from.schedule;
        window = from.window;
        stride = from.stride;
        this.rows = rows;
    }

    /** One noise level, the window {@code [windowStart, windowEnd)} for every trajectory, exact completions. */
    public static StepTable of(Schedule schedule, StepType type, double noiseLevel, int windowStart, int windowEnd) {
        var levels = new double[schedule.steps()];
        Arrays.fill(levels, noiseLevel);
        return new StepTable(schedule, type, levels, Window.fixed(windowStart, windowEnd), 1);
    }

    /** Deterministic from the first step to the last. */
    public static StepTable ode(Schedule schedule) {
        return of(schedule, StepType.ODE, 0, 0, 0);
    }

    /** With the KL of the published code, see {@link StepCoefficients#withPublishedKl}. */
    public StepTable withPublishedKl() {
        return new StepTable(this, Arrays.stream(rows).map(StepCoefficients::withPublishedKl).toArray(StepCoefficients[]::new));
    }

    public Schedule schedule() {
        return schedule;
    }

    public int steps() {
        return schedule.steps();
    }

    /** Trained steps per trajectory, n. */
    public int window() {
        return window.size();
    }

    /** First stochastic step of a trajectory, by the key of its noise. */
    public int windowStart(int trajectory) {
        return window.start(trajectory);
    }

    /** Whether trajectories of a rollout can have different windows. */
    public boolean windowsDiffer() {
        return window.move() == Window.Move.RANDOM;
    }

    /** Table row of the trajectory's step {@code i}, stochastic where a window can lie. */
    public int trajectoryRow(int i) {
        return i;
    }

    /** Table row of the ODE step {@code i}. */
    public int odeRow(int i) {
        return steps() + i;
    }

    /** Table row of the step that an ODE branch takes at step {@code i}. */
    public int completionRow(int i) {
        return (stride == 1 ? 1 : 2) * steps() + i;
    }

    /** Whether ODE branches that began before step {@code i} are at its sigma; those that begin there always are. */
    public boolean completionsMeet(int i) {
        return (steps() - i) % stride == 0;
    }

    public StepCoefficients row(int row) {
        return rows[row];
    }

    /** Rows of the table. */
    public int rows() {
        return rows.length;
    }

    /** The table as the kernels read it, f32 [rows, 8]. */
    public float[] floats() {
        var out = new float[rows.length * 8];
        for (int i = 0; i < rows.length; i++) {
            System.arraycopy(rows[i].floats(), 0, out, 8 * i, 8);
        }
        return out;
    }
}
