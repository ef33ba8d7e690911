package dev.turningpoint.bench;

import dev.turningpoint.weights.SafetensorsFile;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;

/**
 * SD3 and FLUX.1 in libtorch, operation by operation as diffusers has them ({@code SD3Transformer2DModel}, {@code FluxTransformer2DModel} with {@code model.to(dtype)}). What diffusers computes
 * in f32 whatever the type is f32 here (norms of queries and keys, rotations); the timestep is not rounded to the type, which spares the peer an error that a pipeline makes.
 */
final class PublishedNetwork extends EagerNetwork {
    private final boolean flux;
    private final int heads;
    private final torch.ScalarType type;
    private final Tensor timestep, guidance;
    private final Tensor[] rope;
    final Tensor latents, text, pooled;

    /**
     * @param heads    of attention
     * @param type     of the weights and of the inputs
     * @param latents  [batch, channels, height, width] of SD3, [batch, tokens, channels] of FLUX
     * @param text     [batch, tokens, width]
     * @param pooled   [batch, width]
     * @param timestep [batch], 1000 sigma
     * @param guidance [batch], of FLUX; null: SD3
     * @param rope     cosines and sines of FLUX, [tokens, head dim] of text and image; null: SD3
     */
    PublishedNetwork(Map<String, Tensor> weights, int heads, torch.ScalarType type, Tensor latents, Tensor text, Tensor pooled, Tensor timestep, Tensor guidance, Tensor[] rope) {
        this.weights.putAll(weights);
        this.heads = heads;
        this.type = type;
        this.latents = latents;
        this.text = text;
        this.pooled = pooled;
        this.timestep = timestep;
        this.guidance = guidance;
        this.rope = rope;
        flux = rope != null;
    }

    /**
     * The tiny network of a golden; its weights and inputs can be asked for their gradients.
     *
     * @param folder of {@code sd3_tiny} or {@code flux_tiny}
     * @param io     its {@code io.safetensors}
     */
    static PublishedNetwork golden(Path folder, SafetensorsFile io, torch.ScalarType type) {
        boolean flux = folder.getFileName().toString().startsWith("flux");
        torch.ScalarType wide = type == torch.ScalarType.Double ? type : torch.ScalarType.Float;
        var weights = new LinkedHashMap<String, Tensor>();
        try (var file = SafetensorsFile.open(folder.resolve("diffusion_pytorch_model.safetensors"))) {
            for (String name : file.names()) weights.put(name, Torch.leaf(tensor(file, name).to(type)));
        }
        Tensor[] inputs = {Torch.leaf(tensor(io, "in.hidden_states").to(type)), Torch.leaf(tensor(io, "in.encoder_hidden_states").to(type)), Torch.leaf(tensor(io, "in.pooled_projections").to(type))};
        Tensor timestep = Torch.times(tensor(io, "in.timestep"), flux ? 1000 : 1);
        return new PublishedNetwork(weights, 2, type, inputs[0], inputs[1], inputs[2], timestep, flux ? tensor(io, "in.guidance") : null,
                flux ? new Tensor[] {tensor(io, "act.pos_embed.0").to(wide), tensor(io, "act.pos_embed.1").to(wide)} : null);
    }

    static Tensor tensor(SafetensorsFile file, String name) {
        long[] shape = file.info(name).shape().stream().mapToLong(Long::longValue).toArray();
        float[] values = file.floats(name);
        Tensor t = torch.empty(shape);
        MemorySegment.copy(values, 0, Torch.memory(t), ValueLayout.JAVA_FLOAT_UNALIGNED, 0, values.length);
        return t;
    }

    /** The weights that learn, as the goldens have gradients of them. */
    Map<String, Tensor> parameters() {
        var learned = new LinkedHashMap<>(weights);
        learned.remove("pos_embed.pos_embed");
        return learned;
    }

    Tensor forward() {
        return flux ? flux() : sd3();
    }

    private Tensor sd3() {
        Tensor x = torch.conv2d(latents, weights.get("pos_embed.proj.weight"), Torch.optional(weights.get("pos_embed.proj.bias")), new long[] {2, 2}, new long[] {0, 0}, new long[] {1, 1}, 1);
        long rows = x.size(2), columns = x.size(3), d = x.size(1);
        x = x.flatten(2, 3).transpose(1, 2);
        Tensor table = weights.get("pos_embed.pos_embed").to(torch.ScalarType.Float);
        long side = Math.round(Math.sqrt(table.size(1)));
        Tensor places = table.reshape(1, side, side, d).narrow(1, (side - rows) / 2, rows).narrow(2, (side - columns) / 2, columns).reshape(1, rows * columns, d);
        x = x.add(places.to(wide())).to(type);
        Tensor condition = mlp("time_text_embed.timestep_embedder", sinusoid(timestep)).add(mlp("time_text_embed.text_embedder", pooled)), words = linear("context_embedder", text);
        Tensor activated = torch.silu(condition);
        int blocks = count("transformer_blocks.");
        for (int i = 0; i < blocks; i++) {
            String name = "transformer_blocks." + i + ".";
            boolean ends = i == blocks - 1, dual = weights.containsKey(name + "attn2.to_q.weight");
            Tensor[] m = chunks(name + "norm1.linear", activated, d), c = chunks(name + "norm1_context.linear", activated, d);
            Tensor normed = scaled(x, m[1], m[0]), normedWords = ends ? scaled(words, c[0], c[1]) : scaled(words, c[1], c[0]);
            Tensor[] attended = attention(name + "attn.", normed, normedWords, true, null);
            Tensor before = x;
            x = x.add(m[2].mul(linear(name + "attn.to_out.0", attended[0])));
            if (dual) x = x.add(m[8].mul(linear(name + "attn2.to_out.0", attention(name + "attn2.", scaled(before, m[7], m[6]), null, true, null)[0])));
            x = x.add(m[5].mul(feed(name + "ff", scaled(x, m[4], m[3]))));
            if (ends) continue;
            words = words.add(c[2].mul(linear(name + "attn.to_add_out", attended[1])));
            words = words.add(c[5].mul(feed(name + "ff_context", scaled(words, c[4], c[3]))));
        }
        Tensor[] last = chunks("norm_out.linear", activated, d);
        Tensor out = linear("proj_out", scaled(x, last[0], last[1])).reshape(x.size(0), rows, columns, 2, 2, latents.size(1));
        return out.permute(0, 5, 1, 3, 2, 4).reshape(latents.size(0), latents.size(1), rows * 2, columns * 2);
    }

    private Tensor flux() {
        Tensor x = linear("x_embedder", latents), words = linear("context_embedder", text);
        Tensor condition = mlp("time_text_embed.timestep_embedder", sinusoid(timestep))
                .add(mlp("time_text_embed.guidance_embedder", sinusoid(Torch.times(guidance, 1000)))).add(mlp("time_text_embed.text_embedder", pooled));
        Tensor activated = torch.silu(condition);
        long d = x.size(2);
        for (int i = 0; i < count("transformer_blocks."); i++) {
            String name = "transformer_blocks." + i + ".";
            Tensor[] m = chunks(name + "norm1.linear", activated, d), c = chunks(name + "norm1_context.linear", activated, d);
            Tensor[] attended = attention(name + "attn.", scaled(x, m[1], m[0]), scaled(words, c[1], c[0]), false, rope);
            x = x.add(m[2].mul(linear(name + "attn.to_out.0", attended[0])));
            x = x.add(m[5].mul(feed(name + "ff", scaled(x, m[4], m[3]))));
            words = words.add(c[2].mul(linear(name + "attn.to_add_out", attended[1])));
            words = words.add(c[5].mul(feed(name + "ff_context", scaled(words, c[4], c[3]))));
        }
        long nt = words.size(1), ni = x.size(1);
        Tensor joint = cat(1, words, x);
        for (int i = 0; i < count("single_transformer_blocks."); i++) {
            String name = "single_transformer_blocks." + i + ".";
            Tensor[] m = chunks(name + "norm.linear", activated, d);
            Tensor normed = scaled(joint, m[1], m[0]), up = torch.gelu(linear(name + "proj_mlp", normed), "tanh");
            joint = joint.add(m[2].mul(linear(name + "proj_out", cat(2, attention(name + "attn.", normed, null, false, rope)[0], up))));
        }
        Tensor[] last = chunks("norm_out.linear", activated, d);
        return linear("proj_out", scaled(joint.narrow(1, nt, ni), last[0], last[1]));
    }

    /** The attention of one sequence, or of two side by side; {@code first}: whether x comes before the words. */
    private Tensor[] attention(String name, Tensor x, Tensor words, boolean first, Tensor[] rope) {
        Tensor q = heads(name + "to_q", x, name + "norm_q"), k = heads(name + "to_k", x, name + "norm_k"), v = heads(name + "to_v", x, null);
        if (words != null) {
            Tensor wq = heads(name + "add_q_proj", words, name + "norm_added_q"), wk = heads(name + "add_k_proj", words, name + "norm_added_k"), wv = heads(name + "add_v_proj", words, null);
            q = first ? cat(2, q, wq) : cat(2, wq, q);
            k = first ? cat(2, k, wk) : cat(2, wk, k);
            v = first ? cat(2, v, wv) : cat(2, wv, v);
        }
        if (rope != null) {
            q = rotated(q, rope);
            k = rotated(k, rope);
        }
        Tensor out = torch.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.size(0), q.size(2), heads * q.size(3)).to(type);
        if (words == null) return new Tensor[] {out};
        long ni = x.size(1), nt = words.size(1);
        return new Tensor[] {out.narrow(1, first ? 0 : nt, ni), out.narrow(1, first ? ni : 0, nt)};
    }

    private Tensor heads(String layer, Tensor x, String norm) {
        Tensor y = linear(layer, x).reshape(x.size(0), x.size(1), heads, -1).transpose(1, 2), weight = norm == null ? null : weights.get(norm + ".weight");
        if (weight == null) return y;
        return normalised(y.to(wide())).to(type).mul(weight);
    }

    private Tensor rotated(Tensor x, Tensor[] rope) {
        Tensor pairs = x.reshape(x.size(0), x.size(1), x.size(2), x.size(3) / 2, 2);
        Tensor turned = torch.stack(new TensorVector(pairs.select(4, 1).neg(), pairs.select(4, 0)), 4).flatten(3, 4);
        return x.to(wide()).mul(rope[0]).add(turned.to(wide()).mul(rope[1])).to(type);
    }

    /** Where diffusers widens to f32, f64 where all is. */
    private torch.ScalarType wide() {
        return type == torch.ScalarType.Double ? type : torch.ScalarType.Float;
    }

    /** {@code [cos, sin]} of 128 frequencies, in f32 as diffusers has them, or in f64. */
    private Tensor sinusoid(Tensor timestep) {
        double[] frequencies = new double[128];
        for (int i = 0; i < 128; i++) frequencies[i] = Math.exp(-Math.log(10000) * i / 128);
        Tensor f = Torch.column(frequencies, 128).reshape(1, 128).to(wide()), angle = timestep.to(wide()).reshape(-1, 1).mul(f);
        return cat(1, angle.cos(), angle.sin()).to(type);
    }

    private Tensor feed(String name, Tensor x) {
        return linear(name + ".net.2", torch.gelu(linear(name + ".net.0.proj", x), "tanh"));
    }

    private int count(String prefix) {
        return (int) weights.keySet().stream().filter(n -> n.startsWith(prefix)).map(n -> n.substring(prefix.length()).split("\\.")[0]).distinct().count();
    }
}
