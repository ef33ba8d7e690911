package dev.turningpoint.model;

import dev.turningpoint.tensor.ParameterLayout;
import dev.turningpoint.tensor.ParameterLayout.Slot;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.random.RandomGenerator;
import java.util.random.RandomGeneratorFactory;

/**
 * Names, shapes and places of the glyph model's parameters, named as diffusers names SD3's, with two differences: queries, keys and values are one projection
 * ({@code attn.to_qkv}, {@code attn.add_qkv_proj}), and {@code norm_out} has shift before scale.
 *
 * <p>All modulation layers ({@code norm1.linear}, {@code norm1_context.linear}, {@code norm_out.linear}) read the same conditioning vector; their weights are
 * neighbours, so that the forward sees one matrix {@link #modulation} of {@link #modulationSize} rows.
 */
public final class GlyphWeights implements TransformerWeights {
    /** Modulation chunks of a stream's block: shift, scale, gate for attention, then for the feed-forward. */
    static final int CHUNKS = 6;
    /** Of a stream without output, and of the last normalisation: shift, scale. */
    static final int LAST_CHUNKS = 2;

    private final GlyphConfig config;
    private final ParameterLayout layout = new ParameterLayout();
    private final Slot modulationWeight;
    private final Slot modulationBias;

    public GlyphWeights(GlyphConfig config) {
        this.config = config;
        int d = config.dim();
        linear("pos_embed.proj", d, config.patchSize());
        layout.add("pos_embed.pos_embed", config.imageTokens(), d);
        layout.add("context_embedder.weight", config.vocabulary(), d);
        layout.add("context_embedder.pos_embed", config.tokens(), d);
        linear("time_text_embed.timestep_embedder.linear_1", d, GlyphConfig.TIMESTEP_FEATURES);
        linear("time_text_embed.timestep_embedder.linear_2", d, d);
        linear("time_text_embed.text_embedder", d, config.tokens() * d);

        List<String> modulations = new ArrayList<>();
        List<Integer> chunks = new ArrayList<>();
        for (int i = 0; i < config.depth(); i++) {
            modulations.add(block(i) + "norm1.linear");
            chunks.add(CHUNKS);
            modulations.add(block(i) + "norm1_context.linear");
            chunks.add(isLast(i) ? LAST_CHUNKS : CHUNKS);
        }
        modulations.add("norm_out.linear");
        chunks.add(LAST_CHUNKS);
        modulationWeight = layout.group("modulation.weight", modulations.stream().map(m -> m + ".weight").toList(), chunks.stream().map(c -> new long[] {(long) c * d, d}).toList());
        modulationBias = layout.group("modulation.bias", modulations.stream().map(m -> m + ".bias").toList(), chunks.stream().map(c -> new long[] {(long) c * d}).toList());

        for (int i = 0; i < config.depth(); i++) {
            String b = block(i);
            linear(b + "attn.to_qkv", 3 * d, d);
            linear(b + "attn.add_qkv_proj", 3 * d, d);
            layout.add(b + "attn.norm_q.weight", config.headDim());
            layout.add(b + "attn.norm_k.weight", config.headDim());
            layout.add(b + "attn.norm_added_q.weight", config.headDim());
            layout.add(b + "attn.norm_added_k.weight", config.headDim());
            linear(b + "attn.to_out.0", d, d);
            linear(b + "ff.net.0.proj", config.hidden(), d);
            linear(b + "ff.net.2", d, config.hidden());
            if (!isLast(i)) {
                linear(b + "attn.to_add_out", d, d);
                linear(b + "ff_context.net.0.proj", config.hidden(), d);
                linear(b + "ff_context.net.2", d, config.hidden());
            }
        }
        linear("proj_out", config.patchSize(), d);
    }

    private void linear(String name, int out, int in) {
        layout.add(name + ".weight", out, in);
        layout.add(name + ".bias", out);
    }

    public GlyphConfig config() {
        return config;
    }

    @Override
    public ParameterLayout layout() {
        return layout;
    }

    @Override
    public Slot modulation() {
        return modulationWeight;
    }

    @Override
    public Slot modulationBias() {
        return modulationBias;
    }

    static String block(int index) {
        return "transformer_blocks." + index + ".";
    }

    boolean isLast(int index) {
        return index == config.depth() - 1;
    }

    /**
     * Fills a flat buffer with untrained values: linear layers uniform in +-1/sqrt(in), modulations and the output projection 0 (every block starts as the identity), norms 1, token
     * embeddings normal, positions normal of deviation 0.02.
     *
     * @param flat f32 [layout.size()] in host memory
     */
    public void initialise(MemorySegment flat, long seed) {
        RandomGenerator random = RandomGeneratorFactory.of("L64X128MixRandom").create(seed);
        flat.fill((byte) 0);
        double bound = 0;
        for (Slot slot : layout.slots().values()) {
            String name = slot.name();
            if (slot.shape().length == 2) {
                bound = 1 / Math.sqrt(slot.shape()[1]);       // a bias follows its weight
            }
            boolean zero = name.contains("norm1") || name.startsWith("norm_out") || name.startsWith("proj_out");
            for (long i = 0; i < slot.elements(); i++) {
                double value = zero ? 0
                        : name.endsWith("pos_embed.pos_embed") || name.equals("context_embedder.pos_embed") ? 0.02 * random.nextGaussian()
                        : name.equals("context_embedder.weight") ? random.nextGaussian()
                        : name.contains(".norm_") ? 1
                        : random.nextDouble(-bound, bound);
                flat.setAtIndex(ValueLayout.JAVA_FLOAT, slot.offset() + i, (float) value);
            }
        }
    }
}
