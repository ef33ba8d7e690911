package dev.turningpoint.weights;

import java.io.ByteArrayOutputStream;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import tools.jackson.core.JsonGenerator;
import tools.jackson.core.ObjectWriteContext;
import tools.jackson.core.json.JsonFactory;

/**
 * Collects tensors and writes them as one safetensors file: by descending element size, then name; the header padded with spaces to 8 bytes, so that data
 * is aligned to its element size. Data streams through one small buffer, whatever the size of the file. Equal content gives equal bytes.
 */
public final class SafetensorsWriter {
    private static final int CHUNK = 4 << 20;

    /** Where the bytes of a tensor come from, in ascending pieces: a copy from a device, say. */
    @FunctionalInterface
    public interface Source {
        /** Fills the segment with the tensor's bytes from this offset on. */
        void read(long offset, MemorySegment into);
    }

    private record Entry(TensorInfo info, Source source) {}

    private final Map<String, String> metadata = new TreeMap<>();
    private final Map<String, Entry> entries = new TreeMap<>();

    /** Adds a metadata string, replacing one of the same key. */
    public SafetensorsWriter metadata(String key, String value) {
        metadata.put(key, java.util.Objects.requireNonNull(value, key));
        return this;
    }

    /**
     * Adds a tensor whose bytes are asked for when the file is written.
     *
     * @throws IllegalArgumentException if a tensor of this name is there already, or a size is negative
     */
    public SafetensorsWriter tensor(String name, TensorType type, List<Long> shape, Source source) {
        if (name.equals(SafetensorsHeader.METADATA)) throw new IllegalArgumentException("a tensor cannot be called " + name);
        long bytes = type.bytes();
        for (long size : shape) {
            if (size < 0) throw new IllegalArgumentException("tensor '" + name + "' has a negative size in " + shape);
            bytes = Math.multiplyExact(bytes, size);
        }
        if (entries.putIfAbsent(name, new Entry(new TensorInfo(name, type, shape, 0, bytes), source)) != null)
            throw new IllegalArgumentException("two tensors are called '" + name + "'");
        return this;
    }

    /** Adds a tensor that lies in memory, little-endian, and stays there until the file is written. */
    public SafetensorsWriter tensor(String name, TensorType type, MemorySegment data, long... shape) {
        tensor(name, type, Arrays.stream(shape).boxed().toList(), (offset, into) -> MemorySegment.copy(data, offset, into, 0, into.byteSize()));
        long bytes = entries.get(name).info().bytes();
        if (data.byteSize() != bytes) {
            entries.remove(name);
            throw new IllegalArgumentException("tensor '" + name + "' " + type + " " + Arrays.toString(shape) + " takes " + bytes + " bytes, given are " + data.byteSize());
        }
        return this;
    }

    /** Adds an f32 tensor. */
    public SafetensorsWriter tensor(String name, float[] data, long... shape) {
        return tensor(name, TensorType.F32, MemorySegment.ofArray(data), shape);
    }

    /** Adds an f64 tensor. */
    public SafetensorsWriter tensor(String name, double[] data, long... shape) {
        return tensor(name, TensorType.F64, MemorySegment.ofArray(data), shape);
    }

    /** Adds an i64 tensor. */
    public SafetensorsWriter tensor(String name, long[] data, long... shape) {
        return tensor(name, TensorType.I64, MemorySegment.ofArray(data), shape);
    }

    /**
     * Writes the file beside its place and renames it.
     *
     * @throws UncheckedIOException as {@link AtomicFile#write}
     */
    public void write(Path path) {
        var ordered = new ArrayList<>(entries.values());
        ordered.sort(Comparator.comparingInt((Entry e) -> -e.info().type().bytes()).thenComparing(e -> e.info().name()));
        byte[] header = header(metadata, ordered.stream().map(Entry::info).toList(), 8);
        AtomicFile.write(path, channel -> {
            AtomicFile.writeFully(channel, ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(header.length).flip());
            AtomicFile.writeFully(channel, ByteBuffer.wrap(header));
            try (Arena arena = Arena.ofConfined()) {
                MemorySegment buffer = arena.allocate(CHUNK, 64);
                for (Entry e : ordered) {
                    for (long at = 0, bytes = e.info().bytes(); at < bytes; at += CHUNK) {
                        MemorySegment piece = buffer.asSlice(0, Math.min(CHUNK, bytes - at));
                        e.source().read(at, piece);
                        AtomicFile.writeFully(channel, piece.asByteBuffer());
                    }
                }
            }
        });
    }

    /**
     * The header of tensors that lie in this order, padded with spaces.
     *
     * @param multiple of which 8 plus its length shall be one
     */
    static byte[] header(Map<String, String> metadata, List<TensorInfo> ordered, int multiple) {
        var bytes = new ByteArrayOutputStream();
        try (JsonGenerator json = new JsonFactory().createGenerator(ObjectWriteContext.empty(), bytes)) {
            json.writeStartObject();
            if (!metadata.isEmpty()) {
                json.writeName(SafetensorsHeader.METADATA);
                json.writeStartObject();
                metadata.forEach(json::writeStringProperty);
                json.writeEndObject();
            }
            long at = 0;
            for (TensorInfo t : ordered) {
                json.writeName(t.name());
                json.writeStartObject();
                json.writeStringProperty("dtype", t.type().name());
                json.writeName("shape");
                json.writeStartArray();
                for (long size : t.shape()) json.writeNumber(size);
                json.writeEndArray();
                json.writeName("data_offsets");
                json.writeStartArray();
                json.writeNumber(at);
                json.writeNumber(at += t.bytes());
                json.writeEndArray();
                json.writeEndObject();
            }
            json.writeEndObject();
        }
        while ((SafetensorsHeader.LENGTH_BYTES + bytes.size()) % multiple != 0) bytes.write(' ');
        if (bytes.size() > SafetensorsHeader.MAX_LENGTH)
            throw new IllegalArgumentException("a safetensors header of " + bytes.size() + " bytes; the format allows " + SafetensorsHeader.MAX_LENGTH);
        return bytes.toByteArray();
    }
}
