package dev.turningpoint.check;

import dev.turningpoint.weights.SafetensorsFile;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Set;
import java.util.TreeSet;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** A file of reference data, which remembers what of it was read as input and what was compared, so that nothing goes unnoticed. */
final class Golden implements AutoCloseable {
    private static final JsonMapper JSON = new JsonMapper();

    final String name;
    private final SafetensorsFile file;
    private final Set<String> names;
    private final Set<String> untouched;

    Golden(Path path) {
        name = path.getFileName().toString().replace(".safetensors", "");
        file = SafetensorsFile.open(path);
        names = new TreeSet<>(file.names());
        untouched = new TreeSet<>(names);
    }

    /** What made the file: sizes, seeds, flags. */
    JsonNode settings() {
        String settings = file.metadata().get("settings");
        if (settings == null) throw new IllegalArgumentException("the file has no 'settings' in its metadata");
        return JSON.readTree(settings);
    }

    Set<String> names() { return names; }

    /** Tensors neither read nor compared; may be removed from. */
    Set<String> untouched() { return untouched; }

    boolean has(String tensor) { return names.contains(tensor); }

    int dimension(String tensor, int i) { return Math.toIntExact(file.info(tensor).shape().get(i)); }

    int count(String tensor) { return Math.toIntExact(file.info(tensor).elements()); }

    float[] f32(String tensor) {
        untouched.remove(tensor);
        return file.floats(tensor);
    }

    int[] i32(String tensor) { return Arrays.stream(i64(tensor)).mapToInt(Math::toIntExact).toArray(); }

    long[] i64(String tensor) {
        untouched.remove(tensor);
        return file.longs(tensor);
    }

    /** A numeric tensor, widened. */
    double[] f64(String tensor) {
        untouched.remove(tensor);
        return file.doubles(tensor);
    }

    static double[] widen(float[] a) {
        var out = new double[a.length];
        for (int i = 0; i < a.length; i++) out[i] = a[i];
        return out;
    }

    @Override
    public void close() { file.close(); }
}
