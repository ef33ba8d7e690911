package dev.turningpoint.weights;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;

/**
 * Writes a file whole or not at all: into a new file beside it, forced to disk, then renamed over the old one. A reader, or a run that resumes after a
 * crash at any moment, sees either the old file or the new.
 */
public final class AtomicFile {
    private AtomicFile() {}

    /** What writes the content. */
    @FunctionalInterface
    public interface Content {
        void writeTo(FileChannel channel) throws IOException;
    }

    /**
     * @param path what the file is called in the end; its folder must exist
     * @throws UncheckedIOException if it cannot be written, a full disk included; one line names the file and the reason, and nothing half-written stays
     */
    public static void write(Path path, Content content) {
        Path absolute = path.toAbsolutePath();
        Path beside = absolute.resolveSibling("." + absolute.getFileName() + "." + ProcessHandle.current().pid() + ".tmp");
        try {
            try (FileChannel channel = FileChannel.open(beside, StandardOpenOption.CREATE, StandardOpenOption.TRUNCATE_EXISTING, StandardOpenOption.WRITE)) {
                content.writeTo(channel);
                channel.force(true);
            }
            Files.move(beside, absolute, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
            forceFolder(absolute.getParent());
        } catch (IOException e) {
            delete(beside);
            throw failure(path, e);
        } catch (RuntimeException | Error e) {
            delete(beside);
            throw e;
        }
    }

    /** As {@link #write(Path, Content)} for bytes in memory. */
    public static void write(Path path, byte[] bytes) {
        write(path, channel -> writeFully(channel, ByteBuffer.wrap(bytes)));
    }

    /** Writes all that remains in the buffer. */
    public static void writeFully(FileChannel channel, ByteBuffer buffer) throws IOException {
        while (buffer.hasRemaining()) channel.write(buffer);
    }

    /** A failed write in one line: the file, the reason, and how much room there is if that is the reason. */
    public static UncheckedIOException failure(Path path, IOException e) {
        String reason = reason(e), room = "";
        if (reason.contains("No space left") || reason.contains("quota")) {
            try {
                room = "; " + Files.getFileStore(path.toAbsolutePath().getParent()).getUsableSpace() / 1_000_000 + " MB free";
            } catch (IOException ignored) {
                // the reason alone then
            }
        }
        return new UncheckedIOException(path + ": cannot be written: " + reason + room, e);
    }

    /** What the system said, without the file's name, which our messages begin with. */
    static String reason(IOException e) {
        return switch (e) {
            case NoSuchFileException n -> "there is no folder for it";
            case AccessDeniedException a -> "permission denied";
            case FileSystemException f when f.getReason() != null -> f.getReason();
            default -> e.getMessage() == null ? e.getClass().getSimpleName() : e.getMessage();
        };
    }

    /** Makes the rename itself survive a power failure; not every file system can. */
    private static void forceFolder(Path folder) {
        try (FileChannel channel = FileChannel.open(folder, StandardOpenOption.READ)) {
            channel.force(true);
        } catch (IOException ignored) {
            // the file is in place; only its durability over a power failure is the file system's own
        }
    }

    private static void delete(Path file) {
        try {
            Files.deleteIfExists(file);
        } catch (IOException ignored) {
            // the failure that brought us here is the one to report
        }
    }
}
