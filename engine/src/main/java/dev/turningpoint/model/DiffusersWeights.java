package dev.turningpoint.model;

import dev.turningpoint.tensor.ParameterLayout;
import dev.turningpoint.tensor.ParameterLayout.Slot;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** The parameters of a published network by diffusers' names. */
abstract class DiffusersWeights implements TransformerWeights {
    final ParameterLayout layout = new ParameterLayout();
    private final Map<String, List<String>> parts = new LinkedHashMap<>();
    private final List<String> modulations = new ArrayList<>();
    private final List<Integer> chunks = new ArrayList<>();
    private Slot modulation, modulationBias;

    static String block(int i) {
        return "transformer_blocks." + i + ".";
    }

    final void linear(String name, long out, long in) {
        layout.add(name + ".weight", out, in);
        layout.add(name + ".bias", out);
    }

    /** Layers of {@code out} rows each that the forward computes at once. */
    final void fused(String name, long out, long in, String... members) {
        parts.put(name, List.of(members));
        layout.group(name + ".weight", List.of(members).stream().map(m -> m + ".weight").toList(), Collections.nCopies(members.length, new long[] {out, in}));
        layout.group(name + ".bias", List.of(members).stream().map(m -> m + ".bias").toList(), Collections.nCopies(members.length, new long[] {out}));
    }

    /** A two-layer embedding of the condition. */
    final void embedding(String name, long d, long in) {
        linear(name + ".linear_1", d, in);
        linear(name + ".linear_2", d, d);
    }

    /** A layer that makes {@code count} chunks of D numbers of the conditioning vector. */
    final void modulation(String name, int count) {
        modulations.add(name);
        chunks.add(count);
    }

    /** To be called once, after the last {@link #modulation}. */
    final void addModulations(long d) {
        modulation = layout.group("modulation.weight", modulations.stream().map(n -> n + ".weight").toList(), chunks.stream().map(c -> new long[] {c * d, d}).toList());
        modulationBias = layout.group("modulation.bias", modulations.stream().map(n -> n + ".bias").toList(), chunks.stream().map(c -> new long[] {c * d}).toList());
    }

    /** The layers of a joint block. */
    final void jointBlock(String b, long d, HeadFilling heads, boolean textEnds, boolean second, boolean qkNorm) {
        long attended = heads.inMemory();
        fused(b + "attn.to_qkv", attended, d, b + "attn.to_q", b + "attn.to_k", b + "attn.to_v");
        fused(b + "attn.add_qkv_proj", attended, d, b + "attn.add_q_proj", b + "attn.add_k_proj", b + "attn.add_v_proj");
        linear(b + "attn.to_out.0", d, attended);
        if (!textEnds) {
            linear(b + "attn.to_add_out", d, attended);
        }
        if (qkNorm) {
            norms(b + "attn.", heads, "norm_q", "norm_k", "norm_added_q", "norm_added_k");
        }
        if (second) {
            fused(b + "attn2.to_qkv", attended, d, b + "attn2.to_q", b + "attn2.to_k", b + "attn2.to_v");
            linear(b + "attn2.to_out.0", d, attended);
            if (qkNorm) {
                norms(b + "attn2.", heads, "norm_q", "norm_k");
            }
        }
        linear(b + "ff.net.0.proj", 4 * d, d);
        linear(b + "ff.net.2", d, 4 * d);
        if (!textEnds) {
            linear(b + "ff_context.net.0.proj", 4 * d, d);
            linear(b + "ff_context.net.2", d, 4 * d);
        }
    }

    final void norms(String prefix, HeadFilling heads, String... names) {
        for (String name : names) {
            layout.add(prefix + name + ".weight", heads.memory());
        }
    }

    @Override
    public final ParameterLayout layout() {
        return layout;
    }

    @Override
    public final Slot modulation() {
        return modulation;
    }

    @Override
    public final Slot modulationBias() {
        return modulationBias;
    }

    @Override
    public final List<String> parts(String layer) {
        return parts.getOrDefault(layer, List.of(layer));
    }
}
