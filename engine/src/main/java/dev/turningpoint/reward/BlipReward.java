package dev.turningpoint.reward;

import ai.onnxruntime.OnnxJavaType;
import dev.turningpoint.image.RgbImage;
import dev.turningpoint.onnx.OnnxModel;
import dev.turningpoint.onnx.Tokens;

/**
 * ImageReward: a BLIP model that reads image and prompt together and was trained on people's rankings; about -2 to 2, mean 0 over images of its time.
 *
 * @see <a href="https://arxiv.org/abs/2304.05977">ImageReward</a>
 */
public final class BlipReward implements Reward {
    private static final int TOKENS = 35;
    private static final long PADDING = 0;   // BERT's [PAD]

    /** Kind {@code image-reward}. */
    public static final class Factory implements RewardFactory {
        @Override
        public String kind() {
            return "image-reward";
        }

        /**
         * Options: {@code model}, the whole of ImageReward with its last normalisation: {@code pixel_values} f32 [1, 3, S, S], {@code input_ids} and {@code attention_mask}
         * i64 [1, 35] to {@code reward} f32 [1, 1]; {@code tokenizer}, BERT's; {@code image_size} where the model leaves it open (224).
         */
        @Override
        public Reward create(RewardSettings settings) {
            OnnxModel model = OnnxModel.open(settings.file("model", "an ONNX file of ImageReward"));
            try {
                int open = settings.whole("image_size", 224, 1, 4096);
                model.requireInput("pixel_values", OnnxJavaType.FLOAT, -1, 3, -1, -1);
                long fixed = model.inputShape("pixel_values")[2];
                int size = fixed > 0 ? (int) fixed : open;
                model.requireInput("pixel_values", OnnxJavaType.FLOAT, -1, 3, size, size);
                model.requireInput("input_ids", OnnxJavaType.INT64, -1, TOKENS);
                model.requireInput("attention_mask", OnnxJavaType.INT64, -1, TOKENS);
                model.requireNoInputsBut("pixel_values", "input_ids", "attention_mask");
                model.requireOutput("reward", OnnxJavaType.FLOAT, -1, 1);
                return new BlipReward(model, new Tokens(settings.file("tokenizer", "the tokenizer.json of bert-base-uncased"), TOKENS), size);
            } catch (RuntimeException | Error e) {
                model.close();
                throw e;
            }
        }
    }

    private final OnnxModel model;
    private final Tokens tokens;
    private final int size;

    private BlipReward(OnnxModel model, Tokens tokens, int size) {
        this.model = model;
        this.tokens = tokens;
        this.size = size;
    }

    @Override
    public float[] score(RewardBatch batch) {
        var scores = new float[batch.count()];
        for (int i = 0; i < scores.length; i++) {
            Tokens.Encoded text = tokens.encode(batch.prompts().get(i).text(), PADDING);
            float[] pixels = ClipImage.pixels(RgbImage.of(batch.images(), i), size, ClipImage.Crop.TORCHVISION);
            try (var inputs = new OnnxModel.Inputs(model).floats("pixel_values", pixels, 1, 3, size, size).longs("input_ids", text.ids(), 1, TOKENS)
                    .longs("attention_mask", text.mask(), 1, TOKENS)) {
                scores[i] = model.run(inputs, "reward").getFirst().floats()[0];
            }
        }
        return scores;
    }

    @Override
    public void close() {
        OnnxModel.closeAll(tokens, model);
    }
}
