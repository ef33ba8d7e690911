package dev.turningpoint.tensor;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Where each named parameter lies in one flat buffer. Every parameter starts at a multiple of 64 elements (256 bytes in f32, 128 in bf16); the gaps stay zero through
 * training, since their gradients are. Parameters whose sizes are multiples of 64 are neighbours without a gap: a model may treat them as one matrix.
 */
public final class ParameterLayout {
    private static final long ALIGNMENT = 64;

    /** One parameter: its first element in the flat buffer and its shape, row-major. */
    public record Slot(String name, long offset, long[] shape) {
        public long elements() {
            long count = 1;
            for (long extent : shape) {
                count *= extent;
            }
            return count;
        }
    }

    private final Map<String, Slot> slots = new LinkedHashMap<>();
    private long size;

    /** Appends a parameter. */
    public Slot add(String name, long... shape) {
        var slot = new Slot(name, size, shape.clone());
        if (slots.putIfAbsent(name, slot) != null) {
            throw new IllegalArgumentException("parameter '" + name + "' exists twice");
        }
        size += (slot.elements() + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        return slot;
    }

    public Slot slot(String name) {
        var slot = slots.get(name);
        if (slot == null) {
            throw new IllegalArgumentException("no parameter '" + name + "'");
        }
        return slot;
    }

    /** All parameters in the order of the flat buffer. */
    public Map<String, Slot> slots() {
        return Collections.unmodifiableMap(slots);
    }

    /** Elements of the flat buffer, gaps included. */
    public long size() {
        return size;
    }

    /** Number of parameters proper, without gaps. */
    public long parameterCount() {
        return slots.values().stream().mapToLong(Slot::elements).sum();
    }
}
