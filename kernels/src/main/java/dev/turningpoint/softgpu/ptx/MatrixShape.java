package dev.turningpoint.softgpu.ptx;

import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** What {@code mma} or {@code wmma} multiplies: D[m, n] = A[m, k] B[k, n] + C, and the types of the four. */
public record MatrixShape(int m, int n, int k, PtxType d, PtxType a, PtxType b, PtxType c) {
    private static final Pattern SIZE = Pattern.compile("m(\\d+)n(\\d+)k(\\d+)");

    /** Of an instruction that multiplies; null if it is none that is served. */
    public static MatrixShape of(Instruction i) {
        int[] size = size(i);
        List<PtxType> t = i.types();
        if (size == null) return null;
        if (i.is("wmma") && t.size() == 2) t = List.of(t.get(0), PtxType.F16, PtxType.F16, t.get(1));   // of halves the types of D and C alone are written
        if (t.size() != 4) return null;
        var s = new MatrixShape(size[0], size[1], size[2], t.get(0), t.get(1), t.get(2), t.get(3));
        if (!s.agrees() || i.modifiers().get(0).startsWith("sp")) return null;   // sparse
        return i.is("wmma") ? s.isWarpMatrix() ? s : null : i.has("row") && i.has("col") && s.isFragment() ? s : null;
    }

    /** {@code {m, n, k}} as written; null if there is none. */
    public static int[] size(Instruction i) {
        for (String modifier : i.modifiers()) {
            Matcher s = SIZE.matcher(modifier);
            if (s.matches()) return new int[]{Integer.parseInt(s.group(1)), Integer.parseInt(s.group(2)), Integer.parseInt(s.group(3))};
        }
        return null;
    }

    /** Whether the types go together: integers sum up in s32, halves and 8-bit floats in f16 or f32, others in f32, doubles in f64. */
    private boolean agrees() {
        return switch (a) {
            case S8, U8 -> (b == PtxType.S8 || b == PtxType.U8) && c == PtxType.S32 && d == PtxType.S32;
            case F16 -> b == a && isHalfOrSingle(c) && isHalfOrSingle(d);
            case E4M3, E5M2 -> (b == PtxType.E4M3 || b == PtxType.E5M2) && isHalfOrSingle(c) && d == c;
            case BF16, TF32 -> b == a && c == PtxType.F32 && d == c;
            case F64 -> b == a && c == a && d == a;
            default -> false;
        };
    }

    private static boolean isHalfOrSingle(PtxType t) { return t == PtxType.F16 || t == PtxType.F32; }

    /** The sizes of {@code mma}. That of halves in m8n8k4, which is four products side by side, is made for sm_70 and not served. */
    private boolean isFragment() {
        if (n != 8) return false;
        return switch (a) {
            case F16, BF16 -> m == 16 && (k == 8 || k == 16) && c == d;
            case TF32 -> m == 16 && (k == 4 || k == 8);
            case S8, U8 -> m == 8 && k == 16 || m == 16 && (k == 16 || k == 32);
            case E4M3, E5M2 -> m == 16 && (k == 16 || k == 32);
            case F64 -> m == 8 && k == 4 || m == 16 && (k == 4 || k == 8 || k == 16);
            default -> false;
        };
    }

    /** The sizes of {@code wmma}. */
    private boolean isWarpMatrix() {
        return switch (a) {
            case TF32 -> m == 16 && n == 16 && k == 8;
            case F64 -> m == 8 && n == 8 && k == 4;
            case F16, BF16, S8, U8 -> k == 16 && (m == 16 && n == 16 || m == 32 && n == 8 || m == 8 && n == 32);
            default -> false;
        };
    }
}
