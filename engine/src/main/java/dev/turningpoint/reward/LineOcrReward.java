package dev.turningpoint.reward;

import dev.turningpoint.image.ImageBatch;
import dev.turningpoint.onnx.OnnxModel;
import java.util.List;

/**
 * Share of the target's letters that PP-OCRv4 reads in an image that is one line of text, see {@link TextMatch}. It applies to prompts with a word in double
 * quotes.
 */
public final class LineOcrReward implements Reward {

    /** Kind {@code ocr-line}. */
    public static final class Factory implements RewardFactory {
        @Override
        public String kind() {
            return "ocr-line";
        }

        /** Option {@code letters}: {@code capitals} lets the model choose among capitals and digits only, {@code all} among its 6623. */
        @Override
        public Reward create(RewardSettings settings) {
            return new LineOcrReward(settings.choice("letters", "all", List.of("all", "capitals")).equals("capitals"));
        }
    }

    private final LineReader reader;
    private final Lanes<Cell> cells = new Lanes<>(Cell::new);

    /** Keeps the buffers for the size of the last image. */
    private static final class Cell implements AutoCloseable {
        LineReader.Lane lane;

        @Override
        public void close() {
            if (lane != null) lane.close();
        }
    }

    /** @param capitals let the model choose among capitals and digits only */
    public LineOcrReward(boolean capitals) {
        reader = new LineReader(capitals);
    }

    @Override
    public int pieceSize() {
        return LineReader.BATCH;
    }

    @Override
    public float[] score(RewardBatch batch) {
        ImageBatch images = batch.images();
        var scores = new float[batch.count()];
        Cell cell = cells.take();
        try {
            if (cell.lane == null || !cell.lane.fits(images.height(), images.width())) {
                if (cell.lane != null) cell.lane.close();
                cell.lane = null;
                cell.lane = reader.new Lane(images.height(), images.width());
            }
            for (int from = 0; from < scores.length; from += LineReader.BATCH) {
                int count = Math.min(LineReader.BATCH, scores.length - from);
                String[] words = cell.lane.read(images, from, count, batch.describe());
                for (int i = 0; i < count; i++) scores[from + i] = TextMatch.reward(batch.prompts().get(from + i), words[i]);
            }
        } finally {
            cells.giveBack(cell);
        }
        return scores;
    }

    @Override
    public void close() {
        OnnxModel.closeAll(cells, reader);
    }
}
