package dev.turningpoint.kernels.cases;

import static dev.turningpoint.gpu.DType.BF16;
import static dev.turningpoint.gpu.DType.F32;
import static dev.turningpoint.kernels.cases.Tolerance.EXACT;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Stream;
import dev.turningpoint.kernels.MlpKernels;
import dev.turningpoint.kernels.cases.KernelCase.Builder;
import dev.turningpoint.kernels.cases.KernelCase.Family;
import java.util.List;

/** {@code mlp.cu}. */
final class MlpCases {
    private static final Family<MlpKernels> MLP = new Family<>("mlp", MlpKernels.class, MlpKernels::new);
    private static final String SIGMOID = "ex2.approx and rcp.approx are exact to a few units in the last place only";

    private MlpCases() {
    }

    /** Rows of the residual stream, and of the four times as wide hidden layer. */
    private record Shape(Size size, int batch, int tokens, int d) implements KernelCase.Shape {
        int rows() {
            return batch * tokens;
        }

        long elements() {
            return (long) rows() * d;
        }

        int hidden() {
            return 4 * d;
        }
    }

    private static final List<Shape> SHAPES = List.of(new Shape(Size.SMALL, 3, 47, 33), new Shape(Size.GLYPH, 48, 96, 96), new Shape(Size.SD35, 2, 1024, 1536), new Shape(Size.DRAM, 8, 1024, 1536));

    private interface Unary {
        void on(MlpKernels k, Stream stream, DType type, long x, long y, long n);
    }

    private interface Binary {
        void on(MlpKernels k, Stream stream, DType type, long a, long b, long out, long n);
    }

    static void addTo(List<KernelCase> cases) {
        for (Shape s : SHAPES) {
            for (DType type : KernelCases.STORAGES) {
                var value = Tolerance.ulps(type == F32 ? 16 : 1, SIGMOID);
                var slope = Tolerance.ulpsOfRms(type == F32 ? 16 : 1, SIGMOID);
                cases.add(unary(s, "gelu", type, value, MlpKernels::gelu));
                cases.add(binary(s, "gelu_backward", type, slope, MlpKernels::geluBackward));
                cases.add(gateResidual(s, type));
                cases.add(gateResidualBackward(s, type));
                cases.add(biasGradient(s, type));
                if (s.size != Size.SD35) {
                    cases.add(unary(s, "silu", type, value, MlpKernels::silu));
                    cases.add(binary(s, "silu_backward", type, slope, MlpKernels::siluBackward));
                    cases.add(binary(s, "add", type, EXACT, MlpKernels::add));
                    cases.add(cast(s, type, type == F32 ? BF16 : F32));
                }
            }
            if (s.size == Size.SMALL || s.size == Size.GLYPH) {
                cases.add(sumPartials(s));
            }
        }
    }

    private static KernelCase unary(Shape s, String what, DType type, Tolerance tolerance, Unary kernel) {
        Builder<MlpKernels> c = MLP.of(what + "_" + type.suffix(), s);
        long n = (long) s.rows() * s.hidden();
        var x = c.read("x", type, n, Fill.gaussian(2));
        var y = c.write("y", type, n, tolerance);
        return c.launches(what + "_" + type.suffix(), List.of(x), List.of(y)).by((k, stream, at) -> kernel.on(k, stream, type, at.of(x), at.of(y), n));
    }

    private static KernelCase binary(Shape s, String what, DType type, Tolerance tolerance, Binary kernel) {
        Builder<MlpKernels> c = MLP.of(what + "_" + type.suffix(), s);
        long n = (long) s.rows() * s.hidden();
        var a = c.read("a", type, n, Fill.gaussian(2));
        var b = c.read("b", type, n, Fill.gaussian(1));
        var out = c.write("out", type, n, tolerance);
        return c.launches(what + "_" + type.suffix(), List.of(a, b), List.of(out)).by((k, stream, at) -> kernel.on(k, stream, type, at.of(a), at.of(b), at.of(out), n));
    }

    private static KernelCase cast(Shape s, DType from, DType to) {
        String entry = "cast_" + from.suffix() + "_" + to.suffix();
        Builder<MlpKernels> c = MLP.of(entry, s);
        long n = (long) s.rows() * s.hidden();
        var source = c.read("source", from, n, Fill.gaussian(2));
        var target = c.write("target", to, n, EXACT);
        return c.launches(entry, List.of(source), List.of(target)).by((k, stream, at) -> k.cast(stream, from, at.of(source), to, at.of(target), n));
    }

    private static KernelCase gateResidual(Shape s, DType type) {
        Builder<MlpKernels> c = MLP.of("gate_residual_" + type.suffix(), s);
        var x = c.read("x", F32, s.elements(), Fill.gaussian(2));
        var modulation = modulation(c, s);
        var y = c.read("y", type, s.elements(), Fill.gaussian(1));
        var out = c.write("out", F32, s.elements(), EXACT);
        return c.launches("gate_residual_" + type.suffix(), List.of(x, modulation, y), List.of(out))
                .by((k, stream, at) -> k.gateResidual(stream, type, at.of(x), at.of(modulation), 6 * s.d, at.of(y), at.of(out), s.rows(), s.d, s.tokens));
    }

    private static KernelCase gateResidualBackward(Shape s, DType type) {
        Builder<MlpKernels> c = MLP.of("gate_residual_backward_" + type.suffix(), s);
        var dOut = c.read("dOut", F32, s.elements(), Fill.gaussian(1));
        var modulation = modulation(c, s);
        var y = c.read("y", type, s.elements(), Fill.gaussian(1));
        var dy = c.write("dy", type, s.elements(), EXACT);
        var dModulation = c.write("dModulation", F32, 6L * s.batch * s.d, (long) s.batch * s.d, EXACT);
        return c.launches("gate_gradient_" + type.suffix(), List.of(dOut, y), List.of(dModulation))
                .launches("gate_residual_backward_" + type.suffix(), List.of(dOut, modulation), List.of(dy))
                .by((k, stream, at) -> k.gateResidualBackward(stream, type, at.of(dOut), at.of(modulation), 6 * s.d, at.of(y), at.of(dy), at.of(dModulation),
                        s.rows(), s.d, s.tokens));
    }

    private static KernelCase biasGradient(Shape s, DType type) {
        Builder<MlpKernels> c = MLP.of("column_sums_" + type.suffix(), s);
        var dY = c.read("dY", type, (long) s.rows() * s.hidden(), Fill.gaussian(1));
        var dBias = c.update("dBias", F32, s.hidden(), Fill.gaussian(1), EXACT);
        var partials = c.scratch("partials", F32, MlpKernels.biasGradientScratch(s.rows(), s.hidden()));
        return c.launches("column_sums_" + type.suffix(), List.of(dY), List.of(partials))
                .launches("sum_partials", List.of(partials, dBias), List.of(dBias))
                .by((k, stream, at) -> k.biasGradient(stream, type, at.of(dY), at.of(dBias), at.of(partials), s.rows(), s.hidden(), true));
    }

    private static KernelCase sumPartials(Shape s) {
        int chunks = 2 * s.batch + 1;
        Builder<MlpKernels> c = MLP.of("sum_partials", s);
        var partials = c.read("partials", F32, (long) chunks * s.hidden(), Fill.gaussian(1));
        var out = c.write("out", F32, s.hidden(), EXACT);
        return c.launches("sum_partials", List.of(partials), List.of(out))
                .by((k, stream, at) -> k.sumPartials(stream, at.of(partials), at.of(out), chunks, s.hidden(), false));
    }

    /** 6 vectors of d a sample, of which these kernels read the gate. */
    private static Buffer modulation(Builder<?> c, Shape s) {
        return c.read("modulation", F32, 6L * s.batch * s.d, (long) s.batch * s.d, Fill.gaussian(1));
    }
}
