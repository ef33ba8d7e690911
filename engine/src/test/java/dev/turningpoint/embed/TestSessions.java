package dev.turningpoint.embed;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.HostMemory;
import dev.turningpoint.gpu.Stream;
import dev.turningpoint.kernels.SamplerKernels;
import dev.turningpoint.model.GlyphModel;
import dev.turningpoint.model.LoraConfig;
import dev.turningpoint.sampler.TestModel;
import dev.turningpoint.sampler.WavefrontSampler;
import dev.turningpoint.sampler.WavefrontSampler.Completions;
import dev.turningpoint.schedule.Schedule;
import dev.turningpoint.schedule.StepTable;
import dev.turningpoint.tensor.ParameterFile;
import dev.turningpoint.tensor.Parameters;
import dev.turningpoint.train.AdapterFolder;
import dev.turningpoint.weights.PeftAdapter;
import dev.turningpoint.weights.SafetensorsWriter;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Random;
import java.util.Set;
import java.util.stream.IntStream;

/** A network too small to draw, served; and what the rollout's sampler makes of the same prompts and seeds. */
final class TestSessions {
    static final LoraConfig LORA = new LoraConfig(4, 8, LoraConfig.ATTENTION);
    static final int TOKENS = TestModel.SHAPE.tokens(), FLOATS = TestModel.SHAPE.latentSize(), VOCABULARY = TestModel.SHAPE.vocabulary();

    private final Path weights;

    TestSessions(Path folder) {
        weights = folder.resolve("test-weights.safetensors");
        try (var device = Device.open(); var stream = device.newStream()) {
            TestModel.weights(device, stream, TestModel.SHAPE, weights);
        }
    }

    SamplerOptions options(int steps, LoraConfig lora) {
        return new SamplerOptions(new GlyphSource(TestModel.SHAPE, DType.F32, weights, lora), steps(steps), 1, 4, 8, Duration.ofMillis(1));
    }

    static StepTable steps(int steps) {
        return StepTable.ode(Schedule.shifted(steps, 2));
    }

    /** An adapter that changes what the model draws. */
    Path adapter(Path folder, LoraConfig lora, long seed) throws IOException {
        Files.createDirectories(folder);
        try (var device = Device.open(); var stream = device.newStream(); var model = model(device, stream, lora); var flat = HostMemory.allocate(model.trained().values().bytes())) {
            flat.segment().fill((byte) 0);
            var random = new Random(seed);
            for (var slot : model.trained().layout().slots().values())
                for (long i = 0; i < slot.elements(); i++) flat.segment().setAtIndex(ValueLayout.JAVA_FLOAT, slot.offset() + i, (float) (0.3 * random.nextGaussian()));
            var writer = new SafetensorsWriter();
            ParameterFile.add(writer, PeftAdapter.PREFIX, model.trained().layout(), flat.segment());
            writer.write(folder.resolve(PeftAdapter.WEIGHTS));
        }
        PeftAdapter.writeConfig(folder, lora.rank(), lora.alpha(), lora.targets(), java.util.Map.of());
        return folder;
    }

    private GlyphModel model(Device device, Stream stream, LoraConfig lora) {
        var model = new GlyphModel(device, lora == null ? GlyphModel.Options.inference(TestModel.SHAPE, DType.F32, 64)
                : new GlyphModel.Options(TestModel.SHAPE, DType.F32, 64, 1, GlyphModel.Trains.ADAPTER, lora, Set.of()));
        model.load(weights, stream);
        return model;
    }

    /** Images of a seed by the rollout's sampler, as {@code sample} draws them; with the adapter of a folder, or null. */
    float[][] reference(int steps, int[] prompts, long seed, Path adapter) {
        int count = prompts.length / TOKENS;
        try (var device = Device.open(); var stream = device.newStream(); var kernels = new SamplerKernels(device); var model = model(device, stream, adapter == null ? null : LORA);
             var sampler = new WavefrontSampler(device, kernels, model, steps(steps), 1, count, Completions.NONE, DType.F32, 64); var arena = Arena.ofConfined()) {
            if (adapter != null) AdapterFolder.read(adapter, model, stream);
            sampler.run(stream, prompts, IntStream.range(0, count).toArray(), seed, null, 0);
            MemorySegment images = arena.allocate(4L * count * FLOATS);
            stream.copyToHost(images, sampler.images());
            stream.synchronize();
            var result = new float[count][];
            for (int i = 0; i < count; i++) result[i] = images.asSlice(4L * i * FLOATS, 4L * FLOATS).toArray(ValueLayout.JAVA_FLOAT);
            return result;
        }
    }

    static int[] prompts(int count, long seed) {
        return new Random(seed).ints((long) count * TOKENS, 0, VOCABULARY).toArray();
    }

    /** One caller: a call with memory of its own. */
    static final class Caller implements AutoCloseable {
        final Arena arena = Arena.ofShared();
        final SamplerCall call;
        final MemorySegment prompts, pixels;

        Caller(SamplerSession session, int count) {
            call = session.newCall();
            prompts = arena.allocate(ValueLayout.JAVA_INT, (long) count * session.promptTokens());
            pixels = arena.allocate(ValueLayout.JAVA_FLOAT, (long) count * session.imageFloats());
        }

        Caller submit(int[] tokens, long seed, int first) {
            MemorySegment.copy(tokens, 0, prompts, ValueLayout.JAVA_INT, 0, tokens.length);
            call.submit(prompts, seed, first, pixels);
            return this;
        }

        float[] image(int i) {
            long bytes = pixels.byteSize() / (prompts.byteSize() / 4 / TOKENS);
            return pixels.asSlice(i * bytes, bytes).toArray(ValueLayout.JAVA_FLOAT);
        }

        @Override
        public void close() {
            arena.close();
        }
    }
}
