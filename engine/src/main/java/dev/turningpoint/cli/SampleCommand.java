package dev.turningpoint.cli;

import dev.turningpoint.data.Prompt;
import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.HostMemory;
import dev.turningpoint.gpu.Stream;
import dev.turningpoint.image.ImageBatch;
import dev.turningpoint.image.Picture;
import dev.turningpoint.kernels.SamplerKernels;
import dev.turningpoint.pipeline.Pipeline;
import dev.turningpoint.sampler.WavefrontSampler;
import dev.turningpoint.sampler.WavefrontSampler.Completions;
import dev.turningpoint.train.ConfiguredPipeline;
import dev.turningpoint.train.RunConfig;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.stream.IntStream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

@Command(name = "sample", description = "Draws words with the glyph model, or prompts with SD3.5 or FLUX.1 (--model), by ODE steps from seeded noise.")
final class SampleCommand implements Callable<Integer> {
    private static final int COLUMNS = 8, LARGE_COLUMNS = 4, SCALE = 4;

    @Parameters(paramLabel = "WORD", arity = "0..*", description = "What to draw; with --model a whole prompt.")
    private List<String> words = new ArrayList<>();

    @Mixin private ConfigOptions options;
    @Spec private CommandSpec spec;

    @Option(names = "--prompt", paramLabel = "TEXT", description = "The same as WORD; may be repeated.")
    private List<String> prompts = new ArrayList<>();

    @Option(names = "--weights", paramLabel = "FILE", description = "Safetensors file of the glyph model; default the configuration's model.weights.")
    private Path weights;

    @Option(names = "--lora", paramLabel = "PATH", description = "An adapter on top: a folder as train writes it; with --model a LoRA of PEFT, diffusers or kohya.")
    private Path lora;

    @Option(names = "--out", paramLabel = "FILE", description = "PNG to write; default words.png, with --model images.png.")
    private Path out;

    @Option(names = "--count", paramLabel = "N", defaultValue = "1", description = "Pictures of each word.")
    private int count;

    @Override
    public Integer call() {
        if (weights != null) options.assignments.add("model.weights='" + weights.toString().replace("'", "''") + "'");
        RunConfig config = options.read();
        boolean glyph = config.model().isGlyph();
        if (weights != null && !glyph) throw new CommandException("--weights names a file of the glyph model; a published model's folder is given by --model");
        if (count < 1) throw new CommandException("--count must be at least 1, is " + count);
        words.addAll(prompts);
        if (words.isEmpty()) throw new CommandException("nothing to draw: give a word" + (glyph ? "" : " or a --prompt"));
        var all = new ArrayList<Prompt>();
        for (String word : words) for (int i = 0; i < count; i++) all.add(glyph ? new Prompt(word, word) : Prompt.of(word, Map.of()));
        int n = all.size();
        Path file = out != null ? out : Path.of(glyph ? "words.png" : "images.png");

        try (var device = Device.open(); var stream = device.newStream(); var kernels = new SamplerKernels(device);
             Pipeline pipeline = ConfiguredPipeline.forSampling(device, config, words.size(), n, lora, stream);
             var sampler = new WavefrontSampler(device, kernels, pipeline.network(), config.evaluationSteps(), config.sampler().guidance(), n, Completions.NONE, DType.F32,
                     pipeline.network().maxBatch());
             var latents = HostMemory.allocate(DType.F32.bytes((long) n * pipeline.network().latentSize())); Arena arena = Arena.ofConfined()) {
            sampler.run(stream, conditions(pipeline, all, stream), IntStream.range(0, n).toArray(), config.seed(), null, 0);
            stream.copyToHost(latents.segment(), sampler.images());
            stream.synchronize();
            ImageBatch images = ImageBatch.allocate(arena, n, pipeline.channels(), pipeline.height(), pipeline.width());
            pipeline.decode(latents.segment(), images);
            Picture.grid(images, all.stream().map(Prompt::text).toList(), glyph ? COLUMNS : LARGE_COLUMNS, glyph ? SCALE : 1).write(file);
        }
        spec.commandLine().getOut().println(file);
        return 0;
    }

    private static int[] conditions(Pipeline pipeline, List<Prompt> prompts, Stream stream) {
        try {
            return pipeline.conditions(prompts, stream);
        } catch (IllegalArgumentException e) {
            throw new CommandException(e.getMessage(), e);
        }
    }
}
