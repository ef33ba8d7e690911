package dev.turningpoint.pipeline;

import dev.turningpoint.bindings.NativeCache;
import dev.turningpoint.weights.SafetensorsFile;
import dev.turningpoint.weights.SafetensorsWriter;
import dev.turningpoint.weights.WeightsException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.nio.file.attribute.FileTime;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HexFormat;
import java.util.List;

/**
 * Embeddings of prompts on disk, one safetensors file each, in the folder {@code prompts} of the engine's cache or in {@code turningpoint.prompts.cache} (a system
 * property): encoding a prompt through T5 takes seconds. A file is taken
 * only if it says the same prompt and encoders and has the right sizes; one that does not is made anew. What was not used for the longest time is deleted when the folder
 * outgrows {@code turningpoint.prompts.cacheBytes} (16 GiB; a system property). Where nothing can be written, prompts are encoded each time.
 */
final class PromptCache {
    private static final String PROMPT = "prompt", ENCODERS = "encoders", TEXT = "text", POOLED = "pooled", ENDING = ".safetensors";

    private final Path folder = Path.of(System.getProperty("turningpoint.prompts.cache", NativeCache.folder().resolve("prompts").toString()));
    private final String encoders;
    private final int textElements, pooledElements;

    /** @param encoders what embeddings depend on beside the prompt */
    PromptCache(String encoders, int textElements, int pooledElements) {
        this.encoders = encoders;
        this.textElements = textElements;
        this.pooledElements = pooledElements;
    }

    private Path file(String prompt) {
        try {
            MessageDigest digest = MessageDigest.getInstance("SHA-256");
            digest.update(encoders.getBytes(StandardCharsets.UTF_8));
            digest.update((byte) 0);
            return folder.resolve(HexFormat.of().formatHex(digest.digest(prompt.getBytes(StandardCharsets.UTF_8)), 0, 16) + ENDING);
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
    }

    /** The embeddings of a prompt, or null. */
    Embeddings read(String prompt) {
        Path path = file(prompt);
        if (!Files.isRegularFile(path)) return null;
        try (var file = SafetensorsFile.open(path)) {
            if (!prompt.equals(file.metadata().get(PROMPT)) || !encoders.equals(file.metadata().get(ENCODERS))) return null;
            var found = new Embeddings(file.floats(TEXT), file.floats(POOLED));
            if (found.text().length != textElements || found.pooled().length != pooledElements) return null;
            Files.setLastModifiedTime(path, FileTime.from(Instant.now()));
            return found;
        } catch (WeightsException | IOException e) {
            return null;
        }
    }

    void write(String prompt, Embeddings embeddings) {
        try {
            Files.createDirectories(folder);
            new SafetensorsWriter().metadata(PROMPT, prompt).metadata(ENCODERS, encoders).tensor(TEXT, embeddings.text(), embeddings.text().length)
                    .tensor(POOLED, embeddings.pooled(), embeddings.pooled().length).write(file(prompt));
            trim();
        } catch (WeightsException | IOException | UncheckedIOException e) {
            System.getLogger(PromptCache.class.getName()).log(System.Logger.Level.DEBUG, "cache of prompts: " + e);
        }
    }

    private record Kept(Path file, long bytes, FileTime used) {}

    private void trim() throws IOException {
        List<Kept> kept = new ArrayList<>();
        long bytes = 0, most = Long.getLong("turningpoint.prompts.cacheBytes", 16L << 30);
        try (var files = Files.newDirectoryStream(folder, "*" + ENDING)) {
            for (Path f : files) {
                try {
                    BasicFileAttributes a = Files.readAttributes(f, BasicFileAttributes.class);
                    kept.add(new Kept(f, a.size(), a.lastModifiedTime()));
                    bytes += a.size();
                } catch (NoSuchFileException gone) {   // another process deleted it
                    continue;
                }
            }
        }
        kept.sort(Comparator.comparing(Kept::used));
        for (int i = 0; bytes > most && i < kept.size() - 1; i++) {
            Files.deleteIfExists(kept.get(i).file());
            bytes -= kept.get(i).bytes();
        }
    }
}
