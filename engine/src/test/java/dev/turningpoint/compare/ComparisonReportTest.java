package dev.turningpoint.compare;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.turningpoint.compare.Curve.Axis;
import dev.turningpoint.compare.Curve.Point;
import dev.turningpoint.report.RunFolder;
import dev.turningpoint.train.ConfigException;
import dev.turningpoint.train.RunConfig;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import javax.xml.parsers.DocumentBuilderFactory;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.w3c.dom.Node;
import org.w3c.dom.NodeList;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** Means, intervals and readings of curves against figures worked out by hand. */
class ComparisonReportTest {
    @TempDir Path folder;

    static final Arm CHEAP = Arm.parse("outcome"), DEAR = Arm.parse("turning-point+balancing");

    /** Evaluated every 10 updates; an update costs {@code cost} rows, 1 image and half a second. */
    static Curve curve(double cost, double... rewards) {
        var points = new java.util.ArrayList<Point>();
        for (int k = 0; k < rewards.length; k++) points.add(new Point(5 * k, 10L * k, 10 * k * cost, 10.0 * k, 5.0 * k, rewards[k]));
        return new Curve(points, cost > 100 ? List.of(.5, .25) : List.of(), List.of());
    }

    /** The cheap arm rises .1 in 10 updates of 100 rows, then .05; the dear one twice as fast in updates of 200 rows. */
    static ComparisonReport report() {
        var curves = new LinkedHashMap<Arm, Map<Long, Curve>>();
        curves.put(CHEAP, new LinkedHashMap<>(Map.of(1L, curve(100, .5, .6, .65))));
        curves.get(CHEAP).put(2L, curve(100, .5, .62, .67));
        curves.put(DEAR, new LinkedHashMap<>(Map.of(1L, curve(200, .5, .7, .8))));
        curves.get(DEAR).put(2L, curve(200, .5, .74, .84));
        return new ComparisonReport(curves);
    }

    @Test
    void armsAreReadWhereTheCheapestRunEnded() {
        var report = report();
        assertEquals(20, report.common(Axis.UPDATES));
        assertEquals(2000, report.common(Axis.EVALUATIONS), "the cheap arm ends at 20 x 100, the dear one at 20 x 200");
        assertEquals(.66, report.reward(CHEAP, Axis.EVALUATIONS, 2000).mean(), 1e-12);
        assertEquals(.72, report.reward(DEAR, Axis.EVALUATIONS, 2000).mean(), 1e-12, "10 updates of the dear arm");
        assertEquals(.61, report.reward(DEAR, Axis.EVALUATIONS, 1000).mean(), 1e-12, "half way between two evaluations: (.5 + .7) / 2 and (.5 + .74) / 2");
        assertEquals(.82, report.reward(DEAR, Axis.UPDATES, 20).mean(), 1e-12);
        Estimate gain = report.gain(DEAR, Axis.UPDATES, 20);
        assertEquals(.16, gain.mean(), 1e-12, ".8 - .65 and .84 - .67");
        assertEquals(12.7062 * .01, gain.half(), 1e-5, "t of one degree of freedom times the standard error of .15 and .17, which is .01");
    }

    @Test
    void costOfARewardIsReadFromTheMean() {
        var report = report();
        assertEquals(10 * .16 / .22, report.costOf(DEAR, Axis.UPDATES, .66), 1e-9, "the mean rises from .5 to .72 in the first 10 updates");
        assertTrue(Double.isNaN(report.costOf(CHEAP, Axis.UPDATES, .9)));
        assertEquals(0, report.costOf(CHEAP, Axis.UPDATES, .4));
    }

    @Test
    void intervalsAreStudents() {
        // scipy.stats.t.interval(.95, 4, mean, sem) of these: .7 +- .0196 (sample deviation .0158114, t .975 with 4 degrees of freedom 2.7764)
        Estimate e = Estimate.of(.68, .69, .70, .71, .72);
        assertEquals(.7, e.mean(), 1e-12);
        assertEquals(2.7764 * .01581139 / Math.sqrt(5), e.half(), 1e-7);
        assertTrue(Double.isNaN(Estimate.of(.5).half()));
        assertEquals(1, Estimate.of(.5, Double.NaN).count());
        assertTrue(Double.isNaN(Estimate.of().mean()));
    }

    @Test
    void filesHoldTheFigures() throws Exception {
        report().write(folder, "./turningpoint compare --arm \"a:b=<c>\"", "seed: 1\n", Map.of(CHEAP, folder.resolve("missing.png")));
        List<String> curves = Files.readAllLines(folder.resolve("curves.csv"));
        assertEquals("arm,seed,updates,network_evaluations,reward_calls,seconds,reward", curves.getFirst());
        assertEquals(1 + 12, curves.size());
        assertEquals("turning-point+balancing,2,10,2000,10,5.0,0.740000", curves.get(11));
        assertTrue(Files.readString(folder.resolve("summary.csv")).contains("turning-point+balancing,2,network_evaluations,2000.0,0.720000,"));
        assertEquals("turning-point+balancing,1,2,0.250000", Files.readAllLines(folder.resolve("turning-points.csv")).get(2));

        NodeList lines = DocumentBuilderFactory.newInstance().newDocumentBuilder().parse(folder.resolve("curves.svg").toFile()).getElementsByTagName("polyline");
        assertEquals(4, lines.getLength(), "two arms by updates and by network evaluations");
        String[] cheap = points(lines.item(2)), dear = points(lines.item(3));
        assertEquals(3, dear.length);
        assertEquals("60.0", dear[0].split(",")[0], "no evaluation: the left margin");
        assertEquals("540.0", dear[2].split(",")[0], "4000 evaluations, the most: the right margin");
        assertEquals(dear[1].split(",")[0], cheap[2].split(",")[0], "2000 evaluations");
        assertEquals(cheap[0], dear[0], "both begin at .5");
        assertEquals(.16 / .22, (y(cheap[2]) - y(cheap[0])) / (y(dear[1]) - y(dear[0])), .001, "they rise to .66 and to .72");

        String html = Files.readString(folder.resolve("report.html"));
        assertFalse(html.contains("{{"), "every place of the template is filled");
        assertFalse(html.matches("(?s).*(src|href)=\"(?!data:).*"), "it needs no other file");
        assertTrue(html.contains("<td>7 (36 %)</td><td>1,455 (73 %)</td>"), "the mean of the dear arm passes .66, the other's last, after 16/22 of 10 updates of 200 rows; the other had 20 of 100");
        assertTrue(html.contains("--arm &quot;a:b=&lt;c&gt;&quot;"));
        assertTrue(html.contains("uPlot=function") || html.contains("uPlot = "), "the chart library is in it");
        int at = html.indexOf("const data = ") + "const data = ".length();
        JsonNode data = new JsonMapper().readTree(html.substring(at, html.indexOf(";\n", at)));
        JsonNode byEvaluations = data.get("charts").get(1).get("lines").get(1);
        assertEquals(4000, byEvaluations.get("x").get(2).asDouble());
        assertEquals(.82, byEvaluations.get("mean").get(2).asDouble(), 1e-12);
        assertEquals(1, data.get("rates").get("lines").size(), "outcome has no turning points");
    }

    private static String[] points(Node line) { return line.getAttributes().getNamedItem("points").getNodeValue().strip().split(" "); }

    private static double y(String point) { return Double.parseDouble(point.split(",")[1]); }

    @Test
    void armsAndLists() {
        assertEquals(List.of("credit.mode=turning-point", "credit.balancing=reward"), DEAR.assignments());
        Arm any = Arm.parse("wide:sampler.steps=10,train.lora_targets=[attn.to_qkv, attn.to_out.0],seed=3");
        assertEquals(List.of("sampler.steps=10", "train.lora_targets=[attn.to_qkv, attn.to_out.0]", "seed=3"), any.assignments());
        assertEquals(10, any.configure(RunConfig.glyph(), 7).sampler().steps());
        assertEquals(7, any.configure(RunConfig.glyph(), 7).seed());
        assertThrows(ConfigException.class, () -> Arm.parse("../x:seed=1"));
        assertThrows(ConfigException.class, () -> Arm.parse("turning-points").configure(RunConfig.glyph(), 1));
        assertThrows(ConfigException.class, () -> new Comparison(folder, RunConfig.glyph(), List.of(CHEAP, CHEAP), 2, ""));
    }

    @Test
    void metricsAreReadWithTheirLine() throws Exception {
        var run = new RunFolder(folder);
        Files.writeString(run.metrics(), """
                {"step":0,"eval/reward_avg":0.5,"epoch":0,"network_evaluations":0,"reward_calls":0}
                {"step":1,"reward_avg":0.55,"process_reward/bonus_trigger_0_ratio":0.5,"process_reward/bonus_trigger_1_ratio":0.25,"network_evaluations":90,"reward_calls":8}
                {"step":2,"reward_avg":0.55,"process_reward/bonus_trigger_0_ratio":0.1,"process_reward/bonus_trigger_1_ratio":0.75,"network_evaluations":100,"reward_calls":8}
                {"step":2,"eval/reward_avg":0.75,"epoch":1,"network_evaluations":100,"reward_calls":8}
                """);
        var timing = new Timing(folder);
        timing.took(1, 2.5);
        timing.took(2, 99);
        timing.took(1, 3.5);
        Curve curve = Curve.read(run, new Timing(folder));
        assertEquals(new Point(1, 2, 100, 8, 3.5, .75), curve.last());
        assertEquals(List.of(.3, .5), curve.turningPointRates());
        assertEquals(.625, curve.reward(Axis.EVALUATIONS, 50), 1e-12);
        assertTrue(Double.isNaN(curve.reward(Axis.UPDATES, 3)));
        Files.writeString(run.metrics(), "{\"step\":0,\"eval/reward_avg\":0.5,\"epoch\":0}\n");
        assertTrue(assertThrows(UncheckedIOException.class, () -> Curve.read(run, timing)).getMessage().contains("metrics.jsonl:1"));
    }
}
