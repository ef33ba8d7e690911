package dev.turningpoint.softgpu.ptx;

/**
 * A place in the CUDA source, from {@code .loc} (nvcc's {@code -lineinfo}); the file without its folder.
 *
 * @param inlinedAt where the compiler put the function that has this line; null if it is not inlined or nothing says where
 */
public record SourceLine(String file, int line, SourceLine inlinedAt) {
    public SourceLine(String file, int line) { this(file, line, null); }

    @Override public String toString() { return file + ":" + line + (inlinedAt == null ? "" : ", inlined at " + inlinedAt); }
}
