package dev.turningpoint.reward;

import dev.turningpoint.image.ImageBatch;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.IntFunction;

/**
 * Share of the target's letters that PP-OCRv4 reads in the image, see {@link TextMatch}. Batches are cut into pieces of a few images that worker threads take
 * from one bounded queue; each worker reads with buffers of its own.
 */
public final class OcrReward implements Reward {
    private static final int QUEUED_PIECES = 4096;

    private record Piece(ImageBatch images, List<String> targets, int from, int count, IntFunction<String> describe, float[] rewards, AtomicInteger left,
                         CompletableFuture<float[]> result) {}

    private final OcrReader reader;
    private final BlockingQueue<Piece> queue = new ArrayBlockingQueue<>(QUEUED_PIECES);
    private final List<Thread> workers = new ArrayList<>();
    private final Thread beforeExit = new Thread(this::stop, "ocr-drain");
    private volatile boolean stopping;
    private boolean closed;

    /** @param threads that read at the same time; 0 takes one per core */
    public OcrReward(int threads) {
        this(threads, true);
    }

    /**
     * @param constrained let the model choose among capitals and digits only; unconstrained it may read any of its 6623 letters
     */
    public OcrReward(int threads, boolean constrained) {
        this(threads, constrained, true);
    }

    /**
     * @param drainAtExit when the process is asked to end, finish the images at hand, cancel the queue and only then let it go; false where the caller sees to it
     *                    that {@link #close} comes before the end
     */
    public OcrReward(int threads, boolean constrained, boolean drainAtExit) {
        if (threads < 0) throw new IllegalArgumentException("reward.threads must not be negative, is " + threads);
        reader = new OcrReader(constrained);
        int count = threads == 0 ? Runtime.getRuntime().availableProcessors() : threads;
        for (int i = 0; i < count; i++) workers.add(Thread.ofPlatform().name("ocr-" + i).daemon().start(this::work));
        // A process that exits while ONNX Runtime computes crashes in its destructors: the shutdown waits for the images at hand.
        if (drainAtExit) Runtime.getRuntime().addShutdownHook(beforeExit);
    }

    @Override
    public String name() {
        return "ocr";
    }

    @Override
    public CompletableFuture<float[]> scoreAsync(ImageBatch images, List<String> targets, IntFunction<String> describe) {
        if (targets.size() != images.count()) throw new IllegalArgumentException(images.count() + " images, but " + targets.size() + " targets");
        List<String> words = List.copyOf(targets);
        int n = images.count(), pieces = (n + OcrReader.BATCH - 1) / OcrReader.BATCH;
        var rewards = new float[n];
        if (n == 0) return CompletableFuture.completedFuture(rewards);
        var result = new CompletableFuture<float[]>();
        var left = new AtomicInteger(pieces);
        // Pieces of nearly equal size: workers finish together, and none is left with a lonely image.
        for (int p = 0; p < pieces; p++) {
            int from = (int) ((long) n * p / pieces), to = (int) ((long) n * (p + 1) / pieces);
            put(new Piece(images, words, from, to - from, describe, rewards, left, result));
        }
        return result;
    }

    private void put(Piece piece) {
        try {
            while (!stopping && !queue.offer(piece, 100, TimeUnit.MILLISECONDS)) {
                // full: wait for the workers
            }
            if (stopping) cancel(piece);   // also when it has just been queued and nobody is left to take it
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            cancel(piece);
        }
    }

    private static void cancel(Piece piece) {
        piece.result().completeExceptionally(new CancellationException("the OCR reward was closed"));
    }

    private void work() {
        OcrReader.Lane lane = null;
        try {
            while (!stopping) {
                Piece piece = queue.poll(100, TimeUnit.MILLISECONDS);
                if (piece == null || piece.result().isDone()) continue;
                try {
                    ImageBatch images = piece.images();
                    if (lane == null || !lane.fits(images.height(), images.width())) {
                        if (lane != null) lane.close();
                        lane = null;
                        lane = reader.new Lane(images.height(), images.width());
                    }
                    String[] words = lane.read(images, piece.from(), piece.count(), piece.describe());
                    for (int i = 0; i < words.length; i++) {
                        int at = piece.from() + i;
                        piece.rewards()[at] = TextMatch.reward(piece.targets().get(at), words[i]);
                    }
                    if (piece.left().decrementAndGet() == 0) piece.result().complete(piece.rewards());
                } catch (Throwable e) {   // a worker outlives any batch; its caller hears of it
                    piece.result().completeExceptionally(e);
                }
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        } finally {
            if (lane != null) lane.close();
        }
    }

    /** Ends the workers after the piece each is at, then cancels what nobody took. */
    private void stop() {
        stopping = true;
        for (Thread worker : workers) {
            try {
                worker.join();
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                return;
            }
        }
        for (Piece piece; (piece = queue.poll()) != null; ) cancel(piece);
    }

    @Override
    public synchronized void close() {
        if (closed) return;
        closed = true;
        stop();
        try {
            Runtime.getRuntime().removeShutdownHook(beforeExit);
        } catch (IllegalStateException e) {
            return;   // the process is ending; the model goes with it
        }
        reader.close();
    }
}
