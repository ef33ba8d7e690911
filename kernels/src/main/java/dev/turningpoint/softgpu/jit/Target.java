package dev.turningpoint.softgpu.jit;

/**
 * The processor compiled for, as LLVM names it.
 *
 * @param triple   such as x86_64-unknown-linux-gnu
 * @param cpu      such as znver4
 * @param features such as +avx2,-avx512f
 */
record Target(String triple, String cpu, String features) {
    boolean has(String feature) { return ("," + features + ",").contains(",+" + feature + ","); }
    boolean avx512() { return has("avx512f") && has("avx512vl") && has("avx512bw") && has("avx512dq"); }
    boolean bf16Dot() { return avx512() && has("avx512bf16"); }
}
