package dev.turningpoint.softgpu.driver;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.SplittableRandom;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicIntegerArray;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

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
