package dev.turningpoint.embed;

import dev.turningpoint.model.GlyphConfig;
import dev.turningpoint.reward.LineOcrReward;
import dev.turningpoint.reward.Reward;
import java.time.Duration;
import java.util.function.Supplier;

/**
 * What a scorer session holds, fixed while it is open.
 *
 * @param reward   opens the reward, on the session's worker; the session closes it
 * @param channels of every image: 1 grey, 3 red, green and blue
 * @param height   pixels
 * @param width    pixels
 * @param maxBatch most images of one batch, and of one call
 * @param queue    calls that can wait
 * @param maxWait  how long the first call of a batch may wait for others; 0 for not at all
 */
public record ScorerOptions(Supplier<Reward> reward, int channels, int height, int width, int maxBatch, int queue, Duration maxWait) {
    public ScorerOptions {
        if (channels != 1 && channels != 3 || height < 1 || width < 1) throw new IllegalArgumentException("no images of " + channels + " x " + height + " x " + width);
    }

    /** How much of a word OCR reads in the bundled glyph model's images; 6 images a batch, 64 calls in the queue, no wait: company makes OCR no faster. */
    public static ScorerOptions glyph() {
        return new ScorerOptions(() -> new LineOcrReward(true), 1, GlyphConfig.DEFAULT.height(), GlyphConfig.DEFAULT.width(), 6, 64, Duration.ZERO);
    }

    public ScorerOptions withMaxBatch(int maxBatch) {
        return new ScorerOptions(reward, channels, height, width, maxBatch, queue, maxWait);
    }

    public ScorerOptions withQueue(int queue) {
        return new ScorerOptions(reward, channels, height, width, maxBatch, queue, maxWait);
    }

    public ScorerOptions withMaxWait(Duration maxWait) {
        return new ScorerOptions(reward, channels, height, width, maxBatch, queue, maxWait);
    }
}
