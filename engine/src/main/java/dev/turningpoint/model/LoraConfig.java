package dev.turningpoint.model;

import java.util.List;
import java.util.Map;

/**
 * A low-rank adapter: {@code y = x W^T + b + (alpha / rank) (x A^T) B^T} on the named linear layers, whose own weights stay as they are.
 *
 * @param rank    r; A is [r, in], B is [out, r]
 * @param alpha   strength before division by the rank
 * @param targets suffixes of the names of the layers: {@code attn.to_qkv}, {@code ff.net.2}, ...
 * @param ranks   of layers that have another: by parts of their names between dots, as {@code transformer_blocks.0} or {@code attn.to_q}; the longest that fits counts
 * @param alphas  the same of strengths
 */
public record LoraConfig(int rank, double alpha, List<String> targets, Map<String, Integer> ranks, Map<String, Double> alphas) {

    /** The attention projections of both streams, as the reference trains them. */
    public static final List<String> ATTENTION = List.of("attn.to_qkv", "attn.add_qkv_proj", "attn.to_out.0", "attn.to_add_out");

    /** The feed-forward layers of both streams. */
    public static final List<String> FEED_FORWARD = List.of("ff.net.0.proj", "ff.net.2", "ff_context.net.0.proj", "ff_context.net.2");

    public LoraConfig {
        targets = List.copyOf(targets);
        ranks = Map.copyOf(ranks);
        alphas = Map.copyOf(alphas);
        int least = Math.min(rank, ranks.values().stream().mapToInt(Integer::intValue).min().orElse(rank));
        if (least < 1) {
            throw new IllegalArgumentException("the rank of an adapter must be at least 1, not " + least);
        }
    }

    /** The same rank and strength in all layers. */
    public LoraConfig(int rank, double alpha, List<String> targets) {
        this(rank, alpha, targets, Map.of(), Map.of());
    }

    /** Of one layer. */
    public int rank(String layer) {
        return own(ranks, layer, rank);
    }

    /** Of one layer. */
    public double alpha(String layer) {
        return own(alphas, layer, alpha);
    }

    /** What the branch of one layer is multiplied by. */
    public float scale(String layer) {
        return (float) (alpha(layer) / rank(layer));
    }

    private static <T> T own(Map<String, T> values, String layer, T common) {
        String longest = null;
        for (String key : values.keySet()) {
            if (("." + layer + ".").contains("." + key + ".") && (longest == null || key.length() > longest.length())) {
                longest = key;
            }
        }
        return longest == null ? common : values.get(longest);
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
