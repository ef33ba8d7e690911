package dev.turningpoint.model;

import dev.turningpoint.weights.FluxArchitecture;

/**
 * The parameters of FLUX. The output layer of a single block reads attention and feed-forward side by side; here its columns are two matrices, {@link #OUT_ATTENTION}
 * and {@link #OUT_MLP}, since the two inputs lie in different buffers.
 */
final class FluxWeights extends DiffusersWeights {
    static final String OUT = "proj_out", OUT_ATTENTION = "proj_out.attention", OUT_MLP = "proj_out.mlp";

    FluxWeights(FluxArchitecture a, HeadFilling heads) {
        long d = a.width();
        linear("x_embedder", d, a.channels());
        linear("context_embedder", d, a.textWidth());
        embedding("time_text_embed.timestep_embedder", d, TransformerModel.TIMESTEP_FEATURES);
        if (a.guidance()) {
            embedding("time_text_embed.guidance_embedder", d, TransformerModel.TIMESTEP_FEATURES);
        }
        embedding("time_text_embed.text_embedder", d, a.pooledWidth());
        for (int i = 0; i < a.doubleBlocks(); i++) {
            modulation(block(i) + "norm1.linear", 6);
            modulation(block(i) + "norm1_context.linear", 6);
        }
        for (int i = 0; i < a.singleBlocks(); i++) {
            modulation(single(i) + "norm.linear", 3);
        }
        modulation("norm_out.linear", 2);
        addModulations(d);
        for (int i = 0; i < a.doubleBlocks(); i++) {
            jointBlock(block(i), d, heads, false, false, true);
        }
        for (int i = 0; i < a.singleBlocks(); i++) {
            String b = single(i);
            fused(b + "attn.to_qkv", heads.inMemory(), d, b + "attn.to_q", b + "attn.to_k", b + "attn.to_v");
            norms(b + "attn.", heads, "norm_q", "norm_k");
            linear(b + "proj_mlp", 4 * d, d);
            layout.add(b + OUT_ATTENTION + ".weight", d, heads.inMemory());
            layout.add(b + OUT_MLP + ".weight", d, 4 * d);
            layout.add(b + OUT_ATTENTION + ".bias", d);
        }
        linear("proj_out", a.channels(), d);
    }

    /** Whether a tensor of a checkpoint is the output layer of a single block, whose columns are two matrices here. */
    static boolean isSplit(String tensor) {
        return tensor.startsWith("single_transformer_blocks.") && tensor.endsWith("." + OUT + ".weight");
    }

    /** The name here of a tensor of a checkpoint that is not {@link #isSplit}. */
    static String here(String tensor) {
        return tensor.startsWith("single_transformer_blocks.") && tensor.endsWith("." + OUT + ".bias") ? tensor.replace(OUT + ".bias", OUT_ATTENTION + ".bias") : tensor;
    }

    static String single(int i) {
        return "single_transformer_blocks." + i + ".";
    }
}
