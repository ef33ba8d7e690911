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
    /** The processor without the features that begin with one of these names, separated by commas. */
    Target without(String names) {
        if (names.isEmpty()) return this;
        var kept = new StringBuilder();
        for (String f : features.split(",")) {
            boolean off = false;
            for (String n : names.split(",")) off |= f.substring(1).startsWith(n);
            kept.append(kept.isEmpty() ? "" : ",").append(off ? "-" + f.substring(1) : f);
        }
        return new Target(triple, "x86-64-v3", kept.toString());
    }

    boolean bf16Dot() { return avx512() && has("avx512bf16"); }
}
