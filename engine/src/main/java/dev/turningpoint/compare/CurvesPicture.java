package dev.turningpoint.compare;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.function.ToDoubleFunction;

/** The curves of all arms as an SVG, for pages that run no script: charts side by side, means as lines with their 95 % confidence intervals as bands. */
final class CurvesPicture {
    /** Those of report.html. */
    private static final List<String> COLORS = List.of("#1b6ca8", "#d1495b", "#2e933c", "#8f5db7", "#e08e0b", "#3a3a3a", "#00a6a6", "#b56576");
    private static final int WIDTH = 560, HEIGHT = 380, LEFT = 60, RIGHT = 20, TOP = 20, BOTTOM = 52, LINE = 18;   // pixels of one chart, its margins, and a line of the legend
    private static final int TICKS = 8;   // about so many an axis

    /** One arm's mean rewards at its costs. */
    record Line(String arm, List<Double> x, List<Estimate> rewards) {}

    private final StringBuilder charts = new StringBuilder();
    private List<String> arms = List.of();
    private int count;

    /** Adds a chart to the right of those that are there. An arm has its colour from its place among the lines. */
    void add(String xTitle, String yTitle, List<Line> lines) {
        arms = lines.stream().map(Line::arm).toList();
        double most = lines.stream().flatMap(l -> l.x.stream()).mapToDouble(x -> x).max().orElse(1);
        var x = new Scale(0, most, LEFT, WIDTH - RIGHT);
        var y = new Scale(extreme(lines, Estimate::low, false), extreme(lines, Estimate::high, true), HEIGHT - BOTTOM, TOP);
        charts.append(String.format(Locale.ROOT, "<g transform=\"translate(%d,0)\">%n", WIDTH * count++));
        for (double t : x.ticks()) {
            charts.append(String.format(Locale.ROOT, "<path class=\"grid\" d=\"M%.1f %d V%d\"/>", x.at(t), TOP, HEIGHT - BOTTOM));
            text(x.at(t), HEIGHT - BOTTOM + 18, "middle", String.format(Locale.ROOT, "%,.0f", t));
        }
        for (double t : y.ticks()) {
            charts.append(String.format(Locale.ROOT, "<path class=\"grid\" d=\"M%d %.1f H%d\"/>", LEFT, y.at(t), WIDTH - RIGHT));
            text(LEFT - 8, y.at(t) + 4, "end", String.format(Locale.ROOT, "%.2f", t));
        }
        text((LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 12, "middle", xTitle);
        charts.append(String.format(Locale.ROOT, "<text transform=\"translate(14,%d) rotate(-90)\" text-anchor=\"middle\">%s</text>%n", (TOP + HEIGHT - BOTTOM) / 2, yTitle));
        for (Line line : lines) band(line, x, y);
        for (Line line : lines) {
            charts.append("<polyline fill=\"none\" stroke-width=\"2\" stroke=\"").append(color(line.arm)).append("\" points=\"");
            for (int i = 0; i < line.x.size(); i++) point(x.at(line.x.get(i)), y.at(line.rewards.get(i).mean()));
            charts.append("\"/>\n");
        }
        charts.append("</g>\n");
    }

    private void band(Line line, Scale x, Scale y) {
        if (line.rewards.stream().anyMatch(e -> Double.isNaN(e.half()))) return;   // one seed
        charts.append("<polygon fill-opacity=\".15\" fill=\"").append(color(line.arm)).append("\" points=\"");
        for (int i = 0; i < line.x.size(); i++) point(x.at(line.x.get(i)), y.at(line.rewards.get(i).high()));
        for (int i = line.x.size() - 1; i >= 0; i--) point(x.at(line.x.get(i)), y.at(line.rewards.get(i).low()));
        charts.append("\"/>\n");
    }

    private static double extreme(List<Line> lines, ToDoubleFunction<Estimate> bound, boolean most) {
        var values = lines.stream().flatMap(l -> l.rewards.stream()).mapToDouble(e -> Double.isNaN(e.half()) ? e.mean() : bound.applyAsDouble(e));
        return (most ? values.max() : values.min()).orElse(most ? 1 : 0);
    }

    private String color(String arm) { return COLORS.get(arms.indexOf(arm) % COLORS.size()); }

    private void point(double x, double y) { charts.append(String.format(Locale.ROOT, "%.1f,%.1f ", x, y)); }

    private void text(double x, double y, String anchor, String text) {
        charts.append(String.format(Locale.ROOT, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%s</text>%n", x, y, anchor, text));
    }

    /** The picture: a legend below the charts. */
    String svg() {
        int width = WIDTH * count, columns = 3, height = HEIGHT + LINE * ((arms.size() + columns - 1) / columns) + 8;
        var svg = new StringBuilder(String.format(Locale.ROOT, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %1$d %2$d\" width=\"%1$d\" height=\"%2$d\">%n", width, height));
        svg.append("<style>text { font: 12px system-ui, sans-serif; fill: #222 } .grid { stroke: #ddd }</style>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n").append(charts);
        for (int i = 0; i < arms.size(); i++) {
            int x = LEFT + i % columns * (width - LEFT) / columns, y = HEIGHT + LINE * (i / columns) + 4;
            svg.append(String.format(Locale.ROOT, "<rect x=\"%d\" y=\"%d\" width=\"18\" height=\"4\" fill=\"%s\"/><text x=\"%d\" y=\"%d\">%s</text>%n", x, y, color(arms.get(i)), x + 26, y + 6, arms.get(i)));
        }
        return svg.append("</svg>\n").toString();
    }

    /** Values from low to high, on pixels from first to last. */
    private record Scale(double low, double high, double first, double last) {
        double at(double value) { return first + (last - first) * (value - low) / (high - low); }

        /** Multiples of 1, 2 or 5 times a power of ten. */
        List<Double> ticks() {
            double rough = (high - low) / TICKS, power = Math.pow(10, Math.floor(Math.log10(rough)));
            double step = power * (rough <= power ? 1 : rough <= 2 * power ? 2 : rough <= 5 * power ? 5 : 10);
            var ticks = new ArrayList<Double>();
            for (double k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) ticks.add(k * step + 0.0);   // -0 becomes 0
            return ticks;
        }
    }
}
