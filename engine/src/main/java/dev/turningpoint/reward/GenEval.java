package dev.turningpoint.reward;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.EnumSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * GenEval's rules: whether what a detector found in an image is what the prompt asks for. They see detections and a way to tell an object's colour, no model.
 *
 * @see <a href="https://arxiv.org/abs/2310.11513">GenEval</a>
 */
final class GenEval {
    /** The colours that an object can have. */
    static final List<String> COLOURS = List.of("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white");

    private static final double THRESHOLD = 0.3, COUNTING_THRESHOLD = 0.9, MARGIN = 0.1, DIRECTION = 0.5, NO_OFFSET = 1e-3;
    private static final int MOST_OBJECTS = 16;

    private GenEval() {}

    /** Where one object lies as seen from another. */
    enum Relation {
        LEFT_OF, RIGHT_OF, ABOVE, BELOW;

        String text() {
            return name().toLowerCase(java.util.Locale.ROOT).replace('_', ' ');
        }

        static Relation of(Object text) {
            for (Relation r : values()) if (r.text().equals(text)) return r;
            throw new IllegalArgumentException("'" + text + "' is no position; there are: left of, right of, above, below");
        }
    }

    /**
     * Objects that a prompt asks for.
     *
     * @param name     of their class
     * @param count    how many
     * @param colour   of all of them; null for any
     * @param relation to the objects of an earlier clause; null for anywhere
     * @param target   index of that clause
     */
    record Clause(String name, int count, String colour, Relation relation, int target) {}

    /**
     * What a prompt asks for.
     *
     * @param tag     its kind: counting asks for surer detections
     * @param include what must be there
     * @param exclude classes and the number of them that must not be reached
     */
    record Request(String tag, List<Clause> include, List<Clause> exclude) {

        /**
         * Reads a line of flow_grpo's {@code train_metadata.jsonl}.
         *
         * @return null if it asks for nothing: there is no {@code include}
         * @throws IllegalArgumentException that says what is wrong with it
         */
        static Request of(Map<String, Object> metadata) {
            if (!metadata.containsKey("include")) return null;
            var request = new Request(String.valueOf(metadata.getOrDefault("tag", "")), clauses(metadata, "include"), clauses(metadata, "exclude"));
            if (request.include.isEmpty()) throw new IllegalArgumentException("'include' is empty");
            return request;
        }

        private static List<Clause> clauses(Map<String, Object> metadata, String key) {
            if (!(metadata.getOrDefault(key, List.of()) instanceof List<?> list)) throw new IllegalArgumentException("'" + key + "' is no list");
            var clauses = new ArrayList<Clause>();
            for (Object entry : list) {
                if (!(entry instanceof Map<?, ?> map)) throw new IllegalArgumentException("'" + key + "' has an entry that is no object");
                if (!(map.get("class") instanceof String name)) throw new IllegalArgumentException("'" + key + "' has an entry without 'class'");
                if (!(map.get("count") instanceof Integer count) || count < 1) throw new IllegalArgumentException("'" + name + "' has no 'count' of at least 1");
                Object colour = map.get("color");
                if (colour != null && !COLOURS.contains(colour)) throw new IllegalArgumentException("'" + colour + "' is no colour; there are: " + String.join(", ", COLOURS));
                Relation relation = null;
                int target = -1;
                if (map.get("position") != null) {
                    if (!(map.get("position") instanceof List<?> position) || position.size() != 2 || !(position.get(1) instanceof Integer of))
                        throw new IllegalArgumentException("'position' of '" + name + "' is not a relation and the number of an earlier clause");
                    relation = Relation.of(position.get(0));
                    target = of;
                    if (target < 0 || target >= clauses.size()) throw new IllegalArgumentException("'position' of '" + name + "' names clause " + target + ", which is not an earlier one");
                }
                clauses.add(new Clause(name, count, (String) colour, relation, target));
            }
            return List.copyOf(clauses);
        }
    }

    /**
     * An object that a detector found.
     *
     * @param name  of its class
     * @param score 0 to 1
     * @param box   left, top, right, bottom, in pixels
     * @param mask  whether each pixel of the image belongs to it, row by row; null if the detector does not tell
     */
    record Found(String name, double score, double[] box, boolean[] mask) {}

    /** Tells the colour of each of some objects of a class. */
    interface Colours {
        List<String> of(List<Found> objects, String name);
    }

    /**
     * @param score   what training is rewarded with: the mean over counts, colours and positions of how well each is met; may be negative
     * @param exact   whether everything is there exactly as often as asked for, in its colour and place
     * @param reasons what is not
     */
    record Verdict(double score, boolean exact, List<String> reasons) {}

    /** What counts as found: the surest 16 of each class above the threshold, surest first. */
    static Map<String, List<Found>> kept(List<Found> all, String tag) {
        double threshold = tag.equals("counting") ? COUNTING_THRESHOLD : THRESHOLD;
        var kept = new LinkedHashMap<String, List<Found>>();
        all.stream().filter(f -> f.score > threshold).sorted(Comparator.comparingDouble(Found::score).reversed()).forEach(f -> {
            List<Found> of = kept.computeIfAbsent(f.name, _ -> new ArrayList<>());
            if (of.size() < MOST_OBJECTS) of.add(f);
        });
        return kept;
    }

    /**
     * The training reward: for each clause 1 - |found - count| / count; then, if the count is right, the same of its colour, and 0 or 1 for its place; if it is
     * wrong, one 0 for what else was asked. A place is looked at only if the colour is right, and it is 0 if its target is not as asked.
     *
     * @param asPublished a wrong place of objects that are there counts as 0 and as 1, as flow_grpo's server counts it
     */
    static Verdict judge(Request request, Map<String, List<Found>> found, Colours colours, boolean asPublished) {
        var scores = new ArrayList<Double>();
        var reasons = new ArrayList<String>();
        var matched = new ArrayList<List<Found>>();
        for (Clause c : request.include) {
            List<Found> objects = found.getOrDefault(c.name, List.of());
            boolean right = objects.size() == c.count;
            scores.add(closeness(objects.size(), c.count));
            if (!right) {
                reasons.add("expected " + c.count + " " + c.name + ", found " + objects.size());
                if (c.colour != null || c.relation != null) scores.add(0.0);
            }
            if (right && c.colour != null) {
                int coloured = java.util.Collections.frequency(colours.of(objects, c.name), c.colour);
                scores.add(closeness(coloured, c.count));
                right = coloured == c.count;
                if (!right) reasons.add("expected " + c.count + " " + c.colour + " " + c.name + ", found " + coloured);
            }
            if (right && c.relation != null) {
                List<Found> targets = matched.get(c.target);
                right = targets != null && holds(c.relation, objects, targets);
                scores.add(right ? 1.0 : 0.0);
                if (!right && targets != null && asPublished) scores.add(1.0);
                if (!right) reasons.add(targets == null ? "no target for " + c.name + " to be " + c.relation.text() : c.name + " is not " + c.relation.text() + " its target");
            }
            matched.add(right ? objects : null);
        }
        double sum = 0;
        for (double s : scores) sum += s;
        return new Verdict(sum / scores.size(), reasons.isEmpty(), List.copyOf(reasons));
    }

    /** GenEval's own verdict: at least as many as asked for, judged by the surest of them, and what is excluded is not there. */
    static boolean correct(Request request, Map<String, List<Found>> found, Colours colours) {
        var matched = new ArrayList<List<Found>>();
        boolean correct = true;
        for (Clause c : request.include) {
            List<Found> objects = found.getOrDefault(c.name, List.of());
            boolean right = objects.size() >= c.count;
            if (right) {
                objects = objects.subList(0, c.count);
                right = c.colour == null || java.util.Collections.frequency(colours.of(objects, c.name), c.colour) >= c.count;
                if (right && c.relation != null) right = matched.get(c.target) != null && holds(c.relation, objects, matched.get(c.target));
            }
            correct &= right;
            matched.add(right ? objects : null);
        }
        for (Clause c : request.exclude) correct &= found.getOrDefault(c.name, List.of()).size() < c.count;
        return correct;
    }

    private static double closeness(int found, int count) {
        return 1 - Math.abs(count - found) / (double) count;
    }

    private static boolean holds(Relation relation, List<Found> objects, List<Found> targets) {
        for (Found object : objects) for (Found target : targets) if (!relations(object.box, target.box).contains(relation)) return false;
        return true;
    }

    /**
     * Where box a lies as seen from box b: the distance of their centres, shortened by a tenth of both sizes, over its length before; a direction holds where a
     * component exceeds a half.
     */
    static Set<Relation> relations(double[] a, double[] b) {
        double x = (a[0] + a[2]) / 2 - (b[0] + b[2]) / 2, y = (a[1] + a[3]) / 2 - (b[1] + b[3]) / 2;
        double dx = shortened(x, Math.abs(a[2] - a[0]) + Math.abs(b[2] - b[0])), dy = shortened(y, Math.abs(a[3] - a[1]) + Math.abs(b[3] - b[1]));
        var relations = EnumSet.noneOf(Relation.class);
        if (Math.abs(dx) < NO_OFFSET && Math.abs(dy) < NO_OFFSET) return relations;
        double length = Math.hypot(x, y);
        if (dx / length < -DIRECTION) relations.add(Relation.LEFT_OF);
        if (dx / length > DIRECTION) relations.add(Relation.RIGHT_OF);
        if (dy / length < -DIRECTION) relations.add(Relation.ABOVE);
        if (dy / length > DIRECTION) relations.add(Relation.BELOW);
        return relations;
    }

    private static double shortened(double offset, double sizes) {
        return Math.max(Math.abs(offset) - MARGIN * sizes, 0) * Math.signum(offset);
    }
}
