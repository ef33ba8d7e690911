package dev.turningpoint.kernels.cases;

import static dev.turningpoint.gpu.DType.F32;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.kernels.AttentionKernels;
import dev.turningpoint.kernels.cases.KernelCase.Builder;
import dev.turningpoint.kernels.cases.KernelCase.Family;
import java.util.ArrayList;
import java.util.List;

/** {@code attention_f32.cu} and {@code attention_bf16.cu}. */
final class AttentionCases {
    private static final Family<AttentionKernels> ATTENTION = new Family<>("attention", AttentionKernels.class, AttentionKernels::new);
    private static final String TENSOR_CORES = "the order and the rounding of a tensor core's sums, ex2.approx and lg2.approx are the device's own; probabilities are cut to bf16 after them";
    private static final String APPROXIMATE = "ex2.approx and lg2.approx are the device's own, sums are in the same order";

    private AttentionCases() {
    }

    /** A joint sequence: {@code tokensA} of the image, then those of the text, which have an output only in a {@code joint} block. */
    private record Shape(Size size, int batch, int heads, int tokens, int headDim, int tokensA, boolean joint) implements KernelCase.Shape {
        long elements() {
            return (long) batch * heads * tokens * headDim;
        }

        long elementsA() {
            return (long) batch * heads * tokensA * headDim;
        }

        long rows() {
            return (long) batch * heads * tokens;
        }

        /** Elements that belong to queries with an output. */
        long answered() {
            return joint ? elements() : elementsA();
        }

        float scale() {
            return (float) (1 / Math.sqrt(headDim));
        }

        String name(String what, DType type) {
            return what + "_" + headDim + (joint ? "_" : "_image_only_") + type.suffix();
        }
    }

    private static final List<Shape> SHAPES = List.of(
            new Shape(Size.SMALL, 2, 2, 37, 32, 30, true), new Shape(Size.SMALL, 1, 2, 81, 64, 70, true), new Shape(Size.SMALL, 1, 1, 35, 128, 20, true),
            new Shape(Size.SMALL, 1, 2, 37, 32, 30, false),
            new Shape(Size.GLYPH, 48, 3, 101, 32, 96, true), new Shape(Size.GLYPH, 48, 3, 101, 32, 96, false),
            new Shape(Size.SD35, 2, 24, 1229, 64, 1024, true),
            new Shape(Size.SD35, 1, 8, 1536, 128, 1024, true));  // a third of the heads of FLUX.1-dev

    static void addTo(List<KernelCase> cases) {
        for (Shape s : SHAPES) {
            for (DType type : KernelCases.STORAGES) {
                cases.add(forward(s, type));
                cases.add(backward(s, type));
            }
        }
    }

    /** bf16 probabilities flip by a unit now and then; those of f32 differ by 2 units of 2^-23, and a term may be several times the sum's root mean square. */
    private static Tolerance products(DType type) {
        return type == F32 ? Tolerance.ulpsOfRms(64, APPROXIMATE) : Tolerance.ulpsOfRms(4, TENSOR_CORES);
    }

    private static KernelCase forward(Shape s, DType type) {
        Builder<AttentionKernels> c = ATTENTION.of(s.name("attention", type), s);
        var q = c.read("q", type, s.elements(), s.answered(), Fill.gaussian(1));
        var k = c.read("k", type, s.elements(), Fill.gaussian(1));
        var v = c.read("v", type, s.elements(), Fill.gaussian(1));
        var outA = c.write("outA", type, s.elementsA(), products(type));
        var outB = s.joint ? c.write("outB", type, s.elements() - s.elementsA(), products(type)) : null;
        var lse = s.joint ? c.write("lse", F32, s.rows(), Tolerance.ulpsOfRms(16, type == F32 ? APPROXIMATE : TENSOR_CORES)) : null;
        return c.launches("attention_" + s.headDim + "_" + type.suffix(), List.of(q, k, v), s.joint ? List.of(outA, outB, lse) : List.of(outA))
                .by((kernels, stream, at) -> kernels.forward(stream, type, at.of(q), at.of(k), at.of(v), at.of(outA), s.joint ? at.of(outB) : 0, s.joint ? at.of(lse) : 0,
                        s.batch, s.heads, s.tokens, s.headDim, s.tokensA, s.scale()));
    }

    private static KernelCase backward(Shape s, DType type) {
        Builder<AttentionKernels> c = ATTENTION.of(s.name("attention_backward", type), s);
        var q = c.read("q", type, s.elements(), s.answered(), Fill.gaussian(1));
        var k = c.read("k", type, s.elements(), Fill.gaussian(1));
        var v = c.read("v", type, s.elements(), Fill.gaussian(1));
        // Not what the forward would have given, but as large: with q and k normal, q k / sqrt(headDim) is standard normal and the denominator about tokens sqrt(e).
        var lse = c.read("lse", F32, s.rows(), s.answered() / s.headDim, Fill.uniform(Math.log(s.tokens) + 0.4, Math.log(s.tokens) + 0.6));
        var outA = c.read("outA", type, s.elementsA(), Fill.gaussian(0.2));
        var dOutA = c.read("dOutA", type, s.elementsA(), Fill.gaussian(1));
        var outB = s.joint ? c.read("outB", type, s.elements() - s.elementsA(), Fill.gaussian(0.2)) : null;
        var dOutB = s.joint ? c.read("dOutB", type, s.elements() - s.elementsA(), Fill.gaussian(1)) : null;
        var dq = c.write("dq", type, s.elements(), products(type));
        var dk = c.write("dk", type, s.elements(), products(type));
        var dv = c.write("dv", type, s.elements(), products(type));
        var delta = c.scratch("delta", F32, F32.bytes(s.rows()));
        List<Buffer> outs = s.joint ? List.of(outA, outB) : List.of(outA), dOuts = s.joint ? List.of(dOutA, dOutB) : List.of(dOutA);
        List<Buffer> reads = new ArrayList<>(List.of(q, k, v, lse, delta)), deltaReads = new ArrayList<>(outs);
        reads.addAll(dOuts);
        deltaReads.addAll(dOuts);
        String suffix = "_" + s.headDim + "_" + type.suffix();
        return c.launches("attention_delta_" + type.suffix(), deltaReads, List.of(delta))
                .launches("attention_backward_keys" + suffix, reads, List.of(dk, dv))
                .launches("attention_backward_queries" + suffix, reads, List.of(dq))
                .by((kernels, stream, at) -> kernels.backward(stream, type, at.of(q), at.of(k), at.of(v), at.of(outA), s.joint ? at.of(outB) : 0, at.of(dOutA),
                        s.joint ? at.of(dOutB) : 0, at.of(lse), at.of(delta), at.of(dq), at.of(dk), at.of(dv), s.batch, s.heads, s.tokens, s.headDim, s.tokensA, s.scale()));
    }
}
