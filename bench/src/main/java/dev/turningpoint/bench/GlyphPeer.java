package dev.turningpoint.bench;

import dev.turningpoint.gpu.HostMemory;
import dev.turningpoint.gpu.Stream;
import dev.turningpoint.model.GlyphConfig;
import dev.turningpoint.model.GlyphModel;
import dev.turningpoint.tensor.ParameterLayout.Slot;
import dev.turningpoint.tensor.Parameters;
import java.lang.foreign.MemorySegment;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;

/** The glyph network in libtorch, eager and f32, on the weights of ours. */
final class GlyphPeer extends EagerNetwork {
    private final GlyphConfig c;
    private final Tensor frequencies;

    /** Takes the model's base parameters as they are now; every one can be asked for its gradient. */
    GlyphPeer(GlyphModel model, Stream stream) {
        c = model.config();
        Parameters parameters = model.baseParameters();
        try (HostMemory host = Parameters.download(parameters.values(), stream)) {
            for (Slot slot : parameters.layout().slots().values()) {
                Tensor t = torch.empty(slot.shape());
                MemorySegment.copy(host.segment(), 4 * slot.offset(), Torch.memory(t), 0, 4 * slot.elements());
                weights.put(slot.name(), t.set_requires_grad(true));
            }
        }
        var f = new double[GlyphConfig.TIMESTEP_FEATURES / 2];
        for (int i = 0; i < f.length; i++) f[i] = 1000 * Math.exp(-Math.log(10000) * i / f.length);
        frequencies = Torch.column(f, f.length).reshape(1, f.length);
    }

    /**
     * The velocity, [batch, pixels].
     *
     * @param latents    [batch, pixels]
     * @param sigma      [batch, 1]
     * @param conditions i64 [batch, tokens]
     */
    Tensor velocity(Tensor latents, Tensor sigma, Tensor conditions) {
        long batch = latents.size(0), rows = c.height() / c.patch(), columns = c.width() / c.patch(), p = c.patch(), d = c.dim();
        Tensor text = w("context_embedder.weight").index_select(0, conditions.flatten()).reshape(batch, c.tokens(), d).add(w("context_embedder.pos_embed"));
        Tensor angle = sigma.mul(frequencies), features = cat(1, angle.cos(), angle.sin());
        Tensor condition = mlp("time_text_embed.timestep_embedder", features)
                .add(linear("time_text_embed.text_embedder", text.flatten(1, 2)));
        Tensor activated = torch.silu(condition);
        Tensor x = linear("pos_embed.proj", latents.reshape(batch, rows, p, columns, p).permute(0, 1, 3, 2, 4).reshape(batch, rows * columns, p * p)).add(w("pos_embed.pos_embed"));
        for (int i = 0; i < c.depth(); i++) {
            String b = "transformer_blocks." + i + ".";
            boolean last = i == c.depth() - 1;
            Tensor[] mx = chunks(b + "norm1.linear", activated, c.dim()), mt = chunks(b + "norm1_context.linear", activated, c.dim());
            Tensor[] qx = heads(linear(b + "attn.to_qkv", scaled(x, mx[1], mx[0])), b + "attn.norm_q.weight", b + "attn.norm_k.weight");
            Tensor[] qt = heads(linear(b + "attn.add_qkv_proj", scaled(text, mt[1], mt[0])), b + "attn.norm_added_q.weight", b + "attn.norm_added_k.weight");
            Tensor o = torch.scaled_dot_product_attention(cat(2, qx[0], qt[0]), cat(2, qx[1], qt[1]), cat(2, qx[2], qt[2])).transpose(1, 2).reshape(batch, c.jointTokens(), d);
            x = feed(x, o.narrow(1, 0, c.imageTokens()), mx, b + "attn.to_out.0", b + "ff.net.0.proj", b + "ff.net.2");
            if (!last) text = feed(text, o.narrow(1, c.imageTokens(), c.tokens()), mt, b + "attn.to_add_out", b + "ff_context.net.0.proj", b + "ff_context.net.2");
        }
        Tensor[] m = chunks("norm_out.linear", activated, c.dim());
        return linear("proj_out", scaled(x, m[1], m[0])).reshape(batch, rows, columns, p, p).permute(0, 1, 3, 2, 4).reshape(batch, c.latentSize());
    }

    private Tensor feed(Tensor x, Tensor attended, Tensor[] m, String out, String up, String down) {
        x = x.add(m[2].mul(linear(out, attended)));
        return x.add(m[5].mul(linear(down, torch.gelu(linear(up, scaled(x, m[4], m[3])), "tanh"))));
    }

    private Tensor[] heads(Tensor qkv, String qNorm, String kNorm) {
        Tensor all = qkv.reshape(qkv.size(0), qkv.size(1), 3, c.heads(), c.headDim()).permute(2, 0, 3, 1, 4);
        return new Tensor[] {normalised(all.select(0, 0)).mul(w(qNorm)), normalised(all.select(0, 1)).mul(w(kNorm)), all.select(0, 2)};
    }

    private Tensor w(String name) {
        return weights.get(name);
    }
}
