package dev.turningpoint.reward;

import dev.turningpoint.image.RgbImage;

/**
 * How large an image is as a JPEG file of quality 95, in thousands of bytes: flow_grpo's {@code jpeg_incompressibility}, and its {@code jpeg_compressibility}, which
 * is that over -500. A reward without a model, for trials: it is easily raised, and easily hacked.
 */
public final class JpegReward implements Reward {
    private static final double QUALITY = 0.95;

    /** Kind {@code jpeg-compressibility}; no options. */
    public static final class Compressibility implements RewardFactory {
        @Override
        public String kind() {
            return "jpeg-compressibility";
        }

        @Override
        public Reward create(RewardSettings settings) {
            return new JpegReward(-500);
        }
    }

    /** Kind {@code jpeg-incompressibility}; no options. */
    public static final class Incompressibility implements RewardFactory {
        @Override
        public String kind() {
            return "jpeg-incompressibility";
        }

        @Override
        public Reward create(RewardSettings settings) {
            return new JpegReward(1);
        }
    }

    private final double divisor;

    private JpegReward(double divisor) {
        this.divisor = divisor;
    }

    @Override
    public int pieceSize() {
        return 4;
    }

    @Override
    public float[] score(RewardBatch batch) {
        var scores = new float[batch.count()];
        for (int i = 0; i < scores.length; i++) scores[i] = (float) (RgbImage.of(batch.images(), i).jpeg(QUALITY).length / 1000.0 / divisor);
        return scores;
    }
}
