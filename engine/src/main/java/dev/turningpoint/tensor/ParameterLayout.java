package dev.turningpoint.tensor;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
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
    private final Map<String, Slot> groups = new LinkedHashMap<>();
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

    /**
     * Appends parameters without gaps between them, so that their rows are one matrix (or one vector), which {@link #slot} knows by a name of its own.
     *
     * @param shapes of the members, all of the same width
     */
    public Slot group(String name, List<String> members, List<long[]> shapes) {
        long begin = size, rows = 0;
        for (int i = 0; i < members.size(); i++) {
            long[] shape = shapes.get(i);
            var slot = new Slot(members.get(i), size, shape.clone());
            if (shape.length != shapes.getFirst().length || shape.length == 2 && shape[1] != shapes.getFirst()[1]) {
                throw new IllegalArgumentException("the rows of '" + name + "' are not all of one width");
            }
            if (slots.putIfAbsent(slot.name(), slot) != null) {
                throw new IllegalArgumentException("parameter '" + slot.name() + "' exists twice");
            }
            size += slot.elements();
            rows += shape[0];
        }
        size = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        var whole = new Slot(name, begin, shapes.getFirst().length == 2 ? new long[] {rows, shapes.getFirst()[1]} : new long[] {rows});
        if (groups.putIfAbsent(name, whole) != null || slots.containsKey(name)) {
            throw new IllegalArgumentException("parameter '" + name + "' exists twice");
        }
        return whole;
    }

    /** Whether there is a parameter or group of this name. */
    public boolean contains(String name) {
        return slots.containsKey(name) || groups.containsKey(name);
    }

    /** The parameter or group of this name. */
    public Slot slot(String name) {
        var slot = slots.getOrDefault(name, groups.get(name));
        if (slot == null) {
            throw new IllegalArgumentException("no parameter '" + name + "'");
        }
        return slot;
    }

    /** All parameters in the order of the flat buffer. */
    public Map<String, Slot> slots() {
        return Collections.unmodifiableMap(slots);
    }

    /** All groups. */
    public Map<String, Slot> groups() {
        return Collections.unmodifiableMap(groups);
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
