package dev.turningpoint.softgpu.fuzz;

import java.util.HashSet;
import java.util.stream.Collectors;

/** Mistakes a translator to vectors of 32 lanes can make, planted into the IR it emits. None lets compiled code touch memory it should not: the test has to live on. */
enum Mistake {
    WRONG_OPERATION("= xor <32 x i32>", "= or <32 x i32>"),
    SIGN_LOST_IN_A_SHIFT("= ashr <32 x i32>", "= lshr <32 x i32>"),
    SIGN_LOST_IN_A_LOAD("= sext <32 x i(8|16)>", "= zext <32 x i$1>"),
    UNSIGNED_DIVISION("= sdiv <32 x i32>", "= udiv <32 x i32>"),
    UNSIGNED_CONVERSION("@llvm\\.fptosi\\.sat\\.v32i32\\.v32f32", "@llvm.fptoui.sat.v32i32.v32f32"),
    DIVISION_BY_ZERO_UNGUARDED("(div <32 x i32> [^\\n]*\\n(?:[^\\n]*\\n){0,3}?[^\\n]*select <32 x i1> %t\\d+, <32 x i32>) splat \\(i32 -1\\), <32 x i32>", "$1 zeroinitializer, <32 x i32>"),
    DIRECTED_ROUNDING_FORGOTTEN("@llvm\\.set\\.rounding\\(i32 [023]\\)", "@llvm.set.rounding(i32 1)"),
    TIES_ROUNDED_AWAY("@llvm\\.roundeven\\.", "@llvm.round."),
    NOT_FLUSHED("(@llvm\\.copysign\\.v32f32\\(<32 x float>) splat \\(float 0x0000000000000000\\)", "$1 splat (float 0x36A0000000000000)"),   // the least subnormal for 0
    NOT_SATURATED("call <32 x i32> @llvm\\.s(add|sub)\\.sat\\.v32i32\\(<32 x i32> (%t\\d+), <32 x i32> (%t\\d+)\\)", "$1 <32 x i32> $2, $3"),
    SHIFT_AMOUNT_NOT_CLAMPED("call <32 x i32> @llvm\\.umin\\.v32i32\\(<32 x i32> (%t\\d+), <32 x i32> splat \\(i32 31\\)\\)", "and <32 x i32> $1, splat (i32 31)"),
    EQUAL_TAKEN_FOR_LESS("icmp slt <32 x i32>", "icmp sle <32 x i32>"),
    UNORDERED_TAKEN_FOR_ORDERED("fcmp ult <32 x float>", "fcmp olt <32 x float>"),
    NAN_NOT_SEEN("fcmp uno <32 x float>", "fcmp false <32 x float>"),
    HALF_ROUNDED_TOWARDS_ZERO("(%t\\d+) = fptrunc <32 x float> (%t\\d+) to <32 x half>",
            "$1b = bitcast <32 x float> $2 to <32 x i32>\n  $1c = and <32 x i32> $1b, splat (i32 -8192)\n  $1f = bitcast <32 x i32> $1c to <32 x float>\n  $1 = fptrunc <32 x float> $1f to <32 x half>"),
    ESTIMATE_TOO_COARSE("fdiv <32 x float> splat \\(float 0x3FF0000000000000\\)", "fdiv <32 x float> splat (float 0x3FF0000200000000)"),
    LANES_NOT_MASKED("(%t\\d+) = load <32 x i32>, ptr (%R\\d+)\\n  (%t\\d+) = select <32 x i1> %t\\d+, <32 x i32> ([^\\n]+), <32 x i32> \\1\\n",
            "$1 = load <32 x i32>, ptr $2\n  $3 = select <32 x i1> splat (i1 true), <32 x i32> $4, <32 x i32> $1\n"),
    WAITING_LANES_FORGOTTEN("(%t\\d+) = load i32, ptr (%pend\\.\\d+)\\n  (%t\\d+) = or i32 \\1, (%t\\d+)", "$1 = load i32, ptr $2\n  $3 = or i32 0, $4"),
    BOTH_WAYS_TAKEN("= xor i32 (%t\\d+), -1\\n", "= or i32 $1, 0\n"),
    NEIGHBOURS_ASSUMED("(%t\\d+) = call <32 x i32> @llvm\\.masked\\.gather\\.v32i32\\.v32p0\\(<32 x ptr> (%t\\d+), i32 4, <32 x i1> splat \\(i1 true\\), <32 x i32> zeroinitializer\\)",
            "$1p = extractelement <32 x ptr> $2, i64 0\n  $1 = load <32 x i32>, ptr $1p, align 4",
            "store <32 x i64> (%t\\d+), ptr %offsets\n  call fastcc void @tp_gather_i32x1\\(ptr %values, i64 0, ptr %offsets, i32 -1\\)\n  (%t\\d+) = load <32 x i32>, ptr %values",   // without AVX-512
            "$2a = extractelement <32 x i64> $1, i64 0\n  $2p = inttoptr i64 $2a to ptr\n  $2 = load <32 x i32>, ptr $2p, align 4"),
    UNIFORMITY_CLAIMED("(%t\\d+) = mul <32 x i32> (%t\\d+), (%t\\d+)\\n", "$1u = shufflevector <32 x i32> $3, <32 x i32> poison, <32 x i32> zeroinitializer\n  $1 = mul <32 x i32> $2, $1u\n"),
    OFF_BY_ONE_ELEMENT("(add <32 x i64> %t\\d+), splat \\(i64 4\\)", "$1, splat (i64 8)"),
    BARRIER_DOES_NOT_SAVE("  store <32 x float> %t\\d+, ptr %t\\d+, align 64\\n", ""),
    REGISTER_LOST("store <32 x double> %t\\d+, ptr (%R\\d+)", "store <32 x double> zeroinitializer, ptr $1"),
    REDUCED_WITH_ANOTHER_OPERATION("@llvm\\.vector\\.reduce\\.smin\\.", "@llvm.vector.reduce.smax."),
    SIGNED_ATOMIC("atomicrmw umax", "atomicrmw max"),
    CARRY_LOST("(%t\\d+) = zext <32 x i1> %t\\d+ to <32 x i32>\\n  (%t\\d+) = add <32 x i32> (%t\\d+), \\1\\n", "$2 = add <32 x i32> $3, zeroinitializer\n"),
    BARRIER_OPENED_BY_ONE_WARP("%enough = icmp sge i32 %arrived, %need", "%enough = icmp sge i32 %arrived, 32"),
    TILES_TAKEN_FOR_ONE("(%c\\d+) = icmp ne <32 x i32> %b\\d+, zeroinitializer", "$1 = icmp eq <32 x i32> zeroinitializer, zeroinitializer"),
    PRODUCTS_NOT_SUMMED("(dpbf16ps\\.512\\(<16 x float>) %t\\d+|(@llvm\\.fma\\.v(?:16|8)f32\\(<(?:16|8) x float> [^,]+, <(?:16|8) x float> [^,]+, <(?:16|8) x float>) %\\w+", "$1$2 zeroinitializer");

    private final String[] rightAndWrong;

    /** Patterns, each with what takes its place. */
    Mistake(String... rightAndWrong) { this.rightAndWrong = rightAndWrong; }

    /** The IR with the mistake in every place where it can be made. */
    String in(String ir) {
        String s = ir;
        for (int n = 0; n < rightAndWrong.length; n += 2) s = s.replaceAll(rightAndWrong[n], rightAndWrong[n + 1]);
        if (s.equals(ir)) return ir;
        var declared = new HashSet<String>();   // each function once
        return s.lines().filter(l -> !l.startsWith("declare ") || declared.add(l)).collect(Collectors.joining("\n", "", "\n"));
    }
}
