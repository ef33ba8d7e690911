package dev.turningpoint.sampler;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.HostMemory;
import dev.turningpoint.gpu.Stream;
import dev.turningpoint.model.GlyphConfig;
import dev.turningpoint.model.GlyphModel;
import dev.turningpoint.model.GlyphWeights;
import dev.turningpoint.tensor.ParameterFile;
import dev.turningpoint.tensor.Parameters;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.Map;
import java.util.Random;

/** A glyph model too small to write, with weights that let every part of it speak. */
public final class TestModel {
    public static final GlyphConfig SHAPE = new GlyphConfig(8, 16, 4, 32, 2, 1, 2, 3, 7);

    private TestModel() {
    }

    public static GlyphModel inference(Device device, Stream stream, DType storage, int maxBatch) {
        var model = new GlyphModel(device, GlyphModel.Options.inference(SHAPE, storage, maxBatch));
        try (HostMemory flat = HostMemory.allocate(model.baseParameters().values().bytes())) {
            fill(flat.segment(), SHAPE, 7);
            Parameters.upload(flat.segment(), model.baseParameters().values(), stream);
        }
        model.baseChanged(stream);
        stream.synchronize();
        return model;
    }

    /** Weights as a file, to start a training from. */
    public static void weights(Device device, Stream stream, GlyphConfig shape, Path file) {
        try (var parameters = Parameters.frozen(device, "test weights", new GlyphWeights(shape).layout(), DType.F32); HostMemory flat = HostMemory.allocate(parameters.values().bytes())) {
            fill(flat.segment(), shape, 7);
            Parameters.upload(flat.segment(), parameters.values(), stream);
            ParameterFile.save(file, parameters.layout(), parameters.values(), Map.of(), stream);
        }

    }

    private static void fill(MemorySegment flat, GlyphConfig shape, long seed) {
        var random = new Random(seed);
        flat.fill((byte) 0);
        for (var slot : new GlyphWeights(shape).layout().slots().values()) {
            boolean one = slot.name().contains(".norm_");
            double scale = slot.shape().length == 2 ? 0.6 / Math.sqrt(slot.shape()[1]) : 0.1;
            for (long i = 0; i < slot.elements(); i++) {
                flat.setAtIndex(ValueLayout.JAVA_FLOAT, slot.offset() + i, (float) ((one ? 1 : 0) + scale * random.nextGaussian()));
            }
        }
    }
}
