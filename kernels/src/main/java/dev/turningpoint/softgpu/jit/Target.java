package dev.turningpoint.softgpu.jit;

import java.util.Arrays;
import java.util.List;

/**
 * The processor compiled for, as LLVM names it.
 *
 * @param triple   such as x86_64-unknown-linux-gnu
 * @param cpu      such as znver4
 * @param features such as +avx2,-avx512f
 * @param avx512   whether vectors of 512 bits are served, with masks
 * @param bf16Dot  whether pairs of bf16 are multiplied and added
 */
record Target(String triple, String cpu, String features, boolean avx512, boolean bf16Dot) {
    /** Of its features; they are looked up here, since every instruction that is translated asks for some. */
    Target(String triple, String cpu, String features) {
        this(triple, cpu, features, has(features, "avx512f", "avx512vl", "avx512bw", "avx512dq"), has(features, "avx512f", "avx512vl", "avx512bw", "avx512dq", "avx512bf16"));
    }

    private static boolean has(String features, String... wanted) { return List.of(features.split(",")).containsAll(Arrays.stream(wanted).map(w -> "+" + w).toList()); }

    boolean has(String feature) { return has(features, feature); }

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
}
