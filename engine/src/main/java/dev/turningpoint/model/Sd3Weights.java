package dev.turningpoint.model;

import dev.turningpoint.weights.Sd3Architecture;

/** The parameters of SD3; the table of positions is none of them. */
final class Sd3Weights extends DiffusersWeights {
    Sd3Weights(Sd3Architecture a, HeadFilling heads) {
        long d = a.width();
        linear("pos_embed.proj", d, (long) a.inChannels() * a.patch() * a.patch());
        linear("context_embedder", d, a.textWidth());
        embedding("time_text_embed.timestep_embedder", d, TransformerModel.TIMESTEP_FEATURES);
        embedding("time_text_embed.text_embedder", d, a.pooledWidth());
        for (int i = 0; i < a.depth(); i++) {
            modulation(block(i) + "norm1.linear", a.isDual(i) ? 9 : 6);
            modulation(block(i) + "norm1_context.linear", i == a.depth() - 1 ? 2 : 6);
        }
        modulation("norm_out.linear", 2);
        addModulations(d);
        for (int i = 0; i < a.depth(); i++) {
            jointBlock(block(i), d, heads, i == a.depth() - 1, a.isDual(i), a.qkNorm());
        }
        linear("proj_out", (long) a.patch() * a.patch() * a.outChannels(), d);
    }
}
