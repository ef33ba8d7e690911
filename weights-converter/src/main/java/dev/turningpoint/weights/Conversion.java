package dev.turningpoint.weights;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeMap;
import tools.jackson.databind.SerializationFeature;
import tools.jackson.databind.json.JsonMapper;

/**
 * A checkpoint rewritten: into an engine file or into safetensors of either layout, its elements cast if asked. Tensors stream through two small buffers,
 * whatever their size.
 *
 * @param from   what is read
 * @param to     layout of the result; an engine file is of {@link Layout#DIFFUSERS}
 * @param type   of all elements; null keeps each tensor's own
 * @param engine whether the result is an engine file
 * @param merge  a LoRA that goes into the weights, which are then of {@link Layout#DIFFUSERS}; null if there is none
 */
public record Conversion(Recognised from, Layout to, TensorType type, boolean engine, Merge merge) {
    private static final int BUFFER = 4 << 20;

    public Conversion(Recognised from, Layout to, TensorType type, boolean engine) { this(from, to, type, engine, null); }

    /** @throws WeightsException if the LoRA is not one of this network */
    public Conversion {
        if (merge != null && to != Layout.DIFFUSERS) throw new IllegalArgumentException("a LoRA is merged into the diffusers layout");
        if (merge != null) merge.requireFit(from.checkpoint().path().toString(), from.architecture());
        if (engine && to != Layout.DIFFUSERS) throw new IllegalArgumentException("an engine file is of the diffusers layout");
        if (type != null && !Cast.serves(type)) throw new IllegalArgumentException("weights are F32, F16 or BF16, not " + type);
    }

    /**
     * Writes the result beside its place and renames it. A safetensors file of the diffusers layout gets its {@code config.json} beside it, unless there is one.
     *
     * @throws WeightsException if a tensor is of no floating-point type, or holds a number that the new type has not
     */
    public void write(Path path, Progress progress) {
        List<EngineFile.Entry> entries = new ArrayList<>();
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment buffer = arena.allocate(BUFFER, EngineFile.ALIGNMENT), values = merge == null ? null : arena.allocate(BUFFER, EngineFile.ALIGNMENT);
            for (Recipe recipe : from.recipes(to)) {
                TensorType target = type(recipe);
                entries.add(new EngineFile.Entry(recipe.name(), target, recipe.shape(), (offset, into) -> {
                    if (merge == null || merge.branch(recipe.name()) == null) recipe.read(from.checkpoint(), target, offset, into, buffer);
                    else merged(recipe, target, offset, into, values, buffer);
                }));
            }
            var metadata = new TreeMap<>(from.checkpoint().metadata());
            metadata.keySet().removeIf(k -> k.startsWith("turningpoint."));
            if (engine) {
                EngineFile.write(path, from.architecture(), entries, metadata, progress);
                return;
            }
            long total = entries.stream().mapToLong(e -> e.info().bytes()).sum();
            var writer = new SafetensorsWriter();
            metadata.forEach(writer::metadata);
            if (to == Layout.DIFFUSERS) writer.metadata("format", "pt");   // readers of PyTorch models insist
            long[] done = {0};
            for (EngineFile.Entry e : entries)
                writer.tensor(e.name(), e.type(), e.shape(), (offset, into) -> {
                    e.source().read(offset, into);
                    progress.at(done[0] += into.byteSize(), total);
                });
            writer.write(path);
        }
        Path config = path.resolveSibling("config.json");
        if (to == Layout.DIFFUSERS && !Files.exists(config))
            AtomicFile.write(config, JsonMapper.builder().enable(SerializationFeature.INDENT_OUTPUT).build().writeValueAsBytes(from.architecture().config()));
    }

    /** Bytes of a tensor with a branch, through f32, which holds every number of the narrower types. */
    private void merged(Recipe recipe, TensorType target, long offset, MemorySegment into, MemorySegment values, MemorySegment buffer) {
        long first = offset / target.bytes(), count = into.byteSize() / target.bytes();
        for (long done = 0; done < count; ) {
            long n = Math.min(count - done, values.byteSize() / TensorType.F32.bytes());
            MemorySegment read = values.asSlice(0, n * TensorType.F32.bytes());
            recipe.read(from.checkpoint(), TensorType.F32, (first + done) * TensorType.F32.bytes(), read, buffer);
            long lost = merge.add(merge.branch(recipe.name()), first + done, read, into.asSlice(done * target.bytes()), target, n);
            if (lost > 0)
                throw new WeightsException(from.checkpoint().path().toString(), "with the LoRA, tensor " + SafetensorsHeader.quoted(recipe.name()) + " has " + lost + " numbers beyond " + target
                        + "; take BF16 or F32, or less strength");
            done += n;
        }
    }

    /** The type of a tensor of the result: the one asked for, else that of its pieces, which must then agree. */
    private TensorType type(Recipe recipe) {
        TensorType result = type;
        for (Recipe.Piece piece : recipe.pieces()) {
            TensorInfo info = from.checkpoint().info(piece.tensor());
            if (!Cast.serves(info.type()))
                throw new WeightsException(from.checkpoint().path().toString(), "tensor " + SafetensorsHeader.quoted(info.name()) + " is " + info.type() + "; weights are F32, F16 or BF16");
            if (result == null) result = info.type();
            if (type == null && result != info.type())
                throw new WeightsException(from.checkpoint().path().toString(), "tensors of types " + result + " and " + info.type() + " belong into one, " + SafetensorsHeader.quoted(recipe.name())
                        + "; choose one by --type");
        }
        return result;
    }
}
