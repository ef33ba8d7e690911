package dev.turningpoint.gpu;

/** What one element in device memory is. */
public enum DType {
    F32(4), BF16(2), F64(8), I32(4), I64(8), U8(1);

    private final int bytes;

    DType(int bytes) {
        this.bytes = bytes;
    }

    /** Bytes of one element. */
    public int bytes() {
        return bytes;
    }

    /** Bytes of {@code count} elements. */
    public long bytes(long count) {
        return Math.multiplyExact(count, (long) bytes);
    }

    /** The suffix of kernel entries that store this type: {@code f32}, {@code bf16}, ... */
    public String suffix() {
        return name().toLowerCase(java.util.Locale.ROOT);
    }
}
