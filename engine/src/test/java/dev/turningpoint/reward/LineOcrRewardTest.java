package dev.turningpoint.reward;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.turningpoint.data.Prompt;
import dev.turningpoint.image.GlyphFont;
import dev.turningpoint.image.ImageBatch;
import dev.turningpoint.image.WordRenderer;
import dev.turningpoint.text.GlyphAlphabet;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.SplittableRandom;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class LineOcrRewardTest {
    static RewardMix mix;

    @BeforeAll
    static void load() {
        mix = RewardMix.of("ocr", new LineOcrReward(true), 2);
    }

    @AfterAll
    static void close() {
        mix.close();
        mix.close();
    }

    private static List<String> words(int count, long seed, int longest) {
        var random = new SplittableRandom(seed);
        var words = new ArrayList<String>();
        for (int i = 0; i < count; i++) {
            var w = new StringBuilder();
            for (int n = longest - random.nextInt(2); n > 0; n--) w.append(GlyphAlphabet.LETTERS.charAt(random.nextInt(GlyphAlphabet.LETTERS.length())));
            words.add(w.toString());
        }
        return words;
    }

    private static ImageBatch rendered(Arena arena, List<String> words, int height, int width, long seed) {
        var images = ImageBatch.allocate(arena, words.size(), height, width);
        var renderer = new WordRenderer(GlyphFont.bundled(), height, width);
        var random = new SplittableRandom(seed);
        for (int i = 0; i < words.size(); i++) renderer.render(words.get(i), random, images, i);
        return images;
    }

    private static RewardBatch batch(ImageBatch images, List<String> words) {
        return new RewardBatch(images, words.stream().map(w -> new Prompt("\"" + w + "\"", w)).toList());
    }

    private static float[] score(ImageBatch images, List<String> words) {
        return mix.score(0, batch(images, words));
    }

    private static double mean(float[] values) {
        double sum = 0;
        for (float v : values) sum += v;
        return sum / values.length;
    }

    /** The ceiling of training: words drawn exactly as pre-training draws them, jitter included. */
    @ParameterizedTest @CsvSource({"24, 64, 4", "32, 96, 4"})
    void renderedWordsAreRead(int height, int width, int longest) {
        try (Arena arena = Arena.ofShared()) {
            var words = words(240, 11, longest);
            double mean = mean(score(rendered(arena, words, height, width, 5), words));
            assertTrue(mean > 0.98, "rendered words score " + mean);
        }
    }

    @Test
    void noiseAndOtherWordsScoreLow() {
        try (Arena arena = Arena.ofShared()) {
            var words = words(64, 3, 4);
            var images = rendered(arena, words, 24, 64, 5);
            var others = new ArrayList<>(words);
            Collections.rotate(others, 1);
            double other = mean(score(images, others));
            assertTrue(other < 0.25, "other words score " + other);
            var random = new SplittableRandom(1);
            for (int i = 0; i < 64; i++) for (int y = 0; y < 24; y++) for (int x = 0; x < 64; x++) images.set(i, y, x, (float) random.nextGaussian());
            double noise = mean(score(images, words));
            assertTrue(noise < 0.15, "noise scores " + noise);
        }
    }

    /** White on blue as well as black on white; and grey in three channels reads as grey in one. */
    @Test
    void colourImagesAreRead() {
        try (Arena arena = Arena.ofShared()) {
            var words = words(30, 17, 4);
            var grey = rendered(arena, words, 24, 64, 5);
            var same = ImageBatch.allocate(arena, 30, 3, 24, 64);
            var blue = ImageBatch.allocate(arena, 30, 3, 24, 64);
            for (int i = 0; i < 30; i++)
                for (int p = 0; p < 24 * 64; p++)
                    for (int c = 0; c < 3; c++) {
                        same.set(i, c, p / 64, p % 64, grey.get(i, p / 64, p % 64));
                        blue.set(i, c, p / 64, p % 64, Math.max(-grey.get(i, p / 64, p % 64), c == 2 ? 0.3f : -0.9f));
                    }
            assertArrayEquals(score(grey, words), score(same, words));
            double mean = mean(score(blue, words));
            assertTrue(mean > 0.97, "white on blue scores " + mean);
        }
    }

    /** Blurred and noisy words, so that decisions are close: alone, in odd company and in another order every image keeps its reward. */
    @Test
    void aRewardDoesNotDependOnTheBatch() {
        try (Arena arena = Arena.ofShared()) {
            var words = words(37, 8, 4);
            var images = rendered(arena, words, 24, 64, 5);
            var random = new SplittableRandom(2);
            for (int i = 0; i < 37; i++) for (int y = 0; y < 24; y++) for (int x = 0; x < 64; x++) images.set(i, y, x, images.get(i, y, x) * 0.6f + 0.45f * (float) random.nextGaussian());
            float[] together = score(images, words);
            assertTrue(mean(together) > 0.1 && mean(together) < 0.95, "not a close case: " + mean(together));
            float[] alone = new float[37];
            for (int i = 0; i < 37; i++) alone[i] = score(images.slice(i, 1), words.subList(i, i + 1))[0];
            assertArrayEquals(together, alone);
            assertArrayEquals(java.util.Arrays.copyOfRange(together, 5, 28), score(images.slice(5, 23), words.subList(5, 28)));
        }
    }

    @Test
    void manyBatchesInFlightKeepTheirResults() {
        try (Arena arena = Arena.ofShared()) {
            var words = words(50, 21, 4);
            var small = rendered(arena, words, 24, 64, 5);
            var large = rendered(arena, words, 32, 96, 5);
            float[] a = score(small, words), b = score(large, words);
            var futures = new ArrayList<CompletableFuture<float[]>>();
            for (int i = 0; i < 6; i++) futures.add(mix.scoreAsync(0, batch(i % 2 == 0 ? small : large, words)));
            for (int i = 0; i < 6; i++) assertArrayEquals(i % 2 == 0 ? a : b, RewardMix.await(futures.get(i)));
        }
    }

    @Test
    void aPixelThatIsNoNumberNamesItsTrajectory() {
        try (Arena arena = Arena.ofShared()) {
            for (float bad : new float[] {Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY}) {
                var images = ImageBatch.allocate(arena, 20, 24, 64);
                images.set(17, 3, 9, bad);
                var prompts = Collections.nCopies(20, new Prompt("\"CAT\"", "CAT"));
                var e = assertThrows(RewardException.class, () -> mix.score(0, new RewardBatch(images, prompts, i -> "trajectory " + i / 5 + ", step " + i % 5)));
                assertTrue(e.getMessage().startsWith("trajectory 3, step 2: pixel (3, 9) of its image is " + bad), e.getMessage());
            }
            assertEquals(1, score(rendered(arena, List.of("CAT"), 24, 64, 1), List.of("CAT"))[0]);   // and the workers live on
        }
    }

    @Test
    void closingCancelsWhatIsQueuedAndWaitsForTheRest() {
        try (Arena arena = Arena.ofShared()) {
            var words = words(160, 4, 4);
            var images = rendered(arena, words, 24, 64, 5);
            var own = RewardMix.of("ocr", new LineOcrReward(true), 1);
            var futures = new ArrayList<CompletableFuture<float[]>>();
            for (int i = 0; i < 20; i++) futures.add(own.scoreAsync(0, batch(images, words)));
            own.close();
            int cancelled = 0;
            for (var f : futures) {
                assertTrue(f.isDone());
                if (f.isCompletedExceptionally()) {
                    cancelled++;
                    assertThrows(CancellationException.class, () -> RewardMix.await(f));
                }
            }
            assertTrue(cancelled > 0);
            assertThrows(CancellationException.class, () -> own.score(0, batch(images, words)));
        }
    }

    @Test
    void refusesUnevenAndEmptyTargets() {
        try (Arena arena = Arena.ofShared()) {
            var images = ImageBatch.allocate(arena, 2, 24, 64);
            assertThrows(IllegalArgumentException.class, () -> score(images, List.of("A")));
            String message = assertThrows(RewardException.class, () -> score(images, List.of("A", " "))).getMessage();
            assertEquals("reward ocr of image 1 is NaN; a reward must be a finite number, unless reward.terms.ocr.partial lets it say that it does not apply", message);
            assertEquals(0, score(images.slice(0, 0), List.of()).length);
        }
    }

    @ParameterizedTest @CsvSource({"24,64,128", "32,96,144", "24,60,120", "24,65,136", "48,100,104", "64,64,48"})
    void inputWidthIsAMultipleOfEight(int height, int width, int expected) {
        assertEquals(expected, LineReader.inputWidth(height, width));
    }

    @ParameterizedTest
    @CsvSource({"CAT, CAT, 1", "CAT, cat, 1", "CAT, XXCATXX, 1", "CAT, C A T, 1", "'C A T', CAT, 1", "CAT, CUT, 0.6666667", "CAT, '', 0", "CAT, ACT, 0.3333333", "CAT, DOGGY, 0",
            "ABCD, ABD, 0.75", "ABCD, ABXCD, 0.75", "ABCD, WXYZ, 0", "ABCD, BCDA, 0.5", "AB, ABABAB, 1", "KITTEN, SITTING, 0.5"})
    void formula(String target, String read, float expected) {
        assertEquals(expected, TextMatch.reward(target, read), 1e-6);
    }
}
