package dev.turningpoint.softgpu.jit;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.util.Random;
import java.util.stream.Stream;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

/** 128-bit integers, which are carried from half to half, against BigInteger; short floats from integers and singles against exact decimals. */
class WideArithmeticTest {
    private static final int N = 64;

    static Stream<?> ways() { return Way.all(); }

    private static BigInteger wide(MemorySegment s, int i) {
        return BigInteger.valueOf(s.getAtIndex(ValueLayout.JAVA_LONG, 2 * i + 1)).shiftLeft(64).or(new BigInteger(Long.toUnsignedString(s.getAtIndex(ValueLayout.JAVA_LONG, 2 * i))));
    }

    private static final BigInteger ALL = BigInteger.ONE.shiftLeft(128).subtract(BigInteger.ONE);

    @ParameterizedTest @MethodSource("ways")
    void integersOf128Bits(Way way) {
        try (Arena arena = Arena.ofConfined()) {
            var random = new Random(7);
            MemorySegment a = arena.allocate(16 * N, 64), b = arena.allocate(16 * N, 64), out = arena.allocate(6 * 16 * N, 64);
            for (int i = 0; i < 2 * N; i++) {
                a.setAtIndex(ValueLayout.JAVA_LONG, i, random.nextInt(4) == 0 ? -1 : random.nextLong());
                b.setAtIndex(ValueLayout.JAVA_LONG, i, switch (random.nextInt(4)) { case 0 -> 0; case 1 -> random.nextInt(100); default -> random.nextLong(); });
            }
            way.run("arithmetic", "wide_integers", 1, N, out, a, b);
            for (int i = 0; i < N; i++) {
                BigInteger x = wide(a, i), y = wide(b, i), ux = x.and(ALL), uy = y.and(ALL);
                BigInteger[] want = {ux.add(uy), ux.subtract(uy), ux.multiply(uy), ux.shiftRight(i & 127), ux.divide(uy.setBit(0)), x.compareTo(y) < 0 ? BigInteger.ONE : BigInteger.ZERO};
                for (int k = 0; k < 6; k++) assertEquals(want[k].and(ALL), wide(out, 6 * i + k).and(ALL), "operation " + k + " of " + ux + " and " + uy);
            }
        }
    }

    @ParameterizedTest @MethodSource("ways")
    void sinesOfLargeAngles(Way way) {
        try (Arena arena = Arena.ofConfined()) {
            var random = new Random(8);
            float[] x = new float[N];
            for (int i = 0; i < N; i++) x[i] = (float) (random.nextGaussian() * Math.scalb(1.0, random.nextInt(100)));
            MemorySegment a = Launch.floats(arena, x), out = Launch.floats(arena, new float[N]);
            way.run("arithmetic", "large_angles", 1, N, out, a);
            for (int i = 0; i < N; i++) assertEquals(Math.sin(x[i]), out.getAtIndex(ValueLayout.JAVA_FLOAT, i), 2e-7, "sine of " + x[i]);
        }
    }

    private interface Short { float of(short bits); }

    private static float half(short b) { return Float.float16ToFloat(b); }

    /** {@code got} is the neighbour of the exact value that the direction (0 nearest, -1 down, 1 up, 2 to zero) asks for, in a format without gaps in its bits. */
    private static void rounded(BigDecimal exact, short got, int direction, Short format, float largest, String what) {
        int up = direction == 2 ? -exact.signum() : direction;
        float v = format.of(got);
        BigDecimal limit = new BigDecimal(largest);
        if (exact.abs().compareTo(limit) > 0 || Float.isInfinite(v)) {   // beyond the last finite number
            boolean finite = up != 0 && up != exact.signum();
            if (up == 0) assertTrue(Float.isInfinite(v) || Math.abs(v) == largest, what);
            else assertEquals(finite ? Math.copySign(largest, exact.signum()) : exact.signum() * Float.POSITIVE_INFINITY, v, what);
            return;
        }
        BigDecimal error = new BigDecimal(v).subtract(exact);
        if (error.signum() == 0) return;
        if (up != 0) assertEquals(up, error.signum(), what + " gave " + v);
        // the neighbour on the other side of the exact value
        boolean away = error.signum() != exact.signum();
        short next = (short) (v == 0 ? exact.signum() < 0 ? 0x8001 : 1 : away ? got + 1 : got - 1);
        float w = format.of(next);
        if (Float.isInfinite(w)) return;
        BigDecimal other = new BigDecimal(w).subtract(exact);
        assertTrue(other.signum() != error.signum(), what + " gave " + v + ", not next to it");
        if (up == 0) {
            int cmp = error.abs().compareTo(other.abs());
            assertTrue(cmp < 0 || cmp == 0 && (got & 1) == 0, what + " gave " + v + ", not the nearest");
        }
    }

    @ParameterizedTest @MethodSource("ways")
    void shortFloatsInEveryDirection(Way way) {
        try (Arena arena = Arena.ofConfined()) {
            var random = new Random(9);
            MemorySegment a = arena.allocate(8 * N, 64), out = arena.allocate(2 * 12 * N, 64);
            for (int i = 0; i < N; i++) {
                long x = random.nextLong() >> random.nextInt(64);
                if (i < 16) x = (0x1010000000000000L >> i * 3) + (i % 3 - 1);   // about halfway between two bf16
                a.setAtIndex(ValueLayout.JAVA_LONG, i, x);
            }
            way.run("arithmetic", "from_integers", 1, N, out, a);
            for (int i = 0; i < N; i++) {
                long x = a.getAtIndex(ValueLayout.JAVA_LONG, i);
                short[] o = new short[12];
                for (int k = 0; k < 12; k++) o[k] = out.getAtIndex(ValueLayout.JAVA_SHORT, 12 * i + k);
                String of = " of " + x;
                BigDecimal whole = BigDecimal.valueOf(x), low = BigDecimal.valueOf((int) x);
                rounded(whole, o[0], 0, WideArithmeticTest::half, 65504, "half" + of);
                rounded(low, o[1], 2, WideArithmeticTest::half, 65504, "half to zero" + of);
                rounded(low, o[2], 1, WideArithmeticTest::half, 65504, "half up" + of);
                rounded(low, o[3], -1, WideArithmeticTest::half, 65504, "half down" + of);
                float most = Float.intBitsToFloat(0x7f7f0000);
                rounded(whole, o[4], 0, Launch::bf16, most, "bf16" + of);
                rounded(new BigDecimal(Long.toUnsignedString(x)), o[5], 0, Launch::bf16, most, "bf16 of unsigned" + of);
                float f = Float.intBitsToFloat((int) x);
                if (!Float.isFinite(f)) continue;
                for (int k = 0; k < 6; k++)
                    rounded(new BigDecimal(f), o[6 + k], new int[]{2, 1, -1}[k % 3], k < 3 ? Launch::bf16 : WideArithmeticTest::half, k < 3 ? most : 65504, "short float " + k + " of " + f);
            }
        }
    }

    @ParameterizedTest @MethodSource("ways")
    void pairsOfHalvesCompared(Way way) {
        try (Arena arena = Arena.ofConfined()) {
            var random = new Random(10);
            short[] some = {0, (short) 0x8000, 0x3c00, 0x3c01, (short) 0xbc00, 0x7c00, 0x7e00, 1};
            short[] x = new short[2 * N], y = new short[2 * N];
            for (int i = 0; i < 2 * N; i++) { x[i] = some[random.nextInt(8)]; y[i] = some[random.nextInt(8)]; }
            var out = Launch.ints(arena, new int[4 * N]);
            way.run("arithmetic", "pairs", 1, N, out, Launch.shorts(arena, x), Launch.shorts(arena, y));
            for (int i = 0; i < N; i++) {
                int less = 0, notLess = 0, equal = 0;
                boolean differ = true, greater = true;
                for (int h = 0; h < 2; h++) {
                    float u = half(x[2 * i + h]), v = half(y[2 * i + h]);
                    if (u < v) less |= 0xffff << 16 * h;
                    if (!(u < v)) notLess |= 0xffff << 16 * h;
                    if (u == v) equal |= 0x3c00 << 16 * h;
                    differ &= u < v || u > v;
                    greater &= u > v;
                }
                assertEquals(less, out.getAtIndex(ValueLayout.JAVA_INT, 4 * i), "less");
                assertEquals(notLess, out.getAtIndex(ValueLayout.JAVA_INT, 4 * i + 1), "greater, equal or unordered");
                assertEquals(equal, out.getAtIndex(ValueLayout.JAVA_INT, 4 * i + 2), "equal");
                assertEquals((differ ? 1 : 0) + (greater ? 2 : 0), out.getAtIndex(ValueLayout.JAVA_INT, 4 * i + 3), "both differ, both greater");
            }
        }
    }

    @ParameterizedTest @MethodSource("ways")
    void theNthBitFromAPlace(Way way) {
        try (Arena arena = Arena.ofConfined()) {
            int[] a = new Random(11).ints(N).toArray();
            a[3] = 0;
            a[40] = -1;
            var out = Launch.ints(arena, new int[9 * N]);
            way.run("arithmetic", "nth_bit", 1, N, out, Launch.ints(arena, a));
            for (int i = 0; i < N; i++)
                for (int n = -4; n <= 4; n++) {
                    int want = -1, left = Math.abs(n);
                    for (int at = i & 31; at >= 0 && at < 32; at += n < 0 ? -1 : 1) {
                        boolean set = (a[i] >>> at & 1) != 0;
                        if (n == 0) { want = set ? at : -1; break; }
                        if (set && --left == 0) { want = at; break; }
                    }
                    assertEquals(want, out.getAtIndex(ValueLayout.JAVA_INT, 9 * i + n + 4), n + " from " + (i & 31) + " in " + Integer.toHexString(a[i]));
                }
        }
    }
}
