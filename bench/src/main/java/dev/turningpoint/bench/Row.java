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
 * @param triad what memory gives
 * @param peak  what products give
 */
record Row(Subject of, double[] ours, double[] peer, double error, Triad triad, Peak peak) {

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
        return bandwidth() / triad.best();
    }

    /** The ratio that this machine allows: with the compulsory bytes at the bandwidth of the triad, in memory or in cache, and the products at their peak. Infinite where nobody counts either. */
    double possible() {
        double bytes = of.bytes() / (of.inMemory() ? triad.best() : triad.cached()), flops = of.flops() == 0 ? 0 : of.flops() / peak.of(of.units());
        return median(peer) / Math.max(bytes, flops);
    }

    boolean met() {
        return misses().isEmpty();
    }

    /** Whether the goal is more than the machine allows, by what was measured in this run. */
    boolean outOfReach() {
        return ratio() < of.goal() && possible() < of.goal();
    }

    private List<String> misses() {
        var misses = new ArrayList<String>();
        if (ratio() < of.goal()) misses.add(String.format(Locale.ROOT, "%.2f of %sx", ratio(), number(of.goal())) + (outOfReach() ? String.format(Locale.ROOT, ", where the machine allows %.2f", possible()) : ""));
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
