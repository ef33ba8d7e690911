package dev.turningpoint.weights;

import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * A LoRA added to the weights it was trained on: {@code W += strength (alpha / rank) B A}, summed in double and rounded once, to nearest, to the type of the result.
 * Weights without a branch keep their bits.
 *
 * @param strength 1 is what the LoRA was trained with, 0 leaves the weights as they are; may be negative
 */
public record Merge(Lora lora, double strength) {
    public Merge {
        if (!Double.isFinite(strength)) throw new IllegalArgumentException("a strength of " + strength);
    }

    /** Modules of a network that a LoRA can be for, by diffusers' names: whatever has a matrix. */
    public static List<String> modules(Architecture architecture) { return List.copyOf(matrices(architecture).keySet()); }

    private static Map<String, List<Long>> matrices(Architecture architecture) {
        var all = new TreeMap<String, List<Long>>();
        architecture.tensors(Layout.DIFFUSERS).forEach((name, shape) -> {
            if (shape.size() == 2 && name.endsWith(".weight")) all.put(name.substring(0, name.length() - ".weight".length()), shape);
        });
        return all;
    }

    /** @throws WeightsException if a module is none of the network's, or of another size */
    void requireFit(String of, Architecture architecture) {
        Map<String, List<Long>> matrices = matrices(architecture);
        lora.modules().forEach((module, f) -> {
            List<Long> shape = matrices.get(module);
            if (shape == null) throw new WeightsException(of, "the LoRA is for " + SafetensorsHeader.quoted(module) + ", and " + architecture.name() + " has no such layer");
            if (!shape.equals(List.of(f.out(), f.in())))
                throw new WeightsException(of, SafetensorsHeader.quoted(module) + " is " + shape + ", the LoRA's branch of it [" + f.out() + ", " + f.in() + "]: it is of another model");
        });
    }

    /** The branch of a tensor of diffusers' layout; null if it has none. */
    Lora.Factors branch(String tensor) { return tensor.endsWith(".weight") ? lora.modules().get(tensor.substring(0, tensor.length() - ".weight".length())) : null; }

    /**
     * Adds a branch to a run of its matrix' elements.
     *
     * @param first  place of the first of them in the matrix, row by row
     * @param values f32, as the checkpoint has them; read only
     * @param to     the sums, in {@code target}
     * @return how many finite sums the type has no number for
     */
    long add(Lora.Factors f, long first, MemorySegment values, MemorySegment to, TensorType target, long count) {
        int in = Math.toIntExact(f.in());
        double factor = strength * f.alpha() / f.rank();
        var row = new double[in];
        long lost = 0;
        for (long done = 0; done < count; ) {
            int o = (int) ((first + done) / in), from = (int) ((first + done) % in), n = (int) Math.min(in - from, count - done);
            for (int i = 0; i < n; i++) row[i] = 0;
            for (int k = 0; k < f.rank(); k++) {
                double b = f.b()[o * f.rank() + k];
                int a = k * in + from;
                for (int i = 0; i < n; i++) row[i] += b * f.a()[a + i];
            }
            for (int i = 0; i < n; i++, done++) if (!Cast.store(values.get(TensorType.FLOAT, 4 * done) + factor * row[i], to, target, done)) lost++;
        }
        return lost;
    }
}
