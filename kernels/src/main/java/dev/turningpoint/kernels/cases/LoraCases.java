package dev.turningpoint.kernels.cases;

import static dev.turningpoint.gpu.DType.F32;
import static dev.turningpoint.kernels.cases.Tolerance.EXACT;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.kernels.LoraKernels;
import dev.turningpoint.kernels.cases.KernelCase.Builder;
import dev.turningpoint.kernels.cases.KernelCase.Family;
import java.util.List;

/** {@code lora.cu}: fused multiply-adds in a fixed order. */
final class LoraCases {
    private static final Family<LoraKernels> LORA = new Family<>("lora", LoraKernels.class, LoraKernels::new);
    private static final float SCALE = 2;

    private LoraCases() {
    }

    private record Shape(Size size, int rows, int in, int out, int rank) implements KernelCase.Shape {
    }

    private static final List<Shape> SHAPES = List.of(new Shape(Size.SMALL, 150, 45, 70, 12), new Shape(Size.GLYPH, 4608, 96, 288, 32), new Shape(Size.SD35, 2048, 1536, 1536, 32));

    static void addTo(List<KernelCase> cases) {
        for (Shape s : SHAPES) {
            for (DType type : KernelCases.STORAGES) {
                cases.add(forward(s, type));
                cases.add(backward(s, type));
            }
        }
    }

    private static KernelCase forward(Shape s, DType type) {
        Builder<LoraKernels> c = LORA.of("lora_forward_" + type.suffix(), s);
        var x = c.read("x", type, (long) s.rows * s.in, Fill.gaussian(1));
        var a = c.read("a", type, (long) s.rank * s.in, Fill.gaussian(1 / Math.sqrt(s.in)));
        var b = c.read("b", type, (long) s.out * s.rank, Fill.gaussian(1 / Math.sqrt(s.rank)));
        var down = c.write("down", type, (long) s.rows * s.rank, EXACT);
        var y = c.update("y", type, (long) s.rows * s.out, Fill.gaussian(1), EXACT);
        return c.launches("lora_times_transposed_" + type.suffix(), List.of(x, a), List.of(down))
                .launches("lora_times_transposed_" + type.suffix(), List.of(down, b, y), List.of(y))
                .by((k, stream, at) -> k.forward(stream, type, at.of(x), at.of(a), at.of(b), at.of(down), at.of(y), s.out, s.rows, s.in, s.out, s.rank, SCALE));
    }

    private static KernelCase backward(Shape s, DType type) {
        Builder<LoraKernels> c = LORA.of("lora_backward_" + type.suffix(), s);
        var x = c.read("x", type, (long) s.rows * s.in, Fill.gaussian(1));
        var a = c.read("a", type, (long) s.rank * s.in, Fill.gaussian(1 / Math.sqrt(s.in)));
        var b = c.read("b", type, (long) s.out * s.rank, Fill.gaussian(1 / Math.sqrt(s.rank)));
        var down = c.read("down", type, (long) s.rows * s.rank, Fill.gaussian(1));
        var dY = c.read("dY", type, (long) s.rows * s.out, Fill.gaussian(1));
        var dDown = c.scratch("dDown", type, type.bytes((long) s.rows * s.rank));
        var dA = c.update("dA", F32, (long) s.rank * s.in, Fill.gaussian(1), EXACT);
        var dB = c.update("dB", F32, (long) s.out * s.rank, Fill.gaussian(1), EXACT);
        var dx = c.update("dx", type, (long) s.rows * s.in, Fill.gaussian(1), EXACT);
        var partials = c.scratch("partials", F32, LoraKernels.scratch(s.rows, s.in, s.out, s.rank));
        return c.launches("lora_times_" + type.suffix(), List.of(dY, b), List.of(dDown))
                .launches("lora_outer_" + type.suffix(), List.of(dY, down), List.of(partials))
                .launches("lora_sum_partials", List.of(partials, dB), List.of(dB))
                .launches("lora_outer_" + type.suffix(), List.of(dDown, x), List.of(partials))
                .launches("lora_sum_partials", List.of(partials, dA), List.of(dA))
                .launches("lora_times_" + type.suffix(), List.of(dDown, a, dx), List.of(dx))
                .by((k, stream, at) -> k.backward(stream, type, at.of(x), at.of(a), at.of(b), at.of(down), at.of(dY), s.out, at.of(dDown), at.of(dA), at.of(dB), at.of(dx),
                        at.of(partials), s.rows, s.in, s.out, s.rank, SCALE));
    }
}
