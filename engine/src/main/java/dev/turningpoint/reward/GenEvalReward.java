package dev.turningpoint.reward;

import dev.turningpoint.data.Prompt;
import dev.turningpoint.image.RgbImage;
import dev.turningpoint.onnx.OnnxModel;
import dev.turningpoint.reward.GenEval.Found;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/**
 * Whether the image shows the objects, counts, colours and places that the prompt's metadata asks for: a detector, CLIP for colours, and the rules of {@link GenEval}.
 * It applies to prompts whose metadata has {@code include}, as flow_grpo's {@code train_metadata.jsonl}.
 */
public final class GenEvalReward implements Reward {
    private static final int GREY = 0x99;   // around an object whose colour is asked

    private enum Measure { SCORE, EXACT, CORRECT }

    /** Kind {@code geneval}. */
    public static final class Factory implements RewardFactory {
        @Override
        public String kind() {
            return "geneval";
        }

        /**
         * Options of {@link ObjectDetector} and of {@link ClipModel} with texts; {@code measure}: {@code score}, which flow_grpo trains on, {@code exact}, 1 if all is
         * exactly as asked, or {@code correct}, GenEval's own; {@code as_published}: count wrong places as flow_grpo's server does (false).
         */
        @Override
        public Reward create(RewardSettings settings) {
            Measure measure = Measure.valueOf(settings.choice("measure", "score", List.of("score", "exact", "correct")).toUpperCase(java.util.Locale.ROOT));
            boolean asPublished = settings.flag("as_published", false);
            var detector = new ObjectDetector(settings);
            try {
                return new GenEvalReward(detector, new ClipModel(settings, true, ClipImage.Crop.TORCHVISION), measure, asPublished);
            } catch (RuntimeException | Error e) {
                detector.close();
                throw e;
            }
        }
    }

    private final ObjectDetector detector;
    private final ClipModel clip;
    private final Measure measure;
    private final boolean asPublished;
    private final Map<String, float[][]> classifiers = new ConcurrentHashMap<>();

    private GenEvalReward(ObjectDetector detector, ClipModel clip, Measure measure, boolean asPublished) {
        this.detector = detector;
        this.clip = clip;
        this.measure = measure;
        this.asPublished = asPublished;
    }

    @Override
    public float[] score(RewardBatch batch) {
        var scores = new float[batch.count()];
        for (int i = 0; i < scores.length; i++) {
            GenEval.Request request = request(batch.prompts().get(i));
            scores[i] = request == null ? Float.NaN : score(request, RgbImage.of(batch.images(), i));
        }
        return scores;
    }

    private GenEval.Request request(Prompt prompt) {
        try {
            GenEval.Request request = GenEval.Request.of(prompt.metadata());
            if (request != null)
                for (List<GenEval.Clause> clauses : List.of(request.include(), request.exclude()))
                    for (GenEval.Clause c : clauses)
                        if (!detector.classes().contains(c.name())) throw new IllegalArgumentException("the detector knows no class '" + c.name() + "'; its file of classes has to name it");
            return request;
        } catch (IllegalArgumentException e) {
            throw new RewardException("the metadata of <" + prompt.text() + "> is not GenEval's: " + e.getMessage(), e);
        }
    }

    private float score(GenEval.Request request, RgbImage image) {
        Map<String, List<Found>> found = GenEval.kept(detector.find(image), request.tag());
        GenEval.Colours colours = (objects, name) -> objects.stream().map(o -> colour(image, o, name)).toList();
        if (measure == Measure.CORRECT) return GenEval.correct(request, found, colours) ? 1 : 0;
        GenEval.Verdict verdict = GenEval.judge(request, found, colours, asPublished);
        return measure == Measure.SCORE ? (float) verdict.score() : verdict.exact() ? 1 : 0;
    }

    /** The colour whose texts are nearest to what the object looks like. */
    private String colour(RgbImage image, Found object, String name) {
        float[] seen = clip.embed(cut(image, object));
        float[][] classifier = classifiers.computeIfAbsent(name, this::classifier);
        int best = 0;
        for (int c = 1; c < classifier.length; c++) if (ClipModel.dot(seen, classifier[c]) > ClipModel.dot(seen, classifier[best])) best = c;
        return GenEval.COLOURS.get(best);
    }

    /** The object on grey, where the detector tells its shape, within its box. */
    static RgbImage cut(RgbImage image, Found object) {
        byte[] pixels = image.pixels().clone();
        for (int i = 0; object.mask() != null && i < object.mask().length; i++)
            if (!object.mask()[i]) java.util.Arrays.fill(pixels, 3 * i, 3 * i + 3, (byte) GREY);
        int left = (int) Math.rint(object.box()[0]), top = (int) Math.rint(object.box()[1]);
        int right = Math.max(left + 1, (int) Math.rint(object.box()[2])), bottom = Math.max(top + 1, (int) Math.rint(object.box()[3]));
        return new RgbImage(image.width(), image.height(), pixels).crop(left, top, right, bottom);
    }

    /** The mean vector of three texts for each colour. */
    private float[][] classifier(String name) {
        var vectors = new ArrayList<float[]>();
        for (String colour : GenEval.COLOURS) {
            float[] sum = null;
            for (String text : List.of("a photo of a " + colour + " " + name, "a photo of a " + colour + "-colored " + name, "a photo of a " + colour + " object")) {
                float[] vector = clip.embed(text);
                if (sum == null) sum = new float[vector.length];
                for (int i = 0; i < sum.length; i++) sum[i] += vector[i] / 3;
            }
            vectors.add(ClipModel.normalised(sum));
        }
        return vectors.toArray(float[][]::new);
    }

    @Override
    public void close() {
        OnnxModel.closeAll(clip, detector);
    }
}
