package dev.turningpoint.weights;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.stream.IntStream;
import tools.jackson.databind.JsonNode;

/**
 * Stable Diffusion 3, 3.5-medium and 3.5-large: {@code SD3Transformer2DModel} of diffusers, {@code MMDiT} of the original.
 *
 * @param depth       joint blocks; of the last one the text stream ends after attention
 * @param dualLayers  blocks with a second attention over the image alone, ascending
 * @param heads       attention heads
 * @param headDim     width of one; heads * headDim is the width D of the network
 * @param patch       side of a patch, in latent pixels
 * @param inChannels  of the latents
 * @param outChannels of the velocity
 * @param textWidth   of a text embedding
 * @param pooledWidth of the pooled text embedding
 * @param positions   side of the table of positions, in patches
 * @param qkNorm      whether queries and keys pass an RMS norm
 */
public record Sd3Architecture(int depth, List<Integer> dualLayers, int heads, int headDim, int patch, int inChannels, int outChannels, int textWidth, int pooledWidth,
                              int positions, boolean qkNorm) implements Architecture {
    /** Width of the sinusoids of a timestep. */
    static final int TIME_WIDTH = 256;

    public Sd3Architecture {
        dualLayers = List.copyOf(dualLayers);
    }

    @Override
    public String name() { return "sd3"; }

    public boolean isDual(int block) { return dualLayers.contains(block); }

    @Override
    public List<Correspondence> correspondences() {
        var list = new TensorList();
        int d = width();
        list.tensor("pos_embed", "pos_embed.pos_embed", 1, (long) positions * positions, d);
        list.tensor("x_embedder.proj.weight", "pos_embed.proj.weight", d, inChannels, patch, patch);
        list.tensor("x_embedder.proj.bias", "pos_embed.proj.bias", d);
        list.linear("t_embedder.mlp.0", "time_text_embed.timestep_embedder.linear_1", d, TIME_WIDTH);
        list.linear("t_embedder.mlp.2", "time_text_embed.timestep_embedder.linear_2", d, d);
        list.linear("y_embedder.mlp.0", "time_text_embed.text_embedder.linear_1", d, pooledWidth);
        list.linear("y_embedder.mlp.2", "time_text_embed.text_embedder.linear_2", d, d);
        list.linear("context_embedder", "context_embedder", d, textWidth);
        for (int i = 0; i < depth; i++) block(list, "joint_blocks." + i + ".x_block.", "joint_blocks." + i + ".context_block.", "transformer_blocks." + i + ".", i);
        list.scaleAndShift("final_layer.adaLN_modulation.1", "norm_out.linear", d, d);
        list.linear("final_layer.linear", "proj_out", (long) patch * patch * outChannels, d);
        return list.all();
    }

    private void block(TensorList list, String image, String text, String to, int i) {
        int d = width();
        boolean last = i == depth - 1;
        list.linear(image + "adaLN_modulation.1", to + "norm1.linear", (isDual(i) ? 9L : 6L) * d, d);
        if (last) list.scaleAndShift(text + "adaLN_modulation.1", to + "norm1_context.linear", d, d);
        else list.linear(text + "adaLN_modulation.1", to + "norm1_context.linear", 6L * d, d);
        list.fused(image + "attn.qkv", d, List.of(to + "attn.to_q", to + "attn.to_k", to + "attn.to_v"), d);
        list.fused(text + "attn.qkv", d, List.of(to + "attn.add_q_proj", to + "attn.add_k_proj", to + "attn.add_v_proj"), d);
        if (qkNorm) {
            list.tensor(image + "attn.ln_q.weight", to + "attn.norm_q.weight", headDim);
            list.tensor(image + "attn.ln_k.weight", to + "attn.norm_k.weight", headDim);
            list.tensor(text + "attn.ln_q.weight", to + "attn.norm_added_q.weight", headDim);
            list.tensor(text + "attn.ln_k.weight", to + "attn.norm_added_k.weight", headDim);
        }
        list.linear(image + "attn.proj", to + "attn.to_out.0", d, d);
        if (!last) list.linear(text + "attn.proj", to + "attn.to_add_out", d, d);
        if (isDual(i)) {
            list.fused(image + "attn2.qkv", d, List.of(to + "attn2.to_q", to + "attn2.to_k", to + "attn2.to_v"), d);
            if (qkNorm) {
                list.tensor(image + "attn2.ln_q.weight", to + "attn2.norm_q.weight", headDim);
                list.tensor(image + "attn2.ln_k.weight", to + "attn2.norm_k.weight", headDim);
            }
            list.linear(image + "attn2.proj", to + "attn2.to_out.0", d, d);
        }
        list.linear(image + "mlp.fc1", to + "ff.net.0.proj", 4L * d, d);
        list.linear(image + "mlp.fc2", to + "ff.net.2", d, 4L * d);
        if (!last) {
            list.linear(text + "mlp.fc1", to + "ff_context.net.0.proj", 4L * d, d);
            list.linear(text + "mlp.fc2", to + "ff_context.net.2", d, 4L * d);
        }
    }

    @Override
    public Map<String, Object> config() {
        var config = new LinkedHashMap<String, Object>();
        config.put("_class_name", "SD3Transformer2DModel");
        config.put("attention_head_dim", headDim);
        config.put("caption_projection_dim", width());
        config.put("dual_attention_layers", dualLayers);
        config.put("in_channels", inChannels);
        config.put("joint_attention_dim", textWidth);
        config.put("num_attention_heads", heads);
        config.put("num_layers", depth);
        config.put("out_channels", outChannels);
        config.put("patch_size", patch);
        config.put("pooled_projection_dim", pooledWidth);
        config.put("pos_embed_max_size", positions);
        config.put("qk_norm", qkNorm ? "rms_norm" : null);
        return config;
    }

    static Sd3Architecture of(String file, JsonNode config) {
        var read = new ConfigValues(file, config);
        int heads = read.size("num_attention_heads"), headDim = read.size("attention_head_dim"), in = read.size("in_channels"), depth = read.size("num_layers");
        String norm = config.path("qk_norm").isNull() ? "" : config.path("qk_norm").asString("");
        if (!norm.isEmpty() && !norm.equals("rms_norm")) throw new WeightsException(file, "qk_norm is " + SafetensorsHeader.quoted(norm) + "; known are rms_norm and none");
        if (read.size("caption_projection_dim") != heads * headDim)
            throw new WeightsException(file, "caption_projection_dim is " + read.size("caption_projection_dim") + ", and text and image share blocks of width " + heads * headDim);
        var dual = new TreeSet<Integer>();
        for (JsonNode i : config.path("dual_attention_layers")) {
            if (!i.isInt() || i.asInt() < 0 || i.asInt() >= depth) throw new WeightsException(file, "dual_attention_layers names block " + i + " of " + depth);
            dual.add(i.asInt());
        }
        return new Sd3Architecture(depth, List.copyOf(dual), heads, headDim, read.size("patch_size"), in, config.path("out_channels").isNumber() ? read.size("out_channels") : in,
                read.size("joint_attention_dim"), read.size("pooled_projection_dim"), read.size("pos_embed_max_size"), !norm.isEmpty());
    }

    /** The sizes that the tensors of a checkpoint show. */
    static Sd3Architecture of(Tensors t) {
        boolean diffusers = t.layout() == Layout.DIFFUSERS;
        String block = diffusers ? "transformer_blocks." : "joint_blocks.", image = diffusers ? "." : ".x_block.";
        int depth = t.count(block);
        List<Long> patches = t.shape(diffusers ? "pos_embed.proj.weight" : "x_embedder.proj.weight", 4);
        int d = t.size(patches, 0), patch = t.size(patches, 2);
        String norm = block + "0" + image + (diffusers ? "attn.norm_q.weight" : "attn.ln_q.weight");
        int headDim = t.has(norm) ? t.size(t.shape(norm, 1), 0) : 64;
        int positions = (int) Math.round(Math.sqrt(t.size(t.shape(diffusers ? "pos_embed.pos_embed" : "pos_embed", 3), 1)));
        int out = t.size(t.shape(diffusers ? "proj_out.weight" : "final_layer.linear.weight", 2), 0);
        if (headDim == 0 || d % headDim != 0) throw t.wrong("its width " + d + " is no multiple of the heads' " + headDim);
        if (patch == 0 || out % (patch * patch) != 0) throw t.wrong("it predicts " + out + " numbers for patches of " + patch + " x " + patch);
        return new Sd3Architecture(depth, IntStream.range(0, depth).filter(i -> t.any(block + i + image + "attn2.")).boxed().toList(), d / headDim, headDim, patch, t.size(patches, 1),
                out / (patch * patch), t.size(t.shape("context_embedder.weight", 2), 1),
                t.size(t.shape(diffusers ? "time_text_embed.text_embedder.linear_1.weight" : "y_embedder.mlp.0.weight", 2), 1), positions, t.has(norm));
    }
}
