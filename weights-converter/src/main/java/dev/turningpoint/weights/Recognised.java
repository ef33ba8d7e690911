package dev.turningpoint.weights;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.BiConsumer;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.json.JsonMapper;

/**
 * A checkpoint whose network we know, every tensor of it in place.
 *
 * @param architecture of the network: as its {@code config.json} says, else as its tensors show
 * @param layout       of the checkpoint
 * @param prefix       of its tensors' names; {@code model.diffusion_model.} where a checkpoint holds other models too
 * @param others       begin of the names of those other models
 */
public record Recognised(Checkpoint checkpoint, Architecture architecture, Layout layout, String prefix, Set<String> others) {
    private static final List<String> PREFIXES = List.of("", "model.diffusion_model.", "transformer.");
    private static final int LISTED = 5;

    /**
     * Finds out what a checkpoint is, and that it is whole.
     *
     * @throws WeightsException if it is none we know, or tensors are missing, of another shape, or too many; the message lists the first of them
     */
    public static Recognised of(Checkpoint checkpoint) {
        for (String prefix : PREFIXES) {
            for (Layout layout : Layout.values()) {
                var tensors = new Tensors(checkpoint, prefix, layout);
                boolean diffusers = layout == Layout.DIFFUSERS;
                boolean sd3 = tensors.has(diffusers ? "pos_embed.proj.weight" : "x_embedder.proj.weight"), flux = tensors.has(diffusers ? "x_embedder.weight" : "img_in.weight");
                if (!tensors.has(diffusers ? "context_embedder.weight" : sd3 ? "context_embedder.weight" : "txt_in.weight") || !sd3 && !flux) continue;
                Architecture told = told(checkpoint);
                if (told != null && told.name().equals(sd3 ? "flux" : "sd3")) throw tensors.wrong("its config.json is of " + told.name() + ", its tensors are of " + (sd3 ? "sd3" : "flux"));
                var found = new Recognised(checkpoint, told != null ? told : sd3 ? Sd3Architecture.of(tensors) : FluxArchitecture.of(tensors), layout, prefix,
                        Checkpoint.otherParts(checkpoint.names()));
                found.check();
                return found;
            }
        }
        var some = checkpoint.names().stream().sorted().limit(3).map(SafetensorsHeader::quoted).toList();
        throw new WeightsException(checkpoint.path().toString(), "holds no model we know (SD3, FLUX; diffusers or original layout); " + (some.isEmpty() ? "it has no tensors" : "its tensors are called "
                + String.join(", ", some) + (checkpoint.names().size() > some.size() ? ", ..." : "")));
    }

    /** What the checkpoint says of itself: an engine file in its metadata, any other in the {@code config.json} beside it. */
    private static Architecture told(Checkpoint checkpoint) {
        String own = checkpoint.metadata().get(EngineFile.CONFIG);
        if (own == null) return checkpoint.config() == null || checkpoint.config().path("_class_name").isMissingNode() ? null : Architecture.of(checkpoint.path() + " (config.json)", checkpoint.config());
        try {
            return Architecture.of(checkpoint.path().toString(), new JsonMapper().readTree(own));
        } catch (JacksonException e) {
            throw new WeightsException(checkpoint.path().toString(), "the configuration in its metadata is not valid JSON", e);
        }
    }

    private void check() {
        Map<String, List<Long>> expected = architecture.tensors(layout);
        var missing = new ArrayList<String>();
        var wrong = new ArrayList<String>();
        expected.forEach((name, shape) -> {
            if (!checkpoint.contains(prefix + name)) missing.add(SafetensorsHeader.quoted(prefix + name));
            else if (!checkpoint.info(prefix + name).shape().equals(shape)) wrong.add(SafetensorsHeader.quoted(prefix + name) + " is " + checkpoint.info(prefix + name).shape() + ", not " + shape);
        });
        var surplus = new ArrayList<String>();
        for (String name : checkpoint.names()) {
            boolean known = name.startsWith(prefix) && expected.containsKey(name.substring(prefix.length())) || name.startsWith(EngineFile.PADDING) || others.stream().anyMatch(name::startsWith);
            if (!known) surplus.add(SafetensorsHeader.quoted(name));
        }
        var problems = new LinkedHashMap<String, List<String>>();
        problems.put("missing", missing);
        problems.put("of another shape", wrong);
        problems.put("too many", surplus);
        var text = new LinkedHashSet<String>();
        problems.forEach((what, names) -> {
            if (!names.isEmpty()) text.add(names.size() + (names.size() == 1 ? " tensor " : " tensors ") + what + ": " + String.join(", ", names.subList(0, Math.min(LISTED, names.size())))
                    + (names.size() > LISTED ? ", ..." : ""));
        });
        if (!text.isEmpty())
            throw new WeightsException(checkpoint.path().toString(), "is " + architecture.name() + " (" + layout.name().toLowerCase(java.util.Locale.ROOT) + " layout), but " + String.join("; ", text));
    }

    /** How each tensor of a layout is made from the tensors of this checkpoint, whose names have the prefix. */
    List<Recipe> recipes(Layout to) {
        var all = new ArrayList<Recipe>();
        if (to == layout) architecture.tensors(to).keySet().forEach(name -> all.add(Recipe.same(checkpoint.info(prefix + name)).named(name)));
        else for (Recipe r : architecture.recipes(to)) all.add(r.from(prefix));
        return all;
    }

    /** Takes one tensor of diffusers' layout after the other, as f32, whatever the layout of the checkpoint: name and elements, valid during the call. */
    public void forEachTensor(BiConsumer<String, MemorySegment> take) {
        List<Recipe> all = recipes(Layout.DIFFUSERS);
        long most = all.stream().mapToLong(Recipe::elements).max().orElse(0);
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment values = arena.allocate(Math.max(4, 4 * most), EngineFile.ALIGNMENT), buffer = arena.allocate(4 << 20, EngineFile.ALIGNMENT);
            for (Recipe r : all) {
                MemorySegment tensor = values.asSlice(0, 4 * r.elements());
                r.read(checkpoint, TensorType.F32, 0, tensor, buffer);
                take.accept(r.name(), tensor);
            }
        }
    }
}
