package dev.turningpoint.weights;

import java.util.List;
import java.util.Set;

/**
 * The tensors of a checkpoint as an architecture sees them: below a prefix, in a layout.
 *
 * @param prefix that the names of the network have there
 */
record Tensors(Checkpoint checkpoint, String prefix, Layout layout) {
    boolean has(String name) { return checkpoint.contains(prefix + name); }

    boolean any(String begin) { return checkpoint.names().stream().anyMatch(n -> n.startsWith(prefix + begin)); }

    /** How many numbered modules there are, 0 and on; the highest number decides, so that a missing one in between is found missing. */
    int count(String begin) {
        int count = 0;
        for (String name : checkpoint.names()) {
            if (!name.startsWith(prefix + begin)) continue;
            int at = prefix.length() + begin.length(), end = name.indexOf('.', at);
            if (end > at && end - at < 5 && name.substring(at, end).chars().allMatch(c -> c >= '0' && c <= '9')) count = Math.max(count, Integer.parseInt(name.substring(at, end)) + 1);
        }
        return count;
    }

    List<Long> shape(String name, int rank) {
        TensorInfo t = checkpoint.info(prefix + name);
        if (t.shape().size() != rank) throw wrong("tensor " + SafetensorsHeader.quoted(t.name()) + " has the shape " + t.shape() + ", not " + rank + " sizes");
        return t.shape();
    }

    /** A size that fits a model: at most a million. */
    int size(List<Long> shape, int dimension) {
        long size = shape.get(dimension);
        if (size < 1 || size > 1_000_000) throw wrong("a layer of " + size + " is no layer of a model we know");
        return (int) size;
    }

    Set<String> names() { return checkpoint.names(); }

    WeightsException wrong(String why) { return new WeightsException(checkpoint.path().toString(), why); }
}
