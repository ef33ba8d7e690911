package dev.turningpoint.embed;

import dev.turningpoint.data.Prompt;
import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.HostMemory;
import dev.turningpoint.gpu.Resources;
import dev.turningpoint.image.ImageBatch;
import dev.turningpoint.onnx.OnnxException;
import dev.turningpoint.reward.Reward;
import dev.turningpoint.reward.RewardBatch;
import dev.turningpoint.reward.RewardException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;

/**
 * Scores of images for many threads, by one reward. {@link TurningPoint#scorer} opens one; {@link Session} says how it forms batches. A score depends on an image
 * and its prompt alone, as {@link Reward} promises.
 */
public final class ScorerSession extends Session {
    private final ScorerOptions options;
    private final Prompt[] prompts;
    // Of the worker.
    private Reward reward;
    private MemorySegment images;

    ScorerSession(ScorerOptions options) {
        super("scorer", options.maxBatch(), options.queue(), options.maxWait());
        this.options = options;
        prompts = new Prompt[options.maxBatch()];
        start();
    }

    @Override
    void open(Resources resources) {
        reward = resources.add(options.reward().get());
        images = resources.add(HostMemory.allocate(DType.F32.bytes((long) maxBatch() * imageFloats()))).segment().fill((byte) 0);
    }

    /** A call to this session; make one for each thread or connection, and use it again and again. */
    public ScorerCall newCall() {
        return new ScorerCall(this);
    }

    /** Floats of one image. */
    public int imageFloats() {
        return options.channels() * options.height() * options.width();
    }

    @Override
    void read(Call call, int index, int row) {
        var request = (ScorerCall) call;
        for (int i = 0; i < request.rows; i++) prompts[row + i] = request.prompts.get(i);
        MemorySegment.copy(request.images, 0, images, DType.F32.bytes((long) row * imageFloats()), request.images.byteSize());
    }

    @Override
    void serve() {
        Scored scored = Scored.start();
        try {
            give(score(0, rows), 0, 0, calls);
        } catch (RewardException e) {      // an image that cannot be scored fails its own call, not its company
            for (int i = 0, row = 0; i < calls; row += callRows[i++]) serveAlone(i, row, e);
        } catch (InterruptedException e) {
            for (int i = 0; i < calls; i++) batch[i].answer(submissions[i], Call.CLOSED);
        }
        Scored.end(scored, this, rows);
    }

    private void serveAlone(int index, int row, RewardException together) {
        RewardException why = together;
        try {
            if (calls > 1) {
                give(score(row, callRows[index]), row, index, index + 1);
                return;
            }
        } catch (RewardException e) {
            why = e;
        } catch (InterruptedException e) {
            batch[index].answer(submissions[index], Call.CLOSED);
            return;
        }
        if (batch[index].move(submissions[index], Call.RUNNING, Call.TOUCHED)) fail(batch[index], submissions[index], new RewardException(why.getMessage(), why));
    }

    private float[] score(int row, int count) throws InterruptedException {
        var all = new ImageBatch(images, maxBatch(), options.channels(), options.height(), options.width());
        try {
            float[] scores = reward.score(new RewardBatch(all.slice(row, count), Arrays.asList(prompts).subList(row, row + count)));
            if (scores.length != count) throw new RewardException("the reward gave " + scores.length + " scores for " + count + " images");
            return scores;
        } catch (RewardException e) {
            throw e;
        } catch (OnnxException e) {
            throw new RewardException(e.getMessage(), e);
        } catch (RuntimeException e) {
            throw new RewardException("the reward failed: " + e, e);
        }
    }

    private void give(float[] scores, int firstRow, int from, int to) {
        for (int i = from, row = firstRow; i < to; row += callRows[i++]) {
            var call = (ScorerCall) batch[i];
            if (!call.move(submissions[i], Call.RUNNING, Call.TOUCHED)) continue;
            try {
                MemorySegment.copy(scores, row - firstRow, call.scores, ValueLayout.JAVA_FLOAT_UNALIGNED, 0, call.rows);
                call.version = 0;
                call.answerTouched(submissions[i], Call.SERVED);
            } catch (RuntimeException e) {
                fail(call, submissions[i], new IllegalStateException(this + ": the memory for a call's scores was closed while it waited: " + e.getMessage(), e));
            }
        }
    }

    /** A reward that waits for a server is woken. */
    @Override
    void hurry() {
        worker().interrupt();
    }

    /** Scores blank images of a made-up word, in every size of batch. */
    @Override
    void runAllSizes() {
        Arrays.fill(prompts, new Prompt("\"WARM\"", "WARM"));
        try {
            for (int count = 1; count <= maxBatch(); count++) score(0, count);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }
}
