package dev.turningpoint.bench;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.Supplier;
import java.util.function.UnaryOperator;
import org.bytedeco.pytorch.Tensor;

/** What PyTorch users write for a kernel case: the call that is timed, and which arrays of the case hold its results. */
final class Eager {

    private final Supplier<Tensor[]> call;
    private final Map<String, UnaryOperator<Tensor>> results = new LinkedHashMap<>();

    private Eager(Supplier<Tensor[]> call) {
        this.call = call;
    }

    /** A call with one result, in the array {@code result}. */
    static Eager of(Supplier<Tensor> call, String result) {
        return of(() -> new Tensor[] {call.get()}, new String[] {result});
    }

    /** A call with several results; those that correspond to no array come last and go unnamed. */
    static Eager of(Supplier<Tensor[]> call, String... results) {
        var eager = new Eager(call);
        for (String r : results) eager.results.put(r, UnaryOperator.identity());
        return eager;
    }

    /** A call whose results cannot agree, because each side draws its own noise. */
    static Eager drawing(Supplier<Tensor> call) {
        return new Eager(() -> new Tensor[] {call.get()});
    }

    /** Says which part of the array {@code result}, given flat, holds the result. */
    Eager part(String result, UnaryOperator<Tensor> part) {
        results.put(result, part);
        return this;
    }

    Tensor[] call() {
        return call.get();
    }

    Map<String, UnaryOperator<Tensor>> results() {
        return results;
    }
}
