package dev.turningpoint.compare;

import dev.turningpoint.compare.Curve.Axis;
import dev.turningpoint.compare.Curve.Point;
import dev.turningpoint.weights.AtomicFile;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Properties;
import java.util.function.ToDoubleFunction;
import tools.jackson.databind.json.JsonMapper;

/**
 * The curves of all arms as {@code report.html}, one file that needs no network, as {@code curves.csv}, {@code summary.csv} and {@code turning-points.csv}, and as
 * {@code curves.svg}.
 * The first arm is the baseline that the others are held against, seed by seed. Runs may still be missing: the report is of those that are there.
 */
public final class ComparisonReport {
    private static final JsonMapper JSON = new JsonMapper();

    /** The costs that curves.svg shows, and at which arms are said to reach the baseline's last reward. */
    private static final List<Axis> REACHING = List.of(Axis.UPDATES, Axis.EVALUATIONS);

    private final Map<Arm, Map<Long, Curve>> curves;
    private final Arm baseline;

    /**
     * One line of the table.
     *
     * @param reward     at its end
     * @param cost       where all arms are compared: what the cheapest of them had spent at its end
     * @param gain       reward there over the baseline's, seed by seed
     */
    private record AtCost(Axis axis, double cost, Estimate reward, Estimate gain) {}

    /** @param curves of each arm by seed, arms in the order of the report; not empty */
    public ComparisonReport(Map<Arm, Map<Long, Curve>> curves) {
        this.curves = new LinkedHashMap<>(curves);
        this.curves.values().removeIf(Map::isEmpty);
        if (this.curves.isEmpty()) throw new IllegalArgumentException("no run to report of");
        baseline = this.curves.keySet().iterator().next();
    }

    /** How far every run got: the end of the one that spent least. */
    public double common(Axis axis) {
        return curves.values().stream().flatMap(m -> m.values().stream()).mapToDouble(c -> c.last().at(axis)).min().orElse(Double.NaN);
    }

    /** An arm's reward at a cost, over its seeds. */
    public Estimate reward(Arm arm, Axis axis, double cost) { return over(arm, c -> c.reward(axis, cost)); }

    /** By how much an arm is better than the baseline at a cost, over the seeds that both have: their noise and prompts are the same. */
    public Estimate gain(Arm arm, Axis axis, double cost) {
        Map<Long, Curve> base = curves.get(baseline);
        return Estimate.of(curves.get(arm).entrySet().stream().filter(e -> base.containsKey(e.getKey()))
                .mapToDouble(e -> e.getValue().reward(axis, cost) - base.get(e.getKey()).reward(axis, cost)).toArray());
    }

    /** The least cost at which the mean of an arm reaches a reward; NaN if it never does. */
    public double costOf(Arm arm, Axis axis, double reward) {
        double x = Double.NaN, y = Double.NaN;
        for (double[] point : mean(arm, axis)) {
            if (point[1] >= reward) return Double.isNaN(y) || point[1] == y ? point[0] : x + (point[0] - x) * (reward - y) / (point[1] - y);
            x = point[0];
            y = point[1];
        }
        return Double.NaN;
    }

    /** Mean over the seeds of an arm, at the end of each run. */
    private double atEnd(Arm arm, ToDoubleFunction<Point> value) { return over(arm, c -> value.applyAsDouble(c.last())).mean(); }

    private Estimate over(Arm arm, ToDoubleFunction<Curve> value) { return Estimate.of(curves.get(arm).values().stream().mapToDouble(value).toArray()); }

    /** Points (x, mean reward): the k-th evaluation of each seed is one point, at the mean of their x, as far as all seeds got. */
    private List<double[]> mean(Arm arm, Axis axis) {
        var points = new ArrayList<double[]>();
        for (int k = 0; k < evaluations(arm); k++) {
            int at = k;
            points.add(new double[] {over(arm, c -> c.points().get(at).at(axis)).mean(), over(arm, c -> c.points().get(at).reward()).mean()});
        }
        return points;
    }

    private int evaluations(Arm arm) { return curves.get(arm).values().stream().mapToInt(c -> c.points().size()).min().orElse(0); }

    // ---- files

    /**
     * Writes all files into a folder that exists.
     *
     * @param command  that made the comparison
     * @param config   of all runs, as YAML
     * @param pictures of an arm, before and after training; missing ones are left out
     */
    public void write(Path folder, String command, String config, Map<Arm, Path> pictures) {
        write(folder.resolve("curves.csv"), curvesCsv());
        write(folder.resolve("summary.csv"), summaryCsv());
        write(folder.resolve("turning-points.csv"), ratesCsv());
        write(folder.resolve("curves.svg"), svg());
        write(folder.resolve("report.html"), html(command, config, pictures));
    }

    private static void write(Path file, String text) { AtomicFile.write(file, text.getBytes(StandardCharsets.UTF_8)); }

    private String curvesCsv() {
        var csv = new StringBuilder("arm,seed,updates,network_evaluations,reward_calls,seconds,reward\n");
        curves.forEach((arm, seeds) -> seeds.forEach((seed, curve) -> {
            for (Point p : curve.points())
                csv.append(String.format(Locale.ROOT, "%s,%d,%d,%.0f,%.0f,%s,%s%n", arm.name(), seed, p.updates(), p.evaluations(), p.rewardCalls(), number(p.seconds(), 1), number(p.reward(), 6)));
        }));
        return csv.toString();
    }

    private String ratesCsv() {
        var csv = new StringBuilder("arm,seed,step,turning_point_rate\n");
        curves.forEach((arm, seeds) -> seeds.forEach((seed, curve) -> {
            for (int t = 0; t < curve.turningPointRates().size(); t++) csv.append(String.format(Locale.ROOT, "%s,%d,%d,%s%n", arm.name(), seed, t + 1, number(curve.turningPointRates().get(t), 6)));
        }));
        return csv.toString();
    }

    private String summaryCsv() {
        var csv = new StringBuilder("arm,seeds,axis,cost,reward,reward_half,gain,gain_half\n");
        for (Arm arm : curves.keySet())
            for (AtCost a : atCosts(arm))
                csv.append(String.format(Locale.ROOT, "%s,%d,%s,%s,%s,%s,%s,%s%n", arm.name(), a.reward.count(), a.axis.title.replace(' ', '_'), number(a.cost, 1), number(a.reward.mean(), 6),
                        number(a.reward.half(), 6), number(a.gain.mean(), 6), number(a.gain.half(), 6)));
        return csv.toString();
    }

    private List<AtCost> atCosts(Arm arm) {
        var all = new ArrayList<AtCost>();
        for (Axis axis : Axis.values()) {
            double cost = common(axis);
            if (!Double.isNaN(cost)) all.add(new AtCost(axis, cost, reward(arm, axis, cost), gain(arm, axis, cost)));
        }
        return all;
    }

    private static String number(double value, int digits) { return Double.isNaN(value) ? "" : String.format(Locale.ROOT, "%." + digits + "f", value); }

    // ---- HTML

    private String html(String command, String config, Map<Arm, Path> pictures) {
        long seeds = curves.values().stream().flatMap(m -> m.keySet().stream()).distinct().count();
        var values = new LinkedHashMap<String, String>();
        values.put("title", escape(curves.size() + (curves.size() == 1 ? " way" : " ways") + " to assign credit, " + seeds + (seeds == 1 ? " seed" : " seeds")));
        values.put("about", "Rewards are means over held-out prompts, sampled by ODE with noise that is the same in every run. A network evaluation is one row through the network "
                + "in training; a backward counts as two. A reward call is one image scored in training.");
        values.put("command", escape(command));
        values.put("reading", "Each pair of columns stops all arms at what the cheapest run had spent at its end, and reads their curves there. &plusmn; is half a 95 % confidence interval over the seeds. "
                + "The gain is over <b>" + escape(baseline.name()) + "</b>, seed by seed. The last columns: where an arm's mean curve first reaches the reward that the baseline has at its end, "
                + "and that as a share of what the baseline spent until then.");
        values.put("summary", table());
        values.put("first", curves.get(baseline).keySet().iterator().next().toString());
        values.put("pictures", pictures(pictures));
        values.put("config", escape(config));
        values.put("data", JSON.writeValueAsString(data()).replace("<", "\\u003c"));
        values.put("uplot.css", uplot("uPlot.min.css"));
        values.put("uplot.js", uplot("uPlot.iife.min.js"));
        return fill(resource(ComparisonReport.class.getResourceAsStream("report.html"), "report.html"), values);
    }

    /** Each {@code {{name}}} of the template becomes its value; values are not searched. */
    private static String fill(String template, Map<String, String> values) {
        var out = new StringBuilder();
        int at = 0;
        for (int open; (open = template.indexOf("{{", at)) >= 0; ) {
            int close = template.indexOf("}}", open);
            String value = values.get(template.substring(open + 2, close));
            if (value == null) throw new IllegalStateException("report.html wants {{" + template.substring(open + 2, close) + "}}");
            out.append(template, at, open).append(value);
            at = close + 2;
        }
        return out.append(template, at, template.length()).toString();
    }

    private String table() {
        double target = atEnd(baseline, Point::reward);
        var html = new StringBuilder("<table><tr><th>arm</th><th>seeds</th><th>before</th>");
        for (AtCost a : atCosts(baseline)) html.append(String.format(Locale.ROOT, "<th>at %,.0f %s</th><th>gain</th>", a.cost, a.axis.title));
        for (Axis axis : REACHING) html.append(String.format(Locale.ROOT, "<th>%s to %.3f</th>", axis.title, target));
        html.append("</tr>\n");
        for (Arm arm : curves.keySet()) {
            html.append("<tr><td title=\"").append(escape(String.join(", ", arm.assignments()))).append("\">").append(escape(arm.name())).append("</td><td>").append(curves.get(arm).size())
                    .append("</td><td>").append(number(over(arm, c -> c.points().getFirst().reward()).mean(), 3)).append("</td>");
            for (AtCost a : atCosts(arm))
                html.append("<td>").append(plusMinus(a.reward, false)).append("</td><td>").append(arm == baseline ? "" : plusMinus(a.gain, true)).append("</td>");
            for (Axis axis : REACHING) {
                double needed = costOf(arm, axis, target), whole = atEnd(baseline, p -> p.at(axis));
                html.append("<td>").append(Double.isNaN(needed) ? "not reached" : String.format(Locale.ROOT, "%,.0f (%.0f %%)", needed, 100 * needed / whole)).append("</td>");
            }
            html.append("</tr>\n");
        }
        return html.append("</table>").toString();
    }

    private static String plusMinus(Estimate e, boolean signed) {
        if (Double.isNaN(e.mean())) return "";
        return String.format(Locale.ROOT, signed ? "%+.3f" : "%.3f", e.mean()) + (Double.isNaN(e.half()) ? "" : String.format(Locale.ROOT, " &plusmn; %.3f", e.half()));
    }

    private static String pictures(Map<Arm, Path> pictures) {
        var html = new StringBuilder();
        pictures.forEach((arm, file) -> {
            if (!Files.isRegularFile(file)) return;
            try {
                html.append("<figure><img alt=\"").append(escape(arm.name())).append("\" src=\"data:image/png;base64,").append(Base64.getEncoder().encodeToString(Files.readAllBytes(file)))
                        .append("\"><figcaption>").append(escape(arm.name())).append("</figcaption></figure>\n");
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        });
        return html.toString();
    }

    /** An arm's estimates at the k-th evaluation, as far as all seeds got. */
    private List<Estimate> rewards(Arm arm) {
        var rewards = new ArrayList<Estimate>();
        for (int k = 0; k < evaluations(arm); k++) {
            int at = k;
            rewards.add(over(arm, c -> c.points().get(at).reward()));
        }
        return rewards;
    }

    private String svg() {
        var picture = new CurvesPicture();
        for (Axis axis : REACHING)
            picture.add(axis.title, "held-out reward",
                    curves.keySet().stream().map(arm -> new CurvesPicture.Line(arm.name(), mean(arm, axis).stream().map(p -> p[0]).toList(), rewards(arm))).toList());
        return picture.svg();
    }

    private Map<String, Object> data() {
        var charts = new ArrayList<Map<String, Object>>();
        for (Axis axis : Axis.values()) {
            if (Double.isNaN(common(axis))) continue;
            var lines = new ArrayList<Map<String, Object>>();
            for (Arm arm : curves.keySet()) lines.add(line(arm, mean(arm, axis).stream().map(p -> p[0]).toList(), rewards(arm)));
            charts.add(Map.of("title", "by " + axis.title, "x", axis.title, "y", "reward", "lines", lines));
        }
        var rates = new ArrayList<Map<String, Object>>();
        for (Arm arm : curves.keySet()) {
            int steps = curves.get(arm).values().stream().mapToInt(c -> c.turningPointRates().size()).min().orElse(0);
            var x = new ArrayList<Double>();
            var y = new ArrayList<Estimate>();
            for (int t = 0; t < steps; t++) {
                int at = t;
                x.add(t + 1.0);
                y.add(over(arm, c -> c.turningPointRates().get(at)));
            }
            if (y.stream().anyMatch(e -> e.mean() > 0)) rates.add(line(arm, x, y));
        }
        return Map.of("arms", curves.keySet().stream().map(Arm::name).toList(), "charts", charts,
                "rates", Map.of("title", "turning points by step", "x", "step of the window", "y", "share of trajectories", "lines", rates));
    }

    private static Map<String, Object> line(Arm arm, List<Double> x, List<Estimate> y) {
        var line = new LinkedHashMap<String, Object>();
        line.put("arm", arm.name());
        line.put("x", x);
        line.put("mean", y.stream().map(e -> known(e.mean())).toList());
        line.put("low", y.stream().map(e -> known(e.low())).toList());
        line.put("high", y.stream().map(e -> known(e.high())).toList());
        return line;
    }

    /** JSON has no NaN; the chart takes null for a gap. */
    private static Object known(double value) { return Double.isNaN(value) ? JSON.nullNode() : (Object) value; }

    private static String uplot(String file) {
        var properties = new Properties();
        try (InputStream in = ComparisonReport.class.getResourceAsStream("/META-INF/maven/org.webjars.npm/uplot/pom.properties")) {
            properties.load(in);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return resource(ComparisonReport.class.getResourceAsStream("/META-INF/resources/webjars/uplot/" + properties.getProperty("version") + "/dist/" + file), file);
    }

    private static String resource(InputStream stream, String name) {
        try (InputStream in = stream) {
            return new String(in.readAllBytes(), StandardCharsets.UTF_8);
        } catch (IOException | NullPointerException e) {
            throw new IllegalStateException(name + " is not on the class path", e);
        }
    }

    private static String escape(String text) { return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\"", "&quot;"); }
}
