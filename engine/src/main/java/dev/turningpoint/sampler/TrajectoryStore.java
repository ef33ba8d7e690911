package dev.turningpoint.sampler;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.tensor.Tensor;
import dev.turningpoint.tensor.Workspace;

/**
 * What training needs of a rollout: the latents before and after every step of the window, f32 [n + 1, trajectories, latent], and the log-probability of each
 * step as it was drawn, f32 [n, trajectories]; for normalized ratios also the mean of each step, f32 [n, trajectories, latent]. Rollouts of several parts fill it
 * side by side.
 */
public final class TrajectoryStore implements AutoCloseable {
    private final Workspace memory = new Workspace("latents of the trajectories of one iteration");
    private final int trajectories;
    private final int window;
    private final int latentSize;
    private final int[] windowStarts;
    private final Tensor latents;
    private final Tensor logProbs;
    private final Tensor means;

    /** @param keepMeans whether the means of the steps are kept */
    public TrajectoryStore(Device device, int trajectories, int window, int latentSize, boolean keepMeans) {
        this.trajectories = trajectories;
        this.window = window;
        this.latentSize = latentSize;
        windowStarts = new int[trajectories];
        latents = memory.tensor("latents", DType.F32, window + 1, trajectories, latentSize);
        logProbs = memory.tensor("log-probabilities", DType.F32, window, trajectories);
        means = keepMeans ? memory.tensor("means of the steps", DType.F32, window, trajectories, latentSize) : null;
        memory.allocate(device);
    }

    public int trajectories() {
        return trajectories;
    }

    public int window() {
        return window;
    }

    public int latentSize() {
        return latentSize;
    }

    public Tensor latents() {
        return latents;
    }

    public Tensor logProbs() {
        return logProbs;
    }

    /** Means of the steps as they were drawn, rows as of {@link #latents}; null where they are not kept. */
    public Tensor means() {
        return means;
    }

    /** Row of {@link #latents} that holds a trajectory before window step {@code step}; its latents after that step stand at {@code step + 1}. */
    public int row(int step, int trajectory) {
        return step * trajectories + trajectory;
    }

    /** First step of the schedule in the window of a trajectory. */
    public int windowStart(int trajectory) {
        return windowStarts[trajectory];
    }

    void windowStarts(int trajectory, int step) {
        windowStarts[trajectory] = step;
    }

    long latentAddress(int step, int trajectory) {
        return latents.address((long) row(step, trajectory) * latentSize);
    }

    long logProbAddress(int step, int trajectory) {
        return logProbs.address(row(step, trajectory));
    }

    long meanAddress(int step, int trajectory) {
        return means == null ? 0 : means.address((long) row(step, trajectory) * latentSize);
    }

    @Override
    public void close() {
        memory.close();
    }
}
