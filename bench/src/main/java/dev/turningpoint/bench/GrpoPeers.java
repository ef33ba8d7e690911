package dev.turningpoint.bench;

import static dev.turningpoint.bench.Case.Kind.ELEMENTWISE;
import static dev.turningpoint.bench.SamplerPeers.NOISE_LEVEL;
import static dev.turningpoint.bench.Torch.clamp;
import static dev.turningpoint.bench.Torch.f32;
import static dev.turningpoint.bench.Torch.times;

import java.util.Arrays;
import java.util.List;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;

/** {@code grpo.cu} beside the training step of flow_grpo on given velocities: log-probability, ratio, clipped loss, KL, and autograd's backward. */
final class GrpoPeers {

    /** Of the sampler's steps, as many as the registry's cases have. */
    private static final double[] SIGMA = Arrays.copyOf(SamplerPeers.SIGMA, 2), SIGMA_NEXT = Arrays.copyOf(SamplerPeers.SIGMA_NEXT, 2);
    /** Of the registry's cases. */
    private static final double GUIDANCE = 1.5, CLIP = 0.2, ADVANTAGE_LIMIT = 5, BETA = 0.1;

    private GrpoPeers() {}

    static void addTo(List<Case> cases) {
        for (String size : List.of("glyph", "dram")) {
            for (String type : List.of("f32", "bf16")) {
                cases.add(Case.of("GRPO loss and gradient", "grpo.grpo_loss_" + type + "." + size, ELEMENTWISE, in -> loss(in, false)));
                cases.add(Case.of("GRPO loss and gradient, guidance and KL", "grpo.grpo_loss_guided_kl_" + type + "." + size, ELEMENTWISE, in -> loss(in, true)));
                cases.add(Case.of("GRPO-Guard loss and gradient", "grpo.grpo_loss_normalized_" + type + "." + size, ELEMENTWISE, GrpoPeers::normalizedLoss));
            }
        }
    }

    private static Eager loss(Inputs in, boolean guidedWithKl) {
        int batch = in.dimension("batch"), n = in.dimension("n");
        in.write("steps", SamplerPeers.steps(SamplerPeers::cps));
        Tensor x = in.tensor("x", batch, n), next = in.tensor("xNext", batch, n), old = in.tensor("oldLogProb", batch), advantage = f32(in.tensor("advantage", batch));
        Tensor sigma = Torch.column(SIGMA, batch), sigmaNext = Torch.column(SIGMA_NEXT, batch), std = times(sigmaNext, Math.sin(NOISE_LEVEL * Math.PI / 2));
        Tensor v = Torch.leaf(in.tensor("v", batch, n));
        Tensor u = guidedWithKl ? Torch.leaf(in.tensor("vUncond", batch, n)) : null;
        Tensor w = guidedWithKl ? in.tensor("reference", batch, n) : null, wu = guidedWithKl ? in.tensor("referenceUncond", batch, n) : null;
        var ones = torch.ones(1).squeeze();
        var names = guidedWithKl ? new String[] {"gradV", "gradVUncond", "stats"} : new String[] {"gradV", "stats"};
        return Eager.of(() -> Torch.recorded(() -> {
            Tensor mean = SamplerPeers.cpsMean(x, guidedWithKl ? u.add(times(v.sub(u), GUIDANCE)) : v, std, sigma, sigmaNext);
            Tensor logProb = next.sub(mean).square().neg().mean(1), ratio = logProb.sub(old).exp();
            Tensor a = clamp(advantage, -ADVANTAGE_LIMIT, ADVANTAGE_LIMIT);
            Tensor loss = torch.maximum(a.neg().mul(ratio), a.neg().mul(clamp(ratio, 1 - CLIP, 1 + CLIP))).mean();
            if (guidedWithKl) {
                Tensor reference = SamplerPeers.cpsMean(x, wu.add(times(w.sub(wu), GUIDANCE)), std, sigma, sigmaNext);
                loss = loss.add(times(mean.sub(reference).square().mean(new long[] {1}, true, new ScalarTypeOptional()).div(times(std.square(), 2)).mean(), BETA));
            }
            Tensor[] outputs = {loss};
            if (!guidedWithKl) return new Tensor[] {Torch.gradients(outputs, new Tensor[] {v}, ones)[0], ratio};
            Tensor[] gradients = Torch.gradients(outputs, new Tensor[] {v, u}, ones);
            return new Tensor[] {gradients[0], gradients[1], ratio};
        }), names).part("stats", t -> t.view(batch, 8).select(1, 1));
    }

    /** GRPO-Guard on an SDE step: the ratio without the drift of its mean and scaled by the spread, the loss over -dt. */
    private static Eager normalizedLoss(Inputs in) {
        int batch = in.dimension("batch"), n = in.dimension("n");
        in.write("steps", SamplerPeers.steps(SamplerPeers::sde));
        Tensor x = in.tensor("x", batch, n), next = in.tensor("xNext", batch, n), rolloutMean = in.tensor("rolloutMean", batch, n);
        Tensor old = in.tensor("oldLogProb", batch), advantage = f32(in.tensor("advantage", batch));
        Tensor sigma = Torch.column(SIGMA, batch), sigmaNext = Torch.column(SIGMA_NEXT, batch);
        Tensor v = Torch.leaf(in.tensor("v", batch, n));
        var ones = torch.ones(1).squeeze();
        return Eager.of(() -> Torch.recorded(() -> {
            Tensor[] step = SamplerPeers.sdeStep(x, v, null, next, sigma, sigmaNext);
            Tensor duration = sigma.sub(sigmaNext).squeeze(1), spread = times(sigma.div(Torch.from(1, sigma)).sqrt(), NOISE_LEVEL).squeeze(1).mul(duration.sqrt());
            Tensor drift = step[2].sub(rolloutMean).square().mean(1).div(times(spread.square(), 2));
            Tensor ratio = step[1].sub(old).add(drift).mul(spread).exp(), a = clamp(advantage, -ADVANTAGE_LIMIT, ADVANTAGE_LIMIT);
            Tensor loss = torch.maximum(a.neg().mul(ratio), a.neg().mul(clamp(ratio, 1 - CLIP, 1 + CLIP))).div(duration).mean();
            return new Tensor[] {Torch.gradients(new Tensor[] {loss}, new Tensor[] {v}, ones)[0], ratio};
        }), "gradV", "stats").part("stats", t -> t.view(batch, 8).select(1, 1));
    }
}
