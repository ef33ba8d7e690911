package dev.turningpoint.softgpu.count;

import dev.turningpoint.softgpu.ptx.Instruction;
import dev.turningpoint.softgpu.ptx.MatrixShape;
import dev.turningpoint.softgpu.ptx.PtxType;

/** Floating-point operations of one instruction: of one lane, or of the whole warp for a matrix product. A fused product counts two, as everywhere. */
record Work(Kind kind, long operations) {
    /** In what type the products are taken. */
    enum Kind { NONE, F16, BF16, F32, F64, MATRIX_F16, MATRIX_BF16, MATRIX_TF32, MATRIX_F64, MATRIX_OTHER }

    private static final Work NONE = new Work(Kind.NONE, 0);

    static Work of(Instruction i) {
        if (i.is("mma") || i.is("wmma") && i.has("mma")) return product(i);
        int each = switch (i.opcode()) { case "add", "sub", "mul" -> 1; case "fma", "mad" -> 2; default -> 0; };
        PtxType t = i.type();
        if (each == 0 || t == null || !t.isFloat()) return NONE;
        return switch (t) {
            case F16 -> new Work(Kind.F16, each);
            case F16X2 -> new Work(Kind.F16, 2 * each);
            case BF16 -> new Work(Kind.BF16, each);
            case BF16X2 -> new Work(Kind.BF16, 2 * each);
            case F64 -> new Work(Kind.F64, each);
            default -> new Work(Kind.F32, each);
        };
    }

    /** {@code mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32}: types of D, A, B and C. */
    private static Work product(Instruction i) {
        MatrixShape s = MatrixShape.of(i);
        if (s == null) return new Work(Kind.MATRIX_OTHER, 0);
        Kind kind = switch (s.a()) {
            case F16 -> Kind.MATRIX_F16;
            case BF16 -> Kind.MATRIX_BF16;
            case TF32 -> Kind.MATRIX_TF32;
            case F64 -> Kind.MATRIX_F64;
            default -> Kind.MATRIX_OTHER;
        };
        return new Work(kind, 2L * s.m() * s.n() * s.k());
    }
}
