package dev.turningpoint.weights;

import java.util.ArrayList;
import java.util.List;

/**
 * One tensor of a model's original checkpoint and the tensors that diffusers keeps instead: their rows, one after the other, are its rows.
 *
 * @param original name in the original layout, without the prefix of a whole checkpoint
 * @param parts    in the order of the original's rows
 */
public record Correspondence(String original, List<Part> parts) {
    /**
     * A tensor of the diffusers layout.
     *
     * @param shape   outermost first
     * @param swapped whether the original has the second half of its rows first: it keeps (shift, scale) where diffusers keeps (scale, shift)
     */
    public record Part(String name, List<Long> shape, boolean swapped) {
        public Part {
            shape = List.copyOf(shape);
        }

        long rows() { return shape.getFirst(); }

        /** Elements of one row. */
        long width() { return shape.stream().skip(1).reduce(1L, Math::multiplyExact); }
    }

    public Correspondence {
        parts = List.copyOf(parts);
    }

    /** The shape of the original. */
    List<Long> shape() {
        var shape = new ArrayList<>(parts.getFirst().shape());
        shape.set(0, parts.stream().mapToLong(Part::rows).sum());
        return shape;
    }

    /** The original as pieces of the diffusers tensors. */
    Recipe toOriginal() {
        var pieces = new ArrayList<Recipe.Piece>();
        for (Part p : parts) pieces.addAll(halves(p, p.name(), 0));
        return new Recipe(original, shape(), pieces);
    }

    /** The diffusers tensors as pieces of the original. */
    List<Recipe> toDiffusers() {
        var recipes = new ArrayList<Recipe>();
        long row = 0;
        for (Part p : parts) {
            recipes.add(new Recipe(p.name(), p.shape(), halves(p, original, row)));
            row += p.rows();
        }
        return recipes;
    }

    /** The rows of {@code from} that begin at {@code row}, as many as the part has, the second half first if it is swapped. */
    private static List<Recipe.Piece> halves(Part p, String from, long row) {
        long begin = row * p.width(), all = p.rows() * p.width(), half = all / 2;
        return p.swapped() ? List.of(new Recipe.Piece(from, begin + half, half), new Recipe.Piece(from, begin, half)) : List.of(new Recipe.Piece(from, begin, all));
    }
}
