package dev.turningpoint.train;

import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.Stream;
import dev.turningpoint.model.GlyphConfig;
import dev.turningpoint.model.GlyphModel;
import dev.turningpoint.model.LoraConfig;
import dev.turningpoint.pipeline.DiffusersPipeline;
import dev.turningpoint.pipeline.GlyphPipeline;
import dev.turningpoint.pipeline.Pipeline;
import dev.turningpoint.pipeline.PipelineFolder;
import dev.turningpoint.tensor.Parameters;
import java.nio.file.Path;
import java.util.EnumSet;
import java.util.Set;

/** The pipeline that a configuration describes, its weights read. */
public final class ConfiguredPipeline {
    private ConfiguredPipeline() {}

    /**
     * For sampling.
     *
     * @param prompts most different prompts at once
     * @param rows    most images at once
     * @param adapter to sample with, a LoRA's file or folder; null for the model as it is
     */
    public static Pipeline forSampling(Device device, RunConfig config, int prompts, int rows, Path adapter, Stream stream) {
        RunConfig.Model m = config.model();
        int batch = Math.min(rows, rows(config));
        if (!m.isGlyph()) {
            return new DiffusersPipeline(device, folder(m), options(config, prompts, batch, 1, null, Set.of()), adapter, stream);
        }
        LoraConfig lora = adapter == null ? null : AdapterFolder.config(adapter);
        GlyphConfig shape = m.glyph();
        var model = new GlyphModel(device, lora == null ? GlyphModel.Options.inference(shape, config.storage().type(), batch)
                : new GlyphModel.Options(shape, config.storage().type(), batch, 1, GlyphModel.Trains.ADAPTER, lora, Set.of()));
        return started(new GlyphPipeline(model, lora), () -> {
            load(model, m, stream);
            if (adapter != null) AdapterFolder.read(adapter, model, stream);
        });
    }

    /** For training: what the configuration trains is as it is when a run begins, a new adapter or that of {@code train.lora_start} included. */
    static Pipeline forTraining(Device device, RunConfig config, Stream stream) {
        RunConfig.Model m = config.model();
        RunConfig.Train train = config.train();
        boolean full = train.parameters() == RunConfig.Parameters.FULL;
        var keep = EnumSet.of(Parameters.Keep.MOMENTS);
        if (train.emaDecay() > 0) keep.add(Parameters.Keep.AVERAGE);
        if (train.klBeta() > 0 && (full || train.referenceReset() > 0)) keep.add(Parameters.Keep.REFERENCE);   // else the adapter off is the reference
        int trainRows = train.microBatch() * (config.sampler().guidance() == 1 ? 1 : 2);
        Path start = train.loraStart().isEmpty() ? null : Path.of(train.loraStart());
        if (!m.isGlyph()) {
            int prompts = Math.max(train.promptsPerIteration(), config.evaluation().prompts());
            var pipeline = new DiffusersPipeline(device, folder(m), options(config, prompts, rows(config), trainRows, train.lora(), keep), start, stream);
            return started(pipeline, () -> {
                if (start == null) pipeline.network().initialiseAdapter(config.seed(), stream);
            });
        }
        GlyphConfig shape = m.glyph();
        var model = new GlyphModel(device, new GlyphModel.Options(shape, config.storage().type(), glyphRows(config, shape), trainRows,
                full ? GlyphModel.Trains.EVERYTHING : GlyphModel.Trains.ADAPTER, train.lora(), keep));
        return started(new GlyphPipeline(model, train.lora()), () -> {
            load(model, m, stream);
            if (start != null) AdapterFolder.read(start, model, stream);
            else if (!full) model.initialiseAdapter(config.seed(), stream);
        });
    }

    /** A plan needs what the folder says of itself and no more. */
    private static PipelineFolder folder(RunConfig.Model m) {
        Path path = Path.of(m.weights());
        return Device.isPlanning() ? PipelineFolder.describe(path) : PipelineFolder.open(path);
    }

    private static DiffusersPipeline.Options options(RunConfig config, int prompts, int rows, int trainRows, LoraConfig lora, Set<Parameters.Keep> keep) {
        RunConfig.Model m = config.model();
        return new DiffusersPipeline.Options(m.imageHeight(), m.imageWidth(), m.textTokens(), prompts, m.guidance(), m.negativePrompt(), config.storage().type(), rows, trainRows, lora, keep);
    }

    private static void load(GlyphModel model, RunConfig.Model m, Stream stream) {
        if (m.weights().equals("bundled")) model.loadBundled(stream);
        else model.load(Path.of(m.weights()), stream);
    }

    /** The pipeline after {@code start}; closed if that fails. */
    private static Pipeline started(Pipeline pipeline, Runnable start) {
        try {
            start.run();
            return pipeline;
        } catch (RuntimeException | Error e) {
            try (pipeline) {
                throw e;
            }
        }
    }

    /** Rows of one forward; where the configuration leaves them open, as many as keep a device busy: more do not make it faster. */
    private static int rows(RunConfig config) {
        if (config.sampler().forwardRows() > 0) return config.sampler().forwardRows();
        if (config.model().isGlyph()) return Device.isSoftware() ? 64 : 512;
        return Device.isSoftware() ? 2 : 8;
    }

    /** Rows of one rollout forward: what fits half of wave_memory, at about 24 activations of the stream's width a token; any number gives the same bits. */
    static int glyphRows(RunConfig config, GlyphConfig shape) {
        int wanted = rows(config);
        long row = 24L * shape.jointTokens() * shape.dim() * Float.BYTES, memory = Trainer.halfOfWaveMemory(config);
        return memory == 0 ? wanted : (int) Math.clamp(memory / row, 1, wanted);
    }
}
