package dev.turningpoint.bindings;

import java.io.IOException;
import java.io.InputStream;
import java.net.JarURLConnection;
import java.net.URL;
import java.net.URLConnection;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;

/**
 * Unpacks shared libraries from the jars on the class path, once per machine and version.
 *
 * <p>The cache is {@code ${XDG_CACHE_HOME:-~/.cache}/turningpoint}, or {@code turningpoint.cache}. A file is written beside its place and renamed, and taken only
 * if it has the size of the original, so that any number of processes may start at once and one may die in the middle.
 */
public final class NativeCache {

    private NativeCache() {}

    /** The folder that everything derived is kept in: unpacked libraries here, compiled kernels elsewhere. */
    public static Path folder() {
        var chosen = System.getProperty("turningpoint.cache");
        if (chosen != null) return Path.of(chosen);
        var xdg = System.getenv("XDG_CACHE_HOME");
        var base = xdg != null && !xdg.isBlank() ? Path.of(xdg) : Path.of(System.getProperty("user.home"), ".cache");
        return base.resolve("turningpoint");
    }

    /** Unpacks the named files of one folder of the class path into one folder of the cache; returns the path of the first. */
    static Path extract(NativeLibrary library, String resourceFolder, String... names) {
        var loader = NativeCache.class.getClassLoader();
        var first = loader.getResource(resourceFolder + names[0]);
        if (first == null)
            throw new NativeLibraryException(library + " is missing: " + resourceFolder + names[0] + " is not on the class path.\n"
                    + "Add the linux-x86_64 jar of " + (library == NativeLibrary.LLVM ? "org.bytedeco:llvm" : "org.bytedeco:dnnl") + ", as our pom.xml does; other platforms are not served yet.");
        Path folder = null;
        try {
            folder = folder().resolve(library.name().toLowerCase() + "-" + fingerprint(first)).toAbsolutePath();
            Files.createDirectories(folder);
            for (var name : names) extract(loader.getResource(resourceFolder + name), folder.resolve(name));
            return folder.resolve(names[0]);
        } catch (IOException e) {
            throw new NativeLibraryException("cannot unpack " + library + " into " + (folder == null ? folder() : folder) + ": " + e
                    + ".\nIt needs up to 180 MB; choose another folder by -Dturningpoint.cache=DIR.", e);
        }
    }

    private static synchronized void extract(URL resource, Path target) throws IOException {
        var connection = open(resource);
        long size = connection.getContentLengthLong();
        if (complete(target, size)) {
            connection.getInputStream().close();
            return;
        }
        // The lock only spares the second process the work; renaming is what makes it safe where locks do not work.
        try (var channel = FileChannel.open(target.resolveSibling(".lock"), StandardOpenOption.CREATE, StandardOpenOption.WRITE);
             var lock = lock(channel);
             InputStream in = connection.getInputStream()) {
            if (complete(target, size)) return;
            if (lock != null) deleteLeftovers(target);
            var part = Files.createTempFile(target.getParent(), target.getFileName().toString(), ".part");
            try {
                Files.copy(in, part, StandardCopyOption.REPLACE_EXISTING);
                if (!complete(part, size)) throw new IOException("wrote " + Files.size(part) + " of " + size + " bytes");
                Files.move(part, target, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
            } finally {
                Files.deleteIfExists(part);
            }
        }
    }

    private static FileLock lock(FileChannel channel) {
        try {
            return channel.lock();
        } catch (IOException e) {
            return null;
        }
    }

    private static void deleteLeftovers(Path target) throws IOException {
        try (var parts = Files.newDirectoryStream(target.getParent(), target.getFileName() + "*.part")) {
            for (var part : parts) Files.deleteIfExists(part);
        }
    }

    private static boolean complete(Path file, long size) throws IOException {
        return Files.isRegularFile(file) && Files.size(file) == size;
    }

    /** Tells versions apart: the checksum that the jar keeps of the file, or its size where it is no jar. */
    private static String fingerprint(URL resource) throws IOException {
        var connection = open(resource);
        try (var in = connection.getInputStream()) {
            return connection instanceof JarURLConnection jar ? Long.toHexString(jar.getJarEntry().getCrc()) : Long.toHexString(connection.getContentLengthLong());
        }
    }

    private static URLConnection open(URL resource) throws IOException {
        var connection = resource.openConnection();
        connection.setUseCaches(false);
        return connection;
    }
}
