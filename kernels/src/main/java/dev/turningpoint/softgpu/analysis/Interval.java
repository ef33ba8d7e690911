package dev.turningpoint.softgpu.analysis;

/** All values lie in {@code [lo, hi]}, read as signed numbers of the register's width. */
public record Interval(long lo, long hi) {
    static Interval of(long k) { return new Interval(k, k); }

    boolean nonNegative() { return lo >= 0; }
    boolean isConstant() { return lo == hi; }

    static Interval union(Interval a, Interval b) { return a == null || b == null ? null : new Interval(Math.min(a.lo, b.lo), Math.max(a.hi, b.hi)); }

    /** Null if it leaves the signed range of that many bits: then the machine may wrap around. */
    Interval within(int bits) {
        if (bits >= 64) return lo < -(1L << 62) || hi > 1L << 62 ? null : this;
        return lo < -(1L << bits - 1) || hi >= 1L << bits - 1 ? null : this;
    }
}
