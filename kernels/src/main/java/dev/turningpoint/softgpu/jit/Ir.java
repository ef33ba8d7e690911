package dev.turningpoint.softgpu.jit;

import java.util.HexFormat;
import java.util.TreeSet;
import java.util.function.IntFunction;
import java.util.function.IntUnaryOperator;

/** Writes LLVM IR text: temporaries, constants, vector types, declarations of what is called. */
final class Ir {
    static final int LANES = 32;
    static final String MASK = "<32 x i1>";
    private static final HexFormat HEX = HexFormat.of().withUpperCase();

    private StringBuilder out = new StringBuilder(1 << 16);
    private final TreeSet<String> declarations = new TreeSet<>();
    private final java.util.Map<String, String> computed = new java.util.HashMap<>();
    private Runnable atLabel = () -> { };
    private int temporaries;
    private int labels;

    /** The text so far; writing goes on in an empty text. */
    String take() {
        String s = out.toString();
        out = new StringBuilder(1 << 16);
        return s;
    }

    /** A new value. What has been computed since the last label is not computed again. */
    String temp(String right) {
        boolean pure = isPure(right);
        if (pure) {
            String known = computed.get(right);
            if (known != null) return known;
        }
        String v = "%t" + temporaries++;
        out.append("  ").append(v).append(" = ").append(right).append('\n');
        if (pure) computed.put(right, v);
        return v;
    }

    private static boolean isPure(String right) { return !right.startsWith("load") && !right.startsWith("call") && !right.startsWith("atomic"); }

    /** What to forget, besides computed values, where control flow may come in. */
    void atLabel(Runnable r) { atLabel = r; }

    void line(String s) { out.append("  ").append(s).append('\n'); }

    void label(String l) {
        out.append(l).append(":\n");
        computed.clear();
        atLabel.run();
    }

    String newLabel(String stem) { return stem + "." + labels++; }

    void declare(String d) { declarations.add(d); }

    void declareAll(Ir other) { declarations.addAll(other.declarations); }

    String declarations() {
        var s = new StringBuilder();
        for (String d : declarations) s.append("declare ").append(d).append('\n');
        return s.toString();
    }

    // ---- types

    static String vector(String type) { return "<32 x " + type + ">"; }
    static String type(String type, boolean vec) { return vec ? vector(type) : type; }
    static String vector(int n, String type) { return "<" + n + " x " + type + ">"; }

    static int bytes(String type) {
        return switch (type) {
            case "i1", "i8" -> 1;
            case "i16", "half", "bfloat" -> 2;
            case "i32", "float" -> 4;
            case "i64", "double", "ptr" -> 8;
            default -> throw new IllegalArgumentException(type);
        };
    }

    static boolean isFloat(String type) { return switch (type) { case "float", "double", "half", "bfloat" -> true; default -> false; }; }

    /** Suffix of overloaded intrinsics. */
    static String suffix(String type, int lanes) {
        String s = switch (type) { case "float" -> "f32"; case "double" -> "f64"; case "half" -> "f16"; case "bfloat" -> "bf16"; case "ptr" -> "p0"; default -> type; };
        return lanes == 1 ? s : "v" + lanes + s;
    }

    // ---- constants

    static String integer(String type, long v) {
        return switch (type) {
            case "i1" -> (v & 1) != 0 ? "true" : "false";
            case "i8" -> Integer.toString((byte) v);
            case "i16" -> Integer.toString((short) v);
            case "i32" -> Integer.toString((int) v);
            default -> Long.toString(v);
        };
    }

    static String real(String type, double v) {
        if (type.equals("double")) return "0x" + HEX.toHexDigits(Double.doubleToRawLongBits(v));
        if (type.equals("float")) return "0x" + HEX.toHexDigits(Double.doubleToRawLongBits((double) (float) v));
        throw new IllegalArgumentException(type);
    }

    /** A literal of that type with the given bits. */
    static String bits(String type, long bits) {
        return switch (type) {
            case "double" -> "0x" + HEX.toHexDigits(bits);
            case "float" -> "0x" + HEX.toHexDigits(Double.doubleToRawLongBits((double) Float.intBitsToFloat((int) bits)));
            default -> integer(type, bits);
        };
    }

    static String splatConstant(String type, String literal) { return "splat (" + type + " " + literal + ")"; }

    static String list(String type, int n, IntFunction<String> element) {
        var s = new StringBuilder("<");
        for (int i = 0; i < n; i++) s.append(i == 0 ? "" : ", ").append(type).append(' ').append(element.apply(i));
        return s.append('>').toString();
    }

    static String lanes(String type, long[] values, long minus) { return list(type, LANES, l -> integer(type, values[l] - minus)); }

    static String indices(int n, IntUnaryOperator f) {
        return list("i32", n, i -> { int x = f.applyAsInt(i); return x < 0 ? "poison" : Integer.toString(x); });
    }

    // ---- operations

    String splat(String type, String v) {
        if (!v.startsWith("%")) return splatConstant(type, v);
        String a = temp("insertelement " + vector(type) + " poison, " + type + " " + v + ", i64 0");
        return temp("shufflevector " + vector(type) + " " + a + ", " + vector(type) + " poison, <32 x i32> zeroinitializer");
    }

    /** Constant in scalar or vector form. */
    static String constant(String type, boolean vec, long v) { return vec ? splatConstant(type, integer(type, v)) : integer(type, v); }
    /** The same for i128. */
    static String constant2(String type, boolean vec, long v) { return vec ? "splat (" + type + " " + v + ")" : Long.toString(v); }
    static String constant(String type, boolean vec, double v) { return vec ? splatConstant(type, real(type, v)) : real(type, v); }

    String shuffle(String type, int from, String a, String b, int n, IntUnaryOperator index) {
        return temp("shufflevector " + vector(from, type) + " " + a + ", " + vector(from, type) + " " + (b == null ? "poison" : b) + ", "
                + vector(n, "i32") + " " + indices(n, index));
    }

    String binary(String op, String type, boolean vec, String a, String b) { return temp(op + " " + type(type, vec) + " " + a + ", " + b); }

    String select(String type, boolean vec, String c, String a, String b) {
        return temp("select " + type("i1", vec) + " " + c + ", " + type(type, vec) + " " + a + ", " + type(type, vec) + " " + b);
    }

    String compare(String predicate, String type, boolean vec, String a, String b) {
        return temp((isFloat(type) ? "fcmp " : "icmp ") + predicate + " " + type(type, vec) + " " + a + ", " + b);
    }

    String cast(String op, String from, String to, boolean vec, String v) {
        return from.equals(to) ? v : temp(op + " " + type(from, vec) + " " + v + " to " + type(to, vec));
    }

    /** Call of an intrinsic overloaded on one type, all arguments of that type. */
    String intrinsic(String name, String type, boolean vec, String... args) { return intrinsic(name, type, vec ? LANES : 1, args); }

    String intrinsic(String name, String type, int lanes, String... args) {
        String t = lanes == 1 ? type : vector(lanes, type), f = "@llvm." + name + "." + suffix(type, lanes);
        declare(t + " " + f + "(" + String.join(", ", java.util.Collections.nCopies(args.length, t)) + ")");
        var s = new StringBuilder("call " + t + " " + f + "(");
        for (int i = 0; i < args.length; i++) s.append(i == 0 ? "" : ", ").append(t).append(' ').append(args[i]);
        return temp(s.append(')').toString());
    }

    /** {@code ctlz}, {@code cttz}: with the flag that zero is allowed. */
    String countZeros(String name, String type, boolean vec, String v) {
        String t = type(type, vec), f = "@llvm." + name + "." + suffix(type, vec ? LANES : 1);
        declare(t + " " + f + "(" + t + ", i1)");
        return temp("call " + t + " " + f + "(" + t + " " + v + ", i1 false)");
    }

    /** Float to integer as PTX wants it: out of range clamps, NaN gives 0. */
    String toInteger(String from, String to, boolean signed, boolean vec, String v) {
        String f = "@llvm.fpto" + (signed ? "s" : "u") + "i.sat." + suffix(to, vec ? LANES : 1) + "." + suffix(from, vec ? LANES : 1);
        declare(type(to, vec) + " " + f + "(" + type(from, vec) + ")");
        return temp("call " + type(to, vec) + " " + f + "(" + type(from, vec) + " " + v + ")");
    }

    /** Joins vectors of any lengths into one. */
    String concat(String type, java.util.List<String> parts, java.util.List<Integer> lengths) {
        var p = new java.util.ArrayList<>(parts);
        var n = new java.util.ArrayList<>(lengths);
        while (p.size() > 1) {
            boolean even = p.size() % 2 == 0;
            for (int x : n) even &= x == n.get(0);
            int pairs = even ? p.size() / 2 : 1;
            for (int i = 0; i < pairs; i++) {
                String a = p.get(i), b = p.get(i + 1);
                int la = n.get(i), lb = n.get(i + 1), w = Math.max(la, lb);
                if (la < w) a = shuffle(type, la, a, null, w, x -> x < la ? x : -1);
                if (lb < w) b = shuffle(type, lb, b, null, w, x -> x < lb ? x : -1);
                p.set(i, shuffle(type, w, a, b, la + lb, x -> x < la ? x : w + x - la));
                n.set(i, la + lb);
                p.remove(i + 1);
                n.remove(i + 1);
            }
        }
        return p.get(0);
    }

    // ---- masks

    String maskBits(String mask) { return temp("bitcast <32 x i1> " + mask + " to i32"); }
    /** The mask was made of these bits. */
    void isBits(String mask, String bits) { computed.put("bitcast <32 x i1> " + mask + " to i32", bits); }
    String maskOf(String bits) { return temp("bitcast i32 " + bits + " to <32 x i1>"); }
    /** a and b, where poison in b does not matter outside a. */
    String maskAnd(String a, String b) { return temp("select <32 x i1> " + a + ", <32 x i1> " + b + ", <32 x i1> zeroinitializer"); }
    String maskNot(String a) { return temp("xor <32 x i1> " + a + ", splat (i1 true)"); }
}
