package dev.turningpoint.kernels.cases;

import static dev.turningpoint.gpu.DType.F32;
import static dev.turningpoint.kernels.cases.Tolerance.EXACT;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.kernels.NormKernels;
import dev.turningpoint.kernels.cases.KernelCase.Builder;
import dev.turningpoint.kernels.cases.KernelCase.Family;
import java.util.List;

/** {@code norm.cu}. */
final class NormCases {
    private static final Family<NormKernels> NORM = new Family<>("norm", NormKernels.class, NormKernels::new);
    private static final float EPS = 1e-6f;
    private static final String ROOT = "rsqrt.approx is exact to 2 units in the last place only";
    private static final String ROOT_AND_FUSION = ROOT + ", and ptxas may fuse a product with the sum that takes it";

    private NormCases() {
    }

    /** Rows of the residual stream; a sample's modulation holds 6 vectors of d: shift, scale and gate of attention and of the feed-forward layer. */
    private record Rows(Size size, int batch, int tokens, int d) implements KernelCase.Shape {
        int rows() {
            return batch * tokens;
        }

        long elements() {
            return (long) rows() * d;
        }

        long modulation() {
            return 6L * batch * d;
        }

        Fill residual() {
            return (_, random) -> 0.3 + 2 * random.nextGaussian();
        }
    }

    /** One stream's part of a joint sequence. */
    private record Heads(Size size, int batch, int streamTokens, int heads, int headDim, int offset, int tokens) implements KernelCase.Shape {
        long fused() {
            return 3L * batch * streamTokens * heads * headDim;
        }

        long joint() {
            return (long) batch * heads * tokens * headDim;
        }

        long part() {
            return fused() / 3;
        }
    }

    private static final List<Rows> ROWS = List.of(new Rows(Size.SMALL, 2, 7, 100), new Rows(Size.GLYPH, 48, 96, 96), new Rows(Size.SD35, 2, 1024, 1536), new Rows(Size.DRAM, 8, 1024, 1536));
    private static final List<Heads> HEADS = List.of(new Heads(Size.SMALL, 2, 19, 3, 32, 2, 24), new Heads(Size.SMALL, 2, 5, 2, 64, 0, 5), new Heads(Size.SMALL, 1, 6, 2, 128, 1, 7),
            new Heads(Size.GLYPH, 48, 96, 3, 32, 0, 101), new Heads(Size.SD35, 2, 1024, 24, 64, 0, 1229), new Heads(Size.DRAM, 4, 1024, 24, 64, 0, 1229));

    static void addTo(List<KernelCase> cases) {
        for (DType type : KernelCases.STORAGES) {
            for (Rows s : ROWS) {
                cases.add(layerNorm(s, type));
                cases.add(layerNormBackward(s, type));
            }
            for (Heads s : HEADS) {
                cases.add(headSplit(s, type));
                cases.add(headSplitBackward(s, type));
            }
        }
    }

    private static KernelCase layerNorm(Rows s, DType type) {
        Builder<NormKernels> c = NORM.of("adaptive_layer_norm_" + type.suffix(), s);
        var x = c.read("x", F32, s.elements(), s.residual());
        var modulation = c.read("modulation", F32, s.modulation(), s.modulation() / 3, Fill.gaussian(0.5));
        var out = c.write("out", type, s.elements(), Tolerance.ulpsOfRms(type == F32 ? 16 : 1, ROOT_AND_FUSION));
        var stats = c.write("stats", F32, 2L * s.rows(), Tolerance.ulpsOfRms(8, ROOT_AND_FUSION));
        return c.launches("adaptive_layer_norm_" + type.suffix(), List.of(x, modulation), List.of(out, stats))
                .by((k, stream, at) -> k.adaptiveLayerNorm(stream, type, at.of(x), at.of(modulation), at.of(modulation) + 4L * s.d, 6 * s.d, at.of(out), at.of(stats),
                        s.rows(), s.d, s.tokens, EPS));
    }

    private static KernelCase layerNormBackward(Rows s, DType type) {
        Builder<NormKernels> c = NORM.of("adaptive_layer_norm_backward_" + type.suffix(), s);
        var x = c.read("x", F32, s.elements(), s.residual());
        var modulation = c.read("modulation", F32, s.modulation(), s.modulation() / 6, Fill.gaussian(0.5));
        var stats = c.read("stats", F32, 2L * s.rows(), Fill.values(0.3f, 0.5f));
        var dOut = c.read("dOut", type, s.elements(), Fill.gaussian(1));
        var dx = c.update("dx", F32, s.elements(), Fill.gaussian(1), Tolerance.ulpsOfRms(16, "ptxas may fuse a product with the sum that takes it"));
        var dModulation = c.write("dModulation", F32, s.modulation(), s.modulation() / 3, EXACT);
        return c.launches("adaptive_layer_norm_backward_" + type.suffix(), List.of(x, modulation, stats, dOut, dx), List.of(dx))
                .launches("modulation_gradient_" + type.suffix(), List.of(x, stats, dOut), List.of(dModulation))
                .by((k, stream, at) -> k.adaptiveLayerNormBackward(stream, type, at.of(x), at.of(modulation) + 4L * s.d, 6 * s.d, at.of(stats), at.of(dOut), at.of(dx),
                        at.of(dModulation), at.of(dModulation) + 4L * s.d, s.rows(), s.d, s.tokens));
    }

    private static KernelCase headSplit(Heads s, DType type) {
        Builder<NormKernels> c = NORM.of("qk_norm_split_" + s.headDim + "_" + type.suffix(), s);
        var qkv = c.read("qkv", type, s.fused(), Fill.gaussian(1.5));
        var qWeight = weight(c, "qWeight", s);
        var kWeight = weight(c, "kWeight", s);
        var root = Tolerance.ulps(type == F32 ? 8 : 1, ROOT);
        var q = c.write("q", type, s.joint(), s.part(), root);
        var k = c.write("k", type, s.joint(), s.part(), root);
        var v = c.write("v", type, s.joint(), s.part(), EXACT);
        return c.launches("qk_norm_split_" + type.suffix(), List.of(qkv, qWeight, kWeight), List.of(q, k, v))
                .by((kernels, stream, at) -> kernels.qkNormSplit(stream, type, at.of(qkv), at.of(qWeight), at.of(kWeight), 0, at.of(q), at.of(k), at.of(v),
                        s.batch, new NormKernels.HeadSplit(s.streamTokens, s.heads, s.headDim, s.offset, s.tokens, EPS)));
    }

    private static KernelCase headSplitBackward(Heads s, DType type) {
        Builder<NormKernels> c = NORM.of("qk_norm_split_backward_" + s.headDim + "_" + type.suffix(), s);
        var qkv = c.read("qkv", type, s.fused(), s.fused() / 3 * 2, Fill.gaussian(1.5));  // v is not needed
        var qWeight = weight(c, "qWeight", s);
        var kWeight = weight(c, "kWeight", s);
        var dq = c.read("dq", type, s.joint(), s.part(), Fill.gaussian(1));
        var dk = c.read("dk", type, s.joint(), s.part(), Fill.gaussian(1));
        var dv = c.read("dv", type, s.joint(), s.part(), Fill.gaussian(1));
        var dqkv = c.write("dqkv", type, s.fused(), Tolerance.ulpsOfRms(type == F32 ? 16 : 1, ROOT_AND_FUSION));
        var summed = Tolerance.ulpsOfRms(16, ROOT);
        var dqWeight = c.update("dqWeight", F32, s.headDim, Fill.gaussian(1), summed);
        var dkWeight = c.update("dkWeight", F32, s.headDim, Fill.gaussian(1), summed);
        var partials = c.scratch("partials", F32, NormKernels.qkNormScratch(s.batch, s.streamTokens, s.heads, s.headDim));
        return c.launches("qk_norm_split_backward_" + type.suffix(), List.of(qkv, qWeight, kWeight, dq, dk, dv), List.of(dqkv, partials))
                .launches("qk_weight_gradient", List.of(partials, dqWeight, dkWeight), List.of(dqWeight, dkWeight))
                .by((k, stream, at) -> k.qkNormSplitBackward(stream, type, at.of(qkv), at.of(qWeight), at.of(kWeight), 0, at.of(dq), at.of(dk), at.of(dv), at.of(dqkv),
                        at.of(dqWeight), at.of(dkWeight), at.of(partials), s.batch, new NormKernels.HeadSplit(s.streamTokens, s.heads, s.headDim, s.offset, s.tokens, EPS)));
    }

    private static Buffer weight(Builder<?> c, String name, Heads s) {
        return c.read(name, F32, s.headDim, (_, random) -> 1 + 0.3 * random.nextGaussian());
    }
}
