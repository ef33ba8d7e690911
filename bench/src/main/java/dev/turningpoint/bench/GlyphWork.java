package dev.turningpoint.bench;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.Resources;
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
import dev.turningpoint.tensor.ParameterLayout.Slot;
import dev.turningpoint.tensor.Parameters;
import dev.turningpoint.tensor.Tensor;
import dev.turningpoint.tensor.Workspace;
import dev.turningpoint.text.GlyphAlphabet;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.global.torch;

/**
 * Training of the glyph model, whole and in its parts, beside the same on the same weights in libtorch: velocities, their backward, a rollout with all ODE completions as the
 * published procedure does it (trajectories first, then every branch by itself), and an update (forward, GRPO loss, backward, clipping, AdamW).
 */
final class GlyphWork implements Work {
    private static final int STEPS = 8, WINDOW = 7, TRAJECTORIES = 16, MICRO_BATCH = 56;
    private static final double NOISE_LEVEL = 0.7, CLIP = 1e-4, RATE = 1e-4, BETA1 = 0.9, BETA2 = 0.999, ADAM_EPS = 1e-8, DECAY = 1e-4, MAX_NORM = 1;
    private static final long SEED = 42;
    private static final String[] WORDS = {"CAT", "DRUM", "STAR", "K7QX"};

    static List<Offer> offers() {
        return List.of(
                new Offer(new Subject("velocity of the glyph model", "glyph.velocity", "64 rows", 0, 64 * flops(), DType.F32, 1, false, ""), (device, stream) -> new GlyphWork(device, stream, Kind.VELOCITY)),
                new Offer(new Subject("velocity and its backward", "glyph.backward", "48 rows", 0, 3 * 48 * flops(), DType.F32, 1, false, ""), (device, stream) -> new GlyphWork(device, stream, Kind.BACKWARD)),
                new Offer(new Subject("rollout with all completions", "glyph.rollout", TRAJECTORIES + " trajectories, 8 steps, 8 branches", 0, TRAJECTORIES * 36 * flops(), DType.F32, 5, false,
                        "of 43 rows a trajectory the wavefront saves 7, whose velocities the trajectory has, and launches and small batches"), (device, stream) -> new GlyphWork(device, stream, Kind.ROLLOUT)),
                new Offer(new Subject("training update", "glyph.update", TRAJECTORIES * WINDOW + " rows in micro-batches of " + MICRO_BATCH, 0, 3. * TRAJECTORIES * WINDOW * flops(), DType.F32, 2, false,
                        "two thirds are matrix products, which are oneDNN's on both sides"), (device, stream) -> new GlyphWork(device, stream, Kind.UPDATE)));
    }

    private enum Kind { VELOCITY, BACKWARD, ROLLOUT, UPDATE }

    /** Of the products of one row: layers and attention. */
    private static double flops() {
        GlyphConfig c = GlyphConfig.DEFAULT;
        double d = c.dim(), n = c.jointTokens(), blocks = c.depth() * (n * d * (4 * d + 2 * c.hidden()) + 2 * n * n * d);
        return 2 * (blocks + c.imageTokens() * d * 2 * c.patchSize());
    }

    private final Kind kind;
    private final Stream stream;
    private final Resources resources = new Resources();
    private final GlyphModel model;
    private final GlyphPeer peer;
    private final StepTable steps = StepTable.of(Schedule.shifted(STEPS, 2), StepType.CPS, NOISE_LEVEL, 0, WINDOW);
    private final int[] keys = IntStream.range(0, TRAJECTORIES).toArray();
    private final int[] words;
    private final double error;
    private Runnable ours, theirs;

    private GlyphWork(Device device, Stream stream, Kind kind) {
        this.kind = kind;
        this.stream = stream;
        GlyphConfig c = GlyphConfig.DEFAULT;
        boolean trains = kind == Kind.BACKWARD || kind == Kind.UPDATE;
        model = resources.add(new GlyphModel(device, new GlyphModel.Options(c, DType.F32, 64, MICRO_BATCH, trains ? GlyphModel.Trains.EVERYTHING : GlyphModel.Trains.NOTHING, null,
                trains ? EnumSet.of(Parameters.Keep.MOMENTS) : EnumSet.noneOf(Parameters.Keep.class))));
        model.loadBundled(stream);
        peer = new GlyphPeer(model, stream);
        words = new int[Math.max(64, TRAJECTORIES) * c.tokens()];
        for (int b = 0; b < words.length / c.tokens(); b++) System.arraycopy(GlyphAlphabet.encode(WORDS[b % WORDS.length], c.tokens()), 0, words, b * c.tokens(), c.tokens());
        resources.add(stream::synchronize);
        error = switch (kind) {
            case VELOCITY -> velocity(device, 64, false);
            case BACKWARD -> velocity(device, 48, true);
            case ROLLOUT -> rollout(device, new SamplerKernels(device));
            case UPDATE -> update(device);
        };
        double tolerance = kind == Kind.ROLLOUT ? 1e-3 : kind == Kind.VELOCITY ? 1e-4 : 1e-3;
        if (!(error <= tolerance)) throw new IllegalStateException(kind + ": ours and the peer's results differ by " + error + " of the largest value");
    }

    private org.bytedeco.pytorch.Tensor conditions(int rows) {
        var t = torch.empty(rows, GlyphConfig.DEFAULT.tokens()).to(torch.ScalarType.Long);
        for (int i = 0; i < rows * GlyphConfig.DEFAULT.tokens(); i++) Torch.memory(t).setAtIndex(ValueLayout.JAVA_LONG, i, words[i]);
        return t;
    }

    private double velocity(Device device, int rows, boolean backward) {
        int n = model.latentSize();
        var x = torch.randn(rows, n);
        var sigma = Torch.column(new double[] {0.95, 0.7, 0.5, 0.2}, rows);
        var words = conditions(rows);
        var g = Torch.times(torch.randn(rows, n), 1. / n);
        var memory = new Workspace("latents and velocity");
        Tensor latents = memory.tensor("latents", DType.F32, rows, n), sigmas = memory.tensor("sigmas", DType.F32, rows), condition = memory.tensor("conditions", DType.I32, rows, GlyphConfig.DEFAULT.tokens()),
                velocity = memory.tensor("velocity", DType.F32, rows, n), gradient = memory.tensor("gradient", DType.F32, rows, n);
        resources.add(memory.allocate(device));
        Transfers.upload(latents, Torch.memory(x), stream);
        Transfers.upload(sigmas, Torch.memory(sigma), stream);
        Transfers.upload(gradient, Torch.memory(g), stream);
        Transfers.upload(condition, MemorySegment.ofArray(Arrays.copyOf(this.words, rows * GlyphConfig.DEFAULT.tokens())), stream);
        if (!backward) {
            ours = () -> model.velocity(stream, latents.address(), sigmas.address(), condition.address(), velocity.address(), rows);
            theirs = () -> peer.velocity(x, sigma, words);
            ours.run();
            return Transfers.difference(peer.velocity(x, sigma, words), Transfers.download(velocity, stream));
        }
        ours = () -> {
            model.zeroGradients(stream);
            model.trainVelocity(stream, latents.address(), sigmas.address(), condition.address(), velocity.address(), rows);
            model.backward(stream, gradient.address(), rows);
        };
        var parameters = peer.parameters();
        theirs = () -> Torch.recorded(() -> Torch.gradients(new org.bytedeco.pytorch.Tensor[] {peer.velocity(x, sigma, words)}, parameters, g));
        ours.run();
        return gradientDifference(Torch.recorded(() -> Torch.gradients(new org.bytedeco.pytorch.Tensor[] {peer.velocity(x, sigma, words)}, parameters, g)));
    }

    /** Latents of one rollout by ours, [window + 1, trajectories, pixels], and the noise that the peer has to draw to walk the same way. */
    private record Walk(org.bytedeco.pytorch.Tensor[] latents, org.bytedeco.pytorch.Tensor[] noise) {}

    private Walk walk(TrajectoryStore store) {
        int n = model.latentSize();
        float[] all = Transfers.download(store.latents(), stream);
        var latents = new org.bytedeco.pytorch.Tensor[WINDOW + 1];
        for (int i = 0; i <= WINDOW; i++) {
            latents[i] = torch.empty(TRAJECTORIES, n);
            for (int b = 0; b < TRAJECTORIES; b++) MemorySegment.copy(MemorySegment.ofArray(all), 4L * store.row(i, b) * n, Torch.memory(latents[i]), 4L * b * n, 4L * n);
        }
        var noise = new org.bytedeco.pytorch.Tensor[WINDOW];
        var words = conditions(TRAJECTORIES);
        for (int i = 0; i < WINDOW; i++) {
            StepCoefficients s = steps.row(steps.trajectoryRow(i));
            noise[i] = Torch.times(latents[i + 1].sub(mean(latents[i], peer.velocity(latents[i], sigma(i, TRAJECTORIES), words), s)), 1 / s.spread());
        }
        return new Walk(latents, noise);
    }

    private org.bytedeco.pytorch.Tensor sigma(int step, int rows) {
        return Torch.column(new double[] {steps.schedule().sigma(step)}, rows);
    }

    private static org.bytedeco.pytorch.Tensor mean(org.bytedeco.pytorch.Tensor x, org.bytedeco.pytorch.Tensor v, StepCoefficients s) {
        return Torch.times(x, s.keep()).add(Torch.times(v, s.drift()));
    }

    private double rollout(Device device, SamplerKernels kernels) {
        resources.add(kernels);
        var store = resources.add(new TrajectoryStore(device, TRAJECTORIES, WINDOW, model.latentSize(), false));
        var sampler = resources.add(new WavefrontSampler(device, kernels, model, steps, 1, TRAJECTORIES, Completions.SHARED_NOISE, DType.F32, model.maxBatch()));
        int[] conditions = Arrays.copyOf(words, TRAJECTORIES * model.conditionTokens());
        ours = () -> sampler.run(stream, conditions, keys, SEED, store, 0);
        ours.run();
        float[] images = Transfers.download(sampler.images(), sampler.branches() * TRAJECTORIES * model.latentSize(), stream);
        Walk walk = walk(store);
        var words = conditions(TRAJECTORIES);
        var sigmas = new org.bytedeco.pytorch.Tensor[STEPS];
        Arrays.setAll(sigmas, i -> sigma(i, TRAJECTORIES));
        theirs = () -> stepByStep(walk, words, sigmas);
        double worst = 0;
        org.bytedeco.pytorch.Tensor[] found = stepByStep(walk, words, sigmas);
        for (int b = 0; b < found.length; b++) worst = Math.max(worst, Transfers.difference(found[b], Arrays.copyOfRange(images, b * TRAJECTORIES * model.latentSize(), (b + 1) * TRAJECTORIES * model.latentSize())));
        return worst;
    }

    /** The published procedure: trajectories with their log-probabilities, then the pure ODE branch and each completion by itself. */
    private org.bytedeco.pytorch.Tensor[] stepByStep(Walk walk, org.bytedeco.pytorch.Tensor words, org.bytedeco.pytorch.Tensor[] sigmas) {
        var images = new org.bytedeco.pytorch.Tensor[1 + WINDOW];
        var x = walk.latents[0];
        var path = new org.bytedeco.pytorch.Tensor[WINDOW];
        for (int i = 0; i < STEPS; i++) {
            var v = peer.velocity(x, sigmas[i], words);
            if (i == WINDOW) {
                x = x.add(Torch.times(v, steps.schedule().sigma(i + 1) - steps.schedule().sigma(i)));
                continue;
            }
            path[i] = x;
            torch.randn_like(x);                                             // what a rollout draws; the walk is that of ours
            StepCoefficients s = steps.row(steps.trajectoryRow(i));
            var mean = mean(x, v, s);
            x = mean.add(Torch.times(walk.noise[i], s.spread()));
            x.sub(mean).square().neg().mean(1);
        }
        images[0] = x;
        for (int k = 0; k < WINDOW; k++) {
            var z = path[k];
            for (int i = k; i < STEPS; i++) z = z.add(Torch.times(peer.velocity(z, sigmas[i], words), steps.schedule().sigma(i + 1) - steps.schedule().sigma(i)));
            images[1 + k] = z;
        }
        return images;
    }

    private double update(Device device) {
        var samplers = resources.add(new SamplerKernels(device));
        var grpo = resources.add(new GrpoKernels(device));
        var optim = resources.add(new OptimKernels(device));
        int rows = TRAJECTORIES * WINDOW;
        var store = resources.add(new TrajectoryStore(device, TRAJECTORIES, WINDOW, model.latentSize(), false));
        var sampler = resources.add(new WavefrontSampler(device, samplers, model, steps, 1, TRAJECTORIES, Completions.NONE, DType.F32, model.maxBatch()));
        int[] conditions = Arrays.copyOf(words, TRAJECTORIES * model.conditionTokens());
        sampler.run(stream, conditions, keys, SEED, store, 0);
        var policy = resources.add(new PolicyUpdate(device, samplers, grpo, model, steps, store, new PolicyUpdate.Settings(CLIP, 5, false, 1), MICRO_BATCH, rows));
        var optimizer = resources.add(new AdamW(device, optim, model.trained(), new AdamW.Settings(BETA1, BETA2, ADAM_EPS, DECAY, MAX_NORM, 0, 1)));
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
        var before = cat(Arrays.copyOf(walk.latents, WINDOW)).detach();
        var after = cat(Arrays.copyOfRange(walk.latents, 1, WINDOW + 1)).detach();
        var sigma = torch.empty(rows, 1);
        var keep = torch.empty(rows, 1);
        var drift = torch.empty(rows, 1);
        var old = torch.empty(rows);
        var advantage = torch.empty(rows);
        for (int r = 0; r < rows; r++) {
            int step = r / TRAJECTORIES, trajectory = r % TRAJECTORIES;
            StepCoefficients s = steps.row(steps.trajectoryRow(step));
            Torch.memory(sigma).setAtIndex(ValueLayout.JAVA_FLOAT, r, (float) steps.schedule().sigma(step));
            Torch.memory(keep).setAtIndex(ValueLayout.JAVA_FLOAT, r, (float) s.keep());
            Torch.memory(drift).setAtIndex(ValueLayout.JAVA_FLOAT, r, (float) s.drift());
            Torch.memory(old).setAtIndex(ValueLayout.JAVA_FLOAT, r, recorded[store.row(step, trajectory)]);
            Torch.memory(advantage).setAtIndex(ValueLayout.JAVA_FLOAT, r, (float) advantages[trajectory * WINDOW + step]);
        }
        var one = conditions(TRAJECTORIES);
        var all = new org.bytedeco.pytorch.Tensor[WINDOW];
        Arrays.fill(all, one);
        var words = cat(all);
        var batch = new Batch(before, after, sigma, keep, drift, old, advantage, words, MICRO_BATCH);
        double error = gradientDifference(batch.gradients(peer));
        var parameters = peer.parameters();
        var m = new org.bytedeco.pytorch.Tensor[parameters.length];
        var v = new org.bytedeco.pytorch.Tensor[parameters.length];
        Arrays.setAll(m, i -> torch.zeros_like(parameters[i]));
        Arrays.setAll(v, i -> torch.zeros_like(parameters[i]));
        var values = Arrays.stream(parameters).map(org.bytedeco.pytorch.Tensor::detach).toArray(org.bytedeco.pytorch.Tensor[]::new);
        var step = new int[1];
        theirs = () -> adamW(batch.gradients(peer), values, m, v, ++step[0]);
        return error;
    }

    private static org.bytedeco.pytorch.Tensor cat(org.bytedeco.pytorch.Tensor... parts) {
        return torch.cat(new org.bytedeco.pytorch.TensorVector(parts), 0);
    }

    /** The rows of an update. */
    private record Batch(org.bytedeco.pytorch.Tensor before, org.bytedeco.pytorch.Tensor after, org.bytedeco.pytorch.Tensor sigma, org.bytedeco.pytorch.Tensor keep,
                         org.bytedeco.pytorch.Tensor drift, org.bytedeco.pytorch.Tensor old, org.bytedeco.pytorch.Tensor advantage, org.bytedeco.pytorch.Tensor words, int micro) {
        org.bytedeco.pytorch.Tensor[] gradients(GlyphPeer peer) {
            org.bytedeco.pytorch.Tensor[] sum = null;
            long rows = before.size(0);
            for (long from = 0; from < rows; from += micro) {
                long at = from, count = Math.min(micro, rows - from);
                org.bytedeco.pytorch.Tensor[] part = Torch.recorded(() -> {
                    var velocity = peer.velocity(before.narrow(0, at, count), sigma.narrow(0, at, count), words.narrow(0, at, count));
                    var mean = before.narrow(0, at, count).mul(keep.narrow(0, at, count)).add(velocity.mul(drift.narrow(0, at, count)));
                    var ratio = after.narrow(0, at, count).sub(mean).square().neg().mean(1).sub(old.narrow(0, at, count)).exp();
                    var a = advantage.narrow(0, at, count).neg();
                    var clipped = torch.clamp(ratio, new org.bytedeco.pytorch.ScalarOptional(new Scalar(1 - CLIP)), new org.bytedeco.pytorch.ScalarOptional(new Scalar(1 + CLIP)));
                    var loss = Torch.times(torch.maximum(a.mul(ratio), a.mul(clipped)).sum(), 1. / rows);
                    return Torch.gradients(new org.bytedeco.pytorch.Tensor[] {loss}, peer.parameters(), torch.ones(1).squeeze());
                });
                if (sum == null) sum = part;
                else for (int i = 0; i < sum.length; i++) sum[i].add_(part[i]);
            }
            return sum;
        }
    }

    /** {@code clip_grad_norm_} and the single-tensor AdamW of torch.optim. */
    private static void adamW(org.bytedeco.pytorch.Tensor[] g, org.bytedeco.pytorch.Tensor[] p, org.bytedeco.pytorch.Tensor[] m, org.bytedeco.pytorch.Tensor[] v, int step) {
        var norms = new org.bytedeco.pytorch.Tensor[g.length];
        for (int i = 0; i < g.length; i++) norms[i] = torch.linalg_vector_norm(g[i]);
        double norm = torch.linalg_vector_norm(torch.stack(new org.bytedeco.pytorch.TensorVector(norms))).item_double(), factor = Math.min(1, MAX_NORM / (norm + 1e-6));
        double root = Math.sqrt(1 - Math.pow(BETA2, step)), size = RATE / (1 - Math.pow(BETA1, step));
        for (int i = 0; i < g.length; i++) {
            g[i].mul_(new Scalar(factor));
            p[i].mul_(new Scalar(1 - RATE * DECAY));
            m[i].lerp_(g[i], new Scalar(1 - BETA1));
            v[i].mul_(new Scalar(BETA2)).addcmul_(g[i], g[i], new Scalar(1 - BETA2));
            p[i].addcdiv_(m[i], v[i].sqrt().div(new Scalar(root)).add_(new Scalar(ADAM_EPS)), new Scalar(-size));
        }
    }

    /** The largest difference of any gradient, relative to the largest of its tensor's, over tensors that have a gradient to speak of. */
    private double gradientDifference(org.bytedeco.pytorch.Tensor[] theirs) {
        float[] flat = Transfers.download(model.trained().gradients(), stream);
        double worst = 0, largest = 0;
        for (var t : theirs) largest = Math.max(largest, t.abs().max().item_double());
        List<String> names = peer.names();
        for (int i = 0; i < theirs.length; i++) {
            Slot slot = model.trained().layout().slot(names.get(i));
            float[] mine = Arrays.copyOfRange(flat, Math.toIntExact(slot.offset()), Math.toIntExact(slot.offset() + slot.elements()));
            float[] other = Transfers.floats(theirs[i]);
            double most = 0, off = 0;
            for (int k = 0; k < mine.length; k++) {
                most = Math.max(most, Math.abs(other[k]));
                off = Math.max(off, Math.abs((double) mine[k] - other[k]));
            }
            if (most > 1e-4 * largest) worst = Math.max(worst, off / most);
        }
        return worst;
    }

    @Override
    public void ours() {
        ours.run();
    }

    @Override
    public void peer() {
        theirs.run();
    }

    @Override
    public double error() {
        return error;
    }

    @Override
    public void close() {
        resources.close();
    }
}
