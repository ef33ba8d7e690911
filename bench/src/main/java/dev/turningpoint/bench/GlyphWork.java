package dev.turningpoint.bench;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.Stream;
import dev.turningpoint.grpo.PolicyUpdate;
import dev.turningpoint.kernels.GrpoKernels;
import dev.turningpoint.kernels.OptimKernels;
import dev.turningpoint.kernels.SamplerKernels;
import dev.turningpoint.model.GlyphConfig;
import dev.turningpoint.model.GlyphModel;
import dev.turningpoint.optim.AdamW;
import dev.turningpoint.sampler.TrajectoryStore;
import dev.turningpoint.sampler.WavefrontSampler;
import dev.turningpoint.sampler.WavefrontSampler.Completions;
import dev.turningpoint.schedule.Schedule;
import dev.turningpoint.schedule.StepCoefficients;
import dev.turningpoint.schedule.StepTable;
import dev.turningpoint.schedule.StepType;
import dev.turningpoint.tensor.Parameters;
import dev.turningpoint.text.GlyphAlphabet;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.Locale;
import java.util.function.IntToDoubleFunction;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;

/**
 * Training of the glyph model, whole and in its parts, beside the same on the same weights in libtorch: velocities, their backward, a rollout with all ODE completions as the
 * published procedure does it (trajectories first, then every branch by itself), and an update (forward, GRPO loss, backward, clipping, AdamW).
 */
final class GlyphWork extends NetworkWork {
    private static final int STEPS = 8, WINDOW = 7, TRAJECTORIES = 16, MICRO_BATCH = 56;
    private static final double NOISE_LEVEL = 0.7, CLIP = 1e-4, RATE = 1e-4, DECAY = 1e-4, MAX_NORM = 1;
    private static final long SEED = 42;
    private static final String[] WORDS = {"CAT", "DRUM", "STAR", "K7QX"};

    static List<Offer> offers() {
        return List.of(
                offer(Kind.VELOCITY, "velocity of the glyph model", "64 rows", 64 * flops(), 1, ""),
                offer(Kind.BACKWARD, "velocity and its backward", "48 rows", 3 * 48 * flops(), 1, ""),
                offer(Kind.ROLLOUT, "rollout with all completions", TRAJECTORIES + " trajectories, 8 steps, 8 branches", TRAJECTORIES * 36 * flops(), 5,
                        "of 43 rows a trajectory the wavefront saves 7, whose velocities the trajectory has, and launches and small batches"),
                offer(Kind.UPDATE, "training update", TRAJECTORIES * WINDOW + " rows in micro-batches of " + MICRO_BATCH, 3. * TRAJECTORIES * WINDOW * flops(), 2,
                        "two thirds are matrix products, which are oneDNN's on both sides"));
    }

    private static Offer offer(Kind kind, String title, String shape, double flops, double goal, String reason) {
        var subject = new Subject(title, "glyph." + kind.name().toLowerCase(Locale.ROOT), shape, 0, flops, DType.F32, goal, false, reason);
        return new Offer(subject, kind == Kind.VELOCITY ? 1e-4 : 1e-3, (device, stream) -> new GlyphWork(device, stream, kind));
    }

    private enum Kind { VELOCITY, BACKWARD, ROLLOUT, UPDATE }

    /** Of the products of one row: layers and attention. */
    private static double flops() {
        GlyphConfig c = GlyphConfig.DEFAULT;
        double d = c.dim(), n = c.jointTokens(), blocks = c.depth() * (n * d * (4 * d + 2 * c.hidden()) + 2 * n * n * d);
        return 2 * (blocks + c.imageTokens() * d * 2 * c.patchSize());
    }

    private final Kind kind;
    private final StepTable steps = StepTable.of(Schedule.shifted(STEPS, 2), StepType.CPS, NOISE_LEVEL, 0, WINDOW);
    private final int[] keys = IntStream.range(0, TRAJECTORIES).toArray();
    private GlyphModel model;
    private GlyphPeer network;

    private GlyphWork(Device device, Stream stream, Kind kind) {
        super(device, stream);
        this.kind = kind;
    }

    @Override
    double arrange() {
        boolean trains = kind == Kind.BACKWARD || kind == Kind.UPDATE;
        model = resources.add(new GlyphModel(device, new GlyphModel.Options(GlyphConfig.DEFAULT, DType.F32, 64, MICRO_BATCH, trains ? GlyphModel.Trains.EVERYTHING : GlyphModel.Trains.NOTHING, null,
                trains ? EnumSet.of(Parameters.Keep.MOMENTS) : EnumSet.noneOf(Parameters.Keep.class))));
        model.loadBundled(stream);
        network = new GlyphPeer(model, stream);
        return switch (kind) {
            case VELOCITY -> velocity(64, false);
            case BACKWARD -> velocity(48, true);
            case ROLLOUT -> rollout();
            case UPDATE -> update();
        };
    }

    /** The words in turn, a row each. */
    private int[] words(int rows) {
        int n = model.conditionTokens();
        var words = new int[rows * n];
        for (int b = 0; b < rows; b++) System.arraycopy(GlyphAlphabet.encode(WORDS[b % WORDS.length], n), 0, words, b * n, n);
        return words;
    }

    /** The same for the peer, i64. */
    private Tensor conditions(int rows) {
        int[] words = words(rows);
        var t = torch.empty(rows, model.conditionTokens()).to(torch.ScalarType.Long);
        for (int i = 0; i < words.length; i++) Torch.memory(t).setAtIndex(ValueLayout.JAVA_LONG, i, words[i]);
        return t;
    }

    private double velocity(int rows, boolean backward) {
        Tensor x = torch.randn(rows, model.latentSize()), sigma = Torch.column(new double[] {0.95, 0.7, 0.5, 0.2}, rows), words = conditions(rows);
        return velocity(model, x, sigma, words.to(torch.ScalarType.Int), () -> network.velocity(x, sigma, words), backward, network.weights);
    }

    /** Latents of one rollout by ours, [window + 1, trajectories, pixels], and the noise that the peer has to draw to walk the same way. */
    private record Walk(Tensor[] latents, Tensor[] noise) {}

    private Walk walk(TrajectoryStore store) {
        int n = model.latentSize();
        Tensor all = get(store.latents().address(), torch.empty(store.latents().elements() / n, n)), words = conditions(TRAJECTORIES);
        var latents = new Tensor[WINDOW + 1];
        Arrays.setAll(latents, i -> all.narrow(0, store.row(i, 0), TRAJECTORIES));
        var noise = new Tensor[WINDOW];
        for (int i = 0; i < WINDOW; i++) {
            StepCoefficients s = step(i);
            noise[i] = Torch.times(latents[i + 1].sub(mean(latents[i], network.velocity(latents[i], sigma(i), words), s)), 1 / s.spread());
        }
        return new Walk(latents, noise);
    }

    private Tensor sigma(int step) {
        return Torch.column(new double[] {steps.schedule().sigma(step)}, TRAJECTORIES);
    }

    private StepCoefficients step(int i) {
        return steps.row(steps.trajectoryRow(i));
    }

    private static Tensor mean(Tensor x, Tensor v, StepCoefficients s) {
        return Torch.times(x, s.keep()).add(Torch.times(v, s.drift()));
    }

    private double rollout() {
        var kernels = resources.add(new SamplerKernels(device));
        var store = resources.add(new TrajectoryStore(device, TRAJECTORIES, WINDOW, model.latentSize(), false));
        var sampler = resources.add(new WavefrontSampler(device, kernels, model, steps, 1, TRAJECTORIES, Completions.SHARED_NOISE, DType.F32, model.maxBatch()));
        int[] conditions = words(TRAJECTORIES);
        ours = () -> sampler.run(stream, conditions, keys, SEED, store, 0);
        ours.run();
        Tensor images = get(sampler.images(), torch.empty((long) sampler.branches() * TRAJECTORIES, model.latentSize()));
        Walk walk = walk(store);
        Tensor words = conditions(TRAJECTORIES);
        var sigmas = new Tensor[STEPS];
        Arrays.setAll(sigmas, i -> sigma(i));
        peer = () -> stepByStep(walk, words, sigmas);
        return Torch.difference(EagerNetwork.cat(0, stepByStep(walk, words, sigmas)), images);
    }

    /** The published procedure: trajectories with their log-probabilities, then the pure ODE branch and each completion by itself. */
    private Tensor[] stepByStep(Walk walk, Tensor words, Tensor[] sigmas) {
        var images = new Tensor[1 + WINDOW];
        var x = walk.latents[0];
        var path = new Tensor[WINDOW];
        for (int i = 0; i < STEPS; i++) {
            var v = network.velocity(x, sigmas[i], words);
            if (i == WINDOW) {
                x = x.add(Torch.times(v, steps.schedule().sigma(i + 1) - steps.schedule().sigma(i)));
                continue;
            }
            path[i] = x;
            torch.randn_like(x);                                             // what a rollout draws; the walk is that of ours
            StepCoefficients s = step(i);
            var mean = mean(x, v, s);
            x = mean.add(Torch.times(walk.noise[i], s.spread()));
            x.sub(mean).square().neg().mean(1);
        }
        images[0] = x;
        for (int k = 0; k < WINDOW; k++) {
            var z = path[k];
            for (int i = k; i < STEPS; i++) z = z.add(Torch.times(network.velocity(z, sigmas[i], words), steps.schedule().sigma(i + 1) - steps.schedule().sigma(i)));
            images[1 + k] = z;
        }
        return images;
    }

    private double update() {
        var samplers = resources.add(new SamplerKernels(device));
        var grpo = resources.add(new GrpoKernels(device));
        var optim = resources.add(new OptimKernels(device));
        int rows = TRAJECTORIES * WINDOW;
        var store = resources.add(new TrajectoryStore(device, TRAJECTORIES, WINDOW, model.latentSize(), false));
        var sampler = resources.add(new WavefrontSampler(device, samplers, model, steps, 1, TRAJECTORIES, Completions.NONE, DType.F32, model.maxBatch()));
        int[] conditions = words(TRAJECTORIES);
        sampler.run(stream, conditions, keys, SEED, store, 0);
        var policy = resources.add(new PolicyUpdate(device, samplers, grpo, model, steps, store, new PolicyUpdate.Settings(CLIP, 5, false, 1), MICRO_BATCH, rows));
        var optimizer = resources.add(new AdamW(device, optim, model.trained(), new AdamW.Settings(OptimPeers.BETA1, OptimPeers.BETA2, OptimPeers.EPS, DECAY, MAX_NORM, 0, 1)));
        float[] recorded = policy.recordedLogProbs(stream);
        var advantages = new double[rows];
        for (int i = 0; i < rows; i++) advantages[i] = Math.sin(1.7 * i);
        ours = () -> {
            policy.accumulate(stream, keys, conditions, recorded, advantages, 0);
            optimizer.step(stream, RATE);
        };
        policy.accumulate(stream, keys, conditions, recorded, advantages, 0);

        // Rows as ours are: step by step, the trajectories of a step side by side
        Walk walk = walk(store);
        Tensor before = EagerNetwork.cat(0, Arrays.copyOf(walk.latents, WINDOW)), after = EagerNetwork.cat(0, Arrays.copyOfRange(walk.latents, 1, WINDOW + 1));
        Tensor sigma = column(rows, r -> steps.schedule().sigma(r / TRAJECTORIES)), keep = column(rows, r -> step(r / TRAJECTORIES).keep()), drift = column(rows, r -> step(r / TRAJECTORIES).drift());
        Tensor old = column(rows, r -> recorded[store.row(r / TRAJECTORIES, r % TRAJECTORIES)]).flatten();
        Tensor advantage = column(rows, r -> advantages[r % TRAJECTORIES * WINDOW + r / TRAJECTORIES]).flatten();
        var batch = new Batch(before, after, sigma, keep, drift, old, advantage, conditions(TRAJECTORIES).repeat(WINDOW, 1), MICRO_BATCH);
        Tensor[] p = network.weights.values().stream().map(Tensor::detach).toArray(Tensor[]::new), m = new Tensor[p.length], v = new Tensor[p.length];
        Arrays.setAll(m, i -> torch.zeros_like(p[i]));
        Arrays.setAll(v, i -> torch.zeros_like(p[i]));
        var step = new int[1];
        peer = () -> {
            Tensor[] g = batch.gradients(network);
            var factor = new Scalar(Math.min(1, MAX_NORM / (OptimPeers.norm(g).item_double() + 1e-6)));
            step[0]++;
            for (int i = 0; i < g.length; i++) OptimPeers.adamW(g[i].mul_(factor), p[i], m[i], v[i], RATE, DECAY, step[0]);
        };
        return gradientDifference(model, network.weights, batch.gradients(network));
    }

    private static Tensor column(int rows, IntToDoubleFunction value) {
        return Torch.column(IntStream.range(0, rows).mapToDouble(value).toArray(), rows);
    }

    /** The rows of an update. */
    private record Batch(Tensor before, Tensor after, Tensor sigma, Tensor keep, Tensor drift, Tensor old, Tensor advantage, Tensor words, int micro) {
        Tensor[] gradients(GlyphPeer network) {
            Tensor[] sum = null, weights = network.weights.values().toArray(Tensor[]::new);
            long rows = before.size(0);
            for (long from = 0; from < rows; from += micro) {
                long at = from, count = Math.min(micro, rows - from);
                Tensor[] part = Torch.recorded(() -> {
                    var velocity = network.velocity(before.narrow(0, at, count), sigma.narrow(0, at, count), words.narrow(0, at, count));
                    var mean = before.narrow(0, at, count).mul(keep.narrow(0, at, count)).add(velocity.mul(drift.narrow(0, at, count)));
                    var ratio = after.narrow(0, at, count).sub(mean).square().neg().mean(1).sub(old.narrow(0, at, count)).exp();
                    var a = advantage.narrow(0, at, count).neg();
                    var clipped = Torch.clamp(ratio, 1 - CLIP, 1 + CLIP);
                    var loss = Torch.times(torch.maximum(a.mul(ratio), a.mul(clipped)).sum(), 1. / rows);
                    return Torch.gradients(new Tensor[] {loss}, weights, torch.ones(1).squeeze());
                });
                if (sum == null) sum = part;
                else for (int i = 0; i < sum.length; i++) sum[i].add_(part[i]);
            }
            return sum;
        }
    }
}
