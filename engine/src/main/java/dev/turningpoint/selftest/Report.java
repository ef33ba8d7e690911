package dev.turningpoint.selftest;

import java.time.ZoneOffset;
import java.time.ZonedDateTime;
import java.time.format.DateTimeFormatter;
import java.util.List;
import java.util.Locale;
import java.util.TreeSet;

/** What a self-test found, as one text that can be sent. */
public final class Report {
    private static final int FAILURES_IN_VERDICT = 5;

    private final Machine machine;
    private final String reference;
    private final List<Row> rows;
    private final long planned;
    private final Speed speed;
    private final String failure;
    private final double seconds;

    Report(Machine machine, String reference, List<Row> rows, long planned, Speed speed, String failure, double seconds) {
        this.machine = machine;
        this.reference = reference;
        this.rows = List.copyOf(rows);
        this.planned = planned;
        this.speed = speed;
        this.failure = failure;
        this.seconds = seconds;
    }

    /** Whether every case ran and agreed within its tolerances, and everything was measured. */
    public boolean ok() { return failure == null && rows.stream().allMatch(Row::ok); }

    List<Row> rows() { return rows; }

    /** The last line: what was found. */
    public String verdict() {
        long compared = rows.stream().filter(Row::compared).count();
        if (ok()) return "verdict: ok, " + compared + " cases agree with " + reference + " within their tolerances";
        List<String> bad = rows.stream().filter(r -> !r.ok()).map(r -> r.kernels().name()).toList();
        String names = String.join(", ", bad.subList(0, Math.min(bad.size(), FAILURES_IN_VERDICT))) + (bad.size() > FAILURES_IN_VERDICT ? ", ..." : "");
        return "verdict: FAILED" + (bad.isEmpty() ? "" : ", " + bad.size() + " of " + planned + " cases: " + names) + (failure == null ? "" : "; ended early, " + (planned - rows.size()) + " not run: " + failure);
    }

    /** All of it. */
    public String text() {
        var text = new StringBuilder();
        line(text, "TurningPoint self-test of %s UTC", DateTimeFormatter.ofPattern("yyyy-MM-dd HH:mm").format(ZonedDateTime.now(ZoneOffset.UTC)));
        line(text, "");
        line(text, "%-15s %s", "version", machine.version());
        line(text, "%-15s %s", "device", machine.device());
        line(text, "%-15s %s", "driver", machine.driver());
        line(text, "%-15s %s", "compared with", reference);
        line(text, "%-15s %s", "processor", machine.processor());
        line(text, "%-15s %s", "system", machine.system());
        line(text, "");
        if (speed != null) {
            line(text, "%-26s %10.1f GB/s     read and written, %d MB", "copy on the device", speed.copyGigabytes(), speed.copyBytes() >> 20);
            line(text, "%-26s %10.1f GFLOP/s  %d x %d x %d", "product bf16", speed.bf16Gigaflops(), speed.productSide(), speed.productSide(), speed.productSide());
            line(text, "%-26s %10.1f GFLOP/s", "product f32", speed.f32Gigaflops());
            line(text, "%-26s %10.2f us       %.2f us until the caller knows that the kernel is done", "launch from Java", speed.launchMicros(), speed.roundTripMicros());
            line(text, "");
        }
        line(text, "Same inputs on both devices. Difference: that of the result nearest to its tolerance, in units in the last place (of the array's root mean square where marked ~);");
        line(text, "0: the same bits. GB/s: the bytes that a case has to move at least, over its time; arrays stay in cache where they fit.");
        line(text, "");
        line(text, "%-60s %-7s %12s %9s %12s %9s", "case", "result", "difference", "allowed", "us", "GB/s");
        for (Row r : rows) {
            String difference = !r.compared() ? "" : ulps(r.difference().ulps()), allowed = !r.compared() ? "" : allowed(r);
            String micros = r.micros() == 0 ? "" : String.format(Locale.ROOT, "%.1f", r.micros()), gigabytes = r.micros() == 0 ? "" : String.format(Locale.ROOT, "%.1f", r.gigabytes());
            text.append(String.format(Locale.ROOT, "%-60s %-7s %12s %9s %12s %9s", r.kernels().name(), !r.ok() ? "FAILED" : r.compared() ? "ok" : "timed", difference, allowed, micros, gigabytes).stripTrailing()).append('\n');
            if (r.failure() != null) line(text, "  %s", r.failure());
            else if (!r.ok()) line(text, "  %s[%d] is %s, on the reference %s", r.worst().name(), r.difference().element(), r.difference().actual(), r.difference().expected());
        }
        line(text, "");
        var reasons = new TreeSet<String>();
        for (Row r : rows) if (r.compared() && r.difference().ulps() > 0 && !r.worst().tolerance().reason().isEmpty()) reasons.add(r.kernels().family() + ": " + r.worst().tolerance().reason());
        if (!reasons.isEmpty()) line(text, "Why results may differ:");
        for (String reason : reasons) line(text, "  %s", reason);
        if (!reasons.isEmpty()) line(text, "");
        long kernels = rows.stream().flatMap(r -> r.kernels().launches().stream().map(l -> r.kernels().family() + "." + l.entry())).distinct().count();
        line(text, "in all: %d kernels in %d cases, %d compared (%d the same bits), %d timed, %d failed; %.0f s", kernels, rows.size(), rows.stream().filter(Row::compared).count(),
                rows.stream().filter(r -> r.compared() && r.difference().ulps() == 0).count(), rows.stream().filter(r -> r.micros() > 0).count(), rows.stream().filter(r -> !r.ok()).count(), seconds);
        text.append(verdict()).append('\n');
        return text.toString();
    }

    private static String allowed(Row r) { return (r.worst().tolerance().ofRms() ? "~" : "") + ulps(r.worst().tolerance().ulps()); }

    private static String ulps(double value) { return String.format(Locale.ROOT, value == Math.rint(value) ? "%.0f" : "%.1f", value); }

    private static void line(StringBuilder text, String format, Object... values) { text.append(String.format(Locale.ROOT, format, values)).append('\n'); }
}
