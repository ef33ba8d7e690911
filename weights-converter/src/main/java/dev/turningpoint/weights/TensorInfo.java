package dev.turningpoint.weights;

import java.util.List;

/**
 * What a safetensors header says of one tensor.
 *
 * @param name  unique in its file
 * @param type  element type
 * @param shape sizes, outermost first; empty for a scalar
 * @param begin first byte, counted from the end of the header
 * @param end   one past the last byte
 */
public record TensorInfo(String name, TensorType type, List<Long> shape, long begin, long end) {
    public TensorInfo {
        shape = List.copyOf(shape);
    }

    public long bytes() {
        return end - begin;
    }

    /** Number of elements; 1 for a scalar. */
    public long elements() {
        return bytes() / type.bytes();
    }
}
