package dev.turningpoint.train;

import java.lang.reflect.RecordComponent;
import java.util.List;
import java.util.Map;

/** The effective configuration as YAML: every key, in the order of the records, in a form that {@link ConfigReader} reads back to equal values. */
final class ConfigWriter {
    private ConfigWriter() {}

    static String write(Record config) {
        var out = new StringBuilder();
        write(out, config, "");
        return out.toString();
    }

    private static void write(StringBuilder out, Record record, String indent) {
        for (RecordComponent c : record.getClass().getRecordComponents()) {
            write(out, ConfigReader.snake(c.getName()), ConfigReader.get(record, c), indent);
        }
    }

    private static void write(StringBuilder out, String key, Object value, String indent) {
        out.append(indent).append(key).append(':');
        switch (value) {
            case Record section -> {
                out.append('\n');
                write(out, section, indent + "  ");
            }
            case Map<?, ?> map when !map.isEmpty() -> {
                out.append('\n');
                map.forEach((name, entry) -> write(out, quoted(name.toString()), entry, indent + "  "));
            }
            default -> out.append(' ').append(scalar(value)).append('\n');
        }
    }

    private static String scalar(Object value) {
        return switch (value) {
            case Enum<?> e -> ConfigReader.nameOf(e);
            case Double d -> number(d);
            case String s -> quoted(s);
            case Map<?, ?> _ -> "{}";
            case List<?> list when list.size() == 1 && list.getFirst() instanceof Double d -> number(d);
            case List<?> list when !list.isEmpty() && list.getFirst() instanceof Double -> "[" + String.join(", ", list.stream().map(v -> number((Double) v)).toList()) + "]";
            case List<?> list -> "[" + String.join(", ", list.stream().map(v -> quoted(v.toString())).toList()) + "]";
            default -> value.toString();
        };
    }

    private static String quoted(String s) {
        return s.matches("[A-Za-z][A-Za-z0-9_./-]*") && !s.matches("(?i)true|false|null|yes|no|on|off|y|n") ? s : "'" + s.replace("'", "''") + "'";
    }

    /** The shortest decimal that reads back to the same double. */
    static String number(double d) {
        if (d == Math.rint(d) && Math.abs(d) < 1e15) return Long.toString((long) d);
        return Double.toString(d).replace("E", "e").replace(".0e", "e");
    }
}
