package dev.turningpoint.bench;

import static dev.turningpoint.bench.Case.Kind.NORMALISATION;

import java.util.List;
import java.util.Map;
import org.bytedeco.pytorch.DoubleOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;

/** {@code norm.cu} beside {@code F.layer_norm} with modulation and {@code F.rms_norm} of the heads; backwards by autograd, added to the gradients that are there. */
final class NormPeers {

    private static final double EPS = 1e-6;

    private NormPeers() {}

    static void addTo(List<Case> cases) {
        for (String size : List.of("glyph", "dram")) {
            int headDim = size.equals("glyph") ? 32 : 64;
            for (String type : List.of("f32", "bf16")) {
                String of = type + "." + size;
                cases.add(Case.of("adaptive LayerNorm", "norm.adaptive_layer_norm_" + of, NORMALISATION, NormPeers::layerNorm));
                cases.add(Case.of("adaptive LayerNorm, backward", "norm.adaptive_layer_norm_backward_" + of, NORMALISATION, in -> layerNormBackward(in, of)));
                cases.add(Case.of("q/k RMSNorm and head split", "norm.qk_norm_split_" + headDim + "_" + of, NORMALISATION, NormPeers::headSplit));
                cases.add(Case.of("q/k RMSNorm and head split, backward", "norm.qk_norm_split_backward_" + headDim + "_" + of, NORMALISATION, NormPeers::headSplitBackward));
            }
        }
    }

    /** {@code (F.layer_norm(x, (d,), eps=eps) * (1 + scale[:, None]) + shift[:, None])}, stored as the next product wants it. */
    private static Tensor modulated(Tensor x, Tensor shift, Tensor scale, torch.ScalarType type) {
        return EagerNetwork.scaled(x, scale.unsqueeze(1), shift.unsqueeze(1)).to(type);
    }

    private static Eager layerNorm(Inputs in) {
        int batch = in.dimension("batch"), tokens = in.dimension("tokens"), d = in.dimension("d");
        Tensor x = in.tensor("x", batch, tokens, d), modulation = in.tensor("modulation", batch, 6, d), shift = modulation.select(1, 0), scale = modulation.select(1, 1);
        var type = Torch.scalarType(in.type("out"));
        return Eager.of(() -> modulated(x, shift, scale, type), "out");
    }

    private static Eager layerNormBackward(Inputs in, String of) {
        int batch = in.dimension("batch"), tokens = in.dimension("tokens"), d = in.dimension("d");
        in.take("norm.adaptive_layer_norm_" + of, List.of("x", "modulation"), Map.of("stats", "stats"));
        Tensor modulation = in.tensor("modulation", batch, 6, d), dx = in.tensor("dx", batch, tokens, d), dOut = in.tensor("dOut", batch, tokens, d);
        Tensor x = Torch.leaf(in.tensor("x", batch, tokens, d)), shift = Torch.leaf(modulation.select(1, 0)), scale = Torch.leaf(modulation.select(1, 1));
        Tensor out = Torch.recorded(() -> modulated(x, shift, scale, Torch.scalarType(in.type("dOut"))));
        return Eager.of(() -> {
            Tensor[] g = Torch.gradients(new Tensor[] {out}, new Tensor[] {x, shift, scale}, dOut);
            return new Tensor[] {dx.add(g[0]), torch.stack(new TensorVector(g[1], g[2]), 1)};
        }, "dx", "dModulation").part("dModulation", t -> t.view(batch, 6, d).narrow(1, 0, 2));
    }

    /** A stream's part of the joint sequence. */
    private record Heads(int batch, int streamTokens, int heads, int headDim, int offset, int tokens) {
        static Heads of(Inputs in) {
            return new Heads(in.dimension("batch"), in.dimension("streamTokens"), in.dimension("heads"), in.dimension("headDim"), in.dimension("offset"), in.dimension("tokens"));
        }

        Tensor part(Tensor joint) {
            return joint.view(batch, heads, tokens, headDim).narrow(2, offset, streamTokens);
        }

        Tensor fused(Inputs in, String name) {
            return in.tensor(name, batch, streamTokens, 3, heads, headDim);
        }

        /** q, k, v [batch, heads, streamTokens, headDim], views of what the norms gave. */
        Tensor[] split(Tensor qkv, Tensor qWeight, Tensor kWeight) {
            return new Tensor[] {norm(qkv.select(2, 0), qWeight).transpose(1, 2), norm(qkv.select(2, 1), kWeight).transpose(1, 2), qkv.select(2, 2).transpose(1, 2)};
        }

        private Tensor norm(Tensor x, Tensor weight) {
            return torch.rms_norm(x, new long[] {headDim}, new TensorOptional(weight), new DoubleOptional(EPS));
        }
    }

    /** The copies into the joint sequence are those of the {@code torch.cat} that follows in Python. */
    private static Eager headSplit(Inputs in) {
        var h = Heads.of(in);
        var type = Torch.scalarType(in.type("qkv"));
        Tensor qkv = h.fused(in, "qkv"), qWeight = in.tensor("qWeight", -1).to(type), kWeight = in.tensor("kWeight", -1).to(type);
        Tensor[] joint = {h.part(in.tensor("q", -1)), h.part(in.tensor("k", -1)), h.part(in.tensor("v", -1))};
        return Eager.of(() -> {
            Tensor[] split = h.split(qkv, qWeight, kWeight);
            for (int i = 0; i < 3; i++) joint[i].copy_(split[i]);
            return joint;
        }, "q", "k", "v").part("q", h::part).part("k", h::part).part("v", h::part);
    }

    private static Eager headSplitBackward(Inputs in) {
        var h = Heads.of(in);
        var type = Torch.scalarType(in.type("qkv"));
        Tensor qkv = Torch.leaf(h.fused(in, "qkv")), qWeight = Torch.leaf(in.tensor("qWeight", -1).to(type)), kWeight = Torch.leaf(in.tensor("kWeight", -1).to(type));
        Tensor dqWeight = in.tensor("dqWeight", -1), dkWeight = in.tensor("dkWeight", -1);
        Tensor[] outputs = Torch.recorded(() -> h.split(qkv, qWeight, kWeight)), inputs = {qkv, qWeight, kWeight};
        Tensor[] gradients = {h.part(in.tensor("dq", -1)), h.part(in.tensor("dk", -1)), h.part(in.tensor("dv", -1))};
        return Eager.of(() -> {
            Tensor[] g = Torch.gradients(outputs, inputs, gradients);
            return new Tensor[] {g[0], dqWeight.add(g[1]), dkWeight.add(g[2])};
        }, "dqkv", "dqWeight", "dkWeight");
    }
}
