package dev.turningpoint.check;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** The table: for each group of tensors how many were compared and how far the worst value lay from the reference's. */
public final class Results {
    /**
     * One line of the table.
     *
     * @param family    of files
     * @param group     of tensors in them
     * @param tensors   compared
     * @param error     {@code |value - reference|} where it is the largest part of what its tolerance allows
     * @param share     that part: beyond 1 is a failure
     * @param tolerance as text
     * @param where     file, tensor and element of that value, and both values
     */
    public record Row(String family, String group, int tensors, double error, double share, String tolerance, String where) {
        public boolean ok() { return share <= 1; }
    }

    private final Map<String, Row> rows = new LinkedHashMap<>();
    private final Map<String, String> notServed = new LinkedHashMap<>();
    private final Map<String, String> notCompared = new LinkedHashMap<>();
    private final List<String> defects = new ArrayList<>();

    /** Compares {@code values} with a tensor of the file; both NaN, or the same infinity, agree. */
    void compare(String family, String group, Golden golden, String tensor, double[] values, Tolerance tolerance) {
        compare(family, group, golden, tensor, values, tolerance, false);
    }

    void compare(String family, String group, Golden golden, String tensor, float[] values, Tolerance tolerance) {
        compare(family, group, golden, tensor, Golden.widen(values), tolerance, false);
    }

    /** @param finiteOnly values where the reference is not finite are not compared */
    void compare(String family, String group, Golden golden, String tensor, double[] values, Tolerance tolerance, boolean finiteOnly) {
        compare(family, group, golden.name + ": " + tensor, golden.f64(tensor), values, tolerance, finiteOnly);
    }

    void compare(String family, String group, String name, double[] reference, double[] values, Tolerance tolerance, boolean finiteOnly) {
        if (reference.length != values.length) {
            record(family, group, 1, Double.NaN, Double.POSITIVE_INFINITY, tolerance, name + " has " + reference.length + " elements, ours " + values.length);
            return;
        }
        double max = 0;
        for (double r : reference) if (Double.isFinite(r)) max = Math.max(max, Math.abs(r));
        double worst = 0, worstShare = 0;
        String where = "";
        for (int i = 0; i < reference.length; i++) {
            double r = reference[i], v = values[i];
            if (!Double.isFinite(r) && (finiteOnly || r == v || Double.isNaN(r) && Double.isNaN(v))) continue;
            double error = Math.abs(v - r), allowed = tolerance.absolute() + tolerance.relative() * (tolerance.ofMax() ? max : Math.abs(r));
            double share = error == 0 ? 0 : error / allowed;
            if (Double.isNaN(share) || Double.isNaN(error)) share = Double.POSITIVE_INFINITY;
            if (share > worstShare) {
                worst = error;
                worstShare = share;
                where = name + "[" + i + "] is " + v + ", the reference " + r;
            }
        }
        record(family, group, 1, worst, worstShare, tolerance, where);
    }

    private void record(String family, String group, int tensors, double error, double share, Tolerance tolerance, String where) {
        rows.merge(family + "\n" + group, new Row(family, group, tensors, error, share, tolerance.toString(), where), (a, b) -> {
            Row worse = b.share() > a.share() ? b : a;
            return new Row(family, group, a.tensors() + b.tensors(), worse.error(), worse.share(), worse.tolerance(), worse.where());
        });
    }

    /** Names what is in the folder and not computed here yet. */
    void notServed(String family, String what) { notServed.merge(family, what, Results::list); }

    /** Names what is in the folder and has no counterpart here by intent. */
    void notCompared(String family, String what) { notCompared.merge(family, what, Results::list); }

    private static String list(String a, String b) { return a.contains(b) ? a : a + ", " + b; }

    /** A file that could not be replayed at all: a failure. */
    void defect(String line) { defects.add(line); }

    public List<Row> rows() { return List.copyOf(rows.values()); }

    public Map<String, String> notServed() { return notServed; }

    public Map<String, String> notCompared() { return notCompared; }

    public List<String> defects() { return defects; }

    /** Whether something was compared and everything that was lies within its tolerance. */
    public boolean ok() { return !rows.isEmpty() && defects.isEmpty() && rows.values().stream().allMatch(Row::ok); }

    /** The table for a person. */
    public String table() {
        var out = new StringBuilder();
        out.append("%-19s %-28s %7s  %-10s %-28s %9s%n".formatted("family", "tensor group", "tensors", "max error", "tolerance", "used"));
        String family = "";
        for (Row r : rows.values()) {
            out.append("%-19s %-28s %7d  %-10s %-28s %8s  %s%n".formatted(r.family().equals(family) ? "" : r.family(), r.group(), r.tensors(),
                    r.error() == 0 ? "0" : "%.1e".formatted(r.error()), r.tolerance(), r.share() == 0 ? "0 %" : percent(r.share()), r.ok() ? "ok" : "FAIL"));
            family = r.family();
        }
        notCompared.forEach((f, what) -> out.append("%-19s not compared: %s%n".formatted(f, what)));
        notServed.forEach((f, what) -> out.append("%-19s not served yet: %s%n".formatted(f, what)));
        rows.values().stream().filter(r -> !r.ok()).forEach(r -> out.append("FAIL %s, %s: %s%n".formatted(r.family(), r.group(), r.where())));
        defects.forEach(d -> out.append("FAIL ").append(d).append(System.lineSeparator()));
        return out.toString();
    }

    private static String percent(double share) { return share > 10 ? "> 1000 %" : "%.1f %%".formatted(100 * share); }
}
