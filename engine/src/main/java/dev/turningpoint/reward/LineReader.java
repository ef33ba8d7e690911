package dev.turningpoint.reward;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtException;
import dev.turningpoint.image.ImageBatch;
import dev.turningpoint.image.RgbImage;
import dev.turningpoint.onnx.OnnxModel;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;

/**
 * Reads one line of text in each image: PP-OCRv4 recognition in ONNX Runtime, greedy CTC. The model is shared by any number of {@link Lane}s, one a thread,
 * each with tensors of its own off the heap that are used again for every batch.
 */
final class LineReader implements AutoCloseable {
    /** Images of one inference. Larger is slower: the activations of 16 leave the cache (one core, 24 x 64: 8.5 ms an image in batches of 4, 9.2 in 16). */
    static final int BATCH = 6;

    private static final String MODEL = "/models/ch_PP-OCRv4_rec_infer.onnx", KEYS = "/models/ppocr_keys_v1.txt";
    private static final int HEIGHT = 48, LEAST_WIDTH = 320;
    private static final String ALPHANUMERIC = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

    private final OnnxModel model;
    private final String input;
    private final String output;
    private final String[] symbols;   // of each class; "" is CTC's blank, class 0
    private final int[] classes;      // those that decoding chooses from, in order

    /**
     * @param constrained choose among capitals and digits only, as our words have; else among all 6625 classes
     */
    LineReader(boolean constrained) {
        List<String> keys = new String(OnnxModel.resource(KEYS), StandardCharsets.UTF_8).lines().toList();
        symbols = new String[keys.size() + 2];
        symbols[0] = "";
        for (int i = 0; i < keys.size(); i++) symbols[i + 1] = keys.get(i);
        symbols[keys.size() + 1] = " ";
        classes = constrained ? new int[ALPHANUMERIC.length() + 1] : new int[symbols.length];
        for (int i = 1; i < classes.length; i++) classes[i] = constrained ? keys.indexOf(ALPHANUMERIC.substring(i - 1, i)) + 1 : i;
        model = OnnxModel.bundled(MODEL);
        input = model.onlyInput();
        output = model.firstOutput();
        long[] shape = model.outputShape(output);
        if (shape.length != 3 || shape[2] != symbols.length && shape[2] >= 0) {
            model.close();
            throw new RewardException("the OCR model has " + shape[shape.length - 1] + " classes, its list of letters " + symbols.length);
        }
    }

    /** Width of the model's input for an image: its width at height 48, rounded to a multiple of 8 that is not less. */
    static int inputWidth(int height, int width) {
        return ((int) Math.rint((double) width * HEIGHT / height) + 7) / 8 * 8;
    }

    /** What is written, and the mean probability of its letters; 0 where there are none. */
    record Line(String text, double confidence) {}

    /** Reads one line of any size: at height 48, in an input at least 320 wide whose rest is grey, as PaddleOCR does. */
    Line read(RgbImage line) {
        int width = Math.max(1, (int) Math.ceil((double) HEIGHT * line.width() / line.height())), inputWidth = (Math.max(LEAST_WIDTH, width) + 7) / 8 * 8;
        Axis rows = new Axis(line.height(), HEIGHT), columns = new Axis(line.width(), width);
        var pixels = new float[3 * HEIGHT * inputWidth];
        for (int c = 0; c < 3; c++)
            for (int y = 0; y < HEIGHT; y++)
                for (int x = 0; x < width; x++) {
                    float top = (1 - columns.weight[x]) * line.get(columns.low[x], rows.low[y], 2 - c) + columns.weight[x] * line.get(columns.high[x], rows.low[y], 2 - c);
                    float bottom = (1 - columns.weight[x]) * line.get(columns.low[x], rows.high[y], 2 - c) + columns.weight[x] * line.get(columns.high[x], rows.high[y], 2 - c);
                    pixels[(c * HEIGHT + y) * inputWidth + x] = ((1 - rows.weight[y]) * top + rows.weight[y] * bottom) / 127.5f - 1;
                }
        try (var inputs = new OnnxModel.Inputs(model).floats(input, pixels, 1, 3, HEIGHT, inputWidth)) {
            float[] scores = model.run(inputs, output).getFirst().floats();
            var text = new StringBuilder();
            double sum = 0;
            int previous = 0, letters = 0;
            for (int s = 0; s < scores.length / symbols.length; s++) {
                int best = classes[0];
                for (int k : classes) if (scores[s * symbols.length + k] > scores[s * symbols.length + best]) best = k;
                if (best != previous && best != 0) {
                    text.append(symbols[best]);
                    sum += scores[s * symbols.length + best];
                    letters++;
                }
                previous = best;
            }
            return new Line(text.toString(), letters == 0 ? 0 : sum / letters);
        }
    }

    @Override
    public void close() {
        model.close();
    }

    /** One thread's buffers for images of one size. */
    final class Lane implements AutoCloseable {
        private final Arena arena = Arena.ofShared();
        private final int height;
        private final int width;
        private final int inputWidth;
        private final int steps;
        private final MemorySegment pixels;
        private final MemorySegment scores;
        private final OnnxTensor[] inputs = new OnnxTensor[BATCH + 1];
        private final OnnxTensor[] outputs = new OnnxTensor[BATCH + 1];
        private final Axis rows;
        private final Axis columns;

        Lane(int height, int width) {
            this.height = height;
            this.width = width;
            inputWidth = inputWidth(height, width);
            steps = inputWidth / 8;
            rows = new Axis(height, HEIGHT);
            columns = new Axis(width, inputWidth);
            pixels = arena.allocate(4L * BATCH * 3 * HEIGHT * inputWidth, 64);
            scores = arena.allocate(4L * BATCH * steps * symbols.length, 64);
        }

        boolean fits(int height, int width) {
            return this.height == height && this.width == width;
        }

        /** What is written in images {@code from} to {@code from + count} of the batch. */
        String[] read(ImageBatch images, int from, int count, java.util.function.IntFunction<String> describe) {
            for (int i = 0; i < count; i++) fill(images, from + i, i);
            try {
                if (inputs[count] == null) {
                    inputs[count] = OnnxTensor.createTensor(model.runtime(), floats(pixels, (long) count * 3 * HEIGHT * inputWidth), new long[] {count, 3, HEIGHT, inputWidth});
                    outputs[count] = OnnxTensor.createTensor(model.runtime(), floats(scores, (long) count * steps * symbols.length), new long[] {count, steps, symbols.length});
                }
                model.run(Map.of(input, inputs[count]), Map.of(output, outputs[count]));
            } catch (OrtException e) {
                throw new RewardException("OCR failed on " + describe.apply(from) + " and " + (count - 1) + " more: " + e.getMessage(), e);
            }
            String[] words = new String[count];
            for (int i = 0; i < count; i++) words[i] = decode((long) i * steps);
            return words;
        }

        private java.nio.FloatBuffer floats(MemorySegment segment, long n) {
            return segment.asSlice(0, 4 * n).asByteBuffer().order(ByteOrder.nativeOrder()).asFloatBuffer();
        }

        /** Enlarges one image bilinearly (pixel centres, no antialiasing) into the model's blue, green and red, clamped to -1..1; grey makes them equal. */
        private void fill(ImageBatch images, int index, int slot) {
            long channel = (long) HEIGHT * inputWidth, to = 3 * slot * channel;
            if (images.channels() == 1) {
                fill(images.image(index), 0, to);
                MemorySegment.copy(pixels, 4 * to, pixels, 4 * (to + channel), 4 * channel);
                MemorySegment.copy(pixels, 4 * to, pixels, 4 * (to + 2 * channel), 4 * channel);
            } else {
                for (int c = 0; c < 3; c++) fill(images.image(index), (2 - c) * images.pixels(), to + c * channel);
            }
        }

        private void fill(MemorySegment image, long from, long to) {
            for (int y = 0; y < HEIGHT; y++) {
                long upper = from + (long) rows.low[y] * width, lower = from + (long) rows.high[y] * width;
                float wy = rows.weight[y];
                for (int x = 0; x < inputWidth; x++) {
                    int a = columns.low[x], b = columns.high[x];
                    float wx = columns.weight[x];
                    float top = (1 - wx) * image.getAtIndex(ValueLayout.JAVA_FLOAT, upper + a) + wx * image.getAtIndex(ValueLayout.JAVA_FLOAT, upper + b);
                    float bottom = (1 - wx) * image.getAtIndex(ValueLayout.JAVA_FLOAT, lower + a) + wx * image.getAtIndex(ValueLayout.JAVA_FLOAT, lower + b);
                    float v = Math.clamp((1 - wy) * top + wy * bottom, -1f, 1f);
                    pixels.setAtIndex(ValueLayout.JAVA_FLOAT, to + (long) y * inputWidth + x, v);
                }
            }
        }

        /** Greedy CTC: the best class of each step, repeats merged, blanks dropped. */
        private String decode(long firstStep) {
            var word = new StringBuilder();
            int previous = 0;
            for (int s = 0; s < steps; s++) {
                long at = (firstStep + s) * symbols.length;
                int best = classes[0];
                float most = scores.getAtIndex(ValueLayout.JAVA_FLOAT, at + best);
                for (int c = 1; c < classes.length; c++) {
                    float p = scores.getAtIndex(ValueLayout.JAVA_FLOAT, at + classes[c]);
                    if (p > most) {
                        most = p;
                        best = classes[c];
                    }
                }
                if (best != previous) word.append(symbols[best]);
                previous = best;
            }
            return word.toString();
        }

        /** Probability of a class at a step of the last batch; for tests. */
        float score(int image, int step, int symbol) {
            return scores.getAtIndex(ValueLayout.JAVA_FLOAT, ((long) image * steps + step) * symbols.length + symbol);
        }

        @Override
        public void close() {
            for (OnnxTensor t : inputs) if (t != null) t.close();
            for (OnnxTensor t : outputs) if (t != null) t.close();
            arena.close();
        }
    }

    /** Where each pixel of an enlarged axis comes from: two neighbours and the weight of the second. */
    private static final class Axis {
        final int[] low;
        final int[] high;
        final float[] weight;

        Axis(int from, int to) {
            low = new int[to];
            high = new int[to];
            weight = new float[to];
            float scale = (float) from / to;
            for (int i = 0; i < to; i++) {
                float at = Math.max(0, (i + 0.5f) * scale - 0.5f);
                low[i] = Math.min((int) at, from - 1);
                high[i] = Math.min(low[i] + 1, from - 1);
                weight[i] = at - low[i];
            }
        }
    }
}
