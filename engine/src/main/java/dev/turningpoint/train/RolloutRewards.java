package dev.turningpoint.train;

import dev.turningpoint.data.Prompt;
import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.Event;
import dev.turningpoint.gpu.HostMemory;
import dev.turningpoint.gpu.Resources;
import dev.turningpoint.gpu.Stream;
import dev.turningpoint.image.ImageBatch;
import dev.turningpoint.pipeline.Pipeline;
import dev.turningpoint.reward.RewardBatch;
import dev.turningpoint.reward.RewardMix;
import dev.turningpoint.sampler.TrajectoryStore;
import dev.turningpoint.sampler.WavefrontSampler;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.BooleanSupplier;

/**
 * Rolls prompts out part by part and has each part's latents decoded and its images scored while the device denoises the next one. All parts of an iteration run on the same weights, so
 * that overlapping changes time and nothing else. What is trained on is scored on all branches, what is held out on the trajectories themselves.
 */
final class RolloutRewards implements AutoCloseable {
    /** Bytes of the images that wait for their rewards, most, unless two parts have more. */
    private static final long IMAGES = 2L << 30;

    private final WavefrontSampler sampler;
    private final Pipeline pipeline;
    private final RewardMix mix;
    private final Stream stream;
    private final int trajectories;
    private final BooleanSupplier stop;
    private final Resources resources = new Resources();
    private final HostMemory latents;
    private final HostMemory[] images;
    private final HostMemory shown;
    private final int shownCount;
    private final Event[] done;

    /**
     * Rewards of a rollout.
     *
     * @param summed  what is trained on, R_0 .. R_n of each trajectory, [trajectories * (n + 1)]; a sampler without completions earns R_n alone, which then
     *                stands for all
     * @param reached R_n of each reward by its name, held out or not, [trajectories]; NaN where it does not apply
     */
    record Rewards(float[] summed, Map<String, float[]> reached) {}

    /** One queued piece of work: a part's images under one term. */
    private record Scores(int part, int term, CompletableFuture<float[]> result) {}

    /**
     * @param trajectories of one rollout, in parts of the sampler's capacity
     * @param shown        images of the first trajectories that are kept after a rollout
     * @param stop         whether to give up waiting for rewards
     */
    RolloutRewards(Device device, WavefrontSampler sampler, Pipeline pipeline, RewardMix mix, Stream stream, int trajectories, int shown, BooleanSupplier stop) {
        this.sampler = sampler;
        this.pipeline = pipeline;
        this.mix = mix;
        this.stream = stream;
        this.trajectories = trajectories;
        this.stop = stop;
        shownCount = shown;
        done = new Event[(trajectories + sampler.capacity() - 1) / sampler.capacity()];
        long part = imageBytes() * sampler.capacity() * sampler.branches();
        images = new HostMemory[(int) Math.min(done.length, Math.max(2, IMAGES / part))];   // at least one is scored while another is filled
        try {
            latents = resources.add(HostMemory.allocate(DType.F32.bytes((long) trajectories * sampler.branches() * pipeline.network().latentSize())));
            for (int i = 0; i < images.length; i++) {
                images[i] = resources.add(HostMemory.allocate(part));
            }
            this.shown = resources.add(HostMemory.allocate(imageBytes() * Math.max(1, shown)));
            for (int i = 0; i < done.length; i++) {
                done[i] = resources.add(device.newEvent());
            }
        } catch (RuntimeException | Error e) {
            resources.closeAfter(e);
            throw e;
        }
    }

    /**
     * @param prompts    of each trajectory
     * @param group      number of each trajectory's prompt; null for an evaluation, whose rewards are not normalised
     * @param conditions [trajectories * tokens]
     * @param first      key of the first trajectory's noise, the others count on
     * @param store      receives latents and log-probabilities; null: not kept
     * @return null if {@code stop} came first
     */
    Rewards run(List<Prompt> prompts, int[] group, int[] conditions, int first, long seed, TrajectoryStore store) {
        List<Scores> scores = new ArrayList<>();
        try {
            if (!rollOut(prompts, conditions, first, seed, store, scores) || !await(scores, done.length)) {
                mix.cancel();
                settle(scores);
                return null;
            }
        } catch (RuntimeException | Error e) {
            mix.cancel();
            settle(scores);
            throw e;
        }
        return rewards(prompts, group, first, scores);
    }

    /** Waits until nobody reads the images any more. */
    private static void settle(List<Scores> scores) {
        scores.forEach(s -> s.result.handle((_, _) -> null).join());
    }

    /** Whether the scores of the parts before {@code end} came before the stop. */
    private boolean await(List<Scores> scores, int end) {
        for (Scores s : scores) {
            if (s.part < end && !await(s.result)) {
                return false;
            }
        }
        return true;
    }

    private boolean await(CompletableFuture<float[]> scores) {
        while (!stop.getAsBoolean()) {
            try {
                scores.get(100, TimeUnit.MILLISECONDS);
                return true;
            } catch (TimeoutException e) {
                // look for the stop, wait on
            } catch (ExecutionException e) {
                return RewardMix.await(scores) != null;   // throws what went wrong
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                return false;
            }
        }
        return scores.isDone() && RewardMix.await(scores) != null;
    }

    /** Denoises all parts; {@code scores} receives those of each part. Whether it came to an end before the stop. */
    private boolean rollOut(List<Prompt> prompts, int[] conditions, int first, long seed, TrajectoryStore store, List<Scores> scores) {
        int tokens = conditions.length / trajectories, capacity = sampler.capacity();
        for (int part = 0; part < done.length; part++) {
            int from = part * capacity, count = count(part);
            var keys = new int[count];
            Arrays.setAll(keys, i -> first + from + i);
            sampler.run(stream, Arrays.copyOfRange(conditions, from * tokens, (from + count) * tokens), keys, seed, store, from);
            stream.copyToHost(latents(from, count), sampler.images());
            stream.record(done[part]);
            if (part > 0 && !score(part - 1, prompts, first, scores)) {      // while the device works on this part
                return false;
            }
        }
        return score(done.length - 1, prompts, first, scores);
    }

    private int count(int part) {
        return Math.min(sampler.capacity(), trajectories - part * sampler.capacity());
    }

    private Rewards rewards(List<Prompt> prompts, int[] group, int first, List<Scores> scores) {
        int n = sampler.steps().window(), terms = mix.terms().size();
        var of = new float[terms][];
        Map<String, float[]> reached = new LinkedHashMap<>();
        for (int t = 0; t < terms; t++) {
            of[t] = new float[trajectories * (n + 1)];
            reached.put(mix.terms().get(t).name(), new float[trajectories]);
        }
        for (Scores s : scores) {
            float[] scored = RewardMix.await(s.result);
            RewardMix.Term term = mix.terms().get(s.term);
            int from = s.part * sampler.capacity(), count = count(s.part);
            int[] branches = branches(term);
            for (int i = 0; i < scored.length; i++) {
                int k = sampler.rewardIndex(branches[i / count]), row = (from + i % count) * (n + 1);
                if (sampler.branches() == 1) Arrays.fill(of[s.term], row, row + n + 1, scored[i]);
                else of[s.term][row + k] = scored[i];
                if (k == n) reached.get(term.name())[from + i % count] = scored[i];
            }
        }
        return new Rewards(mix.sum(of, n + 1, group, row -> "'" + prompts.get(row).caption() + "' (trajectory " + (first + row) + ")"), reached);
    }

    /** The branches that a term scores: all, or that of R_n alone. */
    private int[] branches(RewardMix.Term term) {
        int n = sampler.steps().window();
        return java.util.stream.IntStream.range(0, sampler.branches()).filter(b -> term.trained() || sampler.rewardIndex(b) == n).toArray();
    }

    /** Latents of the last rollout, one part's: f32 [branches * count, latentSize]. */
    private MemorySegment latents(int from, int count) {
        long bytes = DType.F32.bytes((long) sampler.branches() * pipeline.network().latentSize());
        return latents.segment().asSlice(bytes * from, bytes * count);
    }

    private long imageBytes() {
        return DType.F32.bytes((long) pipeline.channels() * pipeline.height() * pipeline.width());
    }

    private ImageBatch batch(HostMemory memory, int count) {
        return new ImageBatch(memory.segment(), count, pipeline.channels(), pipeline.height(), pipeline.width());
    }

    /** Images of the first trajectories of the last rollout, f32 [shown, channels, height, width]. */
    ImageBatch shown() {
        return batch(shown, shownCount);
    }

    /** Decodes a part once its images' memory is free, and hands it to the rewards; false if the stop came first. */
    private boolean score(int part, List<Prompt> prompts, int first, List<Scores> scores) {
        done[part].synchronize();
        if (!await(scores, part - images.length + 1)) {
            return false;
        }
        int from = part * sampler.capacity(), count = count(part);
        ImageBatch all = batch(images[part % images.length], sampler.branches() * count);
        pipeline.decode(latents(from, count), all);
        if (from < shownCount) {
            long bytes = imageBytes() * Math.min(count, shownCount - from);
            MemorySegment.copy(all.data(), 0, shown.segment(), imageBytes() * from, bytes);
        }
        List<Prompt> of = prompts.subList(from, from + count);
        for (int term = 0; term < mix.terms().size(); term++) {
            int[] branches = branches(mix.terms().get(term));
            int lowest = branches[0];
            List<Prompt> repeated = new ArrayList<>();
            for (int b = 0; b < branches.length; b++) {
                repeated.addAll(of);
            }
            // A term's branches lie one after another: all of them, or one.
            var batch = new RewardBatch(all.slice(lowest * count, branches.length * count), repeated, i -> "'" + of.get(i % count).caption() + "' (trajectory "
                    + (first + from + i % count) + ", R_" + sampler.rewardIndex(lowest + i / count) + ")");
            scores.add(new Scores(part, term, mix.scoreAsync(term, batch)));
        }
        return true;
    }

    @Override
    public void close() {
        resources.close();
    }
}
