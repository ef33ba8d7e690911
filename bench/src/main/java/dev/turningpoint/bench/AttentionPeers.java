package dev.turningpoint.bench;

import static dev.turningpoint.bench.Case.Kind.ATTENTION_BACKWARD;
import static dev.turningpoint.bench.Case.Kind.ATTENTION_FORWARD;
import static dev.turningpoint.bench.Case.Kind.NOTE;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;

/**
 * Attention beside {@code F.scaled_dot_product_attention} in f32, whatever our storage, and its backward by autograd: in bf16 this build of libtorch
 * finds no fast product, which two rows show.
 */
final class AttentionPeers {

    private AttentionPeers() {}

    static void addTo(List<Case> cases) {
        for (String type : List.of("f32", "bf16")) {
            for (String shape : List.of("32_%s.glyph", "32_image_only_%s.glyph", "64_%s.sd35", "128_%s.sd35")) {
                String of = shape.formatted(type), forward = "attention.attention_" + of;
                String reason = type.equals("bf16") ? "bf16 products are widened to f32 on processors without AVX512_BF16" : shape.startsWith("128")
                        ? "a row's sums are more than the registers hold: both sides of a product come from memory, and key and value gradients are two passes" : "";
                cases.add(Case.of("attention", forward, ATTENTION_FORWARD, in -> forward(in, torch.ScalarType.Float)).because(reason));
                cases.add(Case.of("attention, backward", "attention.attention_backward_" + of, ATTENTION_BACKWARD, in -> backward(in, forward)).because(reason));
            }
        }
        cases.add(Case.of("attention, the peer in bf16", "attention.attention_32_bf16.glyph", NOTE, in -> forward(in, torch.ScalarType.BFloat16)));
    }

    /** A joint sequence of which the first {@code tokensA} tokens, or all of them, are asked for. */
    private record Shape(int batch, int heads, int tokens, int headDim, int tokensA) {
        static Shape of(Inputs in) {
            return new Shape(in.dimension("batch"), in.dimension("heads"), in.dimension("tokens"), in.dimension("headDim"), in.dimension("tokensA"));
        }

        Tensor tensor(Inputs in, String name) {
            return in.tensor(name, batch, heads, tokens, headDim);
        }

        Tensor queries(Tensor q, boolean joint) {
            return joint ? q : q.narrow(2, 0, tokensA);
        }

        /** The layout of our outputs: tokens first, heads side by side. */
        Tensor[] streams(Tensor out, boolean joint) {
            Tensor rows = out.transpose(1, 2);
            return joint ? new Tensor[] {rows.narrow(1, 0, tokensA), rows.narrow(1, tokensA, tokens - tokensA)} : new Tensor[] {rows};
        }
    }

    private static Eager forward(Inputs in, torch.ScalarType type) {
        var s = Shape.of(in);
        boolean joint = in.has("outB");
        Tensor q = s.queries(s.tensor(in, "q").to(type), joint), k = s.tensor(in, "k").to(type), v = s.tensor(in, "v").to(type);
        var results = joint ? new String[] {"outA", "outB"} : new String[] {"outA"};
        return Eager.of(() -> s.streams(torch.scaled_dot_product_attention(q, k, v), joint), results);
    }

    private static Eager backward(Inputs in, String forward) {
        var s = Shape.of(in);
        boolean joint = in.has("outB");
        in.take(joint ? forward : forward.replace("image_only_", ""), List.of("q", "k", "v"), joint ? Map.of("lse", "lse", "outA", "outA", "outB", "outB") : Map.of("lse", "lse", "outA", "outA"));
        Tensor q = Torch.leaf(Torch.f32(s.tensor(in, "q"))), k = Torch.leaf(Torch.f32(s.tensor(in, "k"))), v = Torch.leaf(Torch.f32(s.tensor(in, "v")));
        var gradients = new ArrayList<Tensor>(List.of(in.tensor("dOutA", s.batch, s.tokensA, s.heads, s.headDim)));
        if (joint) gradients.add(in.tensor("dOutB", s.batch, s.tokens - s.tokensA, s.heads, s.headDim));
        Tensor dOut = Torch.f32(torch.cat(new TensorVector(gradients.toArray(Tensor[]::new)), 1)).transpose(1, 2);
        Tensor out = Torch.recorded(() -> torch.scaled_dot_product_attention(s.queries(q, joint), k, v));
        return Eager.of(() -> Torch.gradients(new Tensor[] {out}, new Tensor[] {q, k, v}, dOut), "dq", "dk", "dv");
    }
}
