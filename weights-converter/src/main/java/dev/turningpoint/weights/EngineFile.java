package dev.turningpoint.weights;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * The weights of a network as the engine loads them: in diffusers' layout, in the order a forward meets them, every tensor aligned to 64 bytes and with its own
 * checksum. It is a valid safetensors file, which any reader opens; what the format has no place for stands in its metadata:
 *
 * <ul>
 * <li>{@code turningpoint.format}: 1
 * <li>{@code turningpoint.config}: the network, as a {@code config.json} of diffusers
 * <li>{@code turningpoint.xxh3}: a JSON object from tensors to XXH3 of their bytes, 64 bits in hexadecimal digits
 * </ul>
 *
 * <p>Safetensors allows no holes: tensors whose size is a multiple of 64 bytes come first, and where others follow (biases of small models) tensors called
 * {@code turningpoint.padding.<n>} lie between.
 */
public final class EngineFile implements AutoCloseable {
    static final String FORMAT = "turningpoint.format", CONFIG = "turningpoint.config", CHECKSUMS = "turningpoint.xxh3", PADDING = "turningpoint.padding.";
    /** Bytes of a cache line, and more than any vector load wants. */
    public static final int ALIGNMENT = 64;

    private static final JsonMapper JSON = new JsonMapper();
    private static final int CHUNK = 4 << 20;

    private final SafetensorsFile file;
    private final Architecture architecture;
    private final Map<String, String> checksums;

    private EngineFile(SafetensorsFile file, Architecture architecture, Map<String, String> checksums) {
        this.file = file;
        this.architecture = architecture;
        this.checksums = checksums;
    }

    /** A tensor to write. */
    record Entry(String name, TensorType type, List<Long> shape, SafetensorsWriter.Source source) {
        TensorInfo info() {
            return new TensorInfo(name, type, shape, 0, shape.stream().reduce((long) type.bytes(), Math::multiplyExact));
        }
    }

    /** Whether a file says that it is one. */
    static boolean is(SafetensorsFile file) { return file.metadata().containsKey(FORMAT); }

    /** Writes the file beside its place and renames it. */
    static void write(Path path, Architecture architecture, List<Entry> entries, Map<String, String> metadata, Progress progress) {
        List<Entry> ordered = aligned(entries);
        var sums = new LinkedHashMap<String, String>();
        for (Entry e : ordered) sums.put(e.name, "0".repeat(Checksum.LENGTH));
        var all = new TreeMap<>(metadata);
        all.put(FORMAT, "1");
        all.put(CONFIG, JSON.writeValueAsString(architecture.config()));
        List<TensorInfo> infos = ordered.stream().map(Entry::info).toList();
        long total = infos.stream().mapToLong(TensorInfo::bytes).sum();
        all.put(CHECKSUMS, JSON.writeValueAsString(sums));
        byte[] place = SafetensorsWriter.header(all, infos, ALIGNMENT);
        AtomicFile.write(path, channel -> {
            channel.position(SafetensorsHeader.LENGTH_BYTES + (long) place.length);
            long done = 0;
            try (Arena arena = Arena.ofConfined(); var sum = new Checksum()) {
                MemorySegment buffer = arena.allocate(CHUNK, ALIGNMENT);
                for (Entry e : ordered) {
                    sum.reset();
                    for (long at = 0, bytes = e.info().bytes(); at < bytes; at += CHUNK) {
                        MemorySegment piece = buffer.asSlice(0, Math.min(CHUNK, bytes - at));
                        e.source.read(at, piece);
                        sum.add(piece);
                        AtomicFile.writeFully(channel, piece.asByteBuffer());
                        progress.at(done += piece.byteSize(), total);
                    }
                    sums.put(e.name, sum.digest());
                }
            }
            all.put(CHECKSUMS, JSON.writeValueAsString(sums));
            byte[] header = SafetensorsWriter.header(all, infos, ALIGNMENT);   // as long as before: a checksum has as many digits as its place
            channel.position(0);
            AtomicFile.writeFully(channel, ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(header.length).flip());
            AtomicFile.writeFully(channel, ByteBuffer.wrap(header));
        });
    }

    private static List<Entry> aligned(List<Entry> entries) {
        var whole = new ArrayList<Entry>();
        var odd = new ArrayList<Entry>();
        for (Entry e : entries) (e.info().bytes() % ALIGNMENT == 0 ? whole : odd).add(e);
        for (int i = 0; i < odd.size(); i++) {
            whole.add(odd.get(i));
            long missing = ALIGNMENT - odd.get(i).info().bytes() % ALIGNMENT;
            if (i + 1 < odd.size()) whole.add(new Entry(PADDING + i, TensorType.U8, List.of(missing), (offset, into) -> into.fill((byte) 0)));
        }
        return whole;
    }

    /**
     * Maps a file and compares every tensor with its checksum.
     *
     * @throws WeightsException if it is no engine file, one of another version, not aligned, incomplete, or a tensor's bytes are not what was written
     */
    public static EngineFile open(Path path, Progress progress) {
        SafetensorsFile file = SafetensorsFile.open(path);
        boolean opened = false;
        try {
            String name = path.toString(), format = file.metadata().get(FORMAT);
            if (format == null) throw new WeightsException(name, "is no engine file; make one: turningpoint convert " + path.getFileName() + " OUT");
            if (!format.equals("1")) throw new WeightsException(name, "is an engine file of version " + SafetensorsHeader.quoted(format) + ", this engine reads 1; convert the checkpoint again");
            var sums = new LinkedHashMap<String, String>();
            Architecture architecture;
            try {
                for (var e : JSON.readTree(file.metadata().getOrDefault(CHECKSUMS, "")).properties()) sums.put(e.getKey(), e.getValue().asString(""));
                JsonNode config = JSON.readTree(file.metadata().getOrDefault(CONFIG, ""));
                architecture = Architecture.of(name, config);
            } catch (JacksonException e) {
                throw new WeightsException(name, "its metadata is damaged; convert the checkpoint again", e);
            }
            var engine = new EngineFile(file, architecture, sums);
            engine.check(progress);
            opened = true;
            return engine;
        } finally {
            if (!opened) file.close();
        }
    }

    private void check(Progress progress) {
        String name = file.path().toString();
        architecture.tensors(Layout.DIFFUSERS).forEach((tensor, shape) -> {
            TensorInfo info = file.info(tensor);
            if (!info.shape().equals(shape)) throw new WeightsException(name, "tensor " + SafetensorsHeader.quoted(tensor) + " is " + info.shape() + ", its configuration says " + shape);
            if ((file.dataAt() + info.begin()) % ALIGNMENT != 0)
                throw new WeightsException(name, "tensor " + SafetensorsHeader.quoted(tensor) + " is not aligned to " + ALIGNMENT + " bytes: another program rewrote the file; convert the checkpoint again");
        });
        long total = file.names().stream().mapToLong(t -> file.info(t).bytes()).sum(), done = 0;
        try (var sum = new Checksum()) {
            for (String tensor : file.names()) {
                MemorySegment data = file.data(tensor);
                sum.reset();
                for (long at = 0; at < data.byteSize(); at += CHUNK) {
                    MemorySegment piece = data.asSlice(at, Math.min(CHUNK, data.byteSize() - at));
                    sum.add(piece);
                    progress.at(done += piece.byteSize(), total);
                }
                String written = checksums.get(tensor);
                if (!sum.digest().equals(written))
                    throw new WeightsException(name, "tensor " + SafetensorsHeader.quoted(tensor) + (written == null ? " has no checksum" : " has the checksum " + sum.digest() + ", not " + written)
                            + ": the file is damaged; convert the checkpoint again");
            }
        }
    }

    /** The network. */
    public Architecture architecture() { return architecture; }

    /** @throws WeightsException if there is no tensor of this name */
    public TensorInfo info(String name) { return file.info(name); }

    /** The bytes of a tensor, mapped, aligned to {@link #ALIGNMENT}, read only; valid until {@link #close}. */
    public MemorySegment data(String name) { return file.data(name); }

    @Override
    public void close() { file.close(); }
}
