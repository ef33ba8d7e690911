package dev.turningpoint.weights;

import java.util.List;

/**
 * A tensor put together from runs of elements of others.
 *
 * @param shape  of the result
 * @param pieces one after the other they are its elements, in row-major order
 */
record Recipe(String name, List<Long> shape, List<Piece> pieces) {
    /**
     * @param first element of {@code tensor}, counted in row-major order
     * @param count elements
     */
    record Piece(String tensor, long first, long count) {}

    Recipe {
        shape = List.copyOf(shape);
        pieces = List.copyOf(pieces);
    }

    /** A tensor as it is. */
    static Recipe same(TensorInfo t) { return new Recipe(t.name(), t.shape(), List.of(new Piece(t.name(), 0, t.elements()))); }

    Recipe named(String other) { return new Recipe(other, shape, pieces); }

    /** The same from tensors whose names have a prefix. */
    Recipe from(String prefix) { return new Recipe(name, shape, pieces.stream().map(p -> new Piece(prefix + p.tensor, p.first, p.count)).toList()); }

    long elements() { return shape.stream().reduce(1L, Math::multiplyExact); }
}
