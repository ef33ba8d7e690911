package dev.turningpoint.model;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * Heads that are narrower than the attention kernels serve are filled up with zeros: rows of the projections into heads, columns of those out of heads. The zeros
 * stay zeros through training, since their gradients are.
 *
 * @param heads  of the model
 * @param model  numbers of a head in the model
 * @param memory numbers of a head in memory
 */
record HeadFilling(int heads, int model, int memory) {
    /** A tensor [outer, heads, model, inner] that lies in memory as [outer, heads, memory, inner]. */
    record Plan(long outer, int heads, int model, int memory, long inner) {
        /** From the model's tensor, f32, to the filled-up one, whose other elements are zero already. */
        void fill(MemorySegment from, MemorySegment to) {
            for (long i = 0; i < outer * heads; i++) {
                MemorySegment.copy(from, 4 * i * model * inner, to, 4 * i * memory * inner, 4 * model * inner);
            }
        }

        /** Elements of the model's tensor. */
        int elements() {
            return Math.toIntExact(outer * heads * model * inner);
        }

        /** The model's elements of a filled-up tensor. */
        float[] taken(MemorySegment from) {
            var out = new float[elements()];
            for (long i = 0; i < outer * heads; i++) {
                MemorySegment.copy(from, ValueLayout.JAVA_FLOAT_UNALIGNED, 4 * i * memory * inner, out, Math.toIntExact(i * model * inner), Math.toIntExact(model * inner));
            }
            return out;
        }
    }

    /** Rows of a layer that projects into heads. */
    private static boolean intoHeads(String layer) {
        return layer.matches(".*\\.attn2?\\.(to_[qkv]|add_[qkv]_proj)");
    }

    /** Columns of a layer that projects out of heads. */
    private static boolean outOfHeads(String layer) {
        return layer.matches(".*\\.attn2?\\.(to_out\\.0|to_add_out)") || layer.endsWith("." + FluxWeights.OUT_ATTENTION);
    }

    /** How a parameter of a layer lies in memory, by its name and its shape in memory. */
    Plan plan(String name, long[] shape) {
        long elements = 1;
        for (long s : shape) {
            elements *= s;
        }
        var asItIs = new Plan(1, 1, Math.toIntExact(elements), Math.toIntExact(elements), 1);
        if (model == memory) {
            return asItIs;
        }
        String layer = name.replaceAll("(\\.lora_[AB])?\\.(weight|bias)$", "");
        if (layer.matches(".*\\.attn2?\\.norm_(added_)?[qk]")) {
            return new Plan(1, 1, model, memory, 1);
        }
        boolean rows = intoHeads(layer) && !name.endsWith(".lora_A.weight"), columns = outOfHeads(layer) && !name.endsWith(".lora_B.weight") && !name.endsWith(".bias");
        return rows ? new Plan(1, heads, model, memory, elements / ((long) heads * memory)) : columns ? new Plan(elements / ((long) heads * memory), heads, model, memory, 1) : asItIs;
    }

    /** Heads' numbers in the model, as numbers in memory. */
    long inMemory() {
        return (long) heads * memory;
    }
}
