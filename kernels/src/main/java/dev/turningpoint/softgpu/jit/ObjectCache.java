package dev.turningpoint.softgpu.jit;

import dev.turningpoint.bindings.NativeCache;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.nio.file.attribute.FileTime;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HexFormat;
import java.util.List;

/**
 * Compiled kernels on disk. An entry is written beside its place and renamed, and carries the hash of its contents: a torn or foreign file counts as absent, and
 * processes may share the folder. What was not used for the longest time is deleted when the folder outgrows {@code turningpoint.software.cacheBytes}
 * (256 MiB; a system property). Where the folder cannot be written, kernels are compiled anew each time.
 */
final class ObjectCache {
    record Entry(byte[] object, long scratchBytes, long sharedBytes, List<String> report) {}

    private static final int MAGIC = 0x54504f31;   // "TPO1"

    /** A file that a process left unfinished this long ago is nobody's. */
    private static final Duration UNFINISHED = Duration.ofHours(1);

    private ObjectCache() {}

    private static long mostBytes() { return Long.getLong("turningpoint.software.cacheBytes", 256L << 20); }

    static String hash(String... parts) {
        MessageDigest d = digest();
        for (String p : parts) {
            byte[] b = p.getBytes(java.nio.charset.StandardCharsets.UTF_8);
            d.update((byte) (b.length >> 24));
            d.update((byte) (b.length >> 16));
            d.update((byte) (b.length >> 8));
            d.update((byte) b.length);
            d.update(b);
        }
        return HexFormat.of().formatHex(d.digest(), 0, 16);
    }

    private static MessageDigest digest() {
        try {
            return MessageDigest.getInstance("SHA-256");
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
    }

    private static Path file(String key) { return NativeCache.folder().resolve("kernels").resolve(key + ".o"); }

    static Entry read(String key) {
        try {
            Path f = file(key);
            if (!Files.isRegularFile(f)) return null;
            byte[] all = Files.readAllBytes(f);
            if (all.length < 64) return null;
            byte[] body = Arrays.copyOf(all, all.length - 32), sum = Arrays.copyOfRange(all, all.length - 32, all.length);
            if (!Arrays.equals(digest().digest(body), sum)) return null;
            var in = new DataInputStream(new ByteArrayInputStream(body));
            if (in.readInt() != MAGIC || !in.readUTF().equals(key)) return null;
            long scratch = in.readLong(), shared = in.readLong();
            int lines = in.readInt();
            var report = new ArrayList<String>();
            for (int i = 0; i < lines; i++) report.add(in.readUTF());
            byte[] object = new byte[in.readInt()];
            in.readFully(object);
            used(f);
            return new Entry(object, scratch, shared, List.copyOf(report));
        } catch (IOException | RuntimeException e) {
            return null;
        }
    }

    static void write(String key, Entry e) {
        Path f = file(key), part = null;
        try {
            var bytes = new ByteArrayOutputStream(e.object.length + 1024);
            var out = new DataOutputStream(bytes);
            out.writeInt(MAGIC);
            out.writeUTF(key);
            out.writeLong(e.scratchBytes);
            out.writeLong(e.sharedBytes);
            out.writeInt(e.report.size());
            for (String s : e.report) out.writeUTF(s);
            out.writeInt(e.object.length);
            out.write(e.object);
            out.write(digest().digest(bytes.toByteArray()));
            Files.createDirectories(f.getParent());
            part = Files.createTempFile(f.getParent(), key, ".part");
            Files.write(part, bytes.toByteArray());
            Files.move(part, f, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
            trim(f);
        } catch (IOException x) {
            System.getLogger(ObjectCache.class.getName()).log(System.Logger.Level.DEBUG, "cache of compiled kernels: " + x);
            if (part != null) try { Files.deleteIfExists(part); } catch (IOException ignored) { /* nothing lost */ }
        }
    }

    private static void used(Path f) {
        try {
            Files.setLastModifiedTime(f, FileTime.from(Instant.now()));
        } catch (IOException x) {   // deleted meanwhile, or a folder we only read: the entry is as good
            System.getLogger(ObjectCache.class.getName()).log(System.Logger.Level.DEBUG, "cache of compiled kernels: " + x);
        }
    }

    private record Kept(Path file, long bytes, FileTime used) {}

    /** Deletes what was not used for the longest time until the folder is within its limit; never the entry just written. */
    private static void trim(Path written) throws IOException {
        var kept = new ArrayList<Kept>();
        long bytes = 0;
        try (var files = Files.newDirectoryStream(written.getParent())) {
            for (Path f : files) {
                BasicFileAttributes a;
                try {
                    a = Files.readAttributes(f, BasicFileAttributes.class);
                } catch (NoSuchFileException gone) {   // another process deleted or renamed it
                    continue;
                }
                String name = f.getFileName().toString();
                if (name.endsWith(".part") && a.lastModifiedTime().toInstant().isBefore(Instant.now().minus(UNFINISHED))) Files.deleteIfExists(f);
                if (!name.endsWith(".o")) continue;
                bytes += a.size();
                if (!f.equals(written)) kept.add(new Kept(f, a.size(), a.lastModifiedTime()));
            }
        }
        if (bytes <= mostBytes()) return;
        kept.sort(Comparator.comparing(Kept::used));
        for (Kept k : kept) {
            if (bytes <= mostBytes()) return;
            Files.deleteIfExists(k.file);
            bytes -= k.bytes;
        }
    }
}
