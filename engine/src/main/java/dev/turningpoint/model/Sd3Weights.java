package dev.turningpoint.model;

import dev.turningpoint.tensor.ParameterLayout;
import dev.turningpoint.tensor.ParameterLayout.Slot;
import dev.turningpoint.weights.Sd3Architecture;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** The parameters of SD3 by diffusers' names; the table of positions is none of them. */
final class Sd3Weights implements TransformerWeights {
    private final ParameterLayout layout = new ParameterLayout();
    private final Map<String, List<String>> parts = new LinkedHashMap<>();
    private final Slot modulation, modulationBias;

    Sd3Weights(Sd3Architecture a, HeadFilling filling) {
        long d = a.width(), attended = filling.inMemory();
        linear("pos_embed.proj", d, (long) a.inChannels() * a.patch() * a.patch());
        linear("context_embedder", d, a.textWidth());
        linear("time_text_embed.timestep_embedder.linear_1", d, TransformerModel.TIMESTEP_FEATURES);
        linear("time_text_embed.timestep_embedder.linear_2", d, d);
        linear("time_text_embed.text_embedder.linear_1", d, a.pooledWidth());
        linear("time_text_embed.text_embedder.linear_2", d, d);
        var names = new ArrayList<String>();
        var chunks = new ArrayList<Integer>();
        for (int i = 0; i < a.depth(); i++) {
            names.add(block(i) + "norm1.linear");
            chunks.add(a.isDual(i) ? 9 : 6);
            names.add(block(i) + "norm1_context.linear");
            chunks.add(i == a.depth() - 1 ? 2 : 6);
        }
        names.add("norm_out.linear");
        chunks.add(2);
        modulation = layout.group("modulation.weight", names.stream().map(n -> n + ".weight").toList(), chunks.stream().map(c -> new long[] {c * d, d}).toList());
        modulationBias = layout.group("modulation.bias", names.stream().map(n -> n + ".bias").toList(), chunks.stream().map(c -> new long[] {c * d}).toList());
        for (int i = 0; i < a.depth(); i++) {
            String b = block(i);
            boolean last = i == a.depth() - 1;
            fused(b + "attn.to_qkv", attended, d, b + "attn.to_q", b + "attn.to_k", b + "attn.to_v");
            fused(b + "attn.add_qkv_proj", attended, d, b + "attn.add_q_proj", b + "attn.add_k_proj", b + "attn.add_v_proj");
            linear(b + "attn.to_out.0", d, attended);
            if (!last) linear(b + "attn.to_add_out", d, attended);
            if (a.qkNorm()) for (String n : List.of("norm_q", "norm_k", "norm_added_q", "norm_added_k")) layout.add(b + "attn." + n + ".weight", filling.memory());
            if (a.isDual(i)) {
                fused(b + "attn2.to_qkv", attended, d, b + "attn2.to_q", b + "attn2.to_k", b + "attn2.to_v");
                linear(b + "attn2.to_out.0", d, attended);
                if (a.qkNorm()) for (String n : List.of("norm_q", "norm_k")) layout.add(b + "attn2." + n + ".weight", filling.memory());
            }
            linear(b + "ff.net.0.proj", 4 * d, d);
            linear(b + "ff.net.2", d, 4 * d);
            if (!last) {
                linear(b + "ff_context.net.0.proj", 4 * d, d);
                linear(b + "ff_context.net.2", d, 4 * d);
            }
        }
        linear("proj_out", (long) a.patch() * a.patch() * a.outChannels(), d);
    }

    static String block(int i) {
        return "transformer_blocks." + i + ".";
    }

    private void linear(String name, long out, long in) {
        layout.add(name + ".weight", out, in);
        layout.add(name + ".bias", out);
    }

    private void fused(String name, long out, long in, String... members) {
        parts.put(name, List.of(members));
        layout.group(name + ".weight", List.of(members).stream().map(m -> m + ".weight").toList(), java.util.Collections.nCopies(members.length, new long[] {out, in}));
        layout.group(name + ".bias", List.of(members).stream().map(m -> m + ".bias").toList(), java.util.Collections.nCopies(members.length, new long[] {out}));
    }

    @Override
    public ParameterLayout layout() {
        return layout;
    }

    @Override
    public Slot modulation() {
        return modulation;
    }

    @Override
    public Slot modulationBias() {
        return modulationBias;
    }

    @Override
    public List<String> parts(String layer) {
        return parts.getOrDefault(layer, List.of(layer));
    }
}
