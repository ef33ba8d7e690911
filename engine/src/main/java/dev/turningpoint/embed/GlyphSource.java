package dev.turningpoint.embed;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.Stream;
import dev.turningpoint.model.GlyphConfig;
import dev.turningpoint.model.GlyphModel;
import dev.turningpoint.model.LoraConfig;
import java.nio.file.Path;
import java.util.Set;

/**
 * The glyph model: a word's letters in, a grey image of it out.
 *
 * @param shape   of the network
 * @param storage F32 or BF16, type of activations and products
 * @param weights safetensors file; null for those that ship with the engine
 * @param lora    of the adapters that the session can change to; null for none
 */
public record GlyphSource(GlyphConfig shape, DType storage, Path weights, LoraConfig lora) implements ModelSource {

    /** The model that ships with the engine, without adapters. */
    public static GlyphSource bundled() {
        return new GlyphSource(GlyphConfig.DEFAULT, DType.F32, null, null);
    }

    @Override
    public Network open(Device device, Stream stream, int maxBatch) {
        var options = lora == null ? GlyphModel.Options.inference(shape, storage, maxBatch)
                : new GlyphModel.Options(shape, storage, maxBatch, 1, GlyphModel.Trains.ADAPTER, lora, Set.of());
        var model = new GlyphModel(device, options);
        try {
            if (weights == null) model.loadBundled(stream);
            else model.load(weights, stream);
        } catch (RuntimeException | Error e) {
            model.close();
            throw e;
        }
        return new Network(model, shape.vocabulary(), lora, lora == null ? null : model.trained().layout());
    }
}
