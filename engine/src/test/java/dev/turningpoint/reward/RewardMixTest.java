package dev.turningpoint.reward;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.turningpoint.data.Prompt;
import dev.turningpoint.image.ImageBatch;
import dev.turningpoint.reward.RewardMix.Normalize;
import dev.turningpoint.reward.RewardMix.Term;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** The sum that is trained on, against its formula, and what the threads promise: all or nothing, nobody left behind, nothing read after the end. */
@Timeout(60)
class RewardMixTest {

    private static RewardBatch batch(Arena arena, int count) {
        return new RewardBatch(ImageBatch.allocate(arena, count, 2, 2), Collections.nCopies(count, new Prompt("a cat", "")));
    }

    private static Term term(String name, double weight, Normalize normalize) {
        return new Term(name, b -> new float[b.count()], true, weight, normalize, -1e9, 1e9, true);
    }

    @Test
    void oneRewardOfWeightOneIsItself() {
        try (var mix = RewardMix.of("a", b -> new float[b.count()], 1)) {
            float[] scores = {0.1f, 0.7f, 1e-20f, -3.3333333f};
            assertArrayEquals(scores, mix.sum(new float[][] {scores}, 2, new int[] {0, 0}, i -> ""));
            assertArrayEquals(scores, mix.sum(new float[][] {scores}, 1, null, i -> ""));
        }
    }

    /** Against the formula, written out: (r - mean) / (std + 1e-4) over all images of the prompt or of the rollout. */
    @Test
    void weightsAndNormalisationAreTheFormula() {
        var random = new Random(3);
        int rows = 6, columns = 3;
        int[] group = {0, 0, 1, 1, 2, 2};
        float[][] scores = new float[4][rows * columns];
        for (float[] s : scores) for (int i = 0; i < s.length; i++) s[i] = (float) (random.nextGaussian() * 40 + 7);
        for (int i = 12; i < 18; i++) scores[0][i] = 5;   // a group of equal rewards
        var terms = List.of(term("a", 2, Normalize.GROUP), term("b", -0.5, Normalize.ROLLOUT), term("c", 0.25, Normalize.NONE),
                new Term("held", b -> new float[b.count()], false, 100, Normalize.NONE, -1e9, 1e9, false));
        try (var mix = new RewardMix(terms, 1, false)) {
            float[] sum = mix.sum(scores, columns, group, i -> "row " + i);
            for (int i = 0; i < sum.length; i++) {
                int g = group[i / columns];
                double a = z(scores[0], i, 6 * g, 6 * g + 6), b = z(scores[1], i, 0, 18);
                assertEquals(2 * a - 0.5 * b + 0.25 * scores[2][i], sum[i], 2e-6 * (1 + Math.abs(sum[i])), "value " + i);
            }
            scores[3] = null;   // what is held out is not even looked at
            assertArrayEquals(sum, mix.sum(scores, columns, group, i -> ""));
            float[] evaluated = mix.sum(scores, columns, null, i -> "");
            assertEquals(2 * scores[0][4] - 0.5 * scores[1][4] + 0.25 * scores[2][4], evaluated[4], 1e-4);
        }
    }

    private static double z(float[] r, int i, int from, int to) {
        double mean = IntStream.range(from, to).mapToDouble(k -> r[k]).average().orElseThrow();
        double variance = IntStream.range(from, to).mapToDouble(k -> (r[k] - mean) * (r[k] - mean)).average().orElseThrow();
        return (r[i] - mean) / (Math.sqrt(variance) + 1e-4);
    }

    @Test
    void theOrderOfTrajectoriesChangesNoBit() {
        int rows = 64, columns = 4;
        var random = new Random(11);
        var scores = new float[2][rows * columns];
        for (float[] s : scores) for (int i = 0; i < s.length; i++) s[i] = (float) (random.nextGaussian() * Math.exp(3 * random.nextGaussian()));
        var group = new int[rows];
        for (int i = 0; i < rows; i++) group[i] = i / 8;
        var order = new ArrayList<>(IntStream.range(0, rows).boxed().toList());
        try (var mix = new RewardMix(List.of(term("a", 0.7, Normalize.ROLLOUT), term("b", 0.3, Normalize.GROUP)), 1, false)) {
            float[] expected = mix.sum(scores, columns, group, i -> "");
            for (int round = 0; round < 20; round++) {
                Collections.shuffle(order, random);
                var shuffled = new float[2][rows * columns];
                var groups = new int[rows];
                for (int i = 0; i < rows; i++) {
                    groups[i] = group[order.get(i)];
                    for (int t = 0; t < 2; t++) System.arraycopy(scores[t], order.get(i) * columns, shuffled[t], i * columns, columns);
                }
                float[] got = mix.sum(shuffled, columns, groups, i -> "");
                for (int i = 0; i < rows; i++)
                    for (int k = 0; k < columns; k++)
                        assertEquals(Float.floatToIntBits(expected[order.get(i) * columns + k]), Float.floatToIntBits(got[i * columns + k]));
            }
        }
    }

    @Test
    void aTermThatDoesNotApplyIsLeftOut() {
        float nan = Float.NaN;
        try (var mix = new RewardMix(List.of(term("a", 1, Normalize.NONE), term("b", 1, Normalize.ROLLOUT)), 1, false)) {
            int[] group = {0, 0, 1, 1};
            float[] sum = mix.sum(new float[][] {{1, 2, nan, nan}, {nan, nan, 5, 7}}, 1, group, i -> "");
            assertArrayEquals(new float[] {1, 2, (float) (-1 / 1.0001), (float) (1 / 1.0001)}, sum, 1e-7f);
            String message = assertThrows(RewardException.class, () -> mix.sum(new float[][] {{1, 2, nan, nan}, {nan, nan, nan, nan}}, 1, group, i -> "row " + i)).getMessage();
            assertEquals("no reward applies to row 2; reward.terms needs one that does for every prompt", message);
            message = assertThrows(RewardException.class, () -> mix.sum(new float[][] {{1, nan, 1, 1}, {1, 1, 1, 1}}, 1, group, i -> "row " + i)).getMessage();
            assertTrue(message.startsWith("reward a applies to some images of a prompt and not to others: row 1;"), message);
        }
        assertEquals(3, RewardMix.mean(new float[] {2, nan, 4}));
        assertTrue(Double.isNaN(RewardMix.mean(new float[] {nan})));
    }

    @Test
    void scoresAreClippedAndTheSignForDoesNotApplyIsUnderstood() {
        try (Arena arena = Arena.ofShared()) {
            float[] given = {-10, Float.NaN, -3, 0.25f, 9};
            Reward fixed = b -> given.clone();
            RewardBatch batch = batch(arena, 5);
            record Whole(Reward reward) implements Reward {
                @Override public float[] score(RewardBatch b) throws InterruptedException { return reward.score(b); }
                @Override public int pieceSize() { return 100; }
            }
            try (var mix = new RewardMix(List.of(new Term("a", new Whole(fixed), true, 1, Normalize.NONE, -1, 1, true), new Term("b", new Whole(fixed))), 1, false)) {
                assertArrayEquals(new float[] {Float.NaN, Float.NaN, -1, 0.25f, 1}, mix.score(0, batch));
                String message = assertThrows(RewardException.class, () -> mix.score(1, batch)).getMessage();
                assertTrue(message.startsWith("reward b of image 1 is NaN"), message);
            }
        }
    }

    @Test
    void aWrongNumberOfScoresAndADefectNameTheReward() {
        try (Arena arena = Arena.ofShared()) {
            try (var mix = new RewardMix(List.of(new Term("few", b -> new float[0]), new Term("bug", b -> { throw new IllegalStateException("oops"); }),
                    new Term("inf", b -> new float[] {Float.NEGATIVE_INFINITY})), 2, false)) {
                RewardBatch batch = batch(arena, 3);
                assertTrue(assertThrows(RewardException.class, () -> mix.score(0, batch)).getMessage().startsWith("reward few gave 0 scores for 1 images, image "));
                assertTrue(assertThrows(RewardException.class, () -> mix.score(1, batch)).getMessage().matches("reward bug failed on image \\d: java.lang.IllegalStateException: oops"));
                assertTrue(assertThrows(RewardException.class, () -> mix.score(2, batch)).getMessage().endsWith("is -Infinity; a reward must be a finite number"));
            }
        }
    }

    /** A failed piece does not complete its batch while others still read the images. */
    @Test
    void aBatchIsCompleteWhenNobodyReadsItsImages() throws Exception {
        try (Arena arena = Arena.ofShared()) {
            CountDownLatch slow = new CountDownLatch(1), other = new CountDownLatch(1);
            var reading = new AtomicInteger();
            Reward reward = b -> {
                if (b.describe().apply(0).equals("image 0")) {
                    other.await();
                    throw new RewardException("image 0 is bad");
                }
                reading.incrementAndGet();
                other.countDown();
                slow.await();
                reading.decrementAndGet();
                return new float[1];
            };
            try (var mix = RewardMix.of("a", reward, 2)) {
                CompletableFuture<float[]> scores = mix.scoreAsync(0, batch(arena, 2));
                other.await();
                Thread.sleep(50);
                assertFalse(scores.isDone());
                slow.countDown();
                assertEquals("image 0 is bad", assertThrows(RewardException.class, () -> RewardMix.await(scores)).getMessage());
                assertEquals(0, reading.get());
            }
        }
    }

    /** Two rewards of which each waits for the other to be scored: they run at the same time, and the waiting one on threads of its own. */
    @Test
    void rewardsRunInParallelAndWaitingOnesHoldUpNobody() {
        try (Arena arena = Arena.ofShared()) {
            var computed = new CountDownLatch(1);
            Reward waiting = new Reward() {
                @Override public float[] score(RewardBatch b) throws InterruptedException {
                    assertTrue(computed.await(30, TimeUnit.SECONDS));
                    return new float[] {2};
                }
                @Override public int waitingCalls() { return 1; }
            };
            Reward computing = b -> {
                computed.countDown();
                return new float[] {1};
            };
            try (var mix = new RewardMix(List.of(new Term("waiting", waiting), new Term("computing", computing)), 1, false)) {
                var first = mix.scoreAsync(0, batch(arena, 1));
                assertArrayEquals(new float[] {1}, mix.score(1, batch(arena, 1)));
                assertArrayEquals(new float[] {2}, RewardMix.await(first));
            }
        }
    }

    @Test
    void cancellingInterruptsWhoWaits() throws Exception {
        try (Arena arena = Arena.ofShared()) {
            var began = new CountDownLatch(1);
            Reward stuck = new Reward() {
                @Override public float[] score(RewardBatch b) throws InterruptedException {
                    began.countDown();
                    Thread.sleep(1_000_000);
                    return new float[1];
                }
                @Override public int waitingCalls() { return 1; }
            };
            try (var mix = RewardMix.of("stuck", stuck, 1)) {
                var scores = mix.scoreAsync(0, batch(arena, 3));
                began.await();
                mix.cancel();
                assertThrows(CancellationException.class, () -> RewardMix.await(scores));
            }
        }
    }

    @Test
    void closingClosesEveryRewardOnce() {
        var closed = new AtomicInteger();
        class Counted implements Reward {
            @Override public float[] score(RewardBatch b) { return new float[b.count()]; }
            @Override public void close() {
                closed.incrementAndGet();
                throw new RewardException("cannot be closed");
            }
        }
        var mix = new RewardMix(List.of(new Term("a", new Counted()), new Term("b", new Counted())), 1, false);
        var e = assertThrows(RewardException.class, mix::close);
        assertEquals(1, e.getSuppressed().length);
        mix.close();
        assertEquals(2, closed.get());
        assertThrows(IllegalArgumentException.class, () -> new RewardMix(List.of(new Term("a", b -> null, false, 1, Normalize.NONE, -1, 1, false)), 1, false));
    }

    /** A class of the test's own, registered in META-INF/services: its number times the mean brightness. */
    public static final class Brightness implements RewardFactory {
        @Override
        public String kind() {
            return "test-brightness";
        }

        @Override
        public Reward create(RewardSettings settings) {
            double factor = settings.number("factor", 1, 0, 10);
            return b -> {
                var scores = new float[b.count()];
                for (int i = 0; i < scores.length; i++) scores[i] = (float) factor * b.images().get(i, 0, 0);
                return scores;
            };
        }
    }

    @Test
    void aClassOnTheClassPathIsAKindOfReward() {
        assertTrue(RewardFactory.kinds().contains("test-brightness") && RewardFactory.kinds().contains("ocr-line"), RewardFactory.kinds().toString());
        try (Arena arena = Arena.ofShared()) {
            Reward reward = new RewardSettings("reward.terms.x.options", Map.of("factor", "3"), s -> {}).create("test-brightness");
            try (var mix = RewardMix.of("x", reward, 1)) {
                assertArrayEquals(new float[] {3, 3}, mix.score(0, batch(arena, 2)));
            }
        }
        assertEquals("reward.terms.x.options.faktor is no option of kind test-brightness; it has: factor", assertThrows(RewardException.class,
                () -> new RewardSettings("reward.terms.x.options", Map.of("faktor", "3"), s -> {}).create("test-brightness")).getMessage());
        assertEquals("reward.terms.x.options.factor must be 0.0 to 10.0, is 11", assertThrows(RewardException.class,
                () -> new RewardSettings("reward.terms.x.options", Map.of("factor", "11"), s -> {}).create("test-brightness")).getMessage());
    }

    @Test
    void everyKindIsDocumented() throws java.io.IOException {
        String text = java.nio.file.Files.readString(java.nio.file.Path.of("docs/rewards.md"));
        for (String kind : RewardFactory.kinds()) assertEquals(!kind.startsWith("test-"), text.contains("| `" + kind + "` |"), kind);
    }
}
