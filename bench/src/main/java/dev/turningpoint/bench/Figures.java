package dev.turningpoint.bench;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.SerializationFeature;
import tools.jackson.databind.json.JsonMapper;

/** A report's figures as JSON, and two of them held against each other. Ratios to the peer are what is compared: they survive another machine and a busy one better than times. */
final class Figures {
    private static final JsonMapper JSON = JsonMapper.builder().enable(SerializationFeature.INDENT_OUTPUT).build();
    /** A ratio counts as lower if even the best of its rounds is so much below the worst of the stored ones. */
    private static final double TOLERANCE = 0.9;

    private Figures() {}

    static void write(Path file, int threads, double triad, List<Row> rows) throws IOException {
        var all = new ArrayList<Map<String, Object>>();
        for (Row r : rows) {
            var one = new LinkedHashMap<String, Object>();
            one.put("threads", threads);
            one.put("work", r.of().title());
            one.put("case", r.of().name());
            one.put("shape", r.of().shape());
            one.put("ours_ns", Row.median(r.ours()));
            one.put("peer_ns", Row.median(r.peer()));
            one.put("ratio", r.ratio());
            one.put("ratio_least", r.interval()[0]);
            one.put("ratio_most", r.interval()[1]);
            one.put("bytes", r.of().bytes());
            one.put("flops", r.of().flops());
            one.put("triad_gb_s", triad);
            if (r.of().flops() > 0) one.put("peak_gflop_s", r.peak().of(r.of().units()));
            one.put("goal", r.of().goal());
            one.put("met", r.met());
            all.add(one);
        }
        Files.write(file, JSON.writeValueAsBytes(all));
    }

    /** Puts several files' figures into one. */
    static byte[] joined(List<Path> files) throws IOException {
        var all = JSON.createArrayNode();
        for (Path f : files) JSON.readTree(Files.readString(f)).forEach(all::add);
        return JSON.writeValueAsBytes(all);
    }

    /**
     * What became slower against the peer, a line each.
     *
     * @throws IllegalArgumentException if the stored file is none of ours
     */
    static List<String> regressions(Path stored, byte[] now) throws IOException {
        JsonNode before;
        try {
            before = JSON.readTree(Files.readString(stored));
        } catch (JacksonException e) {
            throw new IllegalArgumentException(stored + " is not JSON: " + e.getOriginalMessage().lines().findFirst().orElse(""), e);
        }
        var known = new LinkedHashMap<String, JsonNode>();
        for (JsonNode n : before) {
            if (!n.path("ratio_least").isNumber()) throw new IllegalArgumentException(stored + " holds no figures of a benchmark");
            known.put(key(n), n);
        }
        var slower = new ArrayList<String>();
        for (JsonNode n : JSON.readTree(now)) {
            JsonNode old = known.get(key(n));
            if (old != null && n.path("ratio_most").asDouble() < TOLERANCE * old.path("ratio_least").asDouble())
                slower.add(String.format(Locale.ROOT, "%s: %.2fx the peer (at most %.2f), was %.2fx (at least %.2f)", key(n), n.path("ratio").asDouble(), n.path("ratio_most").asDouble(),
                        old.path("ratio").asDouble(), old.path("ratio_least").asDouble()));
        }
        return slower;
    }

    private static String key(JsonNode n) {
        return n.path("work").asString("") + ", " + n.path("case").asString("") + ", " + n.path("threads").asInt() + (n.path("threads").asInt() == 1 ? " thread" : " threads");
    }
}
