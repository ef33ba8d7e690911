package dev.turningpoint.softgpu.analysis;

import java.util.Arrays;

/**
 * How a value varies over the 32 lanes of a warp: lane l holds {@code u + pattern[l]}, u the same for all lanes and known at run time only.
 *
 * @param pattern  the compile-time part, null if nothing is known (the value is varying)
 * @param align    u is a multiple of {@code 2^align}; 63 if u is 0
 * @param constant u itself where it is known, else null
 */
public record Shape(long[] pattern, int align, Long constant) {
    public static final int LANES = 32;
    private static final long[] ZERO = new long[LANES];

    /** Nothing known. */
    public static final Shape VARYING = new Shape(null, 0, null);
    /** The same in all lanes. */
    public static final Shape UNIFORM = new Shape(ZERO, 0, null);

    public static Shape uniform(int align) { return new Shape(ZERO, align, null); }

    public static Shape constant(long k) { return new Shape(ZERO, zeros(k), k); }

    /** {@code u + pattern} with u unknown but a multiple of {@code 2^align}; u takes what of the pattern is such a multiple. */
    public static Shape affine(long[] pattern, int align) {
        if (align >= 62) return new Shape(pattern, align, null);
        long least = Long.MAX_VALUE;
        for (long p : pattern) least = Math.min(least, p);
        long base = least >> align << align;
        if (base == 0) return new Shape(pattern, align, null);
        long[] p = new long[LANES];
        for (int l = 0; l < LANES; l++) p[l] = pattern[l] - base;
        return new Shape(p, align, null);
    }

    /** Known in every lane. */
    public static Shape known(long[] pattern) { return new Shape(pattern, 63, 0L); }

    public boolean isVarying() { return pattern == null; }

    public boolean isUniform() {
        if (pattern == null) return false;
        if (pattern == ZERO) return true;
        for (long p : pattern) if (p != pattern[0]) return false;
        return true;
    }

    /** The value of all lanes where it is one known number, else null. */
    public Long value() { return constant != null && isUniform() ? Long.valueOf(constant + pattern[0]) : null; }

    public long min() {
        long least = pattern[0];
        for (long p : pattern) least = Math.min(least, p);
        return least;
    }

    public long max() {
        long most = pattern[0];
        for (long p : pattern) most = Math.max(most, p);
        return most;
    }

    /** No carry leaves the low bits when the pattern is added to u. */
    public boolean fits() { return pattern != null && min() >= 0 && (align >= 62 || max() < 1L << align); }

    static int zeros(long k) { return k == 0 ? 63 : Long.numberOfTrailingZeros(k); }

    /** The lowest bits of pattern[0] fold into u: alignment of the value of lane 0. */
    public int laneZeroAlign() { return Math.min(align, zeros(pattern[0])); }

    /** Two values of one register: equal patterns up to a constant stay patterns. */
    static Shape meet(Shape a, Shape b) {
        if (a == null) return b;
        if (b == null) return a;
        if (a.pattern == null || b.pattern == null) return VARYING;
        long d = b.pattern[0] - a.pattern[0];
        for (int l = 0; l < LANES; l++) if (b.pattern[l] - a.pattern[l] != d) return VARYING;
        Long k = a.constant != null && b.constant != null && a.constant == b.constant + d ? a.constant : null;
        return k != null ? new Shape(a.pattern, zeros(k), k) : affine(a.pattern, Math.min(a.align, Math.min(b.align, zeros(d))));
    }

    static Shape add(Shape a, Shape b, int sign) {
        if (a.pattern == null || b.pattern == null) return VARYING;
        if (a.constant != null && b.constant != null) return new Shape(zip(a.pattern, b.pattern, (x, y) -> x + sign * y), zeros(a.constant + sign * b.constant),
                a.constant + sign * b.constant);
        Long k = b.value();
        if (k != null) return a.plus(sign * k);
        if (sign > 0 && a.value() != null) return b.plus(a.value());
        if (a.value() != null) {   // k - (u + p) = -u + (k - p)
            long from = a.value();
            return affine(zip(b.pattern, b.pattern, (x, y) -> from - x), b.align);
        }
        return affine(zip(a.pattern, b.pattern, (x, y) -> x + sign * y), Math.min(a.align, b.align));
    }

    /** A constant goes into the pattern while it fits below u's alignment, else into u. */
    private Shape plus(long k) {
        long[] p = new long[LANES];
        for (int l = 0; l < LANES; l++) p[l] = pattern[l] + k;
        var inside = new Shape(p, align, constant);
        if (inside.fits()) return inside;
        return new Shape(pattern, Math.min(align, zeros(k)), constant == null ? null : Long.valueOf(constant + k));
    }

    static Shape mul(Shape a, Shape b) {
        if (a.pattern == null || b.pattern == null) return VARYING;
        if (a.value() != null) { Shape t = a; a = b; b = t; }
        Long k = b.value();
        if (k != null) {
            long f = k;
            return new Shape(zip(a.pattern, a.pattern, (x, y) -> x * f), f == 0 ? 63 : Math.min(63, a.align + zeros(f)), a.constant == null ? null : Long.valueOf(a.constant * f));
        }
        return a.isUniform() && b.isUniform() ? uniform(Math.min(62, a.laneZeroAlign() + b.laneZeroAlign())) : VARYING;
    }

    static Shape shl(Shape a, Shape b) {
        Long k = b.value();
        if (k == null || k < 0 || k > 62) return a.isUniform() && b.isUniform() ? UNIFORM : VARYING;
        return mul(a, constant(1L << k));
    }

    /** @param wraps whether u + pattern may wrap around, so that only patterns that fit may be taken apart */
    static Shape shr(Shape a, Shape b, boolean wraps) {
        Long k = b.value();
        if (a.isUniform() && b.isUniform()) return UNIFORM;   // constants are the intervals' business
        if (a.pattern != null && k != null && k >= 0 && k < 64 && a.align >= k && (a.fits() || !wraps)) {
            int n = k.intValue();
            return new Shape(zip(a.pattern, a.pattern, (x, y) -> x >> n), a.align == 63 ? 63 : a.align - n, a.constant == null || a.constant < 0 ? null : Long.valueOf(a.constant >> n));
        }
        return VARYING;
    }

    interface Op { long apply(long x, long y); }

    /** and, or, xor: lane by lane below the common alignment, on the uniform parts above it. */
    static Shape bitwise(Shape a, Shape b, Op op) {
        if (a.pattern == null || b.pattern == null) return VARYING;
        if (a.constant != null && b.constant != null) {
            long ca = a.constant, cb = b.constant;
            return known(zip(a.pattern, b.pattern, (x, y) -> op.apply(ca + x, cb + y)));
        }
        Long ka = a.value(), kb = b.value();
        if (a.isUniform() && b.isUniform()) {
            int x = a.laneZeroAlign(), y = b.laneZeroAlign();
            return uniform(op.apply(-1, 0) == 0 ? Math.max(x, y) : Math.min(x, y));   // and: zeros of either
        }
        if (kb != null) b = split(kb, a.align);
        if (ka != null) a = split(ka, b.align);
        int al = Math.min(a.align, b.align);
        if (al == 0) return VARYING;
        for (Shape s : new Shape[]{a, b}) if (s.min() < 0 || al < 62 && s.max() >= 1L << al) return VARYING;
        Long k = a.constant != null && b.constant != null ? Long.valueOf(op.apply(a.constant, b.constant)) : null;
        // x & (a mask without high bits) has no uniform part left
        if (k == null && (a.constant != null && a.constant == 0 || b.constant != null && b.constant == 0) && op.apply(-1, 0) == 0) k = 0L;
        return new Shape(zip(a.pattern, b.pattern, op), k != null ? zeros(k) : al, k);
    }

    private static Shape split(long k, int align) {
        if (align >= 62) return new Shape(filled(k), 63, 0L);
        long low = k & ((1L << align) - 1);
        return new Shape(filled(low), zeros(k - low), k - low);
    }

    static long[] filled(long k) {
        long[] p = new long[LANES];
        Arrays.fill(p, k);
        return p;
    }

    private static long[] zip(long[] a, long[] b, Op op) {
        long[] r = new long[LANES];
        for (int l = 0; l < LANES; l++) r[l] = op.apply(a[l], b[l]);
        return r;
    }

    /**
     * A 32-bit (or narrower) value widened.
     *
     * @param exact    whether u + pattern is known not to wrap around at the narrow width
     * @param unsigned bits of the unsigned narrow type, 0 if it is signed
     */
    static Shape widen(Shape a, boolean exact, int unsigned) {
        if (a.pattern == null) return VARYING;
        if (unsigned > 0 && a.constant != null && a.constant + a.min() < 0) {
            if (a.isUniform()) return constant(a.value() & (1L << unsigned) - 1);
            return VARYING;
        }
        if (a.isUniform()) return a.value() != null ? a : uniform(a.align == 63 ? 63 : a.laneZeroAlign());
        if (a.fits()) return a;
        if (!exact) return VARYING;
        long first = a.pattern[0];
        return new Shape(zip(a.pattern, a.pattern, (x, y) -> x - first), a.laneZeroAlign(), a.constant == null ? null : Long.valueOf(a.constant + first));
    }

    @Override public boolean equals(Object o) {
        return o instanceof Shape s && align == s.align && Arrays.equals(pattern, s.pattern) && java.util.Objects.equals(constant, s.constant);
    }

    @Override public int hashCode() { return Arrays.hashCode(pattern) * 31 + align; }

    @Override public String toString() {
        return pattern == null ? "varying" : (constant != null ? "" + constant : "u*2^" + align) + (isUniform() && pattern[0] == 0 ? "" : "+" + Arrays.toString(pattern));
    }
}
