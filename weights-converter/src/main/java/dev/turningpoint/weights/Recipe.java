package dev.turningpoint.weights;

import java.lang.foreign.MemorySegment;
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

    /**
     * Bytes of the tensor from {@code offset} on, which lies between two elements.
     *
     * @param target type of its elements
     * @param buffer what is read passes through it
     * @throws WeightsException if a number is beyond the type
     */
    void read(Checkpoint from, TensorType target, long offset, MemorySegment into, MemorySegment buffer) {
        long at = offset / target.bytes(), end = at + into.byteSize() / target.bytes(), begin = 0;
        for (Piece piece : pieces) {
            TensorType type = from.info(piece.tensor).type();
            long most = buffer.byteSize() / type.bytes();
            while (at < end && at < begin + piece.count) {
                long count = Math.min(most, Math.min(end, begin + piece.count) - at);
                MemorySegment read = buffer.asSlice(0, count * type.bytes());
                from.read(piece.tensor, (piece.first + at - begin) * type.bytes(), read);
                long lost = Cast.cast(read, type, into.asSlice(at * target.bytes() - offset), target, count);
                if (lost > 0)
                    throw new WeightsException(from.path().toString(), "tensor " + SafetensorsHeader.quoted(piece.tensor) + " has " + lost + " numbers beyond " + target + "; keep " + type
                            + ", or take BF16 or F32");
                at += count;
            }
            begin += piece.count;
        }
    }
}
