package dev.turningpoint.softgpu.ptx;

/** A virtual register; {@code id} counts from 0 within its kernel. Registers of nested scopes are registers of their own. */
public record Register(int id, String name, PtxType type) {
    @Override public boolean equals(Object o) { return o instanceof Register r && r.id == id; }
    @Override public int hashCode() { return id; }
    @Override public String toString() { return name; }
}
