package dev.turningpoint.reward;

import dev.turningpoint.image.RgbImage;

/**
 * How well an image fits its prompt: {@code logit_scale cos(text, image) / divisor} of a CLIP model. PickScore is that of a CLIP-H tuned on people's choices, over 26
 * so that scores are about 1; the CLIP score is that of any CLIP, over 30, both as flow_grpo scales them.
 *
 * @see <a href="https://arxiv.org/abs/2305.01569">PickScore</a>
 */
public final class ClipReward implements Reward {
    private static class Factory implements RewardFactory {
        private final String kind;
        private final double divisor;

        Factory(String kind, double divisor) {
            this.kind = kind;
            this.divisor = divisor;
        }

        @Override
        public String kind() {
            return kind;
        }

        /** Options of {@link ClipModel} with texts; {@code logit_scale}, the exponential of the model's (100), and {@code divisor}. */
        @Override
        public Reward create(RewardSettings settings) {
            double scale = settings.number("logit_scale", 100, 1e-6, 1e6), over = settings.number("divisor", divisor, 1e-6, 1e6);
            return new ClipReward(new ClipModel(settings, true, ClipImage.Crop.HUGGING_FACE), scale / over);
        }
    }

    /** Kind {@code pickscore}. */
    public static final class PickScore extends Factory {
        public PickScore() {
            super("pickscore", 26);
        }
    }

    /** Kind {@code clip-score}. */
    public static final class ClipScore extends Factory {
        public ClipScore() {
            super("clip-score", 30);
        }
    }

    private final ClipModel model;
    private final double scale;

    private ClipReward(ClipModel model, double scale) {
        this.model = model;
        this.scale = scale;
    }

    @Override
    public float[] score(RewardBatch batch) {
        var scores = new float[batch.count()];
        for (int i = 0; i < scores.length; i++)
            scores[i] = (float) (scale * ClipModel.dot(model.embed(RgbImage.of(batch.images(), i)), model.embed(batch.prompts().get(i).text())));
        return scores;
    }

    @Override
    public void close() {
        model.close();
    }
}
