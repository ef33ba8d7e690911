package dev.turningpoint.pipeline;

import dev.turningpoint.data.Prompt;
import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.HostMemory;
import dev.turningpoint.gpu.Stream;
import dev.turningpoint.image.ImageBatch;
import dev.turningpoint.model.GlyphModel;
import dev.turningpoint.model.LoraConfig;
import dev.turningpoint.tensor.ParameterFile;
import dev.turningpoint.tensor.Parameters;
import dev.turningpoint.text.GlyphAlphabet;
import dev.turningpoint.weights.PeftAdapter;
import dev.turningpoint.weights.SafetensorsWriter;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/** The glyph model: a prompt is the letters of its word, and latents are the image. */
public final class GlyphPipeline implements Pipeline {
    private final GlyphModel model;
    private final LoraConfig lora;

    /**
     * @param model is closed with the pipeline
     * @param lora  that the model was built with, or null
     */
    public GlyphPipeline(GlyphModel model, LoraConfig lora) {
        this.model = model;
        this.lora = lora;
    }

    @Override
    public GlyphModel network() {
        return model;
    }

    @Override
    public int channels() {
        return 1;
    }

    @Override
    public int height() {
        return model.config().height();
    }

    @Override
    public int width() {
        return model.config().width();
    }

    /** @throws IllegalArgumentException if a word is too long or has a letter that is not in the alphabet */
    @Override
    public int[] conditions(List<Prompt> prompts, Stream stream) {
        int tokens = model.conditionTokens();
        var conditions = new int[prompts.size() * tokens];
        for (int i = 0; i < prompts.size(); i++) {
            System.arraycopy(GlyphAlphabet.encode(prompts.get(i).target(), tokens), 0, conditions, i * tokens, tokens);
        }
        return conditions;
    }

    @Override
    public void decode(MemorySegment latents, ImageBatch images) {
        MemorySegment.copy(latents, 0, images.data(), 0, DType.F32.bytes((long) images.count() * model.latentSize()));
    }

    /** {@code weights.safetensors}, or an adapter as PEFT keeps it. */
    @Override
    public Path save(Path folder, Parameters.Source source, Stream stream) {
        Parameters trained = model.trained();
        Path file = folder.resolve(lora != null ? PeftAdapter.WEIGHTS : "weights.safetensors");
        try (HostMemory host = Parameters.download(source == Parameters.Source.AVERAGE ? trained.average() : trained.values(), stream)) {
            var writer = new SafetensorsWriter().metadata("format", "pt");
            ParameterFile.add(writer, lora != null ? PeftAdapter.PREFIX : "", trained.layout(), host.segment());
            writer.write(file);
        }
        if (lora != null) {
            Map<String, Integer> ranks = new TreeMap<>();
            for (String name : trained.layout().slots().keySet()) {
                String layer = name.replaceFirst("\\.lora_[AB]\\.weight$", "");
                if (lora.rank(layer) != lora.rank()) ranks.put(layer, lora.rank(layer));
            }
            PeftAdapter.writeConfig(folder, lora.rank(), lora.alpha(), lora.targets(), ranks);
        }
        return file;
    }

    @Override
    public void close() {
        model.close();
    }
}
