package dev.turningpoint.reward;

import ai.onnxruntime.OnnxJavaType;
import dev.turningpoint.image.RgbImage;
import dev.turningpoint.onnx.OnnxModel;

/**
 * How beautiful people would find an image, about 1 to 10: a small network, the head, on the normalised image vector of CLIP-L, as in LAION's improved aesthetic predictor and
 * flow_grpo. The prompt does not matter.
 */
public final class AestheticReward implements Reward {

    /** Kind {@code aesthetic}. */
    public static final class Factory implements RewardFactory {
        @Override
        public String kind() {
            return "aesthetic";
        }

        /** Options of {@link ClipModel} without texts, and {@code head_model}: one input f32 [1, D], its first output f32 [1, 1]. */
        @Override
        public Reward create(RewardSettings settings) {
            var clip = new ClipModel(settings, false, ClipImage.Crop.HUGGING_FACE);
            OnnxModel head = null;
            try {
                head = OnnxModel.open(settings.file("head_model", "an ONNX file of the aesthetic head"));
                head.requireInput(head.onlyInput(), OnnxJavaType.FLOAT, -1, clip.dimension());
                head.requireOutput(head.firstOutput(), OnnxJavaType.FLOAT, -1, 1);
                return new AestheticReward(clip, head);
            } catch (RuntimeException | Error e) {
                OnnxModel.closeAll(head, clip);
                throw e;
            }
        }
    }

    private final ClipModel clip;
    private final OnnxModel head;
    private final String input;
    private final String output;

    private AestheticReward(ClipModel clip, OnnxModel head) {
        this.clip = clip;
        this.head = head;
        input = head.onlyInput();
        output = head.firstOutput();
    }

    @Override
    public float[] score(RewardBatch batch) {
        var scores = new float[batch.count()];
        for (int i = 0; i < scores.length; i++) {
            float[] vector = clip.embed(RgbImage.of(batch.images(), i));
            try (var inputs = new OnnxModel.Inputs(head).floats(input, vector, 1, vector.length)) {
                scores[i] = head.run(inputs, output).getFirst().floats()[0];
            }
        }
        return scores;
    }

    @Override
    public void close() {
        OnnxModel.closeAll(head, clip);
    }
}
