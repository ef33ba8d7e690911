package dev.turningpoint.reward;

import dev.turningpoint.image.ImageBatch;
import dev.turningpoint.onnx.OnnxException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;

/** Threads that score pieces of a few images, which they take from one bounded queue. */
final class ScoringThreads implements AutoCloseable {
    private static final int QUEUED_PIECES = 4096;

    /** A batch on its way: complete when the last piece has been left, whatever became of it. */
    private static final class Task {
        final float[] scores;
        final AtomicInteger left;
        final AtomicReference<Throwable> failure = new AtomicReference<>();
        final CompletableFuture<float[]> result = new CompletableFuture<>();

        Task(int images, int pieces) {
            scores = new float[images];
            left = new AtomicInteger(pieces);
        }

        void fail(Throwable cause) {
            failure.compareAndSet(null, cause);
        }

        void pieceLeft() {
            if (left.decrementAndGet() > 0) return;
            if (failure.get() == null) result.complete(scores);
            else result.completeExceptionally(failure.get());
        }
    }

    private record Piece(RewardMix.Term term, RewardBatch batch, int from, Task task) {
        void cancel() {
            task.fail(new CancellationException("reward " + term.name() + " was cancelled"));
            task.pieceLeft();
        }
    }

    private final BlockingQueue<Piece> queue = new ArrayBlockingQueue<>(QUEUED_PIECES);
    private final List<Thread> threads = new ArrayList<>();
    private final boolean waiting;
    private volatile boolean stopping;

    /** @param waiting they wait for something outside: {@link #cancel} and {@link #close} interrupt them */
    ScoringThreads(String name, int count, boolean waiting) {
        this.waiting = waiting;
        for (int i = 0; i < count; i++) threads.add(Thread.ofPlatform().name(name + "-" + i).daemon().start(this::work));
    }

    CompletableFuture<float[]> score(RewardMix.Term term, RewardBatch batch) {
        int n = batch.count(), size = Math.max(1, term.reward().pieceSize()), pieces = (n + size - 1) / size;
        if (n == 0) return CompletableFuture.completedFuture(new float[0]);
        var task = new Task(n, pieces);
        // Pieces of nearly equal size: threads finish together, and none is left with a lonely image.
        for (int p = 0; p < pieces; p++) {
            int from = (int) ((long) n * p / pieces), to = (int) ((long) n * (p + 1) / pieces);
            put(new Piece(term, batch.slice(from, to - from), from, task));
        }
        return task.result;
    }

    private void put(Piece piece) {
        try {
            while (!stopping) {
                if (!queue.offer(piece, 100, TimeUnit.MILLISECONDS)) continue;   // full: wait for the threads
                if (stopping && queue.remove(piece)) piece.cancel();             // nobody is left to take it
                return;
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
        piece.cancel();
    }

    private void work() {
        while (!stopping) {
            try {
                Piece piece = queue.poll(100, TimeUnit.MILLISECONDS);
                if (piece != null) score(piece);
            } catch (InterruptedException e) {
                // cancelled between two pieces, or closed
            }
        }
    }

    private static void score(Piece piece) {
        Task task = piece.task();
        try {
            if (task.failure.get() == null) {
                RewardBatch batch = piece.batch();
                requireNumbers(batch);
                float[] scores = checked(piece.term(), batch, piece.term().reward().score(batch));
                System.arraycopy(scores, 0, task.scores, piece.from(), scores.length);
            }
        } catch (InterruptedException e) {
            task.fail(new CancellationException("reward " + piece.term().name() + " was cancelled"));
        } catch (RewardException | OnnxException | Error e) {
            task.fail(e);
        } catch (RuntimeException e) {
            task.fail(new RewardException("reward " + piece.term().name() + " failed on " + piece.batch().describe().apply(0) + ": " + e, e));
        } finally {
            task.pieceLeft();   // a thread outlives any batch; its caller hears of what went wrong
        }
    }

    private static void requireNumbers(RewardBatch batch) {
        ImageBatch images = batch.images();
        for (int n = 0; n < images.count(); n++) {
            MemorySegment image = images.image(n);
            for (int i = 0; i < images.floats(); i++) {
                float v = image.getAtIndex(ValueLayout.JAVA_FLOAT, i);
                if (Math.abs(v) <= Float.MAX_VALUE) continue;
                int pixel = i % images.pixels();
                throw new RewardException(batch.describe().apply(n) + ": pixel (" + pixel / images.width() + ", " + pixel % images.width() + ") of its image is " + v
                        + ", so it has no reward; training diverged: lower train.learning_rate or go back to a checkpoint");
            }
        }
    }

    /** Scores as the mix promises them: clipped numbers, NaN where the term does not apply. */
    private static float[] checked(RewardMix.Term term, RewardBatch batch, float[] scores) {
        if (scores.length != batch.count())
            throw new RewardException("reward " + term.name() + " gave " + scores.length + " scores for " + batch.count() + " images, " + batch.describe().apply(0) + " and on");
        var result = new float[scores.length];
        for (int i = 0; i < scores.length; i++) {
            float s = scores[i];
            if (term.partial() && (Float.isNaN(s) || s == RewardMix.DOES_NOT_APPLY)) {
                result[i] = Float.NaN;
            } else if (Float.isFinite(s)) {
                result[i] = (float) Math.clamp((double) s, term.low(), term.high());
            } else {
                throw new RewardException("reward " + term.name() + " of " + batch.describe().apply(i) + " is " + s + "; a reward must be a finite number"
                        + (Float.isNaN(s) ? ", unless reward.terms." + term.name() + ".partial lets it say that it does not apply" : ""));
            }
        }
        return result;
    }

    /** Cancels what is queued; interrupts those that wait for something outside. */
    void cancel() {
        for (Piece piece; (piece = queue.poll()) != null; ) piece.cancel();
        if (waiting) threads.forEach(Thread::interrupt);
    }

    /** Ends the threads after the piece each is at, then cancels what nobody took. */
    @Override
    public void close() {
        stopping = true;
        if (waiting) threads.forEach(Thread::interrupt);
        boolean interrupted = false;
        for (Thread thread : threads) {
            while (true) {
                try {
                    thread.join();
                    break;
                } catch (InterruptedException e) {
                    interrupted = true;   // the images must not be read any more when this returns
                }
            }
        }
        for (Piece piece; (piece = queue.poll()) != null; ) piece.cancel();
        if (interrupted) Thread.currentThread().interrupt();
    }
}
