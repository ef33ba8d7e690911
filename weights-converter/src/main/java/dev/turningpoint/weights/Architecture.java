package dev.turningpoint.weights;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import tools.jackson.databind.JsonNode;

/** A network we know, with its sizes: which tensors it has in either layout, and what diffusers' {@code config.json} says of it. */
public sealed interface Architecture permits Sd3Architecture, FluxArchitecture {
    /** {@code sd3} or {@code flux}. */
    String name();

    /** Attention heads. */
    int heads();

    /** Width of a head. */
    int headDim();

    /** Width of the network, D. */
    default int width() { return heads() * headDim(); }

    /** Width of a text embedding. */
    int textWidth();

    /** Width of the pooled text embedding. */
    int pooledWidth();

    /** Every tensor, in the order a forward meets them. */
    List<Correspondence> correspondences();

    /** What diffusers' {@code config.json} holds. */
    Map<String, Object> config();

    /** Name and shape of every tensor in a layout, without a prefix. */
    default Map<String, List<Long>> tensors(Layout layout) {
        var all = new LinkedHashMap<String, List<Long>>();
        for (Recipe r : recipes(layout)) all.put(r.name(), r.shape());
        return all;
    }

    /** How the tensors of a layout are made from those of the other one. */
    default List<Recipe> recipes(Layout to) {
        var all = new ArrayList<Recipe>();
        for (Correspondence c : correspondences()) {
            if (to == Layout.ORIGINAL) all.add(c.toOriginal());
            else all.addAll(c.toDiffusers());
        }
        return all;
    }

    /** Weights of the network. */
    default long parameters() { return recipes(Layout.DIFFUSERS).stream().mapToLong(Recipe::elements).sum(); }

    /**
     * Reads diffusers' {@code config.json}.
     *
     * @param file named in messages
     * @throws WeightsException if it is of another class, or a size is missing or cannot be
     */
    static Architecture of(String file, JsonNode config) {
        String type = config.path("_class_name").asString("");
        return switch (type) {
            case "SD3Transformer2DModel" -> Sd3Architecture.of(file, config);
            case "FluxTransformer2DModel" -> FluxArchitecture.of(file, config);
            default -> throw new WeightsException(file, "is the configuration of " + (type.isEmpty() ? "no model (no _class_name)" : SafetensorsHeader.quoted(type))
                    + "; known are SD3Transformer2DModel and FluxTransformer2DModel");
        };
    }
}
