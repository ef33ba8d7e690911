package dev.turningpoint.bench;

import static dev.turningpoint.bench.Case.Kind.PRODUCT;
import static dev.turningpoint.bench.Torch.times;

import java.util.List;
import java.util.Map;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;

/** {@code lora.cu} beside the adapter's branch as peft writes it; backward by autograd, added to the gradients that are there. */
final class LoraPeers {

    private static final double SCALE = 2;  // of the registry's cases

    private static final String PRODUCTS = "sums in the order of a GPU's threads, operands from shared memory, against a BLAS that blocks for registers";

    private LoraPeers() {}

    static void addTo(List<Case> cases) {
        for (String size : List.of("glyph", "sd35")) {
            for (String type : List.of("f32", "bf16")) {
                String of = type + "." + size;
                cases.add(Case.of("LoRA", "lora.lora_forward_" + of, PRODUCT, LoraPeers::forward).because(PRODUCTS));
                cases.add(Case.of("LoRA, backward", "lora.lora_backward_" + of, PRODUCT, in -> backward(in, of)).because(PRODUCTS));
            }
        }
    }

    private static Tensor branch(Tensor x, Tensor a, Tensor b) {
        return times(torch.matmul(torch.matmul(x, a.transpose(0, 1)), b.transpose(0, 1)), SCALE);
    }

    private static Eager forward(Inputs in) {
        int rows = in.dimension("rows"), wide = in.dimension("in"), out = in.dimension("out"), rank = in.dimension("rank");
        Tensor x = in.tensor("x", rows, wide), a = in.tensor("a", rank, wide), b = in.tensor("b", out, rank), y = in.tensor("y", rows, out);
        return Eager.of(() -> y.add(branch(x, a, b)), "y");
    }

    private static Eager backward(Inputs in, String of) {
        int rows = in.dimension("rows"), wide = in.dimension("in"), out = in.dimension("out"), rank = in.dimension("rank");
        in.take("lora.lora_forward_" + of, List.of("x", "a", "b"), Map.of("down", "down"));
        Tensor x = Torch.leaf(in.tensor("x", rows, wide)), a = Torch.leaf(in.tensor("a", rank, wide)), b = Torch.leaf(in.tensor("b", out, rank)), dY = in.tensor("dY", rows, out);
        Tensor dx = in.tensor("dx", rows, wide), dA = in.tensor("dA", rank, wide), dB = in.tensor("dB", out, rank), y = Torch.recorded(() -> branch(x, a, b));
        return Eager.of(() -> {
            Tensor[] g = Torch.gradients(new Tensor[] {y}, new Tensor[] {x, a, b}, dY);
            return new Tensor[] {dx.add(g[0]), dA.add(g[1]), dB.add(g[2])};
        }, "dx", "dA", "dB");
    }
}
