package dev.turningpoint.bench;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/**
 * What was measured of a case.
 *
 * @param ours  nanoseconds of our side, median
 * @param peer  nanoseconds of the other side, median
 * @param error largest difference of the results relative to the largest value; NaN where they cannot agree
 * @param triad the triad's bandwidth in GB/s, best way
 */
record Row(Case of, double ours, double peer, double error, double triad) {

    static final String HEADER = """
            | kernel | case | shape | ours, us | peer, us | ratio | MB | GB/s | of triad | goals | difference |
            |---|---|---|---:|---:|---:|---:|---:|---:|---|---:|
            """;

    double ratio() {
        return peer / ours;
    }

    /** Compulsory bytes over our time, in GB/s. */
    double bandwidth() {
        return of.kernels().compulsoryBytes() / ours;
    }

    private double share() {
        return bandwidth() / triad;
    }

    boolean met() {
        return misses().isEmpty();
    }

    private List<String> misses() {
        var misses = new ArrayList<String>();
        if (ratio() < of.kind().goal) misses.add(String.format(Locale.ROOT, "%.2f of %sx", ratio(), number(of.kind().goal)));
        if (of.boundByBandwidth() && share() < Case.BANDWIDTH_GOAL) misses.add(String.format(Locale.ROOT, "%.0f of %.0f %%", 100 * share(), 100 * Case.BANDWIDTH_GOAL));
        return misses;
    }

    private String goals() {
        if (of.kind() == Case.Kind.NOTE) return "none";
        String goals = number(of.kind().goal) + "x" + (of.boundByBandwidth() ? String.format(Locale.ROOT, ", %.0f %%", 100 * Case.BANDWIDTH_GOAL) : "");
        return met() ? goals : "**below**: " + String.join(", ", misses()) + (of.reason().isEmpty() ? "" : " (" + of.reason() + ")");
    }

    private static String number(double goal) {
        return goal == Math.rint(goal) ? String.valueOf((long) goal) : String.valueOf(goal);
    }

    /** A line of the table. */
    @Override
    public String toString() {
        return String.format(Locale.ROOT, "| %s | %s | %s | %.1f | %.1f | **%.1fx** | %.1f | %.1f | %s | %s | %s |%n", of.title(), of.kernels().name(), of.shape(), ours / 1e3, peer / 1e3, ratio(),
                of.kernels().compulsoryBytes() / 1e6, bandwidth(), of.boundByBandwidth() ? String.format(Locale.ROOT, "%.0f %%", 100 * share()) : "", goals(),
                Double.isNaN(error) ? "" : String.format(Locale.ROOT, "%.0e", error));
    }
}
