package dev.turningpoint.kernels.cases;

import static dev.turningpoint.gpu.DType.F32;
import static dev.turningpoint.gpu.DType.I32;
import static dev.turningpoint.kernels.cases.Tolerance.EXACT;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.kernels.SamplerKernels;
import dev.turningpoint.kernels.cases.KernelCase.Builder;
import dev.turningpoint.kernels.cases.KernelCase.Family;
import java.util.List;

/** {@code sampler.cu}: explicitly rounded throughout, so that every result has the same bits on every device. */
final class SamplerCases {
    private static final Family<SamplerKernels> SAMPLER = new Family<>("sampler", SamplerKernels.class, SamplerKernels::new);
    private static final long SEED = 0x1234_5678_9abc_def0L;
    private static final float GUIDANCE = 4.5f;
    /** Coefficients of two stochastic steps (CPS at noise level 0.7, sigma 1 to 0.8 and 0.8 to 0.5) and of an ODE step, as {@link SamplerKernels} lays them out. */
    static final Fill STEPS = Fill.values(
            0.5632f, -0.2f, 0.7128f, -1, 0, 0.9841f, 0.7128f, 1,
            0.727f, -0.3546f, 0.4455f, -1, 0, 2.5193f, 0.4455f, 1,
            1, -0.3f, 0, 0, 0, 0, 0, 0);
    static final int STEP_COUNT = 3;

    private SamplerCases() {
    }

    /** {@code chunks} of 512 elements a row. */
    private record Shape(Size size, int batch, int n) implements KernelCase.Shape {
        long elements() {
            return (long) batch * n;
        }

        long scratch() {
            return SamplerKernels.scratch(batch, n);
        }
    }

    private static final List<Shape> SHAPES = List.of(new Shape(Size.SMALL, 5, 1540), new Shape(Size.GLYPH, 48, 1536), new Shape(Size.SD35, 8, 65536), new Shape(Size.DRAM, 256, 65536));

    static void addTo(List<KernelCase> cases) {
        for (Shape s : SHAPES) {
            for (DType type : KernelCases.STORAGES) {
                for (Step step : Step.values()) {
                    cases.add(step(s, type, step));
                }
                cases.add(replay(s, type));
                cases.add(flowMatchingLoss(s, type));
            }
            cases.add(initialNoise(s));
            cases.add(gatherRows(s));
            cases.add(roundToBf16(s));
            cases.add(flowMatchingNoise(s));
        }
    }

    /** What a launch makes of its rows: stochastic and ODE steps with drawn noise, with guidance besides, with given noise; ODE steps alone. */
    private enum Step {
        DRAWN(""), GUIDED("guided_"), GIVEN("given_"), ODE("ode_");

        final String prefix;

        Step(String prefix) {
            this.prefix = prefix;
        }
    }

    private static KernelCase step(Shape s, DType type, Step step) {
        boolean guided = step == Step.GUIDED, given = step == Step.GIVEN;
        Builder<SamplerKernels> c = SAMPLER.of("flow_step_" + step.prefix + type.suffix(), s);
        var x = c.read("x", F32, s.elements(), Fill.gaussian(1));
        var v = c.read("v", type, s.elements(), Fill.gaussian(1.4));
        var u = guided ? c.read("vUncond", type, s.elements(), Fill.gaussian(1.4)) : null;
        var steps = steps(c);
        var rowStep = c.read("rowStep", I32, s.batch, step == Step.ODE ? Fill.values(STEP_COUNT - 1) : Fill.cyclic(STEP_COUNT));
        var noise = given ? c.read("noise", F32, s.elements(), Fill.gaussian(1)) : c.read("rowTrajectory", I32, s.batch, Fill.uniform(0, 1 << 30));
        var next = c.write("xNext", F32, s.elements(), EXACT);
        var logProb = c.write("logProb", F32, s.batch, EXACT);
        var partials = c.scratch("partials", F32, s.scratch());
        return c.launches("flow_step_" + type.suffix(), guided ? List.of(x, v, u, steps, rowStep, noise) : List.of(x, v, steps, rowStep, noise), List.of(next, partials))
                .launches("log_prob_f32", List.of(partials, steps, rowStep), List.of(logProb))
                .by((k, stream, at) -> k.step(stream, type, at.of(x), at.of(v), guided ? at.of(u) : 0, guided ? GUIDANCE : 1, at.of(next), 0, at.of(logProb), at.of(partials),
                        at.of(steps), at.of(rowStep), given ? at.of(noise) : 0, given ? 0 : at.of(noise), SEED, s.batch, s.n));
    }

    private static KernelCase replay(Shape s, DType type) {
        Builder<SamplerKernels> c = SAMPLER.of("replay_log_prob_" + type.suffix(), s);
        var x = c.read("x", F32, s.elements(), Fill.gaussian(1));
        var v = c.read("v", type, s.elements(), Fill.gaussian(1.4));
        var next = c.read("xNext", F32, s.elements(), Fill.gaussian(1));
        var steps = steps(c);
        var rowStep = c.read("rowStep", I32, s.batch, Fill.cyclic(STEP_COUNT));
        var mean = c.write("mean", F32, s.elements(), EXACT);
        var logProb = c.write("logProb", F32, s.batch, EXACT);
        var partials = c.scratch("partials", F32, s.scratch());
        return c.launches("replay_log_prob_" + type.suffix(), List.of(x, v, next, steps, rowStep), List.of(mean, partials))
                .launches("log_prob_f32", List.of(partials, steps, rowStep), List.of(logProb))
                .by((k, stream, at) -> k.replay(stream, type, at.of(x), at.of(v), 0, 1, at.of(next), at.of(mean), at.of(logProb), at.of(partials), at.of(steps), at.of(rowStep),
                        s.batch, s.n));
    }

    private static KernelCase initialNoise(Shape s) {
        Builder<SamplerKernels> c = SAMPLER.of("initial_noise_f32", s);
        var trajectory = c.read("rowTrajectory", I32, s.batch, Fill.uniform(0, 1 << 30));
        var x = c.write("x", F32, s.elements(), EXACT);
        return c.launches("initial_noise_f32", List.of(trajectory), List.of(x))
                .by((k, stream, at) -> k.initialNoise(stream, at.of(x), at.of(trajectory), SEED, s.batch, s.n));
    }

    private static KernelCase gatherRows(Shape s) {
        int rows = s.batch + 3;
        Builder<SamplerKernels> c = SAMPLER.of("gather_rows_f32", s);
        var in = c.read("in", F32, (long) rows * s.n, s.elements(), Fill.gaussian(1));
        var row = c.read("row", I32, s.batch, (i, _) -> rows - 1 - i);
        var out = c.write("out", F32, s.elements(), EXACT);
        return c.launches("gather_rows_f32", List.of(in, row), List.of(out))
                .by((k, stream, at) -> k.gatherRows(stream, at.of(in), at.of(row), at.of(out), s.batch, s.n));
    }

    private static KernelCase roundToBf16(Shape s) {
        Builder<SamplerKernels> c = SAMPLER.of("round_to_bf16_f32", s);
        var x = c.update("x", F32, s.elements(), Fill.gaussian(1), EXACT);
        return c.launches("round_to_bf16_f32", List.of(x), List.of(x)).by((k, stream, at) -> k.roundToBf16(stream, at.of(x), s.batch, s.n));
    }

    private static KernelCase flowMatchingNoise(Shape s) {
        Builder<SamplerKernels> c = SAMPLER.of("flow_matching_noise_f32", s);
        var x0 = c.read("x0", F32, s.elements(), Fill.uniform(-1, 1));
        var sigma = c.read("sigma", F32, s.batch, Fill.uniform(0, 1));
        var sample = c.read("rowSample", I32, s.batch, Fill.uniform(0, 1 << 30));
        var x = c.write("x", F32, s.elements(), EXACT);
        return c.launches("flow_matching_noise_f32", List.of(x0, sigma, sample), List.of(x))
                .by((k, stream, at) -> k.flowMatchingNoise(stream, at.of(x0), at.of(sigma), at.of(sample), at.of(x), SEED, s.batch, s.n));
    }

    private static KernelCase flowMatchingLoss(Shape s, DType type) {
        Builder<SamplerKernels> c = SAMPLER.of("flow_matching_loss_" + type.suffix(), s);
        var v = c.read("v", type, s.elements(), Fill.gaussian(1));
        var x0 = c.read("x0", F32, s.elements(), Fill.uniform(-1, 1));
        var sample = c.read("rowSample", I32, s.batch, Fill.uniform(0, 1 << 30));
        var gradient = c.write("gradient", type, s.elements(), EXACT);
        var loss = c.write("loss", F32, s.batch, EXACT);
        var partials = c.scratch("partials", F32, s.scratch());
        return c.launches("flow_matching_loss_" + type.suffix(), List.of(v, x0, sample), List.of(gradient, partials))
                .launches("row_mean_f32", List.of(partials), List.of(loss))
                .by((k, stream, at) -> k.flowMatchingLoss(stream, type, at.of(v), at.of(x0), at.of(sample), at.of(gradient), at.of(loss), at.of(partials), SEED, 1f / s.batch,
                        s.batch, s.n));
    }

    private static Buffer steps(Builder<?> c) {
        return c.read("steps", F32, STEP_COUNT * SamplerKernels.STEP_FLOATS, STEPS);
    }
}
