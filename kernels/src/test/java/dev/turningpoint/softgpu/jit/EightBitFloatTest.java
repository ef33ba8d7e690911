package dev.turningpoint.softgpu.jit;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.Random;
import java.util.stream.Stream;

import static org.junit.jupiter.api.Assertions.assertEquals;

/** The two 8-bit floating formats against tables of all their numbers: every code widened, and for numbers of all sizes the nearest code. */
class EightBitFloatTest {
    private static final int N = 512;

    static Stream<?> ways() { return Way.all(); }

    /** What a code of E4M3 or E5M2 stands for: sign, exponent, fraction, as the OCP specification of 8-bit floating point defines them. */
    private static double value(int code, boolean e4m3) {
        int fractionBits = e4m3 ? 3 : 2, bias = e4m3 ? 7 : 15, exponent = (code & 0x7f) >> fractionBits, fraction = code & (1 << fractionBits) - 1;
        double sign = code >= 128 ? -1 : 1;
        if (e4m3 && (code & 0x7f) == 0x7f) return Double.NaN;
        if (!e4m3 && exponent == 31) return fraction == 0 ? sign * Double.POSITIVE_INFINITY : Double.NaN;
        double f = Math.scalb((double) fraction, -fractionBits);
        return sign * (exponent == 0 ? Math.scalb(f, 1 - bias) : Math.scalb(1 + f, exponent - bias));
    }

    /** The code of the finite number nearest to v, of two as near the even one. */
    private static int nearest(double v, boolean e4m3) {
        int best = 0;
        for (int code = 0; code < 128; code++) {
            double x = value(code, e4m3);
            if (!Double.isFinite(x)) continue;
            double error = Math.abs(x - Math.abs(v)), least = Math.abs(value(best, e4m3) - Math.abs(v));
            if (error < least || error == least && code % 2 == 0) best = code;
        }
        return best | (Math.copySign(1, v) < 0 ? 0x80 : 0);
    }

    private static void assertCode(double v, int got, boolean e4m3, boolean saturated, String what) {
        what += " of " + v;
        double largest = e4m3 ? 448 : 57344, over = e4m3 ? 464 : 61440;   // from over on, the next number of the format without its bound would be nearer
        if (Double.isNaN(v) || e4m3 && !saturated && Math.abs(v) > over) assertEquals(Double.NaN, value(got, e4m3), what);
        else if (!saturated && Math.abs(v) >= over) assertEquals(v < 0 ? 0xfc : 0x7c, got, what);
        else assertEquals(nearest(Math.max(-largest, Math.min(largest, v)), e4m3), got, what);
    }

    @ParameterizedTest @MethodSource("ways")
    void theNearestCode(Way way) {
        try (Arena arena = Arena.ofConfined()) {
            float[] a = new float[2 * N];
            var random = new Random(12);
            for (int k = 0; k < a.length; k++) a[k] = (float) (random.nextGaussian() * Math.scalb(1.0, random.nextInt(40) - 22));
            for (int k = 0; k < 126; k++) {   // half way between neighbours, and a little beside
                a[2 * k] = (float) ((value(k, true) + value(k + 1, true)) / 2) * (k % 2 == 0 ? 1 : -1);
                if (k < 123) a[2 * k + 1] = (float) ((value(k, false) + value(k + 1, false)) / 2);
                if (k % 3 == 0) a[2 * k] = Math.nextUp(a[2 * k]);
            }
            float[] special = {0f, -0f, Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY, 448, 464, -464.5f, 57344, 61440, 61439, -61441, 1e30f, 1e-30f};
            System.arraycopy(special, 0, a, 260, special.length);
            var out = Launch.shorts(arena, new short[6 * N]);
            way.run("fp8", "narrowed", 1, N, out, Launch.floats(arena, a));
            for (int i = 0; i < N; i++)
                for (int h = 0; h < 2; h++) {
                    float v = a[2 * i + h], half = Float.float16ToFloat(Float.floatToFloat16(v));
                    int[] code = new int[6];
                    for (int k = 0; k < 6; k++) code[k] = out.getAtIndex(ValueLayout.JAVA_SHORT, 6 * i + k) >>> 8 * h & 0xff;
                    for (int format = 0; format < 2; format++) {
                        boolean e4m3 = format == 0;
                        assertCode(v, code[format], e4m3, true, "code");
                        assertCode(half, code[2 + format], e4m3, true, "code by a half");
                        assertCode(v, code[4 + format], e4m3, h == 0, "single code");
                    }
                }
        }
    }

    @ParameterizedTest @MethodSource("ways")
    void everyCodeWidened(Way way) {
        try (Arena arena = Arena.ofConfined()) {
            var out = Launch.floats(arena, new float[4 * 256]);
            way.run("fp8", "widened", 1, 256, out);
            for (int i = 0; i < 256; i++)
                for (int h = 0; h < 2; h++) {
                    int code = h == 0 ? i : 255 - i;
                    assertEquals((float) value(code, true), out.getAtIndex(ValueLayout.JAVA_FLOAT, 4 * i + h), "E4M3 " + code);
                    assertEquals((float) value(code, false), out.getAtIndex(ValueLayout.JAVA_FLOAT, 4 * i + 2 + h), "E5M2 " + code);
                }
        }
    }
}
