package dev.turningpoint.softgpu.count;

import dev.turningpoint.softgpu.ptx.Instruction;
import dev.turningpoint.softgpu.ptx.PtxType;

/** What an instruction needs of a multiprocessor. */
public enum InstructionClass {
    /** f32 additions, products, fused products, minima, maxima. */
    FP32,
    /** The same in f16, bf16 and pairs of them. */
    FP16,
    FP64,
    /** Integer arithmetic, bits, shifts, comparisons, selections, votes. */
    INTEGER,
    /** Reciprocals, roots, exponentials, logarithms, sines; divisions, which ptxas makes of several of these and FP32 instructions. */
    SPECIAL,
    /** {@code cvt}. */
    CONVERSION,
    /** Loads, stores, copies, {@code ldmatrix}, in all spaces but parameters. */
    MEMORY,
    ATOMIC,
    /** {@code shfl}, {@code redux}, {@code movmatrix}: values that pass between lanes. */
    SHUFFLE,
    /** {@code mma}, {@code wmma.mma}. */
    MATRIX,
    /** Branches, returns, barriers, fences. */
    CONTROL,
    /** Moves, parameters, changes of address space: ptxas makes no instruction of most, so they are no part of what is issued in an estimate. */
    MOVE;

    static InstructionClass of(Instruction i) {
        PtxType t = i.type();
        return switch (i.opcode()) {
            case "mov", "cvta", "createpolicy" -> MOVE;
            case "ld", "ldu" -> i.has("param") ? MOVE : MEMORY;
            case "st" -> i.has("param") ? MOVE : MEMORY;
            case "ldmatrix", "stmatrix", "prefetch", "prefetchu", "discard", "applypriority" -> MEMORY;
            case "cp" -> i.has("commit_group") || i.has("wait_group") || i.has("wait_all") ? CONTROL : MEMORY;
            case "atom", "red" -> ATOMIC;
            case "shfl", "redux", "movmatrix" -> SHUFFLE;
            case "mma" -> MATRIX;
            case "wmma" -> i.has("mma") ? MATRIX : MEMORY;
            case "bra", "brx", "call", "ret", "exit", "trap", "brkpt", "bar", "barrier", "mbarrier", "membar", "fence", "nanosleep", "griddepcontrol" -> CONTROL;
            case "cvt" -> CONVERSION;
            case "rcp", "sqrt", "rsqrt", "ex2", "lg2", "sin", "cos", "tanh" -> SPECIAL;
            case "div" -> t != null && t.isFloat() ? SPECIAL : INTEGER;
            case "setp", "set", "selp", "slct" -> t == PtxType.F64 ? FP64 : INTEGER;
            default -> {
                if (t == null || !t.isFloat()) yield INTEGER;
                yield switch (t) {
                    case F64 -> FP64;
                    case F16, F16X2, BF16, BF16X2 -> FP16;
                    default -> FP32;
                };
            }
        };
    }
}
