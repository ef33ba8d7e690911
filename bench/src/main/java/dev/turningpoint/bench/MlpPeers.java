package dev.turningpoint.bench;

import static dev.turningpoint.bench.Case.Kind.ELEMENTWISE;

import java.util.List;
import java.util.function.UnaryOperator;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;

/** {@code mlp.cu} beside the functions of the same names; backwards by autograd. */
final class MlpPeers {

    private static final String EXPONENTIAL = "an exponential and a division an element on both sides";

    private MlpPeers() {}

    static void addTo(List<Case> cases) {
        for (String type : List.of("f32", "bf16")) {
            for (String size : List.of("glyph", "sd35")) {
                cases.add(Case.of("GELU", "mlp.gelu_" + type + "." + size, ELEMENTWISE, in -> forward(in, t -> torch.gelu(t, "tanh"))));
                cases.add(Case.of("GELU, backward", "mlp.gelu_backward_" + type + "." + size, ELEMENTWISE, in -> backward(in, t -> torch.gelu(t, "tanh"))));
            }
            cases.add(Case.of("SiLU", "mlp.silu_" + type + ".glyph", ELEMENTWISE, in -> forward(in, torch::silu)).because(EXPONENTIAL));
            cases.add(Case.of("SiLU, backward", "mlp.silu_backward_" + type + ".glyph", ELEMENTWISE, in -> backward(in, torch::silu)).because(EXPONENTIAL));
            for (String size : List.of("glyph", "dram")) {
                cases.add(Case.of("gate and residual", "mlp.gate_residual_" + type + "." + size, ELEMENTWISE, MlpPeers::gateResidual).because(Case.FIVE_TO_THREE));
                cases.add(Case.of("gate and residual, backward", "mlp.gate_residual_backward_" + type + "." + size, ELEMENTWISE, MlpPeers::gateResidualBackward));
                cases.add(Case.of("bias gradient", "mlp.column_sums_" + type + "." + size, ELEMENTWISE, MlpPeers::biasGradient).because(Case.ONE_PASS));
                cases.add(Case.of("sum", "mlp.add_" + type + "." + size, ELEMENTWISE, MlpPeers::add).because(Case.ONE_PASS));
                String cast = type.equals("f32") ? "mlp.cast_f32_bf16." : "mlp.cast_bf16_f32.";
                cases.add(Case.of("cast", cast + size, ELEMENTWISE, MlpPeers::cast).because(Case.ONE_PASS));
            }
        }
        cases.add(Case.of("sum of partial sums", "mlp.sum_partials.glyph", ELEMENTWISE, MlpPeers::sumPartials));
    }

    private static Eager forward(Inputs in, UnaryOperator<Tensor> function) {
        Tensor x = in.tensor("x", -1);
        return Eager.of(() -> function.apply(x), "y");
    }

    private static Eager backward(Inputs in, UnaryOperator<Tensor> function) {
        Tensor x = Torch.leaf(in.tensor("a", -1)), dy = in.tensor("b", -1), y = Torch.recorded(() -> function.apply(x));
        return Eager.of(() -> Torch.gradients(new Tensor[] {y}, new Tensor[] {x}, dy)[0], "out");
    }

    /** {@code x + gate[:, None] * y}. */
    private static Eager gateResidual(Inputs in) {
        int batch = in.dimension("batch"), tokens = in.dimension("tokens"), d = in.dimension("d");
        Tensor x = in.tensor("x", batch, tokens, d), y = in.tensor("y", batch, tokens, d), gate = in.tensor("modulation", batch, 6, d).select(1, 0);
        return Eager.of(() -> x.add(gate.unsqueeze(1).mul(y)), "out");
    }

    private static Eager gateResidualBackward(Inputs in) {
        int batch = in.dimension("batch"), tokens = in.dimension("tokens"), d = in.dimension("d");
        Tensor y = Torch.leaf(in.tensor("y", batch, tokens, d)), gate = Torch.leaf(in.tensor("modulation", batch, 6, d).select(1, 0)), dOut = in.tensor("dOut", batch, tokens, d);
        Tensor gated = Torch.recorded(() -> gate.unsqueeze(1).mul(y));  // the sum's gradient is dOut itself
        return Eager.of(() -> Torch.gradients(new Tensor[] {gated}, new Tensor[] {y, gate}, dOut), "dy", "dModulation")
                .part("dModulation", t -> t.view(batch, 6, d).select(1, 0));
    }

    private static Eager biasGradient(Inputs in) {
        Tensor dBias = in.tensor("dBias", -1), dY = in.tensor("dY", -1, dBias.numel());
        return Eager.of(() -> dBias.add(dY.sum(0)), "dBias");
    }

    private static Eager add(Inputs in) {
        Tensor a = in.tensor("a", -1), b = in.tensor("b", -1);
        return Eager.of(() -> a.add(b), "out");
    }

    private static Eager cast(Inputs in) {
        Tensor source = in.tensor("source", -1);
        var type = Torch.scalarType(in.type("target"));
        return Eager.of(() -> source.to(type), "target");
    }

    private static Eager sumPartials(Inputs in) {
        Tensor partials = in.tensor("partials", -1, in.tensor("out", -1).numel());
        return Eager.of(() -> partials.sum(0), "out");
    }
}
