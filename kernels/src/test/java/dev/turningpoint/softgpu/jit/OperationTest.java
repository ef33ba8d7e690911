package dev.turningpoint.softgpu.jit;

import org.junit.jupiter.api.Test;

import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.math.BigDecimal;
import java.math.MathContext;
import java.math.RoundingMode;
import java.util.Random;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

/** Every operation on random and awkward operands against Java; bits must agree, approximate functions to their documented error. */
class OperationTest {
    private static final int N = 4000, WIDTH = 24;
    private static final int[] AWKWARD = {0, 1, -1, 2, 31, 32, 33, 63, 64, 255, 256, 0x80000000, 0x7fffffff, 0x80000001, 0x7f800000, 0xff800000, 0x7fc00000, 0x3f800000, 0xbf800000,
            0x00000001, 0x007fffff, 0x00800000, 0x80800000, 0x7f7fffff, 0x4b000000, 0xcf000000, 0x4f000000, 0x4f800000, 0x5f000000, 0x3f000000, 0x3fc00000, 0x40200000, 0x33800000};

    private int[] a, b, c, out;

    private void run(String entry, long seed, boolean floats) {
        var random = new Random(seed);
        a = operands(random, floats);
        b = operands(random, floats);
        c = operands(random, floats);
        try (Arena m = Arena.ofConfined()) {
            var o = Launch.ints(m, new int[N * WIDTH]);
            assertEquals(0, Launch.run("ops", entry, (N + 127) / 128, 128, Launch.ints(m, a), Launch.ints(m, b), Launch.ints(m, c), o, N));
            out = o.toArray(ValueLayout.JAVA_INT);
        }
    }

    private static int[] operands(Random random, boolean floats) {
        int[] v = new int[N];
        for (int i = 0; i < N; i++) {
            int kind = random.nextInt(8);
            v[i] = kind == 0 ? AWKWARD[random.nextInt(AWKWARD.length)] : kind == 1 ? random.nextInt(70) : kind < 5 && floats
                    ? Float.floatToRawIntBits((float) (random.nextGaussian() * Math.pow(2, random.nextInt(40) - 20))) : random.nextInt();
        }
        return v;
    }

    private void check(int i, int k, int want, String what) {
        int got = out[i * WIDTH + k];
        if (got != want) assertEquals(Integer.toHexString(want), Integer.toHexString(got),
                what + " of " + Integer.toHexString(a[i]) + ", " + Integer.toHexString(b[i]) + ", " + Integer.toHexString(c[i]));
    }

    private void checkLong(int i, int k, long want, String what) {
        check(i, k, (int) want, what + " low");
        check(i, k + 1, (int) (want >>> 32), what + " high");
    }

    @Test
    void integers() {
        run("integers", 1, false);
        for (int i = 0; i < N; i++) {
            int x = a[i], y = b[i], z = c[i];
            check(i, 0, x + y, "add");
            check(i, 1, x - y, "sub");
            check(i, 2, x * y, "mul.lo");
            check(i, 3, (int) ((x & 0xffffffffL) * (y & 0xffffffffL) >>> 32), "mul.hi.u32");
            check(i, 4, (int) ((long) x * y >> 32), "mul.hi.s32");
            check(i, 5, y == 0 ? -1 : Integer.divideUnsigned(x, y), "div.u32");
            check(i, 6, y == 0 ? -1 : x / y, "div.s32");
            check(i, 7, y == 0 ? x : Integer.remainderUnsigned(x, y), "rem.u32");
            check(i, 8, y == 0 ? x : x % y, "rem.s32");
            check(i, 9, Math.min(x, y), "min.s32");
            check(i, 10, Integer.compareUnsigned(x, y) < 0 ? x : y, "min.u32");
            check(i, 11, Math.max(x, y), "max.s32");
            check(i, 12, Integer.compareUnsigned(x, y) > 0 ? x : y, "max.u32");
            check(i, 13, x * y + z, "mad.lo");
            check(i, 14, (x > y ? x - y : y - x) + z, "sad.s32");
            check(i, 15, (Integer.compareUnsigned(x, y) > 0 ? x - y : y - x) + z, "sad.u32");
            check(i, 16, x & y, "and");
            check(i, 17, x | y, "or");
            check(i, 18, x ^ y, "xor");
            check(i, 19, Math.abs(x), "abs");
            check(i, 20, -x, "neg");
            check(i, 21, ~x, "not");
            check(i, 22, x == 0 ? 1 : 0, "cnot");
            check(i, 23, (int) ((x & 0xffffffffL) * (y & 0xffffffffL) >>> 32) + z, "mad.hi");
        }
    }

    @Test
    void bits() {
        run("bits", 2, false);
        for (int i = 0; i < N; i++) {
            int x = a[i], y = b[i], z = c[i];
            boolean far = Integer.compareUnsigned(y, 31) > 0;
            check(i, 0, far ? 0 : x << y, "shl");
            check(i, 1, far ? 0 : x >>> y, "shr.u32");
            check(i, 2, far ? x >> 31 : x >> y, "shr.s32");
            long w = (long) y << 32 | x & 0xffffffffL;
            int n = z & 31, m = Integer.compareUnsigned(z, 32) > 0 ? 32 : z;
            check(i, 3, (int) (w << n >>> 32), "shf.l.wrap");
            check(i, 4, (int) (w >>> n), "shf.r.wrap");
            check(i, 5, (int) (w << m >>> 32), "shf.l.clamp");
            check(i, 6, (int) (w >>> m), "shf.r.clamp");
            check(i, 7, extract(x, y & 255, z & 255, false), "bfe.u32");
            check(i, 8, extract(x, y & 255, z & 255, true), "bfe.s32");
            check(i, 9, permute(x, y, z), "prmt");
            check(i, 10, x ^ y ^ z, "lop3 96");
            check(i, 11, x & y | ~x & z, "lop3 ca");
            check(i, 12, Integer.bitCount(x), "popc");
            check(i, 13, Integer.numberOfLeadingZeros(x), "clz");
            check(i, 14, Integer.reverse(x), "brev");
            check(i, 15, 31 - Integer.numberOfLeadingZeros(x), "bfind.u32");
            check(i, 16, 31 - Integer.numberOfLeadingZeros(x < 0 ? ~x : x), "bfind.s32");
            check(i, 17, permute(x, y, 0x7531), "prmt 7531");
            int r = y, len = y & 63;
            for (int k = 0; k < len && (z & 255) + k < 32; k++) r = r & ~(1 << (z & 255) + k) | (x >>> k & 1) << (z & 255) + k;
            if (len <= 32) check(i, 18, r, "bfi");
            check(i, 19, permute(x, y, 0xf8a1), "prmt f8a1");
            check(i, 20, x == 0 ? -1 : Integer.numberOfLeadingZeros(x), "bfind.shiftamt");
            check(i, 21, (int) (w << 7 >>> 32), "funnel shift");
            check(i, 22, x, "byte perm");
            check(i, 23, x == 0 ? 0 : Integer.numberOfTrailingZeros(x) + 1, "ffs");
        }
    }

    /** The manual's own loop. */
    private static int extract(int x, int pos, int len, boolean signed) {
        int sign = !signed || len == 0 ? 0 : x >>> Math.min(pos + len - 1, 31) & 1, r = 0;
        for (int k = 0; k < 32; k++) r |= (k < len && pos + k < 32 ? x >>> pos + k & 1 : sign) << k;
        return r;
    }

    private static int permute(int x, int y, int sel) {
        long w = (long) y << 32 | x & 0xffffffffL;
        int r = 0;
        for (int k = 0; k < 4; k++) {
            int s = sel >> 4 * k & 15, v = (int) (w >>> (s & 7) * 8) & 255;
            if ((s & 8) != 0) v = (v & 128) != 0 ? 255 : 0;
            r |= v << 8 * k;
        }
        return r;
    }

    @Test
    void wide() {
        run("wide", 3, false);
        for (int i = 0; i < N; i++) {
            int x = a[i], y = b[i], z = c[i];
            long ux = x & 0xffffffffL, uy = y & 0xffffffffL, p = ux << 32 | uy, q = (z & 0xffffffffL) << 20 ^ ux;
            checkLong(i, 0, p * q, "mul 64");
            checkLong(i, 2, q == 0 ? 0 : Long.divideUnsigned(p, q), "div.u64");
            checkLong(i, 4, q == 0 ? 0 : p % q, "rem.s64");
            checkLong(i, 6, Integer.compareUnsigned(z, 63) > 0 ? 0 : p << z, "shl 64");
            checkLong(i, 8, p >> Math.min(z & 127, 63), "shr.s64");
            checkLong(i, 10, ux * uy, "mul.wide.u32");
            checkLong(i, 12, (long) x * y, "mul.wide.s32");
            checkLong(i, 14, ux * uy + q, "mad.wide.u32");
            checkLong(i, 16, Math.unsignedMultiplyHigh(p, q), "mul.hi.u64");
            check(i, 18, Long.bitCount(p), "popcll");
            check(i, 19, Long.numberOfLeadingZeros(q), "clzll");
            checkLong(i, 20, Long.reverse(p), "brevll");
            int pos = y & 63, len = z & 63;
            checkLong(i, 22, len == 0 ? 0 : p >>> pos & (1L << len) - 1, "bfe.u64");
        }
    }

    @Test
    void comparisons() {
        run("compares", 4, true);
        for (int i = 0; i < N; i++) {
            int x = a[i], y = b[i], z = c[i], u = Integer.compareUnsigned(x, y);
            boolean[] want = {x == y, x != y, x < y, x <= y, x > y, x >= y, u < 0, u <= 0, u > 0, u >= 0};
            for (int k = 0; k < 10; k++) check(i, k, want[k] ? 1 : 0, "setp " + k);
            float f = Float.intBitsToFloat(x), g = Float.intBitsToFloat(y);
            boolean nan = Float.isNaN(f) || Float.isNaN(g);
            boolean[] real = {f == g, f != g && !nan, f < g, f <= g || nan, f > g || nan, f >= g || nan, f == g || nan, f != g, !nan, nan};
            for (int k = 0; k < 10; k++) check(i, 10 + k, real[k] ? 1 : 0, "float setp " + k);
            check(i, 20, (x < y && (z & 1) != 0 ? 1 : 0) + (x >= y && (z & 1) != 0 ? 2 : 0), "setp.and with two results");
            check(i, 21, x > y ? -1 : 0, "set");
            check(i, 22, z >= 0 ? x : y, "slct");
        }
    }

    @Test
    void floats() {
        run("floats", 5, true);
        for (int i = 0; i < N; i++) {
            float x = f(a[i]), y = f(b[i]), z = f(c[i]);
            real(i, 0, x + y, "add");
            real(i, 1, x * y, "mul");
            real(i, 2, Math.fma(x, y, z), "fma");
            real(i, 3, x / y, "div");
            real(i, 4, (float) Math.sqrt(x), "sqrt");
            real(i, 5, 1 / x, "rcp");
            if (x != y) {
                real(i, 6, Float.isNaN(x) ? y : Float.isNaN(y) ? x : Math.min(x, y), "min");
                real(i, 7, Float.isNaN(x) ? y : Float.isNaN(y) ? x : Math.max(x, y), "max");
            }
            real(i, 8, Math.abs(x), "abs");
            real(i, 9, -x, "neg");
            real(i, 10, Math.copySign(x, f(b[i] & 0x80000000 | 0x3f800000)), "copysign");
            real(i, 11, Float.isNaN(x) ? 0 : Math.max(0, Math.min(1, x)), "saturate");
            if (finite(x, y, z)) {
                BigDecimal p = big(x).multiply(big(y));
                directed(i, 12, big(x).add(big(y)), RoundingMode.FLOOR, "add.rm");
                directed(i, 13, p, RoundingMode.CEILING, "mul.rp");
                directed(i, 14, p.add(big(z)), RoundingMode.DOWN, "fma.rz");
                directed(i, 15, p.add(big(z)), RoundingMode.FLOOR, "fma.rm");
            }
            real(i, 16, flush(flush(x) + flush(y)), "add.ftz");
            if (Math.abs(x * y) != Float.MIN_NORMAL) real(i, 17, flush(flush(x) * flush(y)), "mul.ftz");
            double d = Math.fma((double) x, (double) y, (double) z);
            if (!Double.isNaN(d)) checkLong(i, 18, Double.doubleToRawLongBits(d), "fma.f64");
            d = Math.sqrt(Math.abs((double) x));
            if (!Double.isNaN(d)) checkLong(i, 20, Double.doubleToRawLongBits(d), "sqrt.f64");
            check(i, 22, Float.isNaN(x) ? 1 : Float.isInfinite(x) ? 2 : 0, "isnan, isinf");
            real(i, 23, (float) Math.floor(x), "floor");
        }
    }

    private static float f(int bits) { return Float.intBitsToFloat(bits); }
    private static float flush(float x) { return Math.abs(x) < Float.MIN_NORMAL ? Math.copySign(0f, x) : x; }
    private static BigDecimal big(float x) { return new BigDecimal(x); }
    private static boolean finite(float... v) { for (float x : v) if (!Float.isFinite(x)) return false; return true; }

    private void real(int i, int k, float want, String what) {
        if (Float.isNaN(want)) assertTrue(Float.isNaN(f(out[i * WIDTH + k])), what + " gives NaN");
        else check(i, k, Float.floatToRawIntBits(want), what);
    }

    /** What holds of a value rounded in that direction, up to overflow and zeros. */
    private void directed(int i, int k, BigDecimal exact, RoundingMode mode, String what) {
        float got = f(out[i * WIDTH + k]);
        if (exact.abs().compareTo(new BigDecimal(Float.MAX_VALUE)) >= 0 || exact.signum() == 0) return;
        if (exact.abs().compareTo(new BigDecimal(Double.MIN_NORMAL)) < 0) return;   // two-sum loses what double cannot hold
        int cmp = Float.isFinite(got) ? new BigDecimal(got).compareTo(exact) : 2;
        boolean down = mode == RoundingMode.FLOOR || mode == RoundingMode.DOWN && exact.signum() > 0;
        float next = down ? Math.nextUp(got) : Math.nextDown(got);
        int beyond = Float.isFinite(next) ? new BigDecimal(next).compareTo(exact) : down ? 1 : -1;
        assertTrue(cmp == 0 || (down ? cmp < 0 && beyond > 0 : cmp > 0 && beyond < 0), what + " of " + f(a[i]) + ", " + f(b[i]) + ", " + f(c[i]) + " gave " + got + ", exactly " + exact.round(MathContext.DECIMAL64));
    }

    @Test
    void conversions() {
        run("conversions", 6, true);
        for (int i = 0; i < N; i++) {
            int xi = a[i], yi = b[i];
            float x = f(xi), y = f(yi);
            check(i, 0, (int) Math.rint(x), "cvt.rni.s32");
            check(i, 1, (int) x, "cvt.rzi.s32");
            check(i, 2, (int) Math.floor(x), "cvt.rmi.s32");
            check(i, 3, (int) Math.ceil(x), "cvt.rpi.s32");
            check(i, 4, x >= 4294967296.0f ? -1 : Float.isNaN(x) || x <= 0 ? 0 : (int) (long) x, "cvt.rzi.u32");
            real(i, 5, (float) xi, "cvt.f32.s32");
            real(i, 6, (float) (xi & 0xffffffffL), "cvt.f32.u32");
            long ux = xi & 0xffffffffL;
            float t = (float) xi;
            if (Math.abs((double) t) > Math.abs((double) xi)) t = Math.abs((double) Math.nextDown(t)) < Math.abs((double) t) ? Math.nextDown(t) : Math.nextUp(t);
            real(i, 7, t, "cvt.rz.f32.s32");
            float d32 = (float) ux;
            if ((double) d32 > (double) ux) d32 = Math.nextDown(d32);
            real(i, 8, d32, "cvt.rm.f32.u32");
            checkLong(i, 9, Float.isNaN(x) ? Long.MIN_VALUE : (long) x, "cvt.s64.f32");
            real(i, 11, (float) ((long) xi << 32 | yi & 0xffffffffL), "cvt.f32.s64");
            if (!Float.isNaN(x) && Math.abs(x) >= Float.MIN_NORMAL || x == 0) check(i, 12, Launch.bf16(x) & 0xffff, "cvt.bf16");
            check(i, 13, xi << 16, "bf16 to f32");
            if (!Float.isNaN(x)) check(i, 14, Float.floatToFloat16(x) & 0xffff, "cvt.f16");
            float h = Float.float16ToFloat((short) xi);
            real(i, 15, h, "f16 to f32");
            double d = Double.longBitsToDouble((long) xi << 32 | yi & 0xffffffffL);
            real(i, 16, (float) d, "cvt.f32.f64");
            check(i, 17, Double.isNaN(d) ? 0x80000000 : (int) d, "cvt.s32.f64");
            checkLong(i, 18, Double.isNaN(d) ? Long.MIN_VALUE : (long) d, "cvt.s64.f64");
            check(i, 20, (byte) xi, "s8");
            check(i, 21, (short) xi + (yi & 255), "s16, u8");
            if (!Float.isNaN(x) && !Float.isNaN(y) && Math.abs(x) >= Float.MIN_NORMAL && Math.abs(y) >= Float.MIN_NORMAL)
                check(i, 22, Launch.bf16(x) << 16 | Launch.bf16(y) & 0xffff, "cvt.bf16x2");
            check(i, 23, Math.max(-128, Math.min(127, xi)), "cvt.sat.s8");
        }
    }

    @Test
    void sixteenBitFloats() {
        run("halves", 7, false);
        for (int i = 0; i < N; i++) for (int h = 0; h < 2; h++) {
            int s = 16 * h;
            short x = (short) (a[i] >> s), y = (short) (b[i] >> s), z = (short) (c[i] >> s);
            float p = Launch.bf16(x), q = Launch.bf16(y), r = Launch.bf16(z);
            half(i, 0, s, p, q, r, "fma.bf16x2");
            half(i, 1, s, p, 1, q, "add.bf16x2");
            half(i, 2, s, p, q, 0, "mul.bf16x2");
            float u = Float.float16ToFloat(x), v = Float.float16ToFloat(y);
            if (finite(u, v)) {
                assertEquals(Float.floatToFloat16(u + v) & 0xffff, out[i * WIDTH + 5] >> s & 0xffff, "add.f16x2 of " + u + ", " + v);
                assertEquals(Float.floatToFloat16(u * v) & 0xffff, out[i * WIDTH + 6] >> s & 0xffff, "mul.f16x2 of " + u + ", " + v);
            }
            if (!Float.isNaN(p) && !Float.isNaN(q) && p != q) assertEquals(Launch.bf16(Math.max(p, q)) & 0xffff, out[i * WIDTH + 3] >> s & 0xffff, "max.bf16x2");
            assertEquals(x ^ 0xffff8000, (short) (out[i * WIDTH + 4] >> s), "neg.bf16x2");
        }
    }

    /** The result is x y + z, rounded once to bf16. */
    private void half(int i, int k, int shift, float x, float y, float z, String what) {
        double sum = Math.fma((double) x, (double) y, (double) z);
        if (Double.isNaN(sum) || Double.isInfinite(sum) || Math.abs(sum) < Float.MIN_NORMAL * 2 || Math.abs(sum) > Float.MAX_VALUE / 2) return;
        // round the double to bf16, ties to even, by hand; what the double lost decides where it lies in the middle
        var exact = new java.math.BigDecimal(x).multiply(new java.math.BigDecimal(y)).add(new java.math.BigDecimal(z));
        int beyond = exact.abs().compareTo(new java.math.BigDecimal(sum).abs());
        long bits = Double.doubleToRawLongBits(sum);
        long cut = 52 - 7, half = 1L << cut - 1, low = bits & (1L << cut) - 1;
        long kept = bits >> cut;
        if (low > half || low == half && (beyond > 0 || beyond == 0 && (kept & 1) != 0)) kept++;
        double rounded = Double.longBitsToDouble(kept << cut);
        float got = Launch.bf16((short) (out[i * WIDTH + k] >> shift));
        assertEquals((float) rounded, got, what + " of element " + i);
    }

    @Test
    void functions() {
        run("functions", 8, true);
        double[] worst = new double[16];
        for (int i = 0; i < N; i++) {
            float x = f(a[i]), y = f(b[i]);
            if (Float.isNaN(x)) { for (int k = 0; k < 6; k++) assertTrue(Float.isNaN(result(i, k)), "function " + k + " of NaN"); continue; }
            ulp(worst, i, 0, Math.pow(2, x), 2.5, "ex2");
            if (x > 0) {
                double want = Math.log(x) / Math.log(2);
                if (Math.abs(want) < 0.5) assertEquals(want, result(i, 1), 0x1p-22, "lg2 of " + x); else ulp(worst, i, 1, want, 3, "lg2");
                ulp(worst, i, 9, Math.log(x), 2, "logf");
                ulp(worst, i, 5, 1 / Math.sqrt(x), 1.5, "rsqrt");
            } else if (x < 0) assertTrue(Float.isNaN(result(i, 1)), "lg2 of " + x);
            else assertEquals(Float.NEGATIVE_INFINITY, result(i, 1));
            if (Math.abs(x) <= Math.PI) {
                assertEquals(Math.sin(x), result(i, 2), 0x1p-21, "sin of " + x);
                assertEquals(Math.cos(x), result(i, 3), 0x1p-21, "cos of " + x);
            }
            ulp(worst, i, 4, Math.tanh(x), 6, "tanh");
            if (Math.abs(x) < 80) { double e = Math.exp(x); assertEquals(e, result(i, 6), e * 1e-5, "__expf of " + x); }
            ulp(worst, i, 7, Math.exp(x), 3, "expf");
            ulp(worst, i, 8, Math.tanh(x), 3, "tanhf");
            if (Float.isFinite(x)) {
                ulp(worst, i, 10, Math.sin(x), 2, "sinf");
                ulp(worst, i, 14, Math.cos(x), 2, "cosf");
            }
            if (x != 0) ulp(worst, i, 13, Math.pow(Math.abs(x), (double) 0.37f), 10, "powf");
            float q = x / y;
            if (Float.isFinite(q) && Math.abs(q) >= Float.MIN_NORMAL && Math.abs(y) < 0x1p126f) assertEquals(q, result(i, 11), Math.ulp(q) * 2, "__fdividef");
        }
        System.out.println("worst errors in ulp (ex2 lg2 - - tanh rsqrt - expf tanhf logf sinf - - powf cosf): " + java.util.Arrays.toString(worst));
    }

    private float result(int i, int k) { return f(out[i * WIDTH + k]); }

    private void ulp(double[] worst, int i, int k, double want, double most, String what) {
        float got = result(i, k), rounded = (float) want;
        if (Float.isInfinite(rounded) || rounded == 0 || got == rounded) {
            if (got != rounded && !(Float.isInfinite(got) || Math.abs(got) <= Float.MIN_NORMAL)) assertEquals(rounded, got, what + " of " + f(a[i]));
            return;
        }
        if (Math.abs(rounded) < Float.MIN_NORMAL) { assertTrue(Math.abs(got - rounded) <= 0x1p-126, what + " of " + f(a[i])); return; }
        double e = Math.abs(got - want) / Math.ulp(rounded);
        worst[k] = Math.max(worst[k], e);
        assertTrue(e <= most, what + " of " + f(a[i]) + ": " + got + " for " + want + ", " + e + " ulp");
    }

    @Test
    void philox() {
        run("philox", 9, false);
        for (int i = 0; i < N; i++) {
            int[] v = {a[i], b[i], c[i], i};
            int k0 = 0x12345678, k1 = 0x9abcdef0;
            for (int r = 0; r < 10; r++) {
                long p = 0xD2511F53L * (v[0] & 0xffffffffL), q = 0xCD9E8D57L * (v[2] & 0xffffffffL);
                v = new int[]{(int) (q >>> 32) ^ v[1] ^ k0, (int) q, (int) (p >>> 32) ^ v[3] ^ k1, (int) p};
                k0 += 0x9E3779B9;
                k1 += 0xBB67AE85;
            }
            for (int k = 0; k < 4; k++) check(i, k, v[k], "philox word " + k);
        }
    }
}
