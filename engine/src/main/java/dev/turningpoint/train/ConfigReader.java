package dev.turningpoint.train;

import java.io.IOException;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.RecordComponent;
import java.nio.charset.CharacterCodingException;
import java.nio.file.AccessDeniedException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import tools.jackson.core.JacksonException;
import tools.jackson.core.JsonParser;
import tools.jackson.core.JsonToken;
import tools.jackson.dataformat.yaml.YAMLMapper;

/**
 * Reads YAML and {@code --set} assignments into {@link RunConfig}, over the values of a preset. Jackson reads the YAML; records are filled here, because every
 * error has to name its line, its key and what was probably meant.
 */
public final class ConfigReader {
    private static final YAMLMapper YAML = new YAMLMapper();

    /** A piece of a document, with the place ("config.yaml:14", or "--set a.b=c") to blame for it. */
    private sealed interface Node {
        String place();
    }

    private record Section(String place, Map<String, Node> entries) implements Node {}

    private record Items(String place, List<Node> items) implements Node {}

    private record Scalar(String place, String text) implements Node {}

    private ConfigReader() {}

    /**
     * The configuration of a run.
     *
     * @param file        YAML, or null for none
     * @param preset      to start from; null takes the file's {@code preset}, and {@code glyph} without one
     * @param assignments {@code a.b=value}, over both, later ones win
     * @throws ConfigException with one line that names the file and line, or the assignment, at fault
     */
    public static RunConfig read(Path file, String preset, List<String> assignments) {
        var document = new Section("(no file)", new LinkedHashMap<>());
        if (file != null) document = parse(file.getFileName().toString(), text(file));
        Node named = document.entries().get("preset");
        if (preset == null && named != null) {
            if (!(named instanceof Scalar s)) throw new ConfigException(named.place(), "preset", "preset must be a name");
            try {
                return assign(Presets.get(s.text()), document, assignments);
            } catch (ConfigException e) {
                throw e.key().equals("preset") ? new ConfigException(named.place(), "preset", e.getMessage()) : e;
            }
        }
        document.entries().remove("preset");
        return assign(Presets.get(preset == null ? "glyph" : preset), document, assignments);
    }

    static RunConfig override(RunConfig base, List<String> assignments) { return assign(base, new Section("", new LinkedHashMap<>()), assignments); }

    static RunConfig preset(String name, String text) {
        Section document = parse(name + ".yaml", text);
        RunConfig base = document.entries().remove("preset") instanceof Scalar s && !s.text().equals(name) ? Presets.get(s.text()) : null;
        document.entries().put("preset", new Scalar(name + ".yaml", name));
        return bind(base, document);
    }

    private static RunConfig assign(RunConfig base, Section document, List<String> assignments) {
        for (String assignment : assignments) {
            String place = "--set " + assignment;
            int equals = assignment.indexOf('=');
            if (equals < 1) throw new ConfigException(place, "", "an assignment reads key=value, as in sampler.steps=8");
            String[] path = assignment.substring(0, equals).strip().split("\\.", -1);
            Section at = document;
            for (String name : Arrays.asList(path).subList(0, path.length - 1)) {
                if (!(at.entries().get(name) instanceof Section)) at.entries().put(name, new Section(place, new LinkedHashMap<>()));
                at = (Section) at.entries().get(name);
            }
            Node value = parse(place, "value: " + assignment.substring(equals + 1)).entries().get("value");
            at.entries().put(path[path.length - 1], relocate(value, place));
        }
        return bind(base, document);
    }

    private static RunConfig bind(RunConfig base, Section document) {
        try {
            return (RunConfig) record(RunConfig.class, base, document, "");
        } catch (ConfigException e) {
            Node at = document;                                       // a value's own check does not know its place: find it by its key
            for (String name : e.key().split("\\."))
                if (at instanceof Section s && s.entries().containsKey(name)) at = s.entries().get(name);
            if (e.getMessage().startsWith(e.key() + " ") && at != document && !at.place().isEmpty())
                throw new ConfigException(at.place(), e.key(), e.getMessage());
            throw e;
        }
    }

    /** A record of {@code type} whose components come from the document where it has them, else from {@code base}. */
    private static Record record(Class<?> type, Record base, Node node, String path) {
        if (!(node instanceof Section section)) throw new ConfigException(node.place(), path, path + " is a section: write its keys indented below it");
        RecordComponent[] components = type.getRecordComponents();
        List<String> names = Arrays.stream(components).map(c -> snake(c.getName())).toList();
        for (var entry : section.entries().entrySet())
            if (!names.contains(entry.getKey())) throw unknown(entry.getKey(), entry.getValue().place(), path, names);
        var values = new Object[components.length];
        for (int i = 0; i < components.length; i++) {
            RecordComponent c = components[i];
            String key = path.isEmpty() ? names.get(i) : path + "." + names.get(i);
            Node child = section.entries().get(names.get(i));
            Object fallback = base == null ? null : get(base, c);
            if (c.getType().isRecord())
                values[i] = child == null && fallback != null ? fallback
                        : record(c.getType(), (Record) fallback, child == null ? new Section(node.place(), Map.of()) : child, key);
            else if (c.getType() == Map.class) values[i] = map(c, (Map<?, ?>) fallback, child, key);
            else if (child != null) values[i] = value(c, child, key);
            else if (fallback != null) values[i] = fallback;
            else throw new ConfigException(node.place(), key, key + " has no value");
        }
        try {
            var constructor = type.getDeclaredConstructor(Arrays.stream(components).map(RecordComponent::getType).toArray(Class<?>[]::new));
            return (Record) constructor.newInstance(values);
        } catch (InvocationTargetException e) {
            if (e.getCause() instanceof RuntimeException cause) throw cause;
            throw new IllegalStateException(e);
        } catch (ReflectiveOperationException e) {
            throw new IllegalStateException(e);
        }
    }

    /**
     * A section whose keys are names of the writer's own, over what {@code base} has: text, whole numbers, or records whose defaults are those of their constructor without
     * arguments.
     */
    private static Map<String, Object> map(RecordComponent component, Map<?, ?> base, Node node, String key) {
        var values = new LinkedHashMap<String, Object>();
        if (base != null) base.forEach((name, value) -> values.put((String) name, value));
        if (node == null) return values;
        if (!(node instanceof Section section)) throw new ConfigException(node.place(), key, key + " is a section: write its keys indented below it");
        Class<?> type = (Class<?>) ((ParameterizedType) component.getGenericType()).getActualTypeArguments()[1];
        section.entries().forEach((name, child) -> {
            String full = key + "." + name;
            values.put(name, type == String.class ? scalar(child, full, "text") : type == Integer.class ? number(int.class, child, full) : record(type, startingFrom(type, (Record) values.get(name), child), child, full));
        });
        return values;
    }

    /** What a named record keeps of the base: nothing where there is none, or where it is of another kind, whose options mean other things. */
    private static Record startingFrom(Class<?> type, Record base, Node node) {
        if (base == null) return defaults(type);
        if (node instanceof Section s && s.entries().get("kind") instanceof Scalar kind)
            for (RecordComponent c : type.getRecordComponents())
                if (c.getName().equals("kind") && !get(base, c).equals(kind.text())) return defaults(type);
        return base;
    }

    private static Record defaults(Class<?> type) {
        try {
            return (Record) type.getConstructor().newInstance();
        } catch (ReflectiveOperationException e) {
            throw new IllegalStateException(e);
        }
    }

    private static ConfigException unknown(String key, String place, String path, List<String> siblings) {
        String full = path.isEmpty() ? key : path + "." + key;
        var near = siblings.stream().map(s -> path.isEmpty() ? s : path + "." + s).toList();
        String hint = Nearest.hint(full, near, "");
        if (!hint.startsWith("did")) {                                 // right name, wrong section?
            var elsewhere = keys(RunConfig.class, "").stream().filter(k -> k.endsWith("." + key)).toList();
            hint = elsewhere.isEmpty() ? (path.isEmpty() ? "the keys are: " : path + " has: ") + String.join(", ", siblings)
                    : "did you mean '" + elsewhere.getFirst() + "'?";
        }
        return new ConfigException(place, full, "unknown key '" + full + "'; " + hint);
    }

    private static List<String> keys(Class<?> type, String prefix) {
        var keys = new ArrayList<String>();
        for (RecordComponent c : type.getRecordComponents()) {
            String key = prefix + snake(c.getName());
            if (c.getType().isRecord()) keys.addAll(keys(c.getType(), key + "."));
            else keys.add(key);
        }
        return keys;
    }

    private static Object value(RecordComponent component, Node node, String key) {
        Class<?> type = component.getType();
        if (type == List.class) {
            boolean numbers = ((ParameterizedType) component.getGenericType()).getActualTypeArguments()[0] == Double.class;
            if (numbers && node instanceof Scalar) return List.of((Double) number(double.class, node, key));
            if (!(node instanceof Items items)) throw wrong(node, key, numbers ? "a number, or a list of numbers" : "a list, as in [a, b]");
            return items.items().stream().map(n -> numbers ? number(double.class, n, key) : scalar(n, key, "a list of names")).toList();
        }
        if (type == String.class) return scalar(node, key, "text");
        if (type.isEnum()) return constant(type, node, key);
        if (type == boolean.class) {
            String text = scalar(node, key, "true or false");
            if (text.equals("true") || text.equals("false")) return text.equals("true");
            throw wrong(node, key, "true or false");
        }
        return number(type, node, key);
    }

    private static Object number(Class<?> type, Node node, String key) {
        boolean whole = type == int.class || type == long.class;
        String text = scalar(node, key, whole ? "a whole number" : "a number").replace("_", "");
        try {
            if (type == int.class) return Integer.parseInt(text);
            if (type == long.class) return Long.parseLong(text);
            if (text.matches("[-+.0-9eE]+")) return Double.parseDouble(text);
        } catch (NumberFormatException e) {
            // reported below, with its place
        }
        throw wrong(node, key, whole ? "a whole number" + (text.matches("[-+]?[0-9]+") ? " of " + (type == int.class ? 32 : 64) + " bits" : "") : "a number");
    }

    private static Object constant(Class<?> type, Node node, String key) {
        String text = scalar(node, key, "a name");
        var names = new ArrayList<String>();
        for (Object constant : type.getEnumConstants()) {
            names.add(nameOf((Enum<?>) constant));
            if (names.getLast().equals(text)) return constant;
        }
        throw new ConfigException(node.place(), key, key + " must be one of " + String.join(", ", names) + ", is '" + text + "'");
    }

    private static String scalar(Node node, String key, String expected) {
        if (node instanceof Scalar s) return s.text();
        throw wrong(node, key, expected);
    }

    private static ConfigException wrong(Node node, String key, String expected) {
        String found = switch (node) {
            case Scalar s -> "'" + s.text() + "'";
            case Items _ -> "a list";
            case Section s -> s.entries().isEmpty() ? "empty" : "a section";
        };
        return new ConfigException(node.place(), key, key + " must be " + expected + ", is " + found);
    }

    private static String text(Path file) {
        try {
            return Files.readString(file);
        } catch (NoSuchFileException e) {
            throw new ConfigException(file.toString(), "", "there is no such file");
        } catch (AccessDeniedException e) {
            throw new ConfigException(file.toString(), "", "may not be read");
        } catch (CharacterCodingException e) {
            throw new ConfigException(file.toString(), "", "is not UTF-8 text");
        } catch (IOException e) {
            throw new ConfigException(file.toString(), "", "cannot be read: " + (Files.isDirectory(file) ? "it is a folder" : e.getMessage()));
        }
    }

    private static Section parse(String name, String text) {
        try (JsonParser parser = YAML.createParser(text)) {
            JsonToken first = parser.nextToken();
            if (first == null || first == JsonToken.VALUE_NULL) return new Section(name, new LinkedHashMap<>());
            if (first != JsonToken.START_OBJECT) throw new ConfigException(name, "", "is not a mapping of keys to values");
            var document = (Section) node(parser, name, "");
            if (parser.nextToken() != null) throw new ConfigException(place(parser, name), "", "a second document begins here; one is read");
            return document;
        } catch (JacksonException e) {
            int line = e.getLocation() == null ? 0 : e.getLocation().getLineNr();
            String[] lines = e.getOriginalMessage().strip().split("\n");
            throw new ConfigException(line > 0 && !name.startsWith("--") ? name + ":" + line : name, "", "is not YAML: " + lines[0].strip());
        }
    }

    private static Node node(JsonParser parser, String name, String path) {
        String place = place(parser, name);
        switch (parser.currentToken()) {
            case START_OBJECT -> {
                var entries = new LinkedHashMap<String, Node>();
                while (parser.nextToken() != JsonToken.END_OBJECT) {
                    String key = parser.currentName(), at = place(parser, name), full = path.isEmpty() ? key : path + "." + key;
                    parser.nextToken();
                    if (entries.put(key, relocate(node(parser, name, full), at)) != null) throw new ConfigException(at, full, "'" + full + "' stands here a second time");
                }
                return new Section(place, entries);
            }
            case START_ARRAY -> {
                var items = new ArrayList<Node>();
                while (parser.nextToken() != JsonToken.END_ARRAY) items.add(node(parser, name, path));
                return new Items(place, items);
            }
            case VALUE_NULL -> {
                return new Section(place, new LinkedHashMap<>());
            }
            default -> {
                return new Scalar(place, parser.getString());
            }
        }
    }

    private static String place(JsonParser parser, String name) { return name.startsWith("--") ? name : name + ":" + parser.currentTokenLocation().getLineNr(); }

    private static Node relocate(Node node, String place) {
        return switch (node) {
            case Section s -> new Section(place, s.entries());
            case Items i -> new Items(place, i.items());
            case Scalar s -> new Scalar(place, s.text());
        };
    }

    static Object get(Record record, RecordComponent component) {
        try {
            return component.getAccessor().invoke(record);
        } catch (ReflectiveOperationException e) {
            throw new IllegalStateException(e);
        }
    }

    /** {@code CONSISTENT_TURNING_POINT} as {@code consistent-turning-point}. */
    static String nameOf(Enum<?> constant) { return constant.name().toLowerCase(Locale.ROOT).replace('_', '-'); }

    /** {@code noiseLevel} as {@code noise_level}. */
    static String snake(String name) { return name.replaceAll("([A-Z])", "_$1").toLowerCase(Locale.ROOT); }
}
