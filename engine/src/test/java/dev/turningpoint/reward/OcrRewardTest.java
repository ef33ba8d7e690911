package dev.turningpoint.reward;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.turningpoint.data.Prompt;
import dev.turningpoint.image.ImageBatch;
import dev.turningpoint.image.RgbImage;
import dev.turningpoint.reward.TextPictures.Camera;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Detection and recognition together, on text rendered flat and as a camera would see it. */
class OcrRewardTest {
    private static final List<String> TEXTS = List.of("HELLO", "New York", "OPEN 24", "CAFE", "TurningPoint", "NASA 2049", "Happy Birthday", "No Parking", "fresh bread", "K7QX");

    static OcrReward reward;
    static RewardMix mix;

    @BeforeAll
    static void load() {
        reward = new OcrReward();
        mix = RewardMix.of("ocr", reward, 2);
    }

    @AfterAll
    static void close() {
        mix.close();
    }

    private static List<Prompt> prompts(List<String> words) {
        return words.stream().map(w -> Prompt.of("A sign that says \"" + w + "\"", Map.of())).toList();
    }

    private static double mean(float[] values) {
        double sum = 0;
        for (float v : values) sum += v;
        return sum / values.length;
    }

    private static ImageBatch pictures(Arena arena, Camera camera, long seed) {
        var images = ImageBatch.allocate(arena, TEXTS.size(), 3, 256, 384);
        var random = new Random(seed);
        for (int i = 0; i < TEXTS.size(); i++) TextPictures.draw(List.of(TEXTS.get(i)), 30, camera, random, images, i);
        return images;
    }

    /** Flat; turned and blurred; perspective; all of it with noise and a dark corner; turned far. */
    @ParameterizedTest
    @CsvSource({"0, 0, 0, 0, 0, 1", "8, 0, 1, 4, 0.2, 2", "-4, 0.5, 1, 8, 0.4, 3", "12, 0.3, 2, 14, 0.5, 4", "-20, 0, 1, 6, 0.3, 5"})
    void textIsReadAsACameraSeesIt(double degrees, double perspective, int blur, double noise, double shade, long seed) {
        try (Arena arena = Arena.ofShared()) {
            ImageBatch images = pictures(arena, new Camera(degrees, perspective, blur, noise, shade), seed);
            double mean = mean(mix.score(0, new RewardBatch(images, prompts(TEXTS))));
            assertTrue(mean > 0.97, "seed " + seed + ": the texts score " + mean);
            var others = new ArrayList<>(TEXTS);
            java.util.Collections.rotate(others, 3);
            mean = mean(mix.score(0, new RewardBatch(images, prompts(others))));
            assertTrue(mean < 0.35, "seed " + seed + ": other texts score " + mean);
        }
    }

    @Test
    void linesAreJoinedInReadingOrder() {
        try (Arena arena = Arena.ofShared()) {
            var images = ImageBatch.allocate(arena, 1, 3, 320, 384);
            TextPictures.draw(List.of("GRAND", "OPENING", "TODAY"), 34, new Camera(3, 0.1, 1, 4, 0.2), new Random(7), images, 0);
            assertEquals("GRANDOPENINGTODAY", reward.read(RgbImage.of(images, 0)).replace(" ", ""));
            assertArrayEquals(new float[] {1}, mix.score(0, new RewardBatch(images, prompts(List.of("Grand opening today")))));
        }
    }

    @Test
    void aPictureWithoutTextScoresNothing() {
        try (Arena arena = Arena.ofShared()) {
            var images = ImageBatch.allocate(arena, 2, 3, 192, 256);
            var random = new Random(3);
            for (int c = 0; c < 3; c++) for (int p = 0; p < 192 * 256; p++) images.set(1, c, p / 256, p % 256, (float) (0.2 * random.nextGaussian()));
            assertArrayEquals(new float[] {0, 0}, mix.score(0, new RewardBatch(images, prompts(List.of("HELLO", "HELLO")))));
        }
    }

    @Test
    void greyImagesAreReadAndAPromptWithoutAWordDoesNotApply() {
        try (Arena arena = Arena.ofShared()) {
            var colour = pictures(arena, new Camera(0, 0, 0, 0, 0), 1);
            var grey = ImageBatch.allocate(arena, 1, 256, 384);
            for (int p = 0; p < 256 * 384; p++) grey.set(0, p / 384, p % 384, colour.get(3, 1, p / 384, p % 384));
            assertArrayEquals(new float[] {1}, mix.score(0, new RewardBatch(grey, prompts(List.of("cafe")))));
            float[] raw = reward.score(new RewardBatch(grey, List.of(Prompt.of("a cat", Map.of()))));
            assertTrue(Float.isNaN(raw[0]));
        }
    }

    /** Pixels of a line that is turned, and one beside it that is too faint: the rectangle of DB's formula, area * 1.5 / circumference wider on each side. */
    @ParameterizedTest
    @CsvSource({"0", "17", "-35", "44"})
    void aPatchOfTheMapBecomesItsRectangleGrown(double degrees) {
        int width = 256, height = 192;
        double cos = Math.cos(Math.toRadians(degrees)), sin = Math.sin(Math.toRadians(degrees));
        var map = new float[width * height];
        for (int y = 0; y < height; y++)
            for (int x = 0; x < width; x++) {
                double u = cos * (x - 120) + sin * (y - 90), v = -sin * (x - 120) + cos * (y - 90);
                if (Math.abs(u) <= 60 && Math.abs(v) <= 9) map[y * width + x] = 0.9f;
                else if (Math.abs(u) <= 60 && Math.abs(v - 40) <= 6) map[y * width + x] = 0.45f;
            }
        List<Quad> boxes = TextDetector.boxes(map, width, height);
        assertEquals(1, boxes.size());
        double grown = 120 * 18 * 1.5 / (2 * (120 + 18));
        assertEquals(120 + 2 * grown, boxes.getFirst().width(), 2.5);
        assertEquals(18 + 2 * grown, boxes.getFirst().height(), 2.5);
        for (int i = 0; i < 4; i++) {
            double u = (i == 0 || i == 3 ? -1 : 1) * (60 + grown), v = (i < 2 ? -1 : 1) * (9 + grown);
            assertEquals(120 + cos * u - sin * v, boxes.getFirst().x()[i], 2.5, "column of corner " + i);
            assertEquals(90 + sin * u + cos * v, boxes.getFirst().y()[i], 2.5, "row of corner " + i);
        }
        assertTrue(TextDetector.boxes(new float[64], 8, 8).isEmpty());
    }

    /** Corners that PaddleOCR's steps give with OpenCV 5.0 (findContours, minAreaRect) on the same pictures and map, to a pixel. */
    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
        "0 0 0 0 0     | HELLO          | 0  | 148 232 232 148 89 89 116 116 99 282 282 99 134 134 160 160",
        "8 0 1 4 0.2   | Happy Birthday | 5  | 77 312 307 72 70 104 137 103 98 282 277 94 119 145 174 149",
        "12 0.3 2 14 0.5 | New York     | 7  | 133 271 265 126 74 99 133 108 104 288 281 97 112 151 184 145",
        "-20 0 1 6 0.3 | HELLO          | 9  | 132 220 230 143 101 73 107 134 104 282 294 116 159 97 131 193",
        "-20 0 1 6 0.3 | Happy Birthday | 11 | 62 287 300 75 130 49 83 164 105 281 292 116 162 99 130 193",
    })
    void linesAreWherePaddleOcrFindsThem(String camera, String text, long seed, String corners) {
        double[] c = java.util.Arrays.stream(camera.split(" ")).mapToDouble(Double::parseDouble).toArray();
        double[] expected = java.util.Arrays.stream(corners.split(" ")).mapToDouble(Double::parseDouble).toArray();
        try (Arena arena = Arena.ofConfined(); var detector = new TextDetector()) {
            var images = ImageBatch.allocate(arena, 1, 3, 250, 380);
            TextPictures.draw(List.of(text, "second line"), 28, new Camera(c[0], c[1], (int) c[2], c[3], c[4]), new Random(seed), images, 0);
            List<Quad> lines = detector.find(RgbImage.of(images, 0));
            assertEquals(2, lines.size());
            for (int l = 0; l < 2; l++)
                for (int i = 0; i < 4; i++) {
                    assertEquals(expected[8 * l + i], lines.get(l).x()[i], 1, "line " + l + ", column of corner " + i);
                    assertEquals(expected[8 * l + 4 + i], lines.get(l).y()[i], 1, "line " + l + ", row of corner " + i);
                }
        }
    }

    @Test
    void aCutStraightensWhatPerspectiveBent() {
        int size = 64;
        var pixels = new byte[size * size * 3];
        for (int y = 0; y < size; y++)
            for (int x = 0; x < size; x++) {
                pixels[(y * size + x) * 3] = (byte) (2 * x);
                pixels[(y * size + x) * 3 + 1] = (byte) (3 * y);
            }
        var image = new RgbImage(size, size, pixels);
        var quad = new Quad(new double[] {10, 50, 52, 8}, new double[] {12, 16, 30, 34});
        RgbImage cut = quad.cut(image);
        assertEquals((int) quad.width(), cut.width());
        assertEquals((int) quad.height(), cut.height());
        assertEquals(2 * 10, cut.get(0, 0, 0), 1);
        assertEquals(3 * 12, cut.get(0, 0, 1), 1);
        assertEquals(2 * 52, cut.get(cut.width() - 1, cut.height() - 1, 0), 4);
        assertEquals(3 * 30, cut.get(cut.width() - 1, cut.height() - 1, 1), 4);
        // Where the diagonals of the quad cross is the middle of the rectangle.
        double t = cross(50 - 10, 16 - 12, 8 - 50, 34 - 16) / cross(52 - 10, 30 - 12, 8 - 50, 34 - 16);
        assertEquals(2 * (10 + t * 42), cut.get(cut.width() / 2, cut.height() / 2, 0), 3);
        assertEquals(3 * (12 + t * 18), cut.get(cut.width() / 2, cut.height() / 2, 1), 4);
        RgbImage upright = new Quad(new double[] {20, 26, 26, 20}, new double[] {5, 5, 45, 45}).cut(image);   // as PaddleOCR turns it: what was right is up
        assertEquals(40, upright.width());
        assertEquals(6, upright.height());
        assertEquals(2 * 25, upright.get(0, 0, 0), 1);
        assertEquals(3 * 5, upright.get(0, 0, 1), 1);
        assertEquals(2 * 20, upright.get(0, 5, 0), 1);
    }

    private static double cross(double ax, double ay, double bx, double by) {
        return ax * by - ay * bx;
    }

    @Test
    void readingOrderIsByRowsAndThenByColumns() {
        var order = TextDetector.inReadingOrder(List.of(at(100, 52), at(10, 57), at(50, 10), at(60, 49), at(5, 90)));
        assertEquals(List.of(50.0, 10.0, 60.0, 100.0, 5.0), order.stream().map(q -> q.x()[0]).toList());
    }

    private static Quad at(double x, double y) {
        return new Quad(new double[] {x, x + 20, x + 20, x}, new double[] {y, y, y + 8, y + 8});
    }

    @Test
    void aScoreDoesNotDependOnTheBatch() {
        try (Arena arena = Arena.ofShared()) {
            ImageBatch images = pictures(arena, new Camera(25, 0.4, 5, 40, 0.7), 6);
            float[] together = mix.score(0, new RewardBatch(images, prompts(TEXTS)));
            double mean = mean(together);
            assertTrue(mean > 0.05 && mean < 0.98, "not a close case: " + mean);
            for (int i = 0; i < TEXTS.size(); i += 3) assertEquals(together[i], mix.score(0, new RewardBatch(images.slice(i, 1), prompts(TEXTS.subList(i, i + 1))))[0]);
        }
    }
}
