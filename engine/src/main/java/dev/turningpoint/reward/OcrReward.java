package dev.turningpoint.reward;

import dev.turningpoint.image.RgbImage;
import dev.turningpoint.onnx.OnnxModel;
import java.util.List;

/**
 * Share of the target's letters that PP-OCRv4 reads anywhere in the image, see {@link TextMatch}: detection, then recognition of every line found, joined in reading
 * order; flow_grpo's OCR reward with PaddleOCR's settings. It applies to prompts with a word in double quotes.
 */
public final class OcrReward implements Reward {
    private static final double LEAST_CONFIDENCE = 0.5;   // PaddleOCR's drop_score

    /** Kind {@code ocr}; no options, its models ship with the engine. */
    public static final class Factory implements RewardFactory {
        @Override
        public String kind() {
            return "ocr";
        }

        @Override
        public Reward create(RewardSettings settings) {
            return new OcrReward();
        }
    }

    private final TextDetector detector;
    private final LineReader reader;

    public OcrReward() {
        detector = new TextDetector();
        try {
            reader = new LineReader(false);
        } catch (RuntimeException | Error e) {
            detector.close();
            throw e;
        }
    }

    @Override
    public float[] score(RewardBatch batch) {
        var scores = new float[batch.count()];
        for (int i = 0; i < scores.length; i++) {
            boolean applies = !batch.prompts().get(i).target().isBlank();
            scores[i] = TextMatch.reward(batch.prompts().get(i), applies ? read(RgbImage.of(batch.images(), i)) : "");
        }
        return scores;
    }

    /** All text in an image, line after line without anything between. */
    String read(RgbImage image) {
        var text = new StringBuilder();
        List<Quad> lines = detector.find(image);
        for (Quad line : lines) {
            LineReader.Line read = reader.read(line.cut(image));
            if (read.confidence() >= LEAST_CONFIDENCE) text.append(read.text());
        }
        return text.toString();
    }

    @Override
    public void close() {
        OnnxModel.closeAll(reader, detector);
    }
}
