package dev.turningpoint.reward;

import ai.onnxruntime.OnnxJavaType;
import dev.turningpoint.image.RgbImage;
import dev.turningpoint.onnx.OnnxModel;
import dev.turningpoint.onnx.Tokens;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * The two halves of a CLIP model, each an ONNX file: images and texts to vectors of length 1. The text half may be left out. One image and one text at a time, so
 * that no result depends on its batch; texts are remembered.
 *
 * <p>Image half: {@code pixel_values} f32 [1, 3, S, S] to {@code image_embeds} f32 [1, D]. Text half: {@code input_ids} and, if it has it, {@code attention_mask}, i64
 * [1, 77], to {@code text_embeds} f32 [1, D]. Sizes of a batch may be open.
 */
final class ClipModel implements AutoCloseable {
    private static final int TOKENS = 77, TEXTS_REMEMBERED = 4096;

    private final OnnxModel image;
    private final OnnxModel text;
    private final Tokens tokens;
    private final ClipImage.Crop crop;
    private final int size;
    private final Map<String, float[]> texts = new LinkedHashMap<>(16, 0.75f, true) {
        @Override
        protected boolean removeEldestEntry(Map.Entry<String, float[]> eldest) {
            return size() > TEXTS_REMEMBERED;
        }
    };

    /**
     * Reads the options {@code image_model}, {@code image_size} where the model leaves it open (224), and, with texts, {@code text_model} and {@code tokenizer}.
     */
    ClipModel(RewardSettings settings, boolean withText, ClipImage.Crop crop) {
        this.crop = crop;
        OnnxModel openedImage = null, openedText = null;
        Tokens openedTokens = null;
        try {
            openedImage = OnnxModel.open(settings.file("image_model", "an ONNX file of CLIP's image half"));
            int open = settings.whole("image_size", 224, 1, 4096);
            openedImage.requireInput("pixel_values", OnnxJavaType.FLOAT, -1, 3, -1, -1);
            openedImage.requireNoInputsBut("pixel_values");
            openedImage.requireOutput("image_embeds", OnnxJavaType.FLOAT, -1, -1);
            long fixed = openedImage.inputShape("pixel_values")[2];
            size = fixed > 0 ? (int) fixed : open;
            openedImage.requireInput("pixel_values", OnnxJavaType.FLOAT, -1, 3, size, size);
            if (withText) {
                openedText = OnnxModel.open(settings.file("text_model", "an ONNX file of CLIP's text half"));
                openedText.requireInput("input_ids", OnnxJavaType.INT64, -1, TOKENS);
                openedText.requireNoInputsBut("input_ids", "attention_mask");
                if (openedText.hasInput("attention_mask")) openedText.requireInput("attention_mask", OnnxJavaType.INT64, -1, TOKENS);
                openedText.requireOutput("text_embeds", OnnxJavaType.FLOAT, -1, -1);
                long ofImage = openedImage.outputShape("image_embeds")[1], ofText = openedText.outputShape("text_embeds")[1];
                if (ofImage > 0 && ofText > 0 && ofImage != ofText)
                    throw new RewardException(openedImage.name() + " makes vectors of " + ofImage + " numbers, " + openedText.name() + " of " + ofText + "; they are halves of different models");
                openedTokens = new Tokens(settings.file("tokenizer", "the tokenizer.json of the model"), TOKENS);
            }
        } catch (RuntimeException | Error e) {
            OnnxModel.closeAll(openedTokens, openedText, openedImage);
            throw e;
        }
        image = openedImage;
        text = openedText;
        tokens = openedTokens;
    }

    /** The vector of an image, of length 1. */
    float[] embed(RgbImage picture) {
        try (var inputs = new OnnxModel.Inputs(image).floats("pixel_values", ClipImage.pixels(picture, size, crop), 1, 3, size, size)) {
            return normalised(image.run(inputs, "image_embeds").getFirst().floats());
        }
    }

    /** The vector of a text, of length 1; not to be changed. */
    float[] embed(String caption) {
        synchronized (texts) {
            float[] known = texts.get(caption);
            if (known != null) return known;
        }
        Tokens.Encoded encoded = tokens.encode(caption, -1);
        try (var inputs = new OnnxModel.Inputs(text).longs("input_ids", encoded.ids(), 1, TOKENS)) {
            if (text.hasInput("attention_mask")) inputs.longs("attention_mask", encoded.mask(), 1, TOKENS);
            float[] vector = normalised(text.run(inputs, "text_embeds").getFirst().floats());
            synchronized (texts) {
                texts.put(caption, vector);
            }
            return vector;
        }
    }

    /** Numbers of a vector; -1 if the model leaves it open. */
    long dimension() {
        return image.outputShape("image_embeds")[1];
    }

    static float[] normalised(float[] vector) {
        double square = 0;
        for (float v : vector) square += (double) v * v;
        double norm = Math.sqrt(square);
        var unit = new float[vector.length];
        for (int i = 0; i < unit.length; i++) unit[i] = (float) (vector[i] / norm);
        return unit;
    }

    static double dot(float[] a, float[] b) {
        if (a.length != b.length) throw new RewardException("an image's vector has " + a.length + " numbers, a text's " + b.length + "; image_model and text_model are halves of different models");
        double sum = 0;
        for (int i = 0; i < a.length; i++) sum += (double) a[i] * b[i];
        return sum;
    }

    @Override
    public void close() {
        OnnxModel.closeAll(tokens, text, image);
    }
}
