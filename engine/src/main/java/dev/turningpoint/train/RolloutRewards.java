package dev.turningpoint.train;

import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.Event;
import dev.turningpoint.gpu.HostMemory;
import dev.turningpoint.gpu.Resources;
import dev.turningpoint.gpu.Stream;
import dev.turningpoint.image.ImageBatch;
import dev.turningpoint.reward.Reward;
import dev.turningpoint.sampler.TrajectoryStore;
import dev.turningpoint.sampler.WavefrontSampler;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CompletableFuture;

/**
 * Rolls prompts out part by part and has each part's images scored while the device denoises the next one. All parts of an iteration run on the same weights, so
 * that overlapping changes time and nothing else.
 */
final class RolloutRewards implements AutoCloseable {
    private final WavefrontSampler sampler;
    private final Reward reward;
    private final Stream stream;
    private final int trajectories;
    private final int height;
    private final int width;
    private final Resources resources = new Resources();
    private final HostMemory images;
    private final Event[] done;

    /** @param trajectories of one rollout, in parts of the sampler's capacity */
    RolloutRewards(Device device, WavefrontSampler sampler, Reward reward, Stream stream, int trajectories, int height, int width) {
        this.sampler = sampler;
        this.reward = reward;
        this.stream = stream;
        this.trajectories = trajectories;
        this.height = height;
        this.width = width;
        done = new Event[(trajectories + sampler.capacity() - 1) / sampler.capacity()];
        try {
            images = resources.add(HostMemory.allocate(4L * trajectories * sampler.branches() * height * width));
            for (int i = 0; i < done.length; i++) {
                done[i] = resources.add(device.newEvent());
            }
        } catch (RuntimeException | Error e) {
            resources.closeAfter(e);
            throw e;
        }
    }

    /**
     * Rewards R_0 .. R_n of each trajectory, [trajectories * (n + 1)]; a sampler without completions earns R_n alone, which then stands for all.
     *
     * @param prompts    of each trajectory
     * @param conditions [trajectories * tokens]
     * @param first      key of the first trajectory's noise, the others count on
     * @param store      receives latents and log-probabilities; null: not kept
     */
    float[] run(List<String> prompts, int[] conditions, int first, long seed, TrajectoryStore store) {
        List<CompletableFuture<float[]>> scores = new ArrayList<>();
        try {
            rollOut(prompts, conditions, first, seed, store, scores);
        } catch (RuntimeException | Error e) {
            scores.forEach(score -> score.handle((_, _) -> null).join());   // they read the images, which are about to be closed
            throw e;
        }
        return rewards(prompts, first, scores);
    }

    /** Denoises all parts; {@code scores} receives those of each part. */
    private void rollOut(List<String> prompts, int[] conditions, int first, long seed, TrajectoryStore store, List<CompletableFuture<float[]>> scores) {
        int tokens = conditions.length / trajectories, capacity = sampler.capacity();
        for (int part = 0; part < done.length; part++) {
            int from = part * capacity, count = Math.min(capacity, trajectories - from);
            var keys = new int[count];
            Arrays.setAll(keys, i -> first + from + i);
            sampler.run(stream, Arrays.copyOfRange(conditions, from * tokens, (from + count) * tokens), keys, seed, store, from);
            stream.copyToHost(images(from, count).data(), sampler.images());
            stream.record(done[part]);
            if (part > 0) {
                scores.add(score(part - 1, prompts));      // while the device works on this part
            }
        }
        scores.add(score(done.length - 1, prompts));
    }

    private float[] rewards(List<String> prompts, int first, List<CompletableFuture<float[]>> scores) {
        int capacity = sampler.capacity();
        int n = sampler.steps().window();
        var rewards = new float[trajectories * (n + 1)];
        for (int part = 0; part < done.length; part++) {
            float[] scored = Reward.await(scores.get(part));
            int from = part * capacity, count = Math.min(capacity, trajectories - from);
            for (int branch = 0; branch < sampler.branches(); branch++) {
                for (int i = 0; i < count; i++) {
                    float r = scored[branch * count + i];
                    int k = sampler.rewardIndex(branch), row = (from + i) * (n + 1);
                    if (!Float.isFinite(r)) {
                        throw new TrainingException("reward " + reward.name() + " of '" + prompts.get(from + i) + "' (trajectory " + (first + from + i) + ", R_" + k + ") is " + r
                                + "; a reward must be a finite number");
                    }
                    if (sampler.branches() == 1) {
                        Arrays.fill(rewards, row, row + n + 1, r);
                    } else {
                        rewards[row + k] = r;
                    }
                }
            }
        }
        return rewards;
    }

    /** Images of the last rollout, one part's: f32 [branches * count, height, width]. */
    ImageBatch images(int from, int count) {
        long pixels = 4L * height * width;
        return new ImageBatch(images.segment().asSlice(pixels * sampler.branches() * from, pixels * sampler.branches() * count), sampler.branches() * count, height, width);
    }

    private CompletableFuture<float[]> score(int part, List<String> prompts) {
        done[part].synchronize();
        int capacity = sampler.capacity(), from = part * capacity, count = Math.min(capacity, trajectories - from);
        List<String> targets = new ArrayList<>();
        for (int branch = 0; branch < sampler.branches(); branch++) {
            targets.addAll(prompts.subList(from, from + count));
        }
        return reward.scoreAsync(images(from, count), targets, i -> "'" + prompts.get(from + i % count) + "' (trajectory " + (from + i % count) + ", R_" + sampler.rewardIndex(i / count) + ")");
    }

    @Override
    public void close() {
        resources.close();
    }
}
