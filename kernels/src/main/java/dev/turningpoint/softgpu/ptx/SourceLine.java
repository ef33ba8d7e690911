package dev.turningpoint.softgpu.ptx;

/** A place in the CUDA source, from {@code .loc} (nvcc's {@code -lineinfo}); the file without its folder. */
public record SourceLine(String file, int line) {
    @Override public String toString() { return file + ":" + line; }
}
