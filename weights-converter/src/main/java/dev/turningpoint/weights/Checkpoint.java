package dev.turningpoint.weights;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * The weights of a model as they are published: one safetensors file, one that is cut into shards with an {@code .index.json}, or a folder with either and a
 * {@code config.json}; of a diffusers pipeline the folder {@code transformer}. Any thread may read.
 */
public final class Checkpoint implements AutoCloseable {
    private static final JsonMapper JSON = new JsonMapper();
    private static final String INDEX = ".safetensors.index.json";

    private final Path path;
    private final JsonNode config;
    private final List<SafetensorsFile> shards = new ArrayList<>();
    private final Map<String, SafetensorsFile> tensors = new LinkedHashMap<>();

    private Checkpoint(Path path, JsonNode config) {
        this.path = path;
        this.config = config;
    }

    /**
     * Opens all files and checks all headers.
     *
     * @param path a safetensors file, an index, or a folder
     * @throws WeightsException if a file is missing or malformed, a folder holds none or several, or index and shards disagree
     */
    public static Checkpoint open(Path path) {
        Path file = path;
        if (Files.isDirectory(path)) {
            Path inside = path.resolve("transformer");
            file = inFolder(Files.isDirectory(inside) && !Files.exists(path.resolve("config.json")) ? inside : path);
        }
        Path config = file.resolveSibling("config.json");
        var checkpoint = new Checkpoint(path, Files.isRegularFile(config) ? json(config) : null);
        boolean opened = false;
        try {
            if (file.getFileName().toString().endsWith(".json")) checkpoint.openIndex(file);
            else checkpoint.openFile(file);
            opened = true;
            return checkpoint;
        } finally {
            if (!opened) checkpoint.close();
        }
    }

    /** The weights in a folder: an index if there is one, else the only safetensors file. */
    private static Path inFolder(Path folder) {
        var indices = new TreeSet<Path>();
        var files = new TreeSet<Path>();
        try (DirectoryStream<Path> all = Files.newDirectoryStream(folder)) {
            for (Path p : all) {
                String name = p.getFileName().toString();
                if (name.endsWith(INDEX)) indices.add(p);
                if (name.endsWith(".safetensors")) files.add(p);
            }
        } catch (IOException e) {
            throw new WeightsException(folder.toString(), "cannot be read: " + AtomicFile.reason(e), e);
        }
        if (indices.size() == 1) return indices.first();
        if (indices.isEmpty() && files.size() == 1) return files.first();
        if (files.isEmpty()) throw new WeightsException(folder.toString(), "holds no safetensors file");
        var found = indices.isEmpty() ? files : indices;
        throw new WeightsException(folder.toString(), "holds several checkpoints; name one of " + found.stream().map(p -> p.getFileName().toString()).toList());
    }

    private static JsonNode json(Path file) {
        try {
            JsonNode node = JSON.readTree(Files.readString(file));
            if (!node.isObject()) throw new WeightsException(file.toString(), "is not a JSON object");
            return node;
        } catch (IOException e) {
            throw new WeightsException(file.toString(), "cannot be read: " + AtomicFile.reason(e), e);
        } catch (JacksonException e) {
            throw new WeightsException(file.toString(), "is not valid JSON: " + e.getOriginalMessage().lines().findFirst().orElse(""), e);
        }
    }

    private void openFile(Path file) {
        SafetensorsFile shard = SafetensorsFile.open(file);
        shards.add(shard);
        for (String name : shard.names()) tensors.put(name, shard);
    }

    private void openIndex(Path index) {
        JsonNode map = json(index).path("weight_map");
        if (!map.isObject() || map.isEmpty()) throw new WeightsException(index.toString(), "has no 'weight_map' from tensors to files");
        var files = new LinkedHashMap<String, SafetensorsFile>();
        for (var entry : map.properties()) {
            String name = entry.getKey(), file = entry.getValue().asString("");
            if (!entry.getValue().isString() || file.isEmpty() || file.contains("/") || file.contains("\\") || file.equals(".."))
                throw new WeightsException(index.toString(), "tensor " + SafetensorsHeader.quoted(name) + " is said to lie in " + entry.getValue() + "; a file beside the index may stand there");
            SafetensorsFile shard = files.get(file);
            if (shard == null) {
                Path path = index.resolveSibling(file);
                if (!Files.exists(path)) throw new WeightsException(index.toString(), "shard " + file + " is missing: download it too, into the same folder");
                shard = SafetensorsFile.open(path);
                shards.add(shard);
                files.put(file, shard);
            }
            if (!shard.contains(name)) throw new WeightsException(index.toString(), "tensor " + SafetensorsHeader.quoted(name) + " is said to lie in " + file + ", which does not have it");
            tensors.put(name, shard);
        }
        for (var shard : files.entrySet())
            for (String name : shard.getValue().names())
                if (tensors.get(name) != shard.getValue())
                    throw new WeightsException(index.toString(), "shard " + shard.getKey() + " has tensor " + SafetensorsHeader.quoted(name)
                            + (tensors.containsKey(name) ? ", which is said to lie in another" : ", which the index does not name"));
    }

    /** What was opened. */
    public Path path() { return path; }

    /** The {@code config.json} beside the weights, or null. */
    public JsonNode config() { return config; }

    /** Names of all tensors. */
    public Set<String> names() { return Collections.unmodifiableSet(tensors.keySet()); }

    public boolean contains(String name) { return tensors.containsKey(name); }

    /** Files it consists of. */
    public int shards() { return shards.size(); }

    /** Bytes of all files. */
    public long bytes() { return shards.stream().mapToLong(SafetensorsFile::bytes).sum(); }

    /** Metadata of all shards; of a key that several have, the first one's value. */
    public Map<String, String> metadata() {
        var all = new LinkedHashMap<String, String>();
        for (SafetensorsFile shard : shards) shard.metadata().forEach(all::putIfAbsent);
        return all;
    }

    /** @throws WeightsException if there is no tensor of this name */
    public TensorInfo info(String name) { return shard(name).info(name); }

    /** The bytes of a tensor, mapped, read only; valid until {@link #close}. */
    public MemorySegment data(String name) { return shard(name).data(name); }

    /** Reads bytes of a tensor from {@code offset} on by file operations: unlike {@link #data}, a file of any size passes through a buffer of the caller's. */
    void read(String name, long offset, MemorySegment into) { shard(name).read(name, offset, into); }

    private SafetensorsFile shard(String name) {
        SafetensorsFile shard = tensors.get(name);
        if (shard == null) throw new WeightsException(path.toString(), "has no tensor " + SafetensorsHeader.quoted(name));
        return shard;
    }

    /** Tensors of another checkpoint are none of ours: names that begin with one of these belong to parts we do not read. */
    static Set<String> otherParts(Set<String> names) {
        var parts = new LinkedHashSet<String>();
        for (String name : names)
            for (String part : List.of("first_stage_model.", "text_encoders.", "cond_stage_model.", "conditioner.", "vae.")) if (name.startsWith(part)) parts.add(part);
        return parts;
    }

    @Override
    public void close() { shards.forEach(SafetensorsFile::close); }
}
