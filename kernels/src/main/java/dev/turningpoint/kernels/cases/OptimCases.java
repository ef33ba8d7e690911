package dev.turningpoint.kernels.cases;

import static dev.turningpoint.gpu.DType.BF16;
import static dev.turningpoint.gpu.DType.F32;
import static dev.turningpoint.gpu.DType.F64;
import static dev.turningpoint.kernels.cases.Tolerance.EXACT;

import dev.turningpoint.kernels.OptimKernels;
import dev.turningpoint.kernels.cases.KernelCase.Builder;
import dev.turningpoint.kernels.cases.KernelCase.Family;
import java.util.List;

/** {@code optim.cu}. */
final class OptimCases {
    private static final Family<OptimKernels> OPTIM = new Family<>("optim", OptimKernels.class, OptimKernels::new);
    private static final String FUSION = "ptxas may fuse the clipped gradient's product with the sum that takes it";

    private OptimCases() {
    }

    /** The glyph model has 1.3 million parameters; the adapter of SD3.5-medium (rank 32) has 18,776,064, a quarter of it 4,694,016. */
    private record Shape(Size size, int n) implements KernelCase.Shape {
    }

    private static final List<Shape> SHAPES = List.of(new Shape(Size.SMALL, 9001), new Shape(Size.GLYPH, 1_300_000), new Shape(Size.SD35, 4_694_016), new Shape(Size.DRAM, 18_776_064));

    static void addTo(List<KernelCase> cases) {
        for (Shape s : SHAPES) {
            cases.add(gradNorm(s));
            cases.add(adamW(s));
            cases.add(ema(s));
        }
    }

    private static KernelCase gradNorm(Shape s) {
        Builder<OptimKernels> c = OPTIM.of("grad_norm", s);
        var gradients = c.read("gradients", F32, s.n, Fill.gaussian(1e-2));
        var result = c.write("result", F64, 1, EXACT);
        var scratch = c.scratch("scratch", F64, OptimKernels.scratch(s.n));
        return c.launches("grad_norm_partial", List.of(gradients), List.of(scratch))
                .launches("grad_norm", List.of(scratch), List.of(result))
                .by((k, stream, at) -> k.gradNorm(stream, at.of(gradients), at.of(result), at.of(scratch), s.n));
    }

    private static KernelCase adamW(Shape s) {
        Builder<OptimKernels> c = OPTIM.of("adamw_f32", s);
        var gradients = c.read("gradients", F32, s.n, Fill.gaussian(1e-2));
        var norm = c.read("norm", F64, 1, Fill.values(12.5f));
        var fused = Tolerance.ulpsOfRms(4, FUSION);
        var parameters = c.update("parameters", F32, s.n, Fill.gaussian(1), fused);
        var m = c.update("m", F32, s.n, Fill.gaussian(1e-2), fused);
        var v = c.update("v", F32, s.n, Fill.uniform(1e-5, 1e-3), fused);
        var average = c.update("average", F32, s.n, Fill.gaussian(1), fused);
        var copy = c.write("copy", BF16, s.n, Tolerance.ulps(1, FUSION));
        return c.launches("adamw_f32", List.of(gradients, norm, parameters, m, v, average), List.of(parameters, m, v, average, copy))
                .by((k, stream, at) -> k.adamW(stream, at.of(parameters), at.of(gradients), at.of(m), at.of(v), at.of(average), at.of(copy), at.of(norm), 1, 1e-3, 0.9, 0.999, 1e-8,
                        1e-2, 0.99, 7, s.n));
    }

    private static KernelCase ema(Shape s) {
        Builder<OptimKernels> c = OPTIM.of("ema_f32", s);
        var average = c.update("average", F32, s.n, Fill.gaussian(1), EXACT);
        var parameters = c.read("parameters", F32, s.n, Fill.gaussian(1));
        return c.launches("ema_f32", List.of(average, parameters), List.of(average))
                .by((k, stream, at) -> k.ema(stream, at.of(average), at.of(parameters), 0.99, s.n));
    }
}
