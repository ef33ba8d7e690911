package dev.turningpoint.weights;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import tools.jackson.databind.JsonNode;

/**
 * FLUX.1: {@code FluxTransformer2DModel} of diffusers, {@code Flux} of the original.
 *
 * @param doubleBlocks blocks with a stream each for text and image
 * @param singleBlocks blocks with one stream for both, which follow
 * @param heads        attention heads
 * @param headDim      width of one; heads * headDim is the width D of the network
 * @param channels     numbers of a packed latent, 2 x 2 pixels
 * @param textWidth    of a text embedding
 * @param pooledWidth  of the pooled text embedding
 * @param guidance     whether the guidance scale is an input (FLUX.1-dev)
 * @param axes         how the numbers of a head are shared by the rotary embeddings of index, row and column; their sum is headDim
 */
public record FluxArchitecture(int doubleBlocks, int singleBlocks, int heads, int headDim, int channels, int textWidth, int pooledWidth, boolean guidance, List<Integer> axes)
        implements Architecture {
    /** Of FLUX.1's heads of 128. */
    private static final List<Integer> PUBLISHED_AXES = List.of(16, 56, 56);

    public FluxArchitecture {
        axes = List.copyOf(axes);
    }

    @Override
    public String name() { return "flux"; }

    @Override
    public List<Correspondence> correspondences() {
        var list = new TensorList();
        int d = width();
        list.linear("img_in", "x_embedder", d, channels);
        list.linear("time_in.in_layer", "time_text_embed.timestep_embedder.linear_1", d, Sd3Architecture.TIME_WIDTH);
        list.linear("time_in.out_layer", "time_text_embed.timestep_embedder.linear_2", d, d);
        if (guidance) {
            list.linear("guidance_in.in_layer", "time_text_embed.guidance_embedder.linear_1", d, Sd3Architecture.TIME_WIDTH);
            list.linear("guidance_in.out_layer", "time_text_embed.guidance_embedder.linear_2", d, d);
        }
        list.linear("vector_in.in_layer", "time_text_embed.text_embedder.linear_1", d, pooledWidth);
        list.linear("vector_in.out_layer", "time_text_embed.text_embedder.linear_2", d, d);
        list.linear("txt_in", "context_embedder", d, textWidth);
        for (int i = 0; i < doubleBlocks; i++) {
            String from = "double_blocks." + i + ".", to = "transformer_blocks." + i + ".";
            stream(list, from + "img_", to, "norm1.linear", List.of("attn.to_q", "attn.to_k", "attn.to_v"), "attn.norm_q", "attn.norm_k", "attn.to_out.0", "ff.net.");
            stream(list, from + "txt_", to, "norm1_context.linear", List.of("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"), "attn.norm_added_q", "attn.norm_added_k",
                    "attn.to_add_out", "ff_context.net.");
        }
        for (int i = 0; i < singleBlocks; i++) {
            String from = "single_blocks." + i + ".", to = "single_transformer_blocks." + i + ".";
            list.linear(from + "modulation.lin", to + "norm.linear", 3L * d, d);
            list.fused(from + "linear1", d, List.of(to + "attn.to_q", to + "attn.to_k", to + "attn.to_v", to + "proj_mlp"), d, d, d, 4L * d);
            list.tensor(from + "norm.query_norm.scale", to + "attn.norm_q.weight", headDim);
            list.tensor(from + "norm.key_norm.scale", to + "attn.norm_k.weight", headDim);
            list.linear(from + "linear2", to + "proj_out", d, 5L * d);
        }
        list.scaleAndShift("final_layer.adaLN_modulation.1", "norm_out.linear", d, d);
        list.linear("final_layer.linear", "proj_out", channels, d);
        return list.all();
    }

    private void stream(TensorList list, String from, String to, String norm, List<String> qkv, String normQ, String normK, String out, String mlp) {
        int d = width();
        list.linear(from + "mod.lin", to + norm, 6L * d, d);
        list.fused(from + "attn.qkv", d, qkv.stream().map(n -> to + n).toList(), d);
        list.tensor(from + "attn.norm.query_norm.scale", to + normQ + ".weight", headDim);
        list.tensor(from + "attn.norm.key_norm.scale", to + normK + ".weight", headDim);
        list.linear(from + "attn.proj", to + out, d, d);
        list.linear(from + "mlp.0", to + mlp + "0.proj", 4L * d, d);
        list.linear(from + "mlp.2", to + mlp + "2", d, 4L * d);
    }

    @Override
    public Map<String, Object> config() {
        var config = new LinkedHashMap<String, Object>();
        config.put("_class_name", "FluxTransformer2DModel");
        config.put("attention_head_dim", headDim);
        config.put("axes_dims_rope", axes);
        config.put("guidance_embeds", guidance);
        config.put("in_channels", channels);
        config.put("joint_attention_dim", textWidth);
        config.put("num_attention_heads", heads);
        config.put("num_layers", doubleBlocks);
        config.put("num_single_layers", singleBlocks);
        config.put("out_channels", null);
        config.put("patch_size", 1);
        config.put("pooled_projection_dim", pooledWidth);
        return config;
    }

    static FluxArchitecture of(String file, JsonNode config) {
        var read = new ConfigValues(file, config);
        int channels = read.size("in_channels"), headDim = read.size("attention_head_dim");
        if (config.path("out_channels").isNumber() && config.path("out_channels").asInt() != channels)
            throw new WeightsException(file, "out_channels is " + config.path("out_channels") + ", in_channels " + channels + "; a velocity has the shape of its latents");
        if (config.path("patch_size").asInt(1) != 1) throw new WeightsException(file, "patch_size is " + config.path("patch_size") + "; FLUX packs its latents beforehand, 1 is served");
        var axes = new ArrayList<Integer>();
        for (JsonNode a : config.path("axes_dims_rope")) axes.add(a.asInt());
        if (axes.isEmpty()) axes.addAll(PUBLISHED_AXES);
        if (axes.size() != 3 || axes.stream().anyMatch(a -> a <= 0 || a % 2 != 0) || axes.stream().mapToInt(a -> a).sum() != headDim)
            throw new WeightsException(file, "axes_dims_rope is " + axes + ": three even numbers whose sum is attention_head_dim, " + headDim);
        return new FluxArchitecture(read.size("num_layers"), read.size("num_single_layers"), read.size("num_attention_heads"), headDim, channels, read.size("joint_attention_dim"),
                read.size("pooled_projection_dim"), config.path("guidance_embeds").asBoolean(false), axes);
    }

    /** The sizes that the tensors of a checkpoint show. */
    static FluxArchitecture of(Tensors t) {
        boolean diffusers = t.layout() == Layout.DIFFUSERS;
        List<Long> input = t.shape(diffusers ? "x_embedder.weight" : "img_in.weight", 2);
        int d = t.size(input, 0), headDim = t.size(t.shape(diffusers ? "transformer_blocks.0.attn.norm_q.weight" : "double_blocks.0.img_attn.norm.query_norm.scale", 1), 0);
        if (headDim == 0 || d % headDim != 0) throw t.wrong("its width " + d + " is no multiple of the heads' " + headDim);
        if (headDim != 128) throw t.wrong("its heads have " + headDim + " numbers, and how index, row and column share them cannot be seen; put its config.json beside it");
        return new FluxArchitecture(t.count(diffusers ? "transformer_blocks." : "double_blocks."), t.count(diffusers ? "single_transformer_blocks." : "single_blocks."), d / headDim,
                headDim, t.size(input, 1), t.size(t.shape(diffusers ? "context_embedder.weight" : "txt_in.weight", 2), 1),
                t.size(t.shape(diffusers ? "time_text_embed.text_embedder.linear_1.weight" : "vector_in.in_layer.weight", 2), 1),
                t.any(diffusers ? "time_text_embed.guidance_embedder." : "guidance_in."), PUBLISHED_AXES);
    }
}
