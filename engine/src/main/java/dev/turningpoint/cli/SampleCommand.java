package dev.turningpoint.cli;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.Stream;
import dev.turningpoint.image.ImageBatch;
import dev.turningpoint.image.Picture;
import dev.turningpoint.kernels.SamplerKernels;
import dev.turningpoint.model.GlyphConfig;
import dev.turningpoint.model.GlyphModel;
import dev.turningpoint.sampler.WavefrontSampler;
import dev.turningpoint.sampler.WavefrontSampler.Completions;
import dev.turningpoint.text.GlyphAlphabet;
import dev.turningpoint.train.AdapterFolder;
import dev.turningpoint.train.RunConfig;

import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.stream.IntStream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

@Command(name = "sample", description = "Draws words with a trained model, by ODE steps from seeded noise.")
final class SampleCommand implements Callable<Integer> {
    private static final int COLUMNS = 8;
    private static final int SCALE = 4;

    @Parameters(paramLabel = "WORD", arity = "1..*", description = "What to draw.")
    private List<String> words;

    @Mixin private ConfigOptions options;
    @Spec private CommandSpec spec;

    @Option(names = "--weights", paramLabel = "FILE", description = "Safetensors file of the model; default the configuration's model.weights.")
    private Path weights;

    @Option(names = "--lora", paramLabel = "DIR", description = "Folder of an adapter on top of them, as train writes it.")
    private Path lora;

    @Option(names = "--out", paramLabel = "FILE", defaultValue = "words.png", description = "PNG to write; default ${DEFAULT-VALUE}.")
    private Path out;

    @Option(names = "--count", paramLabel = "N", defaultValue = "1", description = "Pictures of each word.")
    private int count;

    @Override
    public Integer call() {
        RunConfig config = options.read();
        if (count < 1) throw new CommandException("--count must be at least 1, is " + count);
        GlyphConfig shape = config.model().glyph();
        var captions = new ArrayList<String>();
        for (String word : words) for (int i = 0; i < count; i++) captions.add(word);
        int n = captions.size(), tokens = shape.tokens();
        var conditions = new int[n * tokens];
        for (int i = 0; i < n; i++) System.arraycopy(encode(captions.get(i), tokens), 0, conditions, i * tokens, tokens);

        try (var device = Device.open(); var stream = device.newStream(); var kernels = new SamplerKernels(device);
             var model = new GlyphModel(device, options(shape, config.storage().type(), Math.min(n, 64)));
             var sampler = new WavefrontSampler(device, kernels, model, config.evaluationSteps(), config.sampler().guidance(), n, Completions.NONE, DType.F32, 64);
             Arena arena = Arena.ofConfined()) {
            load(model, config, stream);
            sampler.run(stream, conditions, IntStream.range(0, n).toArray(), config.seed(), null, 0);
            ImageBatch images = ImageBatch.allocate(arena, n, shape.height(), shape.width());
            stream.copyToHost(images.data(), sampler.images());
            stream.synchronize();
            Picture.grid(images, captions, COLUMNS, SCALE).write(out);
        }
        spec.commandLine().getOut().println(out);
        return 0;
    }

    private GlyphModel.Options options(GlyphConfig shape, DType storage, int batch) {
        if (lora == null) return GlyphModel.Options.inference(shape, storage, batch);
        return new GlyphModel.Options(shape, storage, batch, 1, GlyphModel.Trains.ADAPTER, AdapterFolder.config(lora), Set.of());
    }

    private void load(GlyphModel model, RunConfig config, Stream stream) {
        if (weights != null) model.load(weights, stream);
        else if (config.model().weights().equals("bundled")) model.loadBundled(stream);
        else model.load(Path.of(config.model().weights()), stream);
        if (lora != null) AdapterFolder.read(lora, model, stream);
    }

    private static int[] encode(String word, int tokens) {
        try {
            return GlyphAlphabet.encode(word, tokens);
        } catch (IllegalArgumentException e) {
            throw new CommandException(e.getMessage(), e);
        }
    }
}
