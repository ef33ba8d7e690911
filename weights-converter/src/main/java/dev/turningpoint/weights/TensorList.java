package dev.turningpoint.weights;

import dev.turningpoint.weights.Correspondence.Part;
import java.util.ArrayList;
import java.util.List;

/** Collects the tensors of an architecture, layer by layer. */
final class TensorList {
    private final List<Correspondence> all = new ArrayList<>();

    List<Correspondence> all() { return List.copyOf(all); }

    /** One tensor under two names. */
    void tensor(String original, String diffusers, long... shape) {
        all.add(new Correspondence(original, List.of(new Part(diffusers, java.util.Arrays.stream(shape).boxed().toList(), false))));
    }

    /** Weight [out, in] and bias [out]. */
    void linear(String original, String diffusers, long out, long in) { fused(original, in, List.of(diffusers), out); }

    /** One linear layer of the original that diffusers keeps as several of {@code out} rows each. */
    void fused(String original, long in, List<String> diffusers, long... out) {
        var weights = new ArrayList<Part>();
        var biases = new ArrayList<Part>();
        for (int i = 0; i < diffusers.size(); i++) {
            long rows = out[out.length == 1 ? 0 : i];
            weights.add(new Part(diffusers.get(i) + ".weight", List.of(rows, in), false));
            biases.add(new Part(diffusers.get(i) + ".bias", List.of(rows), false));
        }
        all.add(new Correspondence(original + ".weight", weights));
        all.add(new Correspondence(original + ".bias", biases));
    }

    /** The modulation of a norm without a gate: the original has (shift, scale), diffusers (scale, shift). */
    void scaleAndShift(String original, String diffusers, long dim, long in) {
        all.add(new Correspondence(original + ".weight", List.of(new Part(diffusers + ".weight", List.of(2 * dim, in), true))));
        all.add(new Correspondence(original + ".bias", List.of(new Part(diffusers + ".bias", List.of(2 * dim), true))));
    }
}
