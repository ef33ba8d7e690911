package dev.turningpoint.bench;

import static dev.turningpoint.bench.Case.Kind.ELEMENTWISE;
import static dev.turningpoint.bench.Torch.times;

import java.util.List;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;

/** {@code embed.cu} beside views and permutations, {@code F.embedding} and the sinusoid of diffusers. */
final class EmbedPeers {

    private static final String TRANSPOSED = "one copy on both sides, from planes far apart into channels next to each other or back";

    private EmbedPeers() {}

    static void addTo(List<Case> cases) {
        for (String size : List.of("glyph", "dram")) {
            for (String types : List.of("f32_f32", "f32_bf16", "bf16_f32", "bf16_bf16")) {
                cases.add(Case.of("patchify", "embed.patchify_" + types + "." + size, ELEMENTWISE, EmbedPeers::patchify).because(TRANSPOSED));
                cases.add(Case.of("unpatchify", "embed.unpatchify_" + types + "." + size, ELEMENTWISE, EmbedPeers::unpatchify).because(TRANSPOSED));
            }
            for (String type : List.of("f32", "bf16")) {
                cases.add(Case.of("position added", "embed.add_position_" + type + "." + size, ELEMENTWISE, EmbedPeers::addPosition).because(Case.ONE_PASS));
            }
            cases.add(Case.of("position gradient", "embed.position_gradient." + size, ELEMENTWISE, EmbedPeers::positionGradient).because(Case.ONE_PASS));
        }
        for (String type : List.of("f32", "bf16")) {
            cases.add(Case.of("timestep embedding", "embed.timestep_embedding_" + type + ".glyph", ELEMENTWISE, EmbedPeers::timestep));
        }
        cases.add(Case.of("token embedding", "embed.token_embedding.glyph", ELEMENTWISE, EmbedPeers::tokens));
        cases.add(Case.of("token embedding, gradient", "embed.token_embedding_gradient.glyph", ELEMENTWISE, EmbedPeers::tokenGradient));
    }

    /** [batch, channels, height / p, p, width / p, p] and the order (row, column, channel) of a token; with one channel it is (channel, row, column) too. */
    private static Eager patchify(Inputs in) {
        int batch = in.dimension("batch"), channels = in.dimension("channels"), p = in.dimension("patch"), down = in.dimension("height") / p, across = in.dimension("width") / p;
        Tensor images = in.tensor("images", batch, channels, down, p, across, p);
        var type = Torch.scalarType(in.type("out"));
        return Eager.of(() -> images.permute(0, 2, 4, 3, 5, 1).reshape(batch, (long) down * across, (long) channels * p * p).to(type), "out");
    }

    private static Eager unpatchify(Inputs in) {
        int batch = in.dimension("batch"), channels = in.dimension("channels"), p = in.dimension("patch"), down = in.dimension("height") / p, across = in.dimension("width") / p;
        Tensor tokens = in.tensor("tokens", batch, down, across, p, p, channels);
        var type = Torch.scalarType(in.type("images"));
        return Eager.of(() -> tokens.permute(0, 5, 1, 3, 2, 4).reshape(batch, channels, (long) down * p, (long) across * p).to(type), "images");
    }

    private static Eager addPosition(Inputs in) {
        int batch = in.dimension("batch"), tokens = in.dimension("tokens"), width = in.dimension("width");
        Tensor x = in.tensor("x", batch, tokens, width), position = in.tensor("position", tokens, width);
        return Eager.of(() -> x.add(position), "out");
    }

    private static Eager positionGradient(Inputs in) {
        int batch = in.dimension("batch"), tokens = in.dimension("tokens"), width = in.dimension("width");
        Tensor dOut = in.tensor("dOut", batch, tokens, width), dPosition = in.tensor("dPosition", tokens, width);
        return Eager.of(() -> dPosition.add(dOut.sum(0)), "dPosition");
    }

    /** {@code get_timestep_embedding} of diffusers with flip_sin_to_cos and no shift. */
    private static Eager timestep(Inputs in) {
        int batch = in.dimension("batch"), width = Math.toIntExact(in.tensor("out", -1).numel() / batch), half = width / 2;
        Tensor sigma = in.tensor("sigma", batch);
        var type = Torch.scalarType(in.type("out"));
        return Eager.of(() -> {
            Tensor frequencies = times(Torch.f32(torch.arange(new Scalar(half))), -Math.log(10000) / half).exp();
            Tensor angle = times(sigma, 1000).unsqueeze(1).mul(frequencies.unsqueeze(0));
            return torch.cat(new TensorVector(angle.cos(), angle.sin()), 1).to(type);
        }, "out");
    }

    private static Eager tokens(Inputs in) {
        int batch = in.dimension("batch"), tokens = in.dimension("tokens"), width = in.dimension("width");
        Tensor ids = in.tensor("ids", batch, tokens), table = in.tensor("table", -1, width), position = in.tensor("position", tokens, width);
        return Eager.of(() -> torch.embedding(table, ids).add(position), "out");
    }

    private static Eager tokenGradient(Inputs in) {
        int batch = in.dimension("batch"), tokens = in.dimension("tokens"), width = in.dimension("width");
        Tensor ids = in.tensor("ids", batch, tokens), dTable = in.tensor("dTable", -1, width), dOut = in.tensor("dOut", batch, tokens, width), table = Torch.leaf(dTable);
        Tensor out = Torch.recorded(() -> torch.embedding(table, ids));
        return Eager.of(() -> dTable.add(Torch.gradients(new Tensor[] {out}, new Tensor[] {table}, dOut)[0]), "dTable");
    }
}
