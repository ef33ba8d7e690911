package dev.turningpoint.reward;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.turningpoint.data.Prompt;
import dev.turningpoint.image.ImageBatch;
import dev.turningpoint.image.RgbImage;
import dev.turningpoint.onnx.Tokens;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The CLIP family on the small models of {@code models/make_models.py}, against the same computation in double precision. */
class ClipRewardTest {
    private static final Path MODELS = Path.of("src/test/resources/models");
    private static final int SIZE = 8, PATCH = 4, WIDTH = 6, DIM = 5, TOKENS = 77;
    private static final double[] MEAN = {0.48145466, 0.4578275, 0.40821073}, STD = {0.26862954, 0.26130258, 0.27577711};
    private static final List<String> TEXTS = List.of("A CAT", "dog  cat", "toga", "a cat dog");
    private static final int[][] IDS = {{30, 6, 13, 31}, {30, 15, 13, 31}, {30, 5, 4, 3, 6, 31}, {30, 6, 13, 15, 31}};

    static Arena arena;
    static ImageBatch images;   // 8 x 8, so that no resize comes between

    @TempDir Path folder;

    @BeforeAll
    static void draw() {
        arena = Arena.ofShared();
        images = ImageBatch.allocate(arena, 4, 3, SIZE, SIZE);
        var random = new Random(5);
        for (int i = 0; i < 4; i++)
            for (int c = 0; c < 3; c++) for (int p = 0; p < 64; p++) images.set(i, c, p / 8, p % 8, random.nextInt(256) / 127.5f - 1);
    }

    @AfterAll
    static void close() {
        arena.close();
    }

    private static RewardMix mix(String kind, String... options) {
        var map = new HashMap<String, String>();
        for (String o : options) map.put(o.substring(0, o.indexOf('=')), o.substring(o.indexOf('=') + 1));
        return RewardMix.of("x", new RewardSettings("reward.terms.x.options", map, s -> {}).create(kind), 2);
    }

    private static String[] clip(String... more) {
        var all = new java.util.ArrayList<>(List.of("image_model=" + MODELS.resolve("clip_image.onnx"), "text_model=" + MODELS.resolve("clip_text.onnx"),
                "tokenizer=" + MODELS.resolve("clip_tokenizer.json")));
        all.addAll(List.of(more));
        return all.toArray(String[]::new);
    }

    private static RewardBatch batch() {
        return new RewardBatch(images, TEXTS.stream().map(t -> Prompt.of(t, Map.of())).toList());
    }

    /** The models' weights, as their script makes them. */
    private static double[] weights(double phase, double amplitude, int count) {
        return IntStream.range(0, count).mapToDouble(i -> (float) (amplitude * Math.sin(0.7 * i + phase))).toArray();
    }

    private static double[] imageVector(int index) {
        double[] patch = weights(0.1, 0.2, WIDTH * 3 * PATCH * PATCH), bias = weights(0.2, 0.3, WIDTH);
        var pooled = new double[WIDTH];
        for (int w = 0; w < WIDTH; w++)
            for (int py = 0; py < 2; py++)
                for (int px = 0; px < 2; px++) {
                    double sum = bias[w];
                    for (int c = 0; c < 3; c++)
                        for (int y = 0; y < PATCH; y++)
                            for (int x = 0; x < PATCH; x++) {
                                double byteValue = Math.rint((images.get(index, c, py * PATCH + y, px * PATCH + x) / 2.0 + 0.5) * 255);
                                sum += patch[((w * 3 + c) * PATCH + y) * PATCH + x] * (byteValue / 255 - MEAN[c]) / STD[c];
                            }
                    pooled[w] += Math.tanh(sum) / 4;
                }
        return unit(project(pooled, weights(0.3, 0.5, WIDTH * DIM)));
    }

    private static double[] textVector(int[] ids) {
        double[] embedding = weights(0.4, 0.4, 32 * WIDTH), position = weights(0.5, 1, TOKENS);
        var hidden = new double[WIDTH];
        for (int t = 0; t < ids.length; t++) for (int w = 0; w < WIDTH; w++) hidden[w] += embedding[ids[t] * WIDTH + w] * position[t];
        return unit(project(Arrays.stream(hidden).map(Math::tanh).toArray(), weights(0.6, 0.5, WIDTH * DIM)));
    }

    private static double[] project(double[] vector, double[] matrix) {
        var out = new double[DIM];
        for (int i = 0; i < vector.length; i++) for (int d = 0; d < DIM; d++) out[d] += vector[i] * matrix[i * DIM + d];
        return out;
    }

    private static double[] unit(double[] vector) {
        double norm = Math.sqrt(Arrays.stream(vector).map(v -> v * v).sum());
        return Arrays.stream(vector).map(v -> v / norm).toArray();
    }

    private static double dot(double[] a, double[] b) {
        return IntStream.range(0, a.length).mapToDouble(i -> a[i] * b[i]).sum();
    }

    @ParameterizedTest
    @CsvSource({"pickscore, 26, 100", "clip-score, 30, 100", "pickscore, 26, 7.5"})
    void pickScoreAndClipScoreAreTheFormula(String kind, double divisor, double scale) {
        try (var mix = mix(kind, clip("logit_scale=" + scale))) {
            float[] scores = mix.score(0, batch());
            for (int i = 0; i < 4; i++) {
                double expected = scale * dot(imageVector(i), textVector(IDS[i])) / divisor;
                assertEquals(expected, scores[i], 2e-6 * scale / divisor, TEXTS.get(i));
            }
            assertTrue(Math.abs(scores[0] - scores[1]) > 0.01);
        }
    }

    @Test
    void aScoreHasTheSameBitsInAnyBatch() {
        try (var mix = mix("pickscore", clip())) {
            float[] together = mix.score(0, batch());
            for (int i = 0; i < 4; i++)
                assertEquals(together[i], mix.score(0, new RewardBatch(images.slice(i, 1), batch().prompts().subList(i, i + 1)))[0]);
        }
    }

    @Test
    void aestheticIsTheHeadOfTheUnitVector() {
        try (var mix = mix("aesthetic", "image_model=" + MODELS.resolve("clip_image.onnx"), "head_model=" + MODELS.resolve("aesthetic_head.onnx"))) {
            float[] scores = mix.score(0, batch());
            double[] first = weights(0.7, 0.8, DIM * 4), second = weights(0.8, 3, 4);
            for (int i = 0; i < 4; i++) {
                double[] v = imageVector(i);
                double expected = 0;
                for (int h = 0; h < 4; h++) {
                    int column = h;
                    expected += Math.tanh(IntStream.range(0, DIM).mapToDouble(d -> v[d] * first[d * 4 + column]).sum()) * second[h];
                }
                assertEquals(expected, scores[i], 1e-5);
            }
        }
    }

    /** "a cats" is [CLS] a cat ##s [SEP] and padding to 35; "zzz" is unknown. */
    @Test
    void imageRewardReadsImageAndTextTogether() {
        int[][] ids = {{2, 4, 5, 6, 3}, {2, 1, 7, 3}};
        double[] positions = weights(0.9, 0.1, 35), colours = weights(1, 1, 3);
        try (var mix = mix("image-reward", "model=" + MODELS.resolve("image_reward.onnx"), "tokenizer=" + MODELS.resolve("bert_tokenizer.json"))) {
            float[] scores = mix.score(0, new RewardBatch(images.slice(0, 2), List.of(Prompt.of("A cats", Map.of()), Prompt.of("zzz dog", Map.of()))));
            for (int i = 0; i < 2; i++) {
                int image = i;
                double text = 0, picture = 0;
                for (int t = 0; t < ids[i].length; t++) text += ids[i][t] * positions[t];
                for (int c = 0; c < 3; c++) {
                    int channel = c;
                    picture += colours[c] * (IntStream.range(0, 64).mapToDouble(p -> Math.rint((images.get(image, channel, p / 8, p % 8) / 2.0 + 0.5) * 255)).average().orElseThrow() / 255 - MEAN[c]) / STD[c];
                }
                assertEquals(text * picture, scores[i], 1e-5);
            }
        }
    }

    @Test
    void longTextsAreCutAndKeepTheirEnd() {
        try (var tokens = new Tokens(MODELS.resolve("clip_tokenizer.json"), TOKENS)) {
            Tokens.Encoded encoded = tokens.encode("cat ".repeat(200), -1);
            assertEquals(30, encoded.ids()[0]);
            for (int i = 1; i < 76; i++) assertEquals(13, encoded.ids()[i]);
            assertEquals(31, encoded.ids()[76]);
            assertEquals(77, Arrays.stream(encoded.mask()).sum());
            encoded = tokens.encode("A CAT", -1);
            assertArrayEquals(new long[] {30, 6, 13, 31, 31, 31}, Arrays.copyOf(encoded.ids(), 6));
            assertArrayEquals(new long[] {1, 1, 1, 1, 0, 0}, Arrays.copyOf(encoded.mask(), 6));
            assertArrayEquals(new long[] {30, 31, 0}, Arrays.copyOf(tokens.encode("", 0).ids(), 3));
        }
    }

    /** Wider and taller than high, an odd pixel over: against the two rules, on the image that Pillow's resize makes. */
    @Test
    void theMiddleIsCutOut() {
        var random = new Random(9);
        for (int[] shape : new int[][] {{20, 9}, {9, 20}, {8, 8}, {37, 16}, {10, 8}, {11, 8}}) {
            var pixels = new byte[shape[0] * shape[1] * 3];
            random.nextBytes(pixels);
            var image = new RgbImage(shape[0], shape[1], pixels);
            int width = shape[0] <= shape[1] ? 8 : 8 * shape[0] / shape[1], height = shape[1] <= shape[0] ? 8 : 8 * shape[1] / shape[0];
            RgbImage resized = image.resize(width, height);
            float[] got = ClipImage.pixels(image, 8, ClipImage.Crop.HUGGING_FACE);
            for (int c = 0; c < 3; c++)
                for (int y = 0; y < 8; y++)
                    for (int x = 0; x < 8; x++)
                        assertEquals((resized.get(x + (width - 8) / 2, y + (height - 8) / 2, c) / 255.0 - MEAN[c]) / STD[c], got[(c * 8 + y) * 8 + x], 1e-6);
        }
        var wide = new RgbImage(11, 8, new byte[264]);   // three over: the even one of 1 and 2
        for (int y = 0; y < 8; y++) for (int x = 0; x < 11; x++) wide.pixels()[(y * 11 + x) * 3] = (byte) (x * 20);
        assertEquals((20 / 255.0 - MEAN[0]) / STD[0], ClipImage.pixels(wide, 8, ClipImage.Crop.HUGGING_FACE)[0], 1e-6);
        assertEquals((40 / 255.0 - MEAN[0]) / STD[0], ClipImage.pixels(wide, 8, ClipImage.Crop.TORCHVISION)[0], 1e-6);
    }

    private static String complaint(String kind, String... options) {
        String message = assertThrows(RuntimeException.class, () -> mix(kind, options)).getMessage();
        assertTrue(!message.contains("\n"), message);
        return message;
    }

    @Test
    void whatDoesNotFitIsNamed() throws IOException {
        Path image = MODELS.resolve("clip_image.onnx"), text = MODELS.resolve("clip_text.onnx"), tokenizer = MODELS.resolve("clip_tokenizer.json");
        assertEquals("reward.terms.x.options.image_model is missing: an ONNX file of CLIP's image half", complaint("pickscore"));
        assertEquals("reward.terms.x.options.image_model names gone.onnx, and there is no such file; expected an ONNX file of CLIP's image half", complaint("pickscore", "image_model=gone.onnx"));
        assertEquals(text + " has no input 'pixel_values' of type FLOAT and shape [any, 3, any, any]; it has: 'input_ids' is INT64 [any, 77], 'attention_mask' is INT64 [any, 77]",
                complaint("pickscore", "image_model=" + text));
        assertEquals(image + " has no input 'input_ids' of type INT64 and shape [any, 77]; it has: 'pixel_values' is FLOAT [any, 3, 8, 8]", complaint("pickscore", "image_model=" + image, "text_model=" + image));
        assertEquals("reward.terms.x.options.tokenizer is missing: the tokenizer.json of the model", complaint("pickscore", "image_model=" + image, "text_model=" + text));
        assertTrue(complaint("pickscore", "image_model=" + image, "text_model=" + text, "tokenizer=" + image).startsWith(image + " is no tokenizer: "));
        assertEquals("reward.terms.x.options.temperature is no option of kind pickscore; it has: divisor, image_model, image_size, logit_scale, text_model, tokenizer",
                complaint("pickscore", clip("temperature=1")));
        Path broken = Files.writeString(folder.resolve("broken.onnx"), "not a model");
        assertTrue(complaint("pickscore", "image_model=" + broken).startsWith(broken + " cannot be loaded: "), complaint("pickscore", "image_model=" + broken));
        assertTrue(complaint("aesthetic", "image_model=" + image, "head_model=" + image).startsWith(image + " has no input 'pixel_values' of type FLOAT and shape [any, 5]; "));
    }
}
