package dev.turningpoint.model;

import java.util.List;

/**
 * A low-rank adapter: {@code y = x W^T + b + (alpha / rank) (x A^T) B^T} on the named linear layers, whose own weights stay as they are.
 *
 * @param rank    r; A is [r, in], B is [out, r]
 * @param alpha   strength before division by the rank
 * @param targets suffixes of the names of the layers: {@code attn.to_qkv}, {@code ff.net.2}, ...
 */
public record LoraConfig(int rank, double alpha, List<String> targets) {

    /** The attention projections of both streams, as the reference trains them. */
    public static final List<String> ATTENTION = List.of("attn.to_qkv", "attn.add_qkv_proj", "attn.to_out.0", "attn.to_add_out");

    /** The feed-forward layers of both streams. */
    public static final List<String> FEED_FORWARD = List.of("ff.net.0.proj", "ff.net.2", "ff_context.net.0.proj", "ff_context.net.2");

    public LoraConfig {
        targets = List.copyOf(targets);
        if (rank < 1) {
            throw new IllegalArgumentException("the rank of an adapter must be at least 1, not " + rank);
        }
    }

    public float scale() {
        return (float) (alpha / rank);
    }

    /** Whether the layer of this name gets an adapter: its name is a target or ends with one after a dot. */
    public boolean targets(String layer) {
        for (String target : targets) {
            if (layer.equals(target) || layer.endsWith("." + target)) {
                return true;
            }
        }
        return false;
    }
}
