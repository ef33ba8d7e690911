package dev.turningpoint.embed;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.management.ThreadMXBean;
import dev.turningpoint.data.Prompt;
import dev.turningpoint.gpu.HostMemory;
import dev.turningpoint.image.GlyphFont;
import dev.turningpoint.image.ImageBatch;
import dev.turningpoint.image.WordRenderer;
import dev.turningpoint.model.GlyphConfig;
import dev.turningpoint.reward.LineOcrReward;
import dev.turningpoint.reward.Reward;
import dev.turningpoint.reward.RewardBatch;
import dev.turningpoint.reward.RewardException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.management.ManagementFactory;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import java.util.concurrent.CountDownLatch;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(120)
class ScorerSessionTest {
    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT;

    private final Arena arena = Arena.ofShared();
    private TurningPoint engine;
    private long hostBytes;

    @BeforeEach
    void open() {
        hostBytes = HostMemory.outstanding();
        engine = TurningPoint.open();
    }

    @AfterEach
    void close() {
        engine.close();
        arena.close();
        assertEquals(hostBytes, HostMemory.outstanding(), "bytes of host memory");
    }

    @Test
    void aCallHasTheScoresOfTheReward() throws InterruptedException {
        List<Prompt> prompts = List.of("CAT", "DRUM", "K7QX", "CAR").stream().map(word -> new Prompt("\"" + word + "\"", word)).toList();
        var shape = GlyphConfig.DEFAULT;
        ImageBatch images = ImageBatch.allocate(arena, 4, shape.height(), shape.width());
        var words = new WordRenderer(GlyphFont.bundled(), shape.height(), shape.width());
        var random = new SplittableRandom(1);
        String[] written = {"CAT", "DRUM", "K7QX", "CAT"};
        for (int i = 0; i < 4; i++) words.render(written[i], random, images, i);
        try (var reward = new LineOcrReward(true); var session = engine.scorer(ScorerOptions.glyph().withMaxWait(Duration.ofSeconds(20)).withMaxBatch(4))) {
            session.warmUp();
            float[] expected = reward.score(new RewardBatch(images, prompts));
            assertTrue(expected[0] > 0.9 && expected[3] > 0.3 && expected[3] < 0.9, "CAT reads as CAT, two thirds of CAR: " + expected[0] + ", " + expected[3]);
            var calls = new ArrayList<ScorerCall>();
            var scores = new ArrayList<MemorySegment>();
            for (int i = 3; i >= 0; i--) {
                scores.add(arena.allocate(FLOAT));
                calls.add(session.newCall());
                calls.getLast().submit(images.image(i), prompts.subList(i, i + 1), scores.getLast());
            }
            for (int i = 0; i < 4; i++) {
                calls.get(i).await();
                assertEquals(expected[3 - i], scores.get(i).get(FLOAT, 0), prompts.get(3 - i).target());
            }
        }
    }

    /** The score of an image is its first pixel; an image whose second is 1 cannot be scored. */
    private static class FirstPixel implements Reward {
        @Override
        public float[] score(RewardBatch batch) throws InterruptedException {
            var scores = new float[batch.count()];
            for (int i = 0; i < scores.length; i++) {
                if (batch.images().get(i, 0, 1) == 1) throw new RewardException("'" + batch.prompts().get(i).text() + "' cannot be scored");
                scores[i] = batch.images().get(i, 0, 0);
            }
            return scores;
        }
    }

    private static ScorerOptions options(Reward reward) {
        return new ScorerOptions(() -> reward, 1, 1, 2, 4, 8, Duration.ofSeconds(20));
    }

    @Test
    void anImageThatCannotBeScoredFailsItsOwnCall() {
        try (var session = engine.scorer(options(new FirstPixel()))) {
            ScorerCall good = session.newCall(), bad = session.newCall();
            MemorySegment goodImages = arena.allocateFrom(FLOAT, 0.25f, 0, 0.5f, 0), badImages = arena.allocateFrom(FLOAT, 0, 0, 0, 1);
            MemorySegment goodScores = arena.allocate(FLOAT, 2), badScores = arena.allocate(FLOAT, 2);
            bad.submit(badImages, List.of(new Prompt("fine", ""), new Prompt("broken", "")), badScores);
            good.submit(goodImages, List.of(new Prompt("a", ""), new Prompt("b", "")), goodScores);
            good.await();
            assertEquals(0.25f, goodScores.getAtIndex(FLOAT, 0));
            assertEquals(0.5f, goodScores.getAtIndex(FLOAT, 1));
            assertEquals("'broken' cannot be scored", assertThrows(RewardException.class, bad::await).getMessage());
        }
    }

    @Test
    void abortingWakesARewardThatWaits() throws InterruptedException {
        var scoring = new CountDownLatch(1);
        var session = engine.scorer(options(new Reward() {
            @Override
            public float[] score(RewardBatch batch) throws InterruptedException {
                scoring.countDown();
                new CountDownLatch(1).await();
                return null;
            }
        }));
        ScorerCall call = session.newCall(), queued = session.newCall();
        MemorySegment images = arena.allocate(FLOAT, 8), scores = arena.allocate(FLOAT, 4);
        var prompts = List.of(new Prompt("a", ""), new Prompt("b", ""), new Prompt("c", ""), new Prompt("d", ""));
        call.submit(images, prompts, scores);
        scoring.await();
        queued.submit(images, prompts, scores);
        session.abort();
        assertThrows(ClosedException.class, call::await);
        assertThrows(ClosedException.class, queued::await);
    }

    /** A batch is a RewardBatch and an array of scores, objects that the reward's interface asks for; ONNX Runtime's own come on top for OCR. Callers make none. */
    @Test
    void inSteadyStateCallersAllocateNothingAndTheWorkerLittle() {
        var threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
        try (var session = engine.scorer(new ScorerOptions(FirstPixel::new, 1, 1, 2, 4, 8, Duration.ZERO))) {
            ScorerCall call = session.newCall();
            MemorySegment images = arena.allocate(FLOAT, 2), scores = arena.allocate(FLOAT);
            var prompts = List.of(new Prompt("a", ""));
            long worker = session.worker().threadId(), leastCaller = Long.MAX_VALUE, leastWorker = Long.MAX_VALUE;
            for (int round = 0; round < 300 && (leastCaller > 0 || leastWorker > 100 * 1024); round++) {
                long before = threads.getCurrentThreadAllocatedBytes(), workerBefore = threads.getThreadAllocatedBytes(worker);
                for (int i = 0; i < 100; i++) {
                    call.submit(images, prompts, scores);
                    call.await();
                }
                leastCaller = Math.min(leastCaller, threads.getCurrentThreadAllocatedBytes() - before);
                leastWorker = Math.min(leastWorker, threads.getThreadAllocatedBytes(worker) - workerBefore);
            }
            assertEquals(0, leastCaller, "bytes that the caller allocates in 100 calls");
            assertTrue(leastWorker <= 100 * 1024, "bytes that the worker allocates in 100 calls: " + leastWorker);
        }
    }
}
