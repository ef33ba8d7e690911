package dev.turningpoint.bench;

import static dev.turningpoint.bench.Case.Kind.ELEMENTWISE;
import static dev.turningpoint.bench.Torch.f32;
import static dev.turningpoint.bench.Torch.from;
import static dev.turningpoint.bench.Torch.plus;
import static dev.turningpoint.bench.Torch.times;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.schedule.StepCoefficients;
import java.util.List;
import java.util.Map;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;

/** {@code sampler.cu} beside the steps of flow_grpo and Flow-CPS as published. */
final class SamplerPeers {

    static final double NOISE_LEVEL = 0.7;
    private static final float GUIDANCE = 4.5f;  // of the registry's guided case
    /** Of a schedule's three steps that the rows of a launch are at, in turn. */
    static final double[] SIGMA = {0.9, 0.8, 0.5}, SIGMA_NEXT = {0.8, 0.5, 0.3};

    private SamplerPeers() {}

    static void addTo(List<Case> cases) {
        for (String size : List.of("glyph", "dram")) {
            for (String type : List.of("f32", "bf16")) {
                String of = type + "." + size;
                cases.add(Case.of("SDE step, noise given", "sampler.flow_step_given_" + of, ELEMENTWISE, in -> step(in, true, true)));
                cases.add(Case.of("CPS step, noise given", "sampler.flow_step_given_" + of, ELEMENTWISE, in -> step(in, false, true)));
                cases.add(Case.of("ODE step", "sampler.flow_step_ode_" + of, ELEMENTWISE, SamplerPeers::odeStep).because(Case.FIVE_TO_THREE));
                cases.add(Case.of("guidance and ODE step", "sampler.flow_step_guided_" + of, ELEMENTWISE, SamplerPeers::guidedOdeStep));
                cases.add(Case.of("log-probability replayed, SDE", "sampler.replay_log_prob_" + of, ELEMENTWISE, SamplerPeers::replay));
            }
            cases.add(Case.of("gather rows", "sampler.gather_rows_f32." + size, ELEMENTWISE, SamplerPeers::gatherRows).because(Case.ONE_PASS));
            cases.add(Case.of("latents to bf16 and back", "sampler.round_to_bf16_f32." + size, ELEMENTWISE, SamplerPeers::roundToBf16).because(Case.ONE_PASS));
        }
        for (String size : List.of("glyph", "sd35")) {
            for (String type : List.of("f32", "bf16")) {
                String of = type + "." + size;
                cases.add(Case.of("SDE step, noise drawn", "sampler.flow_step_" + of, ELEMENTWISE, in -> step(in, true, false)));
                cases.add(Case.of("CPS step, noise drawn", "sampler.flow_step_" + of, ELEMENTWISE, in -> step(in, false, false)));
                cases.add(Case.of("flow-matching loss and gradient", "sampler.flow_matching_loss_" + of, ELEMENTWISE, in -> flowMatchingLoss(in, size))
                        .because("ours draws the noise again, by ten rounds of Philox and Box-Muller; the peer keeps it"));
            }
            cases.add(Case.of("initial noise", "sampler.initial_noise_f32." + size, ELEMENTWISE, SamplerPeers::initialNoise)
                    .because("the same bits on every device cost ten rounds of Philox and correctly rounded polynomials; the peer draws Mersenne twister"));
            cases.add(Case.of("flow-matching noise", "sampler.flow_matching_noise_f32." + size, ELEMENTWISE, SamplerPeers::flowMatchingNoise));
        }
    }

    /** A kind of step between two sigmas. */
    interface Step {
        StepCoefficients of(double sigma, double sigmaNext);
    }

    /** The schedule's steps as the kernels read them. */
    static double[] steps(Step step) {
        var table = new double[8 * SIGMA.length];
        for (int i = 0; i < table.length; i++) table[i] = step.of(SIGMA[i / 8], SIGMA_NEXT[i / 8]).floats()[i % 8];
        return table;
    }

    static StepCoefficients sde(double sigma, double sigmaNext) {
        return StepCoefficients.sde(sigma, sigmaNext, 1, NOISE_LEVEL);
    }

    static StepCoefficients cps(double sigma, double sigmaNext) {
        return StepCoefficients.cps(sigma, sigmaNext, NOISE_LEVEL);
    }

    private static Eager step(Inputs in, boolean sde, boolean given) {
        int batch = in.dimension("batch"), n = in.dimension("n");
        in.write("steps", steps(sde ? SamplerPeers::sde : SamplerPeers::cps));
        Tensor x = in.tensor("x", batch, n), v = in.tensor("v", batch, n), noise = given ? in.tensor("noise", batch, n) : null;
        Tensor sigma = Torch.column(SIGMA, batch), next = Torch.column(SIGMA_NEXT, batch);
        if (!given) return Eager.drawing(() -> (sde ? sdeStep(x, v, torch.randn_like(x), null, sigma, next) : cpsStep(x, v, torch.randn_like(x), sigma, next))[0]);
        return Eager.of(() -> sde ? sdeStep(x, v, noise, null, sigma, next) : cpsStep(x, v, noise, sigma, next), "xNext", "logProb");
    }

    private static Eager odeStep(Inputs in) {
        int batch = in.dimension("batch"), n = in.dimension("n");
        in.write("steps", steps(StepCoefficients::ode));
        Tensor x = in.tensor("x", batch, n), v = in.tensor("v", batch, n);
        double dt = SIGMA_NEXT[2] - SIGMA[2];  // the registry's ODE case has all rows at the third step
        return Eager.of(() -> x.add(times(f32(v), dt)), "xNext");
    }

    private static Eager guidedOdeStep(Inputs in) {
        int batch = in.dimension("batch"), n = in.dimension("n");
        in.write("steps", steps(StepCoefficients::ode));
        Tensor x = in.tensor("x", batch, n), v = in.tensor("v", batch, n), u = in.tensor("vUncond", batch, n);
        Tensor dt = Torch.column(SIGMA_NEXT, batch).sub(Torch.column(SIGMA, batch));
        return Eager.of(() -> x.add(f32(u.add(times(v.sub(u), GUIDANCE))).mul(dt)), "xNext");
    }

    private static Eager replay(Inputs in) {
        int batch = in.dimension("batch"), n = in.dimension("n");
        in.write("steps", steps(SamplerPeers::sde));
        Tensor x = in.tensor("x", batch, n), v = in.tensor("v", batch, n), stored = in.tensor("xNext", batch, n);
        Tensor sigma = Torch.column(SIGMA, batch), next = Torch.column(SIGMA_NEXT, batch);
        return Eager.of(() -> {
            Tensor[] all = sdeStep(x, v, null, stored, sigma, next);
            return new Tensor[] {all[2], all[1]};
        }, "mean", "logProb");
    }

    /**
     * {@code sde_step_with_logprob} of flow_grpo, line by line.
     *
     * @param stored next latents whose log-probability is asked for; null: drawn with {@code noise}
     * @return next latents, log-probabilities, mean
     */
    static Tensor[] sdeStep(Tensor x, Tensor velocity, Tensor noise, Tensor stored, Tensor sigma, Tensor sigmaNext) {
        Tensor v = f32(velocity), dt = sigmaNext.sub(sigma);
        Tensor std = times(sigma.div(from(1, sigma)).sqrt(), NOISE_LEVEL), variance = std.square();
        Tensor keep = plus(variance.div(times(sigma, 2)).mul(dt), 1);
        Tensor drift = plus(variance.mul(from(1, sigma)).div(times(sigma, 2)), 1);
        Tensor mean = x.mul(keep).add(v.mul(drift).mul(dt));
        Tensor spread = std.mul(dt.neg().sqrt());
        Tensor next = stored != null ? stored : mean.add(spread.mul(noise));
        Tensor logProb = next.sub(mean).square().neg().div(times(spread.square(), 2)).sub(spread.log()).sub(new Scalar(Math.log(Math.sqrt(2 * Math.PI))));
        return new Tensor[] {next, logProb.mean(1), mean};
    }

    /** {@code sde_step_with_logprob} of Flow-CPS, line by line. */
    static Tensor[] cpsStep(Tensor x, Tensor velocity, Tensor noise, Tensor sigma, Tensor sigmaNext) {
        Tensor std = times(sigmaNext, Math.sin(NOISE_LEVEL * Math.PI / 2)), mean = cpsMean(x, velocity, std, sigma, sigmaNext);
        Tensor next = mean.add(std.mul(noise));
        return new Tensor[] {next, next.sub(mean).square().neg().mean(1)};
    }

    static Tensor cpsMean(Tensor x, Tensor velocity, Tensor std, Tensor sigma, Tensor sigmaNext) {
        Tensor v = f32(velocity), x0 = x.sub(sigma.mul(v)), x1 = x.add(v.mul(from(1, sigma)));
        return x0.mul(from(1, sigmaNext)).add(x1.mul(sigmaNext.square().sub(std.square()).sqrt()));
    }

    private static Eager initialNoise(Inputs in) {
        int batch = in.dimension("batch"), n = in.dimension("n");
        return Eager.drawing(() -> torch.randn(batch, n));
    }

    private static Eager gatherRows(Inputs in) {
        int batch = in.dimension("batch"), n = in.dimension("n");
        Tensor all = in.tensor("in", -1, n), row = in.tensor("row", batch);
        return Eager.of(() -> all.index_select(0, row), "out");
    }

    private static Eager roundToBf16(Inputs in) {
        Tensor x = in.tensor("x", -1);
        return Eager.of(() -> f32(x.to(Torch.scalarType(DType.BF16))), "x");
    }

    private static Eager flowMatchingNoise(Inputs in) {
        int batch = in.dimension("batch"), n = in.dimension("n");
        Tensor x0 = in.tensor("x0", batch, n), sigma = in.tensor("sigma", batch, 1);
        return Eager.drawing(() -> from(1, sigma).mul(x0).add(sigma.mul(torch.randn_like(x0))));
    }

    /** {@code ((v.float() - (noise - x0)) ** 2).mean()} and its gradient; the noise is what our kernel draws. */
    private static Eager flowMatchingLoss(Inputs in, String size) {
        int batch = in.dimension("batch"), n = in.dimension("n");
        Tensor v = Torch.leaf(in.tensor("v", batch, n)), x0 = in.tensor("x0", batch, n);
        Tensor noise = in.result("sampler.flow_matching_noise_f32." + size, List.of("rowSample", "x0"), Map.of("sigma", new double[] {1}), "x").view(batch, n);
        return Eager.of(() -> Torch.recorded(() -> {
            Tensor losses = f32(v).sub(noise.sub(x0)).square().mean(1), loss = losses.mean();
            return new Tensor[] {Torch.gradients(new Tensor[] {loss}, new Tensor[] {v}, torch.ones_like(loss))[0], losses};
        }), "gradient", "loss");
    }
}
