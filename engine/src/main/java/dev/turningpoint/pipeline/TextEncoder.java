package dev.turningpoint.pipeline;

import ai.onnxruntime.OnnxJavaType;
import dev.turningpoint.onnx.OnnxModel;
import dev.turningpoint.onnx.Tokens;
import java.nio.file.Path;
import java.util.List;

/**
 * A frozen text encoder: {@code input_ids} i64 [1, tokens] to {@code hidden} f32 [1, tokens, width] and, of CLIP, {@code pooled} f32 [1, pooled width]. Every token is
 * attended to, those that fill up the text too, as the pipelines of diffusers do.
 */
final class TextEncoder implements AutoCloseable {
    private static final String IDS = "input_ids", HIDDEN = "hidden", POOLED = "pooled";

    private final OnnxModel model;
    private final TokenizerFolder tokenizer;
    private final int tokens;
    private final List<String> outputs;

    /**
     * What an encoder says of a text.
     *
     * @param hidden [tokens, width], row by row
     * @param pooled [pooled width], or null
     */
    record Encoded(float[] hidden, int width, float[] pooled) {}

    /**
     * @param tokens  of a text
     * @param pooling whether it gives a vector of the whole text
     */
    TextEncoder(Path file, Path tokenizerFolder, int tokens, boolean pooling) {
        this.tokens = tokens;
        outputs = pooling ? List.of(HIDDEN, POOLED) : List.of(HIDDEN);
        OnnxModel opened = OnnxModel.openLarge(file);
        try {
            opened.requireInput(IDS, OnnxJavaType.INT64, 1, tokens);
            opened.requireNoInputsBut(IDS);
            opened.requireOutput(HIDDEN, OnnxJavaType.FLOAT, 1, tokens, -1);
            if (pooling) opened.requireOutput(POOLED, OnnxJavaType.FLOAT, 1, -1);
            tokenizer = TokenizerFolder.open(tokenizerFolder, tokens);
        } catch (RuntimeException | Error e) {
            opened.close();
            throw e;
        }
        model = opened;
    }

    Encoded encode(String text) {
        Tokens.Encoded ids = tokenizer.tokens().encode(text, tokenizer.padding());
        try (var inputs = new OnnxModel.Inputs(model).longs(IDS, ids.ids(), 1, tokens)) {
            List<OnnxModel.Output> found = model.run(inputs, outputs.toArray(String[]::new));
            float[] hidden = found.getFirst().floats();
            return new Encoded(hidden, hidden.length / tokens, outputs.size() > 1 ? found.get(1).floats() : null);
        }
    }

    @Override
    public void close() {
        OnnxModel.closeAll(tokenizer.tokens(), model);
    }
}
