package dev.turningpoint.softgpu.ptx;

import java.util.HashMap;
import java.util.Map;

/** A fundamental PTX type. */
public enum PtxType {
    PRED(1, 'p'), B8(1, 'b'), U8(1, 'u'), S8(1, 's'), E4M3(1, 'f'), E5M2(1, 'f'), E4M3X2(2, 'f'), E5M2X2(2, 'f'), B16(2, 'b'), U16(2, 'u'), S16(2, 's'), F16(2, 'f'), BF16(2, 'f'),
    B32(4, 'b'), U32(4, 'u'), S32(4, 's'), F32(4, 'f'), F16X2(4, 'f'), BF16X2(4, 'f'), TF32(4, 'f'),
    B64(8, 'b'), U64(8, 'u'), S64(8, 's'), F64(8, 'f'), B128(16, 'b');

    private static final Map<String, PtxType> BY_NAME = new HashMap<>();
    static { for (PtxType t : values()) BY_NAME.put(t.name().toLowerCase(), t); }

    private final int bytes;
    private final char kind;

    PtxType(int bytes, char kind) { this.bytes = bytes; this.kind = kind; }

    public int bytes() { return bytes; }
    public int bits() { return bytes * 8; }
    public boolean isFloat() { return kind == 'f'; }
    public boolean isSigned() { return kind == 's'; }

    /** Of a pair the type of its two numbers; any other type itself. */
    public PtxType element() {
        return switch (this) { case F16X2 -> F16; case BF16X2 -> BF16; case E4M3X2 -> E4M3; case E5M2X2 -> E5M2; default -> this; };
    }

    public boolean isPair() { return element() != this; }

    /** The type written {@code .name}, or null. */
    public static PtxType of(String name) { return BY_NAME.get(name); }
}
