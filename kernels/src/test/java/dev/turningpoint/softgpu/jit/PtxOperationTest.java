package dev.turningpoint.softgpu.jit;

import dev.turningpoint.softgpu.ptx.PtxModule;
import dev.turningpoint.softgpu.ptx.PtxParser;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.math.BigDecimal;
import java.math.MathContext;
import java.math.RoundingMode;
import java.util.Random;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

/** Operations written in PTX: directed rounding against exact decimal arithmetic, integers against the manual's words; on this processor and on a lesser one. */
class PtxOperationTest {
    private static final int N = 256;

    /** A kernel that reads 64 bits of a, b and c for each thread, works on them and stores 64 bits. */
    private static PtxModule kernel(String body) {
        return PtxParser.parse("operation", """
                .version 9.0
                .target sm_80
                .address_size 64
                .visible .entry work(.param .u64 a, .param .u64 b, .param .u64 c, .param .u64 o) {
                .reg .b64 %q<12>; .reg .b32 %r<12>; .reg .f32 %f<8>; .reg .f64 %x, %y, %z, %w; .reg .pred %p<4>;
                mov.u32 %r0, %tid.x;
                ld.param.u64 %q0, [a]; ld.param.u64 %q1, [b]; ld.param.u64 %q2, [c]; ld.param.u64 %q3, [o];
                mad.wide.u32 %q0, %r0, 8, %q0; mad.wide.u32 %q1, %r0, 8, %q1; mad.wide.u32 %q2, %r0, 8, %q2; mad.wide.u32 %q3, %r0, 8, %q3;
                ld.global.b64 %q4, [%q0]; ld.global.b64 %q5, [%q1]; ld.global.b64 %q6, [%q2];
                mov.b64 %x, %q4; mov.b64 %y, %q5; mov.b64 %z, %q6; mov.b64 %w, 0;
                cvt.u32.u64 %r1, %q4; cvt.u32.u64 %r2, %q5; cvt.u32.u64 %r3, %q6;
                mov.b32 %f1, %r1; mov.b32 %f2, %r2; mov.b32 %f3, %r3; mov.b64 %q7, 0; mov.u32 %r4, 0;
                BODY
                st.global.b64 [%q3], %q7;
                ret; }
                """.replace("BODY", body));
    }

    private static long[] run(KernelCompiler compiler, String body, long[][] in) {
        PtxModule m = kernel(body);
        try (Arena arena = Arena.ofConfined()) {
            var s = new MemorySegment[4];
            for (int n = 0; n < 4; n++) {
                s[n] = arena.allocate(8L * N, 64);
                if (n < 3) MemorySegment.copy(in[n], 0, s[n], ValueLayout.JAVA_LONG, 0, N);
            }
            assertEquals(0, Launch.call(compiler.compile(m, "work", N, 1, 1, 0), m.kernel("work"), 0, 1, 1, 1, 1, (Object[]) s));
            return s[3].toArray(ValueLayout.JAVA_LONG);
        }
    }

    private static long[] interpreted(String body, long[][] in) {
        try (Arena arena = Arena.ofConfined()) {
            var s = new MemorySegment[4];
            for (int n = 0; n < 4; n++) {
                s[n] = arena.allocate(8L * N, 64);
                if (n < 3) MemorySegment.copy(in[n], 0, s[n], ValueLayout.JAVA_LONG, 0, N);
            }
            Launch.interpret(kernel(body), "work", new int[]{1}, new int[]{N}, 0, (Object[]) s);
            return s[3].toArray(ValueLayout.JAVA_LONG);
        }
    }

    /** What each engine makes of it, on this processor and on a lesser one. */
    private static long[][] everywhere(String body, long[][] in) {
        KernelCompiler[] compilers = compilers();
        return new long[][]{run(compilers[0], body, in), run(compilers[1], body, in), interpreted(body, in)};
    }

    private static KernelCompiler[] compilers() {
        NativeCompiler llvm = NativeCompiler.get();
        return new KernelCompiler[]{Launch.COMPILER, new KernelCompiler(llvm.with(llvm.target().without("avx512")), Arena.global())};
    }

    private static long[][] doubles(long seed) {
        var random = new Random(seed);
        var in = new long[3][N];
        for (long[] v : in) for (int n = 0; n < N; n++) v[n] = Double.doubleToRawLongBits(random.nextGaussian() * Math.scalb(1.0, random.nextInt(60) - 30));
        return in;
    }

    @ParameterizedTest
    @CsvSource({"add", "sub", "mul", "fma", "div", "rcp", "sqrt"})
    void doublesAndSingles(String operation) {
        for (String mode : new String[]{"rz", "rm", "rp"}) for (boolean wide : new boolean[]{true, false}) {
            long[][] in = doubles(operation.hashCode());
            if (operation.equals("sqrt")) for (int n = 0; n < N; n++) in[0][n] &= Long.MAX_VALUE;
            if (!wide) for (long[] v : in) for (int n = 0; n < N; n++) v[n] = Float.floatToRawIntBits((float) Double.longBitsToDouble(v[n])) & 0xffffffffL;
            int operands = switch (operation) { case "fma" -> 3; case "rcp", "sqrt" -> 1; default -> 2; };
            String name = operation + "." + mode;
            String ptx = wide ? name + ".f64 %w, %x" + (operands > 1 ? ", %y" : "") + (operands > 2 ? ", %z" : "") + "; mov.b64 %q7, %w;"
                    : name + ".f32 %f4, %f1" + (operands > 1 ? ", %f2" : "") + (operands > 2 ? ", %f3" : "") + "; mov.b32 %r4, %f4; cvt.u64.u32 %q7, %r4;";
            for (KernelCompiler compiler : compilers()) {
                long[] out = run(compiler, ptx, in);
                for (int n = 0; n < N; n++) {
                    BigDecimal x = value(in[0][n], wide), y = value(in[1][n], wide), z = value(in[2][n], wide), got = value(out[n], wide);
                    MathContext many = new MathContext(400, RoundingMode.DOWN);
                    BigDecimal want = switch (operation) {
                        case "add" -> x.add(y); case "sub" -> x.subtract(y); case "mul" -> x.multiply(y); case "fma" -> x.multiply(y).add(z);
                        case "div" -> x.divide(y, many); case "rcp" -> BigDecimal.ONE.divide(x, many); default -> x.sqrt(many);
                    };
                    BigDecimal below = value(next(out[n], wide, false), wide), above = value(next(out[n], wide, true), wide);
                    boolean down = mode.equals("rm") || mode.equals("rz") && want.signum() > 0;
                    assertTrue(down ? got.compareTo(want) <= 0 && above.compareTo(want) > 0 : got.compareTo(want) >= 0 && below.compareTo(want) < 0,
                            name + (wide ? ".f64" : ".f32") + " of " + x + ", " + y + ", " + z + ": " + got);
                }
            }
        }
    }

    private static BigDecimal value(long bits, boolean wide) { return new BigDecimal(wide ? Double.longBitsToDouble(bits) : Float.intBitsToFloat((int) bits)); }

    private static long next(long bits, boolean wide, boolean up) {
        if (wide) { double d = Double.longBitsToDouble(bits); return Double.doubleToRawLongBits(up ? Math.nextUp(d) : Math.nextDown(d)); }
        float f = Float.intBitsToFloat((int) bits);
        return Float.floatToRawIntBits(up ? Math.nextUp(f) : Math.nextDown(f));
    }

    @ParameterizedTest
    @ValueSource(strings = {"dp2a.lo.s32.u32", "dp2a.hi.u32.s32", "mul24.hi.s32", "mul24.hi.u32", "mad.hi.sat.s32", "mad24.hi.sat.s32", "bmsk.clamp.b32", "bmsk.wrap.b32", "szext.clamp.s32", "szext.wrap.u32",
            "prmt.b32.f4e", "prmt.b32.b4e", "prmt.b32.rc8", "prmt.b32.ecl", "prmt.b32.ecr", "prmt.b32.rc16", "lop3.or.b32"})
    void integers(String operation) {
        var random = new Random(operation.hashCode());
        var in = new long[3][N];
        for (long[] v : in) for (int n = 0; n < N; n++) v[n] = (random.nextInt(3) == 0 ? random.nextInt(70) : random.nextInt()) & 0xffffffffL;
        boolean three = operation.startsWith("dp2a") || operation.startsWith("mad") || operation.startsWith("prmt");
        String body = operation.startsWith("lop3") ? "setp.ne.u32 %p1, %r3, 5; lop3.or.b32 %r4|%p2, %r1, %r2, %r3, 0x80, %p1; selp.u32 %r5, 1, 0, %p2; add.u32 %r4, %r4, %r5; cvt.u64.u32 %q7, %r4;"
                : operation + " %r4, %r1, %r2" + (three ? ", %r3" : "") + "; cvt.u64.u32 %q7, %r4;";
        for (long[] out : everywhere(body, in)) {
            for (int n = 0; n < N; n++) {
                int a = (int) in[0][n], b = (int) in[1][n], c = (int) in[2][n];
                int want = expected(operation, a, b, c);
                assertEquals(Integer.toHexString(want), Integer.toHexString((int) out[n]), operation + " of " + Integer.toHexString(a) + ", " + Integer.toHexString(b) + ", " + Integer.toHexString(c));
            }
        }
    }

    /** What {@code set} writes fills its type and no more. */
    @ParameterizedTest
    @CsvSource({"f16.s32, 3c00", "bf16.s32, 3f80", "u16.f32, ffff", "s16.u32, ffff"})
    void aTestFillsItsType(String types, String truth) {
        var in = new long[3][N];
        for (int n = 0; n < N; n++) { in[0][n] = n % 3; in[1][n] = n % 2; }
        String a = types.endsWith("f32") ? "%f1, %f2" : "%r1, %r2", body = ".reg .b16 %s<2>; mov.b16 %s1, 0; set.lt." + types + " %s0, " + a + "; mov.b32 %r4, {%s0, %s1}; cvt.u64.u32 %q7, %r4;";
        for (long[] out : everywhere(body, in))
            for (int n = 0; n < N; n++) assertEquals(n % 3 < n % 2 ? Long.parseLong(truth, 16) : 0, out[n], types);
    }

    /** To tf32: ties away from zero or to even, and a NaN stays one whatever its bits. */
    @ParameterizedTest
    @CsvSource({"rna, 3f802000", "rn, 3f800000"})
    void tf32(String rounding, String tie) {
        var in = new long[3][N];
        int[] a = {0x3f801000, 0x3f800fff, 0xbf803001, 0x7fffffff, 0xffffffff, 0x7f800001, 0x7f7fffff, 0xff800000};
        String[] want = {tie, "3f800000", "bf804000", "7fffffff", "7fffffff", "7fffffff", "7f800000", "ff800000"};
        for (int n = 0; n < a.length; n++) in[0][n] = a[n] & 0xffffffffL;
        for (long[] out : everywhere("cvt." + rounding + ".tf32.f32 %r4, %f1; cvt.u64.u32 %q7, %r4;", in))
            for (int n = 0; n < a.length; n++) assertEquals(want[n], Integer.toHexString((int) out[n]), Integer.toHexString(a[n]));
    }

    /** Half way between two bfloat16, and what decides is too small for a double beside it. */
    @Test
    void aFusedProductOfBfloat16RoundsOnce() {
        String body = ".reg .b16 %s<4>; cvt.u16.u32 %s1, %r1; cvt.u16.u32 %s2, %r2; cvt.u16.u32 %s3, %r3; fma.rn.bf16 %s0, %s1, %s2, %s3; cvt.u32.u16 %r4, %s0; cvt.u64.u32 %q7, %r4;";
        int[][] cases = {{0x3f81, 0x3fc0, 0x2180, 0x3fc2}, {0x3f81, 0x3fc0, 0xa180, 0x3fc1}, {0x3f81, 0x3fc0, 0, 0x3fc2},           // 1.5 + 2^-7 + 2^-8, and 2^-60, -2^-60, nothing
                {0xbf81, 0x3fc0, 0x2180, 0xbfc1}, {0xbf81, 0x3fc0, 0xa180, 0xbfc2}, {0x3f80, 0x3f80, 0xbf80, 0}, {0x7f00, 0x4180, 0xff80, 0xff80}};
        for (long[] out : everywhere(body, columns(cases)))
            for (int n = 0; n < cases.length; n++) assertEquals(Integer.toHexString(cases[n][3]), Integer.toHexString((int) out[n]), "case " + n);
    }

    /** The product of two finite numbers is finite, and an infinite sum what the third operand is. */
    @Test
    void aFusedProductDoesNotOverflowByItself() {
        var in = new long[3][N];
        in[0][0] = in[0][1] = Double.doubleToRawLongBits(1e300);
        in[1][0] = Double.doubleToRawLongBits(-1e300);
        in[1][1] = Double.doubleToRawLongBits(1e300);
        in[2][0] = Double.doubleToRawLongBits(Double.POSITIVE_INFINITY);
        in[2][1] = Double.doubleToRawLongBits(Double.NEGATIVE_INFINITY);
        for (String mode : new String[]{"rn", "rz", "rm", "rp"})
            for (long[] out : everywhere("fma." + mode + ".f64 %w, %x, %y, %z; mov.b64 %q7, %w;", in)) {
                assertEquals(Double.POSITIVE_INFINITY, Double.longBitsToDouble(out[0]), mode);
                assertEquals(Double.NEGATIVE_INFINITY, Double.longBitsToDouble(out[1]), mode);
            }
    }

    /** {@code .relu}: what is negative becomes +0, a NaN stays one. */
    @Test
    void withoutNegativeParts() {
        int nan = 0x7fc0;
        int[][] cases = {{nan, 0x3f80, 0, 0x7fff}, {0x3f80, 0xbf80, 0, 0}, {0x3f80, 0x3f80, 0, 0x3f80}, {0x8000, 0x3f80, 0x8000, 0}};
        for (long[] out : everywhere(".reg .b16 %s<4>; cvt.u16.u32 %s1, %r1; cvt.u16.u32 %s2, %r2; cvt.u16.u32 %s3, %r3; fma.rn.relu.bf16 %s0, %s1, %s2, %s3; cvt.u32.u16 %r4, %s0; cvt.u64.u32 %q7, %r4;",
                columns(cases)))
            for (int n = 0; n < cases.length; n++) assertSameOrNan(cases[n][3], (int) out[n]);
        int[][] singles = {{0x7fc00000, 0, 0, 0x7fff}, {0xbf800000, 0, 0, 0}, {0x3f800000, 0, 0, 0x3f80}, {0x80000000, 0, 0, 0}};
        for (long[] out : everywhere(".reg .b16 %s<4>; cvt.rn.relu.bf16.f32 %s0, %f1; cvt.u32.u16 %r4, %s0; cvt.u64.u32 %q7, %r4;", columns(singles)))
            for (int n = 0; n < singles.length; n++) assertSameOrNan(singles[n][3], (int) out[n]);
    }

    private static void assertSameOrNan(int want, int got) {
        if ((want & 0x7fff) > 0x7f80) assertTrue((got & 0x7fff) > 0x7f80, Integer.toHexString(got));
        else assertEquals(Integer.toHexString(want), Integer.toHexString(got));
    }

    private static long[][] columns(int[][] cases) {
        var in = new long[3][N];
        for (int n = 0; n < cases.length; n++) for (int k = 0; k < 3; k++) in[k][n] = cases[n][k] & 0xffffffffL;
        return in;
    }

    /** To f16: the result lies on the right side, and the next one beyond. */
    @ParameterizedTest
    @ValueSource(strings = {"rz", "rm", "rp"})
    void singlesToHalves(String mode) {
        var random = new Random(11);
        float[] special = {0f, -0f, 70000f, -70000f, 65504f, 65519f, 1e-9f, -1e-9f, 6e-8f, Float.MIN_VALUE, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY};
        var in = new long[3][N];
        for (int n = 0; n < N; n++) {
            float f = n < special.length ? special[n] : (float) (random.nextGaussian() * Math.scalb(1.0, random.nextInt(40) - 26));
            in[0][n] = Float.floatToRawIntBits(f) & 0xffffffffL;
        }
        for (long[] out : everywhere(".reg .b16 %s<4>; cvt." + mode + ".f16.f32 %s0, %f1; cvt.u32.u16 %r4, %s0; cvt.u64.u32 %q7, %r4;", in)) {
            for (int n = 0; n < N; n++) {
                float f = Float.intBitsToFloat((int) in[0][n]), got = Float.float16ToFloat((short) out[n]);
                assertEquals(f < 0 || 1 / f < 0, 1 / got < 0 || got < 0, "sign of " + f);
                if (Float.isInfinite(f)) { assertEquals(f, got); continue; }
                boolean down = mode.equals("rm") || mode.equals("rz") && f > 0;
                assertTrue(down ? got <= f : got >= f, mode + " of " + f + ": " + got);
                if (got == f) continue;
                // the next half towards f and beyond
                boolean farther = down == (got > 0 || got == 0 && f > 0);
                short beyond = (short) (got == 0 && !farther ? 0 : (int) out[n] + (farther ? 1 : -1));
                assertTrue(down ? Float.float16ToFloat(beyond) > f : Float.float16ToFloat(beyond) < f, mode + " of " + f + ": " + got);
            }
        }
    }

    @Test
    void cachePoliciesChangeNothing() {
        long[][] in = doubles(3);
        assertArrayEquals(in[1], run(Launch.COMPILER, """
                .shared .align 16 .b8 s[2048]; mov.u32 %r5, s; mad.lo.u32 %r5, %r0, 8, %r5;
                createpolicy.fractional.L2::evict_first.b64 %q8, 1.0;
                cp.async.ca.shared.global.L2::cache_hint [%r5], [%q1], 8, %q8; cp.async.wait_all;
                ld.shared.b64 %q7, [%r5]; st.global.L2::cache_hint.b64 [%q3], %q7, %q8; ld.global.L2::cache_hint.b64 %q7, [%q3], %q8;""", in));
    }

    private static int expected(String operation, int a, int b, int c) {
        return switch (operation) {
            case "dp2a.lo.s32.u32" -> c + (short) a * (b & 255) + (a >> 16) * (b >>> 8 & 255);
            case "dp2a.hi.u32.s32" -> c + (a & 0xffff) * (byte) (b >> 16) + (a >>> 16) * (b >> 24);
            case "mul24.hi.s32" -> (int) ((long) (a << 8 >> 8) * (b << 8 >> 8) >> 16);
            case "mul24.hi.u32" -> (int) ((long) (a & 0xffffff) * (b & 0xffffff) >> 16);
            case "mad24.hi.sat.s32" -> (int) Math.clamp(((long) (a << 8 >> 8) * (b << 8 >> 8) >> 16) + c, Integer.MIN_VALUE, Integer.MAX_VALUE);
            case "mad.hi.sat.s32" -> (int) Math.max(Integer.MIN_VALUE, Math.min(Integer.MAX_VALUE, ((long) a * b >> 32) + c));
            case "bmsk.clamp.b32" -> mask(Integer.compareUnsigned(a, 32) > 0 ? 32 : a, Integer.compareUnsigned(b, 32) > 0 ? 32 : b);
            case "bmsk.wrap.b32" -> mask(a & 31, b & 31);
            case "szext.clamp.s32" -> extended(a, Integer.compareUnsigned(b, 32) > 0 ? 32 : b, true);
            case "szext.wrap.u32" -> extended(a, b & 31, false);
            case "lop3.or.b32" -> (a & b & c) + ((a & b & c) != 0 || c != 5 ? 1 : 0);
            default -> {
                int r = 0;
                for (int k = 0; k < 4; k++) {
                    int s = c & 3, from = switch (operation.substring(9)) {
                        case "f4e" -> k + s; case "b4e" -> s - k & 7; case "rc8" -> s; case "ecl" -> Math.max(k, s); case "ecr" -> Math.min(k, s); default -> (s & 1) * 2 + (k & 1);
                    };
                    r |= (int) (((long) b << 32 | a & 0xffffffffL) >>> 8 * from & 255) << 8 * k;
                }
                yield r;
            }
        };
    }

    private static int mask(int from, int bits) {
        int r = 0;
        for (int k = from; k < Math.min(32, from + bits); k++) r |= 1 << k;
        return r;
    }

    private static int extended(int a, int bits, boolean signed) {
        if (bits == 0 || bits == 32) return bits == 0 ? 0 : a;
        return signed ? a << 32 - bits >> 32 - bits : a & (1 << bits) - 1;
    }
}
