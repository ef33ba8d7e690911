package dev.turningpoint.reward;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.turningpoint.data.Prompt;
import dev.turningpoint.image.ImageBatch;
import dev.turningpoint.image.RgbImage;
import dev.turningpoint.onnx.OnnxException;
import dev.turningpoint.reward.GenEval.Colours;
import dev.turningpoint.reward.GenEval.Found;
import dev.turningpoint.reward.GenEval.Relation;
import dev.turningpoint.reward.GenEval.Request;
import dev.turningpoint.reward.GenEval.Verdict;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import tools.jackson.core.type.TypeReference;
import tools.jackson.databind.json.JsonMapper;

/** Every clause of the rules on detections made by hand, and the way from an image to them. */
class GenEvalTest {
    private static final Path MODELS = Path.of("src/test/resources/models");
    private static final Colours NO_COLOURS = (objects, name) -> { throw new AssertionError("nobody asked for a colour"); };

    @TempDir Path folder;

    private static Request request(String json) {
        return Request.of(new JsonMapper().readValue(json.replace('\'', '"'), new TypeReference<Map<String, Object>>() {}));
    }

    private static Found found(String name, double score, double... box) {
        return new Found(name, score, box.length == 0 ? new double[] {0, 0, 10, 10} : box, null);
    }

    private static Map<String, List<Found>> objects(Found... all) {
        return GenEval.kept(List.of(all), "");
    }

    private static Map<String, List<Found>> some(String name, int count) {
        return objects(Collections.nCopies(count, found(name, 0.9)).toArray(Found[]::new));
    }

    /** The first {@code n} objects have the colour, the others are black. */
    private static Colours first(int n, String colour) {
        return (objects, name) -> {
            var colours = new ArrayList<>(Collections.nCopies(objects.size(), "black"));
            for (int i = 0; i < Math.min(n, objects.size()); i++) colours.set(i, colour);
            return colours;
        };
    }

    private static Verdict judge(String json, Map<String, List<Found>> found, Colours colours) {
        return GenEval.judge(request(json), found, colours, false);
    }

    // What is kept.

    @Test
    void detectionsMustExceedTheThreshold() {
        List<Found> all = List.of(found("cat", 0.3), found("cat", 0.31), found("cat", 0.9), found("cat", 0.91), found("dog", 0.29));
        assertEquals(List.of(0.91, 0.9, 0.31), GenEval.kept(all, "colors").get("cat").stream().map(Found::score).toList());
        assertEquals(List.of(0.91), GenEval.kept(all, "counting").get("cat").stream().map(Found::score).toList());
        assertEquals(Set.of("cat"), GenEval.kept(all, "colors").keySet());
    }

    @Test
    void theSurestSixteenOfAClassAreKept() {
        var all = new ArrayList<Found>();
        for (int i = 0; i < 20; i++) all.add(found("cat", 0.4 + i / 100.0));
        all.add(found("dog", 0.5));
        var kept = GenEval.kept(all, "");
        assertEquals(16, kept.get("cat").size());
        assertEquals(0.59, kept.get("cat").getFirst().score(), 1e-12);
        assertEquals(0.44, kept.get("cat").getLast().score(), 1e-12);
        assertEquals(1, kept.get("dog").size());
    }

    // Counts: 1 - |n - k| / k.

    @ParameterizedTest
    @CsvSource({"1, 0, 0", "1, 1, 1", "1, 2, 0", "1, 4, -2", "3, 0, 0", "3, 1, 0.3333333333333333", "3, 2, 0.6666666666666667", "3, 3, 1", "3, 4, 0.6666666666666667", "2, 5, -0.5"})
    void aCountScoresByItsDistance(int asked, int there, double expected) {
        Verdict v = judge("{'include': [{'class': 'cat', 'count': " + asked + "}]}", some("cat", there), NO_COLOURS);
        assertEquals(expected, v.score(), 1e-15);
        assertEquals(asked == there, v.exact());
        assertEquals(asked == there ? List.of() : List.of("expected " + asked + " cat, found " + there), v.reasons());
    }

    @Test
    void severalClassesAreAveraged() {
        String json = "{'include': [{'class': 'cat', 'count': 1}, {'class': 'dog', 'count': 2}]}";
        assertEquals(1, judge(json, objects(found("cat", 0.9), found("dog", 0.9), found("dog", 0.8)), NO_COLOURS).score());
        assertEquals(0.75, judge(json, objects(found("cat", 0.9), found("dog", 0.9)), NO_COLOURS).score());
        assertEquals(0.5, judge(json, objects(found("cat", 0.9)), NO_COLOURS).score());
        assertEquals(0, judge(json, objects(found("bird", 0.9)), NO_COLOURS).score());
    }

    // Colours.

    @ParameterizedTest
    @CsvSource({"2, 2, 2, 1, true", "2, 2, 1, 0.75, false", "2, 2, 0, 0.5, false", "1, 1, 1, 1, true", "1, 1, 0, 0.5, false"})
    void aColourScoresByTheNumberThatHasIt(int asked, int there, int coloured, double expected, boolean exact) {
        Verdict v = judge("{'include': [{'class': 'cat', 'count': " + asked + ", 'color': 'red'}]}", some("cat", there), first(coloured, "red"));
        assertEquals(expected, v.score(), 1e-15);
        assertEquals(exact, v.exact());
        if (!exact) assertEquals(List.of("expected " + asked + " red cat, found " + coloured), v.reasons());
    }

    /** One 0 stands for the colour; nobody looks for it. */
    @ParameterizedTest
    @CsvSource({"1, 0, 0", "1, 2, 0", "2, 1, 0.25", "2, 3, 0.25"})
    void aWrongCountAddsOneZeroForTheColour(int asked, int there, double expected) {
        assertEquals(expected, judge("{'include': [{'class': 'cat', 'count': " + asked + ", 'color': 'red'}]}", some("cat", there), NO_COLOURS).score(), 1e-15);
    }

    // Positions.

    private static final String LEFT = "{'include': [{'class': 'dog', 'count': 1}, {'class': 'cat', 'count': 1, 'position': ['left of', 0]}]}";

    @Test
    void aPositionIsZeroOrOne() {
        Found dog = found("dog", 0.9, 50, 0, 60, 10);
        assertEquals(1, judge(LEFT, objects(dog, found("cat", 0.9, 0, 0, 10, 10)), NO_COLOURS).score());
        Verdict wrong = judge(LEFT, objects(dog, found("cat", 0.9, 90, 0, 100, 10)), NO_COLOURS);
        assertEquals(2 / 3.0, wrong.score(), 1e-15);
        assertEquals(List.of("cat is not left of its target"), wrong.reasons());
        assertFalse(wrong.exact());
    }

    /** The published server counts a wrong place of objects that are there as 0 and as 1. */
    @Test
    void aWrongPositionAsPublishedIsZeroAndOne() {
        var there = objects(found("dog", 0.9, 50, 0, 60, 10), found("cat", 0.9, 90, 0, 100, 10));
        assertEquals((1 + 1 + 0 + 1) / 4.0, GenEval.judge(request(LEFT), there, NO_COLOURS, true).score(), 1e-15);
        var noTarget = objects(found("cat", 0.9, 90, 0, 100, 10));
        assertEquals((0 + 1 + 0) / 3.0, GenEval.judge(request(LEFT), noTarget, NO_COLOURS, true).score(), 1e-15);
        var right = objects(found("dog", 0.9, 50, 0, 60, 10), found("cat", 0.9, 0, 0, 10, 10));
        assertEquals(1, GenEval.judge(request(LEFT), right, NO_COLOURS, true).score());
    }

    @Test
    void aPositionWithoutItsTargetIsZero() {
        Verdict v = judge(LEFT, objects(found("cat", 0.9)), NO_COLOURS);
        assertEquals((0 + 1 + 0) / 3.0, v.score(), 1e-15);
        assertEquals(List.of("expected 1 dog, found 0", "no target for cat to be left of"), v.reasons());
        v = judge(LEFT, objects(found("cat", 0.9), found("dog", 0.9), found("dog", 0.8)), NO_COLOURS);   // two dogs are no target either
        assertEquals((0 + 1 + 0) / 3.0, v.score(), 1e-15);
    }

    @Test
    void aWrongCountAddsOneZeroForThePositionAndOnlyOneForBoth() {
        assertEquals((1 + 0 + 0) / 3.0, judge(LEFT, objects(found("dog", 0.9)), NO_COLOURS).score(), 1e-15);
        String both = "{'include': [{'class': 'dog', 'count': 1}, {'class': 'cat', 'count': 1, 'color': 'red', 'position': ['left of', 0]}]}";
        assertEquals((1 + 0 + 0) / 3.0, judge(both, objects(found("dog", 0.9)), NO_COLOURS).score(), 1e-15);
    }

    /** A wrong colour ends the clause: its place is not looked at, and it is no target for others. */
    @Test
    void aWrongColourEndsItsClause() {
        String json = "{'include': [{'class': 'dog', 'count': 1, 'color': 'red'}, {'class': 'cat', 'count': 1, 'color': 'red', 'position': ['left of', 0]}]}";
        var there = objects(found("dog", 0.9, 50, 0, 60, 10), found("cat", 0.9, 0, 0, 10, 10));
        assertEquals(1, judge(json, there, first(1, "red")).score());
        Colours onlyCats = (objects, name) -> Collections.nCopies(objects.size(), name.equals("cat") ? "red" : "blue");
        assertEquals((1 + 0 + 1 + 1 + 0) / 5.0, judge(json, there, onlyCats).score(), 1e-15);
        Colours onlyDogs = (objects, name) -> Collections.nCopies(objects.size(), name.equals("dog") ? "red" : "blue");
        assertEquals((1 + 1 + 1 + 0) / 4.0, judge(json, there, onlyDogs).score(), 1e-15);
    }

    @Test
    void everyObjectMustStandInItsPlace() {
        String json = "{'include': [{'class': 'dog', 'count': 1}, {'class': 'cat', 'count': 2, 'position': ['above', 0]}]}";
        Found dog = found("dog", 0.9, 0, 100, 10, 110);
        assertEquals(1, judge(json, objects(dog, found("cat", 0.9, 0, 0, 10, 10), found("cat", 0.8, 0, 20, 10, 30)), NO_COLOURS).score());
        assertEquals(2 / 3.0, judge(json, objects(dog, found("cat", 0.9, 0, 0, 10, 10), found("cat", 0.8, 0, 200, 10, 210)), NO_COLOURS).score(), 1e-15);
    }

    /** Boxes of 10 x 10: the margin is a tenth of both sizes, 2 pixels; a direction needs more than half of the distance. */
    @ParameterizedTest
    @CsvSource({
        "-50, 0, LEFT_OF", "50, 0, RIGHT_OF", "0, -50, ABOVE", "0, 50, BELOW",
        "-50, -50, LEFT_OF ABOVE",           // (48, 48) / 70.7 = .68 each
        "50, 50, RIGHT_OF BELOW",
        "50, -20, RIGHT_OF",                 // (48, 18) / 53.9
        "2, 0, ''", "-2, 2, ''",             // within the margin
        "2.0009, 0, ''",                     // shortened below a thousandth
        "3, 0, ''",                          // 1 / 3
        "4, 0, ''",                          // 2 / 4, not more than half
        "4.1, 0, RIGHT_OF",
        "0, 0, ''",
    })
    void directionsAreThoseOfTheShortenedDistance(double dx, double dy, String expected) {
        double[] b = {100, 100, 110, 110}, a = {100 + dx, 100 + dy, 110 + dx, 110 + dy};
        assertEquals(expected, String.join(" ", GenEval.relations(a, b).stream().map(Relation::name).toList()));
    }

    @Test
    void largeObjectsNeedMoreDistance() {
        double[] large = {0, 0, 200, 100}, small = {230, 45, 240, 55};   // centres 135 apart, margin 0.1 * 210
        assertEquals(Set.of(Relation.RIGHT_OF), GenEval.relations(small, large));
        assertEquals(Set.of(), GenEval.relations(new double[] {130, 45, 140, 55}, large));   // 35 - 21 over 35
    }

    // GenEval's own verdict.

    @Test
    void correctMeansAtLeastAndJudgesTheSurest() {
        Request two = request("{'include': [{'class': 'cat', 'count': 2, 'color': 'red'}]}");
        assertTrue(GenEval.correct(two, some("cat", 3), first(2, "red")));
        assertFalse(GenEval.correct(two, some("cat", 3), (objects, name) -> List.of("black", "red")));
        assertFalse(GenEval.correct(two, some("cat", 1), first(2, "red")));
        Request left = request(LEFT);
        assertTrue(GenEval.correct(left, objects(found("dog", 0.9, 50, 0, 60, 10), found("dog", 0.5, 0, 0, 10, 10), found("cat", 0.9, 0, 0, 10, 10)), NO_COLOURS));
        assertFalse(GenEval.correct(left, objects(found("dog", 0.5, 50, 0, 60, 10), found("dog", 0.9, 0, 0, 10, 10), found("cat", 0.9, 0, 0, 10, 10)), NO_COLOURS));
        assertFalse(GenEval.correct(left, objects(found("cat", 0.9)), NO_COLOURS));
    }

    @Test
    void whatIsExcludedMustNotBeReached() {
        Request three = request("{'tag': 'counting', 'include': [{'class': 'cat', 'count': 3}], 'exclude': [{'class': 'cat', 'count': 4}, {'class': 'dog', 'count': 1}]}");
        assertEquals("counting", three.tag());
        assertTrue(GenEval.correct(three, some("cat", 3), NO_COLOURS));
        assertFalse(GenEval.correct(three, some("cat", 4), NO_COLOURS));
        assertFalse(GenEval.correct(three, objects(found("cat", 0.9), found("cat", 0.9), found("cat", 0.9), found("dog", 0.5)), NO_COLOURS));
        assertTrue(GenEval.judge(three, objects(found("cat", 0.9), found("cat", 0.9), found("cat", 0.9), found("dog", 0.5)), NO_COLOURS, false).exact(), "the training reward does not look at it");
    }

    // Metadata.

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
        "{'include': []} | 'include' is empty",
        "{'include': 3} | 'include' is no list",
        "{'include': ['cat']} | 'include' has an entry that is no object",
        "{'include': [{'count': 1}]} | 'include' has an entry without 'class'",
        "{'include': [{'class': 'cat'}]} | 'cat' has no 'count' of at least 1",
        "{'include': [{'class': 'cat', 'count': 0}]} | 'cat' has no 'count' of at least 1",
        "{'include': [{'class': 'cat', 'count': 1, 'color': 'mauve'}]} | 'mauve' is no colour; there are: red, orange, yellow, green, blue, purple, pink, brown, black, white",
        "{'include': [{'class': 'cat', 'count': 1, 'position': 'left'}]} | 'position' of 'cat' is not a relation and the number of an earlier clause",
        "{'include': [{'class': 'cat', 'count': 1, 'position': ['left of', 0]}]} | 'position' of 'cat' names clause 0, which is not an earlier one",
        "{'include': [{'class': 'dog', 'count': 1}, {'class': 'cat', 'count': 1, 'position': ['beside', 0]}]} | 'beside' is no position; there are: left of, right of, above, below",
    })
    void wrongMetadataIsNamed(String json, String expected) {
        // A double-quoted copy of the message: the request's own quotes were turned by the test.
        assertEquals(expected, assertThrows(IllegalArgumentException.class, () -> request(json)).getMessage());
        assertNull(request("{'prompt': 'a cat'}"));
    }

    // From an image to its reward.

    private RewardMix mix(String classes, String... more) throws IOException {
        Path names = Files.writeString(folder.resolve("classes.txt"), classes);
        var options = new HashMap<>(Map.of("detector_model", MODELS.resolve("detector.onnx").toString(), "classes", names.toString(), "image_model", MODELS.resolve("clip_image.onnx").toString(),
                "text_model", MODELS.resolve("clip_text.onnx").toString(), "tokenizer", MODELS.resolve("clip_tokenizer.json").toString()));
        for (String m : more) options.put(m.substring(0, m.indexOf('=')), m.substring(m.indexOf('=') + 1));
        Reward reward = new RewardSettings("k", options, s -> {}).create("geneval");
        return new RewardMix(List.of(new RewardMix.Term("geneval", reward, true, 1, RewardMix.Normalize.NONE, -1e9, 1e9, true)), 2, false);
    }

    /** An image whose first row tells the detector what to find; its lower right half is green. */
    private static ImageBatch image(Arena arena, int... said) {
        var images = ImageBatch.allocate(arena, 1, 3, 40, 48);
        for (int y = 0; y < 40; y++)
            for (int x = 0; x < 48; x++) {
                images.set(0, 0, y, x, (y == 0 ? x < said.length ? said[x] : 0 : 5 * x) / 127.5f - 1);
                images.set(0, 1, y, x, (x + y > 44 ? 200 : 30) / 127.5f - 1);
                images.set(0, 2, y, x, 6 * y / 127.5f - 1);
            }
        return images;
    }

    private static RewardBatch batch(ImageBatch images, String metadata) {
        Map<String, Object> map = new JsonMapper().readValue(metadata.replace('\'', '"'), new TypeReference<Map<String, Object>>() {});
        return new RewardBatch(images, List.of(Prompt.of("a photo", map)));
    }

    @Test
    void detectionsComeFromTheModel() throws IOException {
        try (Arena arena = Arena.ofShared(); RewardMix mix = mix("cat\n\ndog\n"); RewardMix correct = mix("cat\n\ndog\n", "measure=correct"); RewardMix exact = mix("cat\n\ndog\n", "measure=exact")) {
            // a cat at the left, a dog at the right, and an object of a label without a name
            ImageBatch images = image(arena, 2, 10, 12, 20, 240, 0, 34, 10, 44, 20, 100, 2, 0, 0, 9, 9, 250, 1);
            String left = "{'tag': 'position', 'include': [{'class': 'dog', 'count': 1}, {'class': 'cat', 'count': 1, 'position': ['left of', 0]}]}";
            assertArrayEquals(new float[] {1}, mix.score(0, batch(images, left)));
            assertArrayEquals(new float[] {2 / 3f}, mix.score(0, batch(images, left.replace("left of", "right of"))));
            assertArrayEquals(new float[] {0}, exact.score(0, batch(images, left.replace("left of", "right of"))));
            assertArrayEquals(new float[] {1}, correct.score(0, batch(images, left)));
            assertArrayEquals(new float[] {0}, mix.score(0, batch(images, "{'tag': 'counting', 'include': [{'class': 'dog', 'count': 1}]}")), "100 / 255 is not sure enough for counting");
            assertArrayEquals(new float[] {Float.NaN}, mix.score(0, batch(images, "{'prompt': 'x'}")));
            String message = assertThrows(RewardException.class, () -> mix.score(0, batch(images, "{'include': [{'class': 'cow', 'count': 1}]}"))).getMessage();
            assertEquals("the metadata of <a photo> is not GenEval's: the detector knows no class 'cow'; its file of classes has to name it", message);
        }
        try (Arena arena = Arena.ofShared(); RewardMix mix = mix("cat\n")) {
            ImageBatch images = image(arena, 2, 10, 12, 20, 240, 7);
            String message = assertThrows(RewardException.class, () -> mix.score(0, batch(images, "{'include': [{'class': 'cat', 'count': 1}]}"))).getMessage();
            assertEquals(MODELS.resolve("detector.onnx") + " found an object of label 7; the file of classes has 1 lines", message);
        }
    }

    /** The colour is the one whose three texts are nearest to the object on grey: put together here by hand. */
    @Test
    void coloursAreJudgedByClip() throws IOException {
        var settings = new RewardSettings("k", Map.of("image_model", MODELS.resolve("clip_image.onnx").toString(), "text_model", MODELS.resolve("clip_text.onnx").toString(), "tokenizer",
                MODELS.resolve("clip_tokenizer.json").toString()), s -> {});
        int[][] boxes = {{2, 10, 12, 20}, {20, 12, 44, 38}, {5, 22, 40, 32}};
        try (Arena arena = Arena.ofShared(); RewardMix mix = mix("cat\n"); var clip = new ClipModel(settings, true, ClipImage.Crop.TORCHVISION)) {
            for (int[] box : boxes) {
                ImageBatch images = image(arena, box[0], box[1], box[2], box[3], 240, 0);
                RgbImage picture = RgbImage.of(images, 0);
                var cut = new byte[(box[2] - box[0]) * (box[3] - box[1]) * 3];
                int at = 0;
                for (int y = box[1]; y < box[3]; y++)
                    for (int x = box[0]; x < box[2]; x++)
                        for (int c = 0; c < 3; c++) cut[at++] = x + y > 44 ? (byte) picture.get(x, y, c) : (byte) 153;
                float[] seen = clip.embed(new RgbImage(box[2] - box[0], box[3] - box[1], cut));
                String nearest = null;
                double most = -2;
                for (String colour : GenEval.COLOURS) {
                    var mean = new double[5];
                    for (String text : List.of("a photo of a " + colour + " cat", "a photo of a " + colour + "-colored cat", "a photo of a " + colour + " object")) {
                        float[] v = clip.embed(text);
                        for (int i = 0; i < 5; i++) mean[i] += v[i];
                    }
                    double norm = 0, dot = 0;
                    for (int i = 0; i < 5; i++) {
                        norm += mean[i] * mean[i];
                        dot += mean[i] * seen[i];
                    }
                    if (dot / Math.sqrt(norm) > most) {
                        most = dot / Math.sqrt(norm);
                        nearest = colour;
                    }
                }
                for (String colour : GenEval.COLOURS) {
                    float expected = colour.equals(nearest) ? 1 : 0.5f;
                    assertArrayEquals(new float[] {expected}, mix.score(0, batch(images, "{'include': [{'class': 'cat', 'count': 1, 'color': '" + colour + "'}]}")), colour + ", nearest is " + nearest);
                }
            }
        }
    }

    @Test
    void whatDoesNotFitIsNamed() {
        String message = assertThrows(OnnxException.class, () -> mix("cat", "detector_model=" + MODELS.resolve("clip_image.onnx"))).getMessage();
        assertEquals(MODELS.resolve("clip_image.onnx") + " has no input 'image' of type FLOAT and shape [1, 3, any, any]; it has: 'pixel_values' is FLOAT [any, 3, 8, 8]", message);
        message = assertThrows(RewardException.class, () -> mix("cat", "measure=best")).getMessage();
        assertEquals("k.measure must be one of score, exact, correct, is 'best'", message);
        message = assertThrows(RewardException.class, () -> mix("cat", "as_published=1")).getMessage();
        assertEquals("k.as_published must be one of true, false, is '1'", message);
    }
}
