package dev.turningpoint.kernels.cases;

import static dev.turningpoint.gpu.DType.F32;
import static dev.turningpoint.gpu.DType.F64;
import static dev.turningpoint.gpu.DType.I32;
import static dev.turningpoint.kernels.cases.Tolerance.EXACT;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.kernels.GrpoKernels;
import dev.turningpoint.kernels.SamplerKernels;
import dev.turningpoint.kernels.cases.KernelCase.Builder;
import dev.turningpoint.kernels.cases.KernelCase.Family;
import java.util.ArrayList;
import java.util.List;

/** {@code grpo.cu}: the sampler's explicitly rounded arithmetic, and products whose rounding PTX prescribes. */
final class GrpoCases {
    private static final Family<GrpoKernels> GRPO = new Family<>("grpo", GrpoKernels.class, GrpoKernels::new);

    private GrpoCases() {
    }

    private record Shape(Size size, int batch, int n) implements KernelCase.Shape {
        long elements() {
            return (long) batch * n;
        }
    }

    private static final List<Shape> SHAPES = List.of(new Shape(Size.SMALL, 5, 1540), new Shape(Size.GLYPH, 48, 1536), new Shape(Size.SD35, 8, 65536), new Shape(Size.DRAM, 128, 65536));

    static void addTo(List<KernelCase> cases) {
        for (Shape s : SHAPES) {
            for (DType type : KernelCases.STORAGES) {
                cases.add(loss(s, type, false));
                cases.add(loss(s, type, true));
                cases.add(normalized(s, type));
            }
        }
    }

    /** Log-probabilities near those that the row gets, so that some ratios are clipped and some are not. */
    private static KernelCase loss(Shape s, DType type, boolean guidedWithKl) {
        Builder<GrpoKernels> c = GRPO.of("grpo_loss_" + (guidedWithKl ? "guided_kl_" : "") + type.suffix(), s);
        var x = c.read("x", F32, s.elements(), Fill.gaussian(1));
        var next = c.read("xNext", F32, s.elements(), Fill.gaussian(1));
        var v = c.read("v", type, s.elements(), Fill.gaussian(1));
        var steps = c.read("steps", F32, 2 * SamplerKernels.STEP_FLOATS, SamplerCases.STEPS);
        var rowStep = c.read("rowStep", I32, s.batch, Fill.cyclic(2));
        var old = c.read("oldLogProb", F32, s.batch, Fill.uniform(-2, -1.2));
        var advantage = c.read("advantage", F64, s.batch, Fill.gaussian(2));
        var gradV = c.write("gradV", type, s.elements(), EXACT);
        var stats = c.write("stats", F64, (long) s.batch * GrpoKernels.STATS, EXACT);
        var reads = new ArrayList<>(List.of(x, next, v, steps, rowStep, old, advantage));
        if (!guidedWithKl) {
            return c.launches("grpo_loss_" + type.suffix(), reads, List.of(gradV, stats))
                    .by((k, stream, at) -> k.lossAndGradient(stream, type, at.of(x), at.of(next), at.of(v), 0, 1, 0, 0, 0, at.of(steps), at.of(rowStep), at.of(old), at.of(advantage),
                            5, 0.2f, 0, 1f / s.batch, at.of(gradV), 0, at.of(stats), s.batch, s.n));
        }
        var u = c.read("vUncond", type, s.elements(), Fill.gaussian(1));
        var w = c.read("reference", type, s.elements(), Fill.gaussian(1));
        var wu = c.read("referenceUncond", type, s.elements(), Fill.gaussian(1));
        var gradU = c.write("gradVUncond", type, s.elements(), EXACT);
        reads.addAll(List.of(u, w, wu));
        return c.launches("grpo_loss_" + type.suffix(), reads, List.of(gradV, gradU, stats))
                .by((k, stream, at) -> k.lossAndGradient(stream, type, at.of(x), at.of(next), at.of(v), at.of(u), 1.5f, at.of(w), at.of(wu), 0, at.of(steps), at.of(rowStep),
                        at.of(old), at.of(advantage), 5, 0.2f, 0.1f, 1f / s.batch, at.of(gradV), at.of(gradU), at.of(stats), s.batch, s.n));
    }

    private static KernelCase normalized(Shape s, DType type) {
        Builder<GrpoKernels> c = GRPO.of("grpo_loss_normalized_" + type.suffix(), s);
        var x = c.read("x", F32, s.elements(), Fill.gaussian(1));
        var next = c.read("xNext", F32, s.elements(), Fill.gaussian(1));
        var v = c.read("v", type, s.elements(), Fill.gaussian(1));
        var mean = c.read("rolloutMean", F32, s.elements(), Fill.gaussian(1));
        var steps = c.read("steps", F32, 2 * SamplerKernels.STEP_FLOATS, SamplerCases.STEPS);
        var rowStep = c.read("rowStep", I32, s.batch, Fill.cyclic(2));
        var old = c.read("oldLogProb", F32, s.batch, Fill.uniform(-2, -1.2));
        var advantage = c.read("advantage", F64, s.batch, Fill.gaussian(2));
        var gradV = c.write("gradV", type, s.elements(), EXACT);
        var stats = c.write("stats", F64, (long) s.batch * GrpoKernels.STATS, EXACT);
        return c.launches("grpo_loss_normalized_" + type.suffix(), List.of(x, next, v, mean, steps, rowStep, old, advantage), List.of(gradV, stats))
                .by((k, stream, at) -> k.lossAndGradient(stream, type, at.of(x), at.of(next), at.of(v), 0, 1, 0, 0, at.of(mean), at.of(steps), at.of(rowStep), at.of(old),
                        at.of(advantage), 5, 0.2f, 0, 1f / s.batch, at.of(gradV), 0, at.of(stats), s.batch, s.n));
    }
}
