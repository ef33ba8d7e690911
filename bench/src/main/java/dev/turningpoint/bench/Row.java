package dev.turningpoint.bench;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;

/**
 * What was measured of a subject.
 *
 * @param ours  nanoseconds of a call of our side, a round each
 * @param peer  the same of the other side, in rounds between ours
 * @param error largest difference of the results relative to the largest value; NaN where they cannot agree
 * @param triad the triad's bandwidth in GB/s, best way
 * @param peak  what products give
 */
record Row(Subject of, double[] ours, double[] peer, double error, double triad, Peak peak) {

    static final String HEADER = """
            | work | case | shape | ours, us | peer, us | ratio | of the rounds | MB | GB/s | of triad | GFLOP/s | of peak | goals | difference |
            |---|---|---|---:|---:|---:|---|---:|---:|---:|---:|---:|---|---:|
            """;

    double ratio() {
        return median(peer) / median(ours);
    }

    /** The least and the largest ratio of two neighbouring rounds. */
    double[] interval() {
        double least = Double.POSITIVE_INFINITY, most = 0;
        for (int i = 0; i < ours.length; i++) {
            least = Math.min(least, peer[i] / ours[i]);
            most = Math.max(most, peer[i] / ours[i]);
        }
        return new double[] {least, most};
    }

    static double median(double[] values) {
        double[] sorted = values.clone();
        Arrays.sort(sorted);
        return sorted[sorted.length / 2];
    }

    /** Compulsory bytes over our time, in GB/s. */
    double bandwidth() {
        return of.bytes() / median(ours);
    }

    private double share() {
        return bandwidth() / triad;
    }

    boolean met() {
        return misses().isEmpty();
    }

    private List<String> misses() {
        var misses = new ArrayList<String>();
        if (ratio() < of.goal()) misses.add(String.format(Locale.ROOT, "%.2f of %sx", ratio(), number(of.goal())));
        if (of.inMemory() && share() < Case.BANDWIDTH_GOAL) misses.add(String.format(Locale.ROOT, "%.0f of %.0f %%", 100 * share(), 100 * Case.BANDWIDTH_GOAL));
        return misses;
    }

    private String goals() {
        if (of.goal() == 0) return "none";
        String goals = number(of.goal()) + "x" + (of.inMemory() ? String.format(Locale.ROOT, ", %.0f %%", 100 * Case.BANDWIDTH_GOAL) : "");
        return met() ? goals : "**below**: " + String.join(", ", misses()) + (of.reason().isEmpty() ? "" : " (" + of.reason() + ")");
    }

    private static String number(double goal) {
        return goal == Math.rint(goal) ? String.valueOf((long) goal) : String.valueOf(goal);
    }

    /** A line of the table. */
    @Override
    public String toString() {
        double[] interval = interval();
        return String.format(Locale.ROOT, "| %s | %s | %s | %.1f | %.1f | **%.2fx** | %.2f to %.2f | %s | %s | %s | %s | %s | %s | %s |%n", of.title(), of.name(), of.shape(), median(ours) / 1e3, median(peer) / 1e3, ratio(),
                interval[0], interval[1], of.bytes() == 0 ? "" : String.format(Locale.ROOT, "%.1f", of.bytes() / 1e6), of.bytes() == 0 ? "" : String.format(Locale.ROOT, "%.1f", bandwidth()),
                of.inMemory() ? String.format(Locale.ROOT, "%.0f %%", 100 * share()) : "", of.flops() == 0 ? "" : String.format(Locale.ROOT, "%.1f", of.flops() / median(ours)),
                of.flops() == 0 ? "" : String.format(Locale.ROOT, "%.0f %%", 100 * of.flops() / median(ours) / peak.of(of.units())), goals(),
                Double.isNaN(error) ? "" : String.format(Locale.ROOT, "%.0e", error));
    }
}
