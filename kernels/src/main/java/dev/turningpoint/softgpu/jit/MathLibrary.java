package dev.turningpoint.softgpu.jit;

import java.util.LinkedHashMap;
import java.util.Map;

/**
 * PTX's approximate functions as polynomials, in IR, for one lane and for 32: the same operations in the same order, so a value has the same
 * bits whether the analysis found it uniform or not. Largest errors, measured against double over all binades: ex2 2 ulp, rcp 1 ulp, lg2 3 ulp (absolute
 * 2^-22 around 1), sin and cos 2^-22 absolute on [-pi, pi], tanh 4 ulp. Each is at least as tight as the PTX manual promises.
 */
final class MathLibrary {
    private final Target target;
    private final Map<String, String> used = new LinkedHashMap<>();
    private final Ir ir;
    private boolean outOfLine;

    MathLibrary(Target target, Ir ir) { this.target = target; this.ir = ir; }

    /** Whether {@code rcp} and {@code flush} are served: elsewhere a division and a comparison are as good. */
    boolean wide() { return target.avx512(); }

    /** Whether what is called from now on stays a function instead of being written out at each call: for code that rarely runs. */
    void outOfLine(boolean outOfLine) { this.outOfLine = outOfLine; }

    /** Calls the function and gives the name of the result. */
    String call(String name, boolean vec, String x) {
        String f = "@tp_" + name + (vec ? "_v" : "_s") + (outOfLine ? "_far" : ""), t = Ir.type("float", vec);
        if (!used.containsKey(f)) used.put(f, define(name, vec, f));
        return ir.temp("call " + t + " " + f + "(" + t + " " + x + ")");
    }

    String definitions() { return String.join("", used.values()); }

    private String define(String name, boolean vec, String f) {
        var b = new Body(vec);
        String r = switch (name) {
            case "ex2" -> b.ex2("%x", false);
            case "ex2ftz" -> b.ex2("%x", true);
            case "rcp" -> b.rcp("%x");
            case "flush" -> b.flush("%x");
            case "lg2" -> b.lg2("%x");
            case "sin" -> b.sinCos("%x", false);
            case "cos" -> b.sinCos("%x", true);
            case "tanh" -> b.tanh("%x");
            default -> throw new IllegalArgumentException(name);
        };
        String t = Ir.type("float", vec);
        return "define internal " + t + " " + f + "(" + t + " %x) " + (outOfLine ? "noinline" : "alwaysinline") + " #0 {\n" + b.text + "  ret " + t + " " + r + "\n}\n";
    }

    private final class Body {
        final boolean vec;
        final StringBuilder text = new StringBuilder();
        int n;

        Body(boolean vec) { this.vec = vec; }

        String e(String right) { String v = "%v" + n++; text.append("  ").append(v).append(" = ").append(right).append('\n'); return v; }
        String t() { return Ir.type("float", vec); }
        String i() { return Ir.type("i32", vec); }
        String c(double v) { return Ir.constant("float", vec, v); }
        String k(long v) { return Ir.constant("i32", vec, v); }
        String op(String o, String a, String b) { return e(o + " " + t() + " " + a + ", " + b); }
        String iop(String o, String a, String b) { return e(o + " " + i() + " " + a + ", " + b); }
        String cmp(String p, String a, String b) { return e("fcmp " + p + " " + t() + " " + a + ", " + b); }
        String sel(String q, String a, String b) { return e("select " + Ir.type("i1", vec) + " " + q + ", " + t() + " " + a + ", " + t() + " " + b); }
        String isel(String q, String a, String b) { return e("select " + Ir.type("i1", vec) + " " + q + ", " + i() + " " + a + ", " + i() + " " + b); }
        String toInt(String x) { return e("bitcast " + t() + " " + x + " to " + i()); }
        String toFloat(String x) { return e("bitcast " + i() + " " + x + " to " + t()); }
        String fn(String name, String... a) {
            String f = "@llvm." + name + "." + Ir.suffix("float", vec ? 32 : 1);
            ir.declare(t() + " " + f + "(" + String.join(", ", java.util.Collections.nCopies(a.length, t())) + ")");
            var s = new StringBuilder("call " + t() + " " + f + "(");
            for (int q = 0; q < a.length; q++) s.append(q == 0 ? "" : ", ").append(t()).append(' ').append(a[q]);
            return e(s.append(')').toString());
        }
        String fma(String a, String b, String c) { return fn("fma", a, b, c); }
        String polynomial(String x, double... highestFirst) {
            String p = c(highestFirst[0]);
            for (int q = 1; q < highestFirst.length; q++) p = fma(p, x, c(highestFirst[q]));
            return p;
        }
        /** min and max that let NaN through, in the operand order of the machine instruction. */
        String capped(String x, double lo, double hi) {
            String a = sel(cmp("olt", c(hi), x), c(hi), x);
            return sel(cmp("ogt", c(lo), a), c(lo), a);
        }

        /** Both halves of 32 lanes by an AVX-512 intrinsic of 16; {@code call} gets "(<16 x float> value" and what follows. */
        String halves(String type, String name, String rest, String... values) {
            ir.declare(type + " @llvm.x86.avx512." + name);
            String function = name.substring(0, name.indexOf('('));
            var half = new String[2];
            for (int h = 0; h < 2; h++) {
                int from = h * 16;
                var call = new StringBuilder("call " + type + " @llvm.x86.avx512." + function + "(");
                for (String v : values)
                    call.append("<16 x float> ").append(e("shufflevector " + t() + " " + v + ", " + t() + " poison, <16 x i32> " + Ir.indices(16, q -> from + q))).append(", ");
                half[h] = e(call + rest + ")");
            }
            return e("shufflevector " + type + " " + half[0] + ", " + type + " " + half[1] + ", <32 x i32> " + Ir.indices(32, q -> q));
        }

        /**
         * 2^x: nearest integer taken out, the rest by a polynomial of degree 6 (Cephes), then scaled in two steps so that subnormals come out right, or to 0
         * with {@code flush}. The machine's own reduction gives 0 for infinity.
         */
        String ex2(String x0, boolean flush) {
            boolean wide = target.avx512() && vec;
            String x = wide ? x0 : capped(x0, -160, 130);
            String whole = fn("roundeven", x);
            String f = wide ? halves("<16 x float>", "mask.reduce.ps.512(<16 x float>, i32, <16 x float>, i16, i32)", "i32 0, <16 x float> zeroinitializer, i16 -1, i32 4", x)
                    : op("fsub", x, whole);
            String p = polynomial(f, 1.535336188319500E-4, 1.339887440266574E-3, 9.618437357674640E-3, 5.550332471162809E-2, 2.402264791363012E-1, 6.931472028550421E-1, 1.0);
            if (wide) {
                String r = halves("<16 x float>", "mask.scalef.ps.512(<16 x float>, <16 x float>, <16 x float>, i16, i32)", "<16 x float> zeroinitializer, i16 -1, i32 4", p, whole);
                // NaN is not below and stays
                return flush ? sel(cmp("olt", x0, c(-126)), c(0), r) : r;
            }
            // whole as an integer without a conversion that NaN would poison: add 1.5 * 2^23 and look at the low bits
            String bits = iop("sub", toInt(op("fadd", whole, c(12582912.0))), k(0x4B400000));
            String half = iop("ashr", bits, k(1));
            String rest = iop("sub", bits, half);
            String s1 = toFloat(iop("shl", iop("add", half, k(127)), k(23)));
            String s2 = toFloat(iop("shl", iop("add", rest, k(127)), k(23)));
            String r = op("fmul", op("fmul", p, s1), s2);
            return flush ? sel(cmp("olt", x0, c(-126)), c(0), r) : r;
        }

        /** 1 / x within 1 ulp, x not subnormal: the machine's 14 bits and one step of Newton's, which 0 and infinity do not need (their error is no number). */
        String rcp(String x) {
            String r;
            if (vec) {
                r = halves("<16 x float>", "rcp14.ps.512(<16 x float>, <16 x float>, i16)", "<16 x float> zeroinitializer, i16 -1", x);
            } else {
                ir.declare("<4 x float> @llvm.x86.avx512.rcp14.ps.128(<4 x float>, <4 x float>, i8)");
                String a = e("insertelement <4 x float> zeroinitializer, float " + x + ", i32 0");
                r = e("extractelement <4 x float> " + e("call <4 x float> @llvm.x86.avx512.rcp14.ps.128(<4 x float> " + a + ", <4 x float> zeroinitializer, i8 -1)") + ", i32 0");
            }
            String error = fma(e("fneg " + t() + " " + x), r, c(1));
            String better = fma(r, error, r);
            return sel(cmp("ord", error, error), better, r);
        }

        /** Subnormals become 0 of their sign. */
        String flush(String x) {
            String small = vec ? halves("<16 x i1>", "fpclass.ps.512(<16 x float>, i32 immarg)", "i32 32", x) : cmp("olt", fn("fabs", x), c(0x1p-126));
            return sel(small, fn("copysign", c(0), x), x);
        }

        /** log2 by s = (m-1)/(m+1), an odd polynomial of s; m in [sqrt(1/2), sqrt(2)). */
        String lg2(String x0) {
            String tiny = cmp("olt", x0, c(0x1p-126));
            String x = sel(tiny, op("fmul", x0, c(0x1p24)), x0);
            String bits = toInt(x);
            String above = iop("sub", bits, k(0x3F3504F3));
            String exponent = iop("ashr", above, k(23));
            String m = toFloat(iop("sub", bits, iop("shl", exponent, k(23))));
            String ef = e("sitofp " + i() + " " + exponent + " to " + t());
            ef = op("fsub", ef, sel(tiny, c(24), c(0)));
            String s = op("fdiv", op("fsub", m, c(1)), op("fadd", m, c(1)));
            String z = op("fmul", s, s);
            String p = polynomial(z, 0.32059889, 0.41219859, 0.57707802, 0.96179669, 2.8853900818);
            String r = fma(p, s, ef);
            String zero = e("fcmp oeq " + t() + " " + x0 + ", " + c(0));
            r = sel(zero, c(Double.NEGATIVE_INFINITY), r);
            String infinite = cmp("oeq", x0, c(Double.POSITIVE_INFINITY));
            r = sel(infinite, c(Double.POSITIVE_INFINITY), r);
            String bad = cmp("ult", x0, c(0));
            return sel(bad, c(Double.NaN), r);
        }

        String sinCos(String x, boolean cos) {
            String q = fn("roundeven", op("fmul", x, c(2 / Math.PI)));
            // pi/2 in three pieces
            String r = fma(q, c(-1.57079637050628662109375), x);
            r = fma(q, c(4.37113900018624283e-8), r);
            String z = op("fmul", r, r);
            String s = fma(op("fmul", z, r), polynomial(z, 2.718311493989822e-6, -1.9839334836096632e-4, 8.333329385889463e-3, -1.6666666641626524e-1), r);
            String c = polynomial(z, 2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2, -0.5, 1.0);
            String n = cos ? op("fadd", q, c(1)) : q;
            String quarter = op("fsub", n, op("fmul", fn("floor", op("fmul", n, c(0.25))), c(4)));
            String odd = e("or " + Ir.type("i1", vec) + " " + cmp("oeq", quarter, c(1)) + ", " + cmp("oeq", quarter, c(3)));
            String v = sel(odd, c, s);
            String minus = e("fneg " + t() + " " + v);
            return sel(cmp("oge", quarter, c(2)), minus, v);
        }

        /** Rational approximation in odd and even polynomials, +-1 beyond 7.9. */
        String tanh(String x0) {
            String x = capped(x0, -7.90531110763549805, 7.90531110763549805);
            String z = op("fmul", x, x);
            String num = op("fmul", polynomial(z, -2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-8, 1.48572235717979e-5,
                    6.37261928875436e-4, 4.89352455891786e-3), x);
            String den = polynomial(z, 1.19825839466702e-6, 1.18534705686654e-4, 2.26843463243900e-3, 4.89352518554385e-3);
            String r = op("fdiv", num, den);
            String small = cmp("olt", fn("fabs", x0), c(0.0004));
            return sel(small, x0, r);
        }
    }
}
