package dev.turningpoint.softgpu.driver;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.util.ArrayList;
import java.util.SplittableRandom;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicIntegerArray;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Every piece of a task runs exactly once, and a task is over when its run returns, however many streams share the workers. */
@Timeout(60)
class WorkersTest {

    private static final class Counting implements Task {
        final AtomicIntegerArray runs;
        final int faultAt;
        float nanos;

        Counting(int total, int faultAt, float nanos) {
            runs = new AtomicIntegerArray(total);
            this.faultAt = faultAt;
            this.nanos = nanos;
        }

        @Override
        public int run(ComputeThread thread, long first, long end) {
            for (long i = first; i < end; i++) {
                runs.incrementAndGet((int) i);
                if (i == faultAt) return 7;
            }
            return 0;
        }

        @Override
        public float nanosPerPiece() { return nanos; }

        @Override
        public void nanosPerPiece(float nanos) { }
    }

    /** One piece waits until all others have run: it holds up none of them, wherever it is and whatever is known of the task. */
    @ParameterizedTest
    @ValueSource(ints = {0, 1, 300, 500, 501, 998, 999})
    void oneLongPieceHoldsUpNoOther(int longPiece) throws Exception {
        assumeTrue(Workers.THREADS > 1, "one thread alone can only wait");
        int total = 1000;
        for (float nanos : new float[] {0, 1e6f}) {
            var others = new CountDownLatch(total - 1);
            var runs = new AtomicIntegerArray(total);
            var stream = new ComputeThread("test-stream") {
                @Override
                public void run() {
                    var job = new Workers.Job();
                    job.run(this, new Task() {
                        @Override
                        public int run(ComputeThread thread, long first, long end) {
                            for (int i = (int) first; i < end; i++) {
                                runs.incrementAndGet(i);
                                if (i != longPiece) others.countDown();
                                else await(others);
                            }
                            return 0;
                        }

                        @Override
                        public float nanosPerPiece() { return nanos; }

                        @Override
                        public void nanosPerPiece(float nanos) { }
                    }, total);
                    job.close();
                    release();
                }
            };
            stream.start();
            stream.join(20_000);
            assertTrue(!stream.isAlive(), others.getCount() + " pieces wait for piece " + longPiece);
            for (int i = 0; i < total; i++) assertEquals(1, runs.get(i));
        }
    }

    private static void await(CountDownLatch latch) {
        try {
            latch.await();
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    @Test
    void everyPieceRunsOnceOnAnyNumberOfStreams() throws Exception {
        var wrong = new AtomicInteger();
        var threads = new ArrayList<ComputeThread>();
        for (int t = 0; t < 6; t++) {
            var random = new SplittableRandom(t);
            threads.add(new ComputeThread("test-stream-" + t) {
                @Override
                public void run() {
                    var job = new Workers.Job();
                    for (int round = 0; round < 4000; round++) {
                        int total = 1 + random.nextInt(200), fault = random.nextInt(10) == 0 ? random.nextInt(total) : -1;
                        var task = new Counting(total, fault, random.nextBoolean() ? 0 : 1e6f);
                        int code = job.run(this, task, total);
                        if (code != (fault >= 0 ? 7 : 0)) wrong.incrementAndGet();
                        int most = 0, least = 1;
                        for (int i = 0; i < total; i++) {
                            most = Math.max(most, task.runs.get(i));
                            least = Math.min(least, task.runs.get(i));
                        }
                        if (most > 1 || least < 1 && fault < 0) wrong.incrementAndGet();
                    }
                    job.close();
                    release();
                }
            });
        }
        for (var t : threads) t.start();
        for (var t : threads) t.join(50_000);
        for (var t : threads) assertTrue(!t.isAlive(), "a stream hangs");
        assertEquals(0, wrong.get());
    }
}
