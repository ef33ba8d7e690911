package dev.turningpoint.model;

import static dev.turningpoint.model.BlockActivations.orZero;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.HostMemory;
import dev.turningpoint.gpu.Resources;
import dev.turningpoint.gpu.Stream;
import dev.turningpoint.kernels.NormKernels;
import dev.turningpoint.tensor.ParameterFile;
import dev.turningpoint.tensor.ParameterLayout;
import dev.turningpoint.tensor.ParameterLayout.Slot;
import dev.turningpoint.tensor.Parameters;
import dev.turningpoint.tensor.Tensor;
import dev.turningpoint.tensor.Workspace;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.EnumSet;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import java.util.SplittableRandom;

/**
 * The glyph model: velocity of a grey image of a word, from the noisy image, sigma and the word's letters.
 *
 * <pre>
 *   condition = silu-MLP(sinusoid(1000 sigma)) + text_embedder(all letters' embeddings side by side)
 *   image     = patches Wp^T + b + positions          text = letter embeddings + positions
 *   image, text = block(image, text, condition)       depth times
 *   velocity  = unpatch((LN(image) (1 + scale) + shift) Wo^T + b)
 * </pre>
 *
 * <p>Rollout and training run the same launches in the same order on buffers of their own, so that a row's velocity has the same bits in both; a batch beyond
 * {@link #maxBatch} is done in chunks, which does not change them either, since no launch lets one row see another.
 */
public final class GlyphModel implements TrainableVelocity {

    private static final String BUNDLED = "glyph.safetensors";

    /** What of the model learns. */
    public enum Trains { NOTHING, EVERYTHING, ADAPTER }

    private final GlyphConfig config;
    private final DType type;
    private final int maxBatch;
    private final int maxTrainBatch;
    private final Trains trains;
    private final GlyphWeights weights;
    private final NetKernels kernels;
    private final Parameters parameters;
    private final Parameters adapter;
    private final Map<String, Linear> linears = new LinkedHashMap<>();
    private final Linear patchEmbed;
    private final Linear time1;
    private final Linear time2;
    private final Linear textPool;
    private final Linear modulationLayer;
    private final Linear output;
    private final JointBlock[] blocks;
    private final Resources resources = new Resources();
    private final Workspace rolloutMemory = new Workspace("activations of the rollout");
    private final Workspace trainMemory = new Workspace("activations of training");
    private final Activations rollout;
    private final Activations train;
    private final Gradients gradients;
    private final int finalModulation;
    private long trainedConditions;
    private int trainedBatch;

    /**
     * How a model is built.
     *
     * @param config        its shape
     * @param storage       type T of activations and matrix products, F32 or BF16; parameters are f32
     * @param maxBatch      rows of one rollout forward
     * @param maxTrainBatch rows of one training forward; ignored where nothing trains
     * @param trains        what learns
     * @param lora          the adapter, with {@link Trains#ADAPTER}; else null
     * @param keep          what the trained parameters keep beside their gradients: moments, an average, a reference
     */
    public record Options(GlyphConfig config, DType storage, int maxBatch, int maxTrainBatch, Trains trains, LoraConfig lora, Set<Parameters.Keep> keep) {
        public Options {
            if (maxBatch < 1 || trains != Trains.NOTHING && maxTrainBatch < 1) {
                throw new IllegalArgumentException("the largest batch must be at least 1, not " + maxBatch + " (rollout) and " + maxTrainBatch + " (training)");
            }
            if ((trains == Trains.ADAPTER) != (lora != null)) {
                throw new IllegalArgumentException("an adapter is given exactly where an adapter trains");
            }
            if (storage != DType.F32 && storage != DType.BF16) {
                throw new IllegalArgumentException("activations are f32 or bf16, not " + storage);
            }
        }

        /** For sampling only. */
        public static Options inference(GlyphConfig config, DType storage, int maxBatch) {
            return new Options(config, storage, maxBatch, 0, Trains.NOTHING, null, Set.of());
        }
    }

    public GlyphModel(Device device, Options options) {
        config = options.config;
        type = options.storage;
        maxBatch = options.maxBatch;
        trains = options.trains;
        maxTrainBatch = trains == Trains.NOTHING ? 0 : options.maxTrainBatch;
        weights = new GlyphWeights(config);
        try {
            var kept = EnumSet.of(Parameters.Keep.GRADIENTS);
            kept.addAll(options.keep);
            boolean full = trains == Trains.EVERYTHING;
            boolean backward = trains != Trains.NOTHING;
            kernels = resources.add(NetKernels.load(device));
            parameters = resources.add(new Parameters(device, "parameters of the glyph model", weights.layout(), type, full ? kept : EnumSet.noneOf(Parameters.Keep.class)));
            resources.add(this::closeLinears);

            int ni = config.imageTokens();
            patchEmbed = linear("pos_embed.proj", type, ni, full);
            time1 = linear("time_text_embed.timestep_embedder.linear_1", type, 1, full);
            time2 = linear("time_text_embed.timestep_embedder.linear_2", type, 1, full);
            textPool = linear("time_text_embed.text_embedder", type, 1, full);
            modulationLayer = new Linear(kernels, parameters, weights.modulation(), weights.modulationBias(), DType.F32, 1, full);
            linears.put("modulation", modulationLayer);
            output = linear("proj_out", type, ni, backward);
            blocks = new JointBlock[config.depth()];
            for (int i = 0; i < blocks.length; i++) {
                blocks[i] = new JointBlock(kernels, parameters, weights, config.block(), GlyphWeights.block(i), new JointBlock.Kind(weights.isLast(i), false, false, true),
                        (name, tokens) -> linear(name, type, tokens, backward), null);
            }
            finalModulation = weights.modulationOffset("norm_out.linear");

            rollout = new Activations(rolloutMemory, config, type, weights.modulationSize(), maxBatch, Pass.ROLLOUT);
            train = backward ? new Activations(trainMemory, config, type, weights.modulationSize(), maxTrainBatch, Pass.TRAIN) : null;
            adapter = trains == Trains.ADAPTER ? adapt(device, options.lora, kept) : null;
            gradients = backward ? new Gradients(trainMemory, config, type, weights.modulationSize(), maxTrainBatch, partialBytes()) : null;
            resources.add(rolloutMemory.allocate(device));
            if (backward) {
                resources.add(trainMemory.allocate(device));
            }
        } catch (RuntimeException | Error e) {      // out of device memory, most likely: nobody gets a model to close
            resources.closeAfter(e);
            throw e;
        }
    }

    private Linear linear(String name, DType y, int rowsPerSample, boolean backward) {
        var linear = new Linear(kernels, parameters, name, y, rowsPerSample, backward);
        linears.put(name, linear);
        return linear;
    }

    /** Gives the targeted layers their low-rank branch. */
    private Parameters adapt(Device device, LoraConfig lora, Set<Parameters.Keep> kept) {
        var layout = new ParameterLayout();
        linears.forEach((name, linear) -> {
            if (isAdapted(name, lora)) {
                layout.add(name + ".lora_A.weight", lora.rank(name), linear.in());
                layout.add(name + ".lora_B.weight", linear.out(), lora.rank(name));
            }
        });
        if (layout.slots().isEmpty()) {
            throw new IllegalArgumentException("no layer of the glyph model is named as a target of the adapter: " + lora.targets() + "; there are "
                    + linears.keySet().stream().filter(name -> name.startsWith("transformer_blocks.")).toList());
        }
        var low = resources.add(new Parameters(device, "the adapter", layout, type, kept));
        linears.forEach((name, linear) -> {
            if (isAdapted(name, lora)) {
                long tokens = linear.rowsPerSample();
                linear.adapt(low, layout.slot(name + ".lora_A.weight"), layout.slot(name + ".lora_B.weight"), lora.scale(name), 0,
                        trainMemory.tensor(name + " low-rank, kept", type, maxTrainBatch * tokens, lora.rank(name)),
                        rolloutMemory.tensor(name + " low-rank", type, maxBatch * tokens, lora.rank(name)),
                        trainMemory.tensor(name + " low-rank gradient", type, maxTrainBatch * tokens, lora.rank(name)));
            }
        });
        return low;
    }

    /** Adapters sit in the blocks; what lies outside them stays as it is. */
    private static boolean isAdapted(String layer, LoraConfig lora) {
        return layer.startsWith("transformer_blocks.") && lora.targets(layer);
    }

    private long partialBytes() {
        int imageRows = maxTrainBatch * config.imageTokens();
        long bytes = Math.max(NormKernels.qkNormScratch(maxTrainBatch, config.imageTokens(), config.heads(), config.headDim()), NormKernels.qkNormScratch(maxTrainBatch, config.tokens(), config.heads(), config.headDim()));
        for (Linear linear : linears.values()) {
            bytes = Math.max(bytes, linear.scratch(imageRows));
        }
        return bytes;
    }

    // The forward

    @Override
    public void velocity(Stream stream, long latents, long sigma, long conditions, long velocity, int batch) {
        inChunks(stream, latents, sigma, conditions, velocity, batch, Pass.ROLLOUT);
    }

    @Override
    public void referenceVelocity(Stream stream, long latents, long sigma, long conditions, long velocity, int batch) {
        Parameters trained = adapter == null ? parameters : adapter;
        if (trains == Trains.ADAPTER && !adapter.hasReference()) {
            inChunks(stream, latents, sigma, conditions, velocity, batch, Pass.REFERENCE);
            return;
        }
        trained.read(Parameters.Source.REFERENCE, kernels.mlp(), stream);
        try {
            inChunks(stream, latents, sigma, conditions, velocity, batch, Pass.ROLLOUT);
        } finally {
            trained.read(Parameters.Source.VALUES, kernels.mlp(), stream);
        }
    }

    private void inChunks(Stream stream, long latents, long sigma, long conditions, long velocity, int batch, Pass pass) {
        long n = config.latentSize();
        for (int from = 0; from < batch; from += maxBatch) {
            int rows = Math.min(maxBatch, batch - from);
            forward(stream, rollout, latents + DType.F32.bytes(from * n), sigma + DType.F32.bytes(from), conditions + DType.I32.bytes((long) from * config.tokens()),
                    velocity + type.bytes(from * n), rows, pass);
        }
    }

    @Override
    public void trainVelocity(Stream stream, long latents, long sigma, long conditions, long velocity, int batch) {
        requireTraining();
        if (batch > maxTrainBatch) {
            throw new IllegalArgumentException("a training forward holds " + maxTrainBatch + " rows, not " + batch);
        }
        trainedConditions = conditions;
        trainedBatch = batch;
        forward(stream, train, latents, sigma, conditions, velocity, batch, Pass.TRAIN);
    }

    private void forward(Stream stream, Activations a, long latents, long sigma, long conditions, long velocity, int batch, Pass pass) {
        int d = config.dim();
        int ni = config.imageTokens();
        int imageRows = batch * ni;
        Tensor image = a.blocks[0].image().input();
        Tensor text = a.blocks[0].text().input();
        kernels.embed().tokenEmbedding(stream, conditions, value("context_embedder.weight"), value("context_embedder.pos_embed"), text.address(), batch, config.tokens(), d, config.vocabulary());
        if (a.text != text) {
            kernels.mlp().cast(stream, DType.F32, text.address(), type, a.text.address(), (long) batch * config.tokens() * d);
        }
        kernels.embed().timestepEmbedding(stream, type, sigma, a.timestep.address(), batch, GlyphConfig.TIMESTEP_FEATURES);
        time1.forward(stream, a.timestep.address(), a.timeHidden.address(), batch, pass);
        kernels.mlp().silu(stream, type, a.timeHidden.address(), a.timeActivated.address(), (long) batch * d);
        time2.forward(stream, a.timeActivated.address(), a.condition.address(), batch, false);
        textPool.forward(stream, a.text.address(), a.condition.address(), batch, true);
        kernels.mlp().silu(stream, type, a.condition.address(), a.conditionActivated.address(), (long) batch * d);
        modulationLayer.forward(stream, a.conditionActivated.address(), a.modulation.address(), batch, false);

        kernels.embed().patchify(stream, DType.F32, latents, type, a.patches.address(), batch, 1, config.height(), config.width(), config.patch(), false);
        patchEmbed.forward(stream, a.patches.address(), a.embedded.address(), imageRows, false);
        kernels.embed().addPosition(stream, type, a.embedded.address(), value("pos_embed.pos_embed"), image.address(), batch, ni * d);

        for (int i = 0; i < blocks.length; i++) {
            blocks[i].forward(stream, a.blocks[i], a.modulation, batch, pass);
        }

        kernels.norm().adaptiveLayerNorm(stream, type, a.result.address(), a.modulation.address(finalModulation), a.modulation.address(finalModulation + d), weights.modulationSize(),
                a.resultNormed.address(), orZero(a.resultStats), imageRows, d, ni, BlockShape.EPS);
        output.forward(stream, a.resultNormed.address(), a.outPatches.address(), imageRows, pass);
        kernels.embed().unpatchify(stream, type, a.outPatches.address(), type, velocity, batch, 1, config.height(), config.width(), config.patch(), false);
    }

    // The backward

    @Override
    public void backward(Stream stream, long velocityGradient, int batch) {
        requireTraining();
        if (batch != trainedBatch) {
            throw new IllegalStateException("the last training forward had " + trainedBatch + " rows, the backward asks for " + batch);
        }
        trainedBatch = 0;
        Activations a = train;
        Gradients g = gradients;
        int d = config.dim();
        int ni = config.imageTokens();
        int imageRows = batch * ni;
        int textRows = batch * config.tokens();
        long partials = g.block.partials().address();
        long dImage = g.block.image().residual().address();
        long dText = g.block.text().residual().address();
        long narrow = g.block.image().narrow().address();

        kernels.embed().patchify(stream, type, velocityGradient, type, g.outPatches.address(), batch, 1, config.height(), config.width(), config.patch(), false);
        output.backwardWeight(stream, a.resultNormed.address(), g.outPatches.address(), partials, imageRows);
        output.backwardInput(stream, a.resultNormed.address(), g.outPatches.address(), narrow, imageRows);
        stream.fill(dImage, (byte) 0, DType.F32.bytes((long) imageRows * d));
        stream.fill(dText, (byte) 0, DType.F32.bytes((long) textRows * d));
        kernels.norm().adaptiveLayerNormBackward(stream, type, a.result.address(), a.modulation.address(finalModulation + d), weights.modulationSize(), a.resultStats.address(), narrow,
                dImage, g.modulation.address(finalModulation), g.modulation.address(finalModulation + d), imageRows, d, ni);

        for (int i = blocks.length - 1; i >= 0; i--) {
            blocks[i].backward(stream, a.blocks[i], a.modulation, g.block, batch, i > 0 || trains == Trains.EVERYTHING);
        }
        if (trains == Trains.EVERYTHING) {
            backwardEmbeddings(stream, a, g, dImage, dText, batch);
        }
    }

    private void backwardEmbeddings(Stream stream, Activations a, Gradients g, long dImage, long dText, int batch) {
        int d = config.dim();
        int ni = config.imageTokens();
        long partials = g.block.partials().address();
        long dCondition = g.condition.address();
        long dTime = g.time.address();
        long modulation = g.modulationStored.address();
        if (g.modulationStored != g.modulation) {
            kernels.mlp().cast(stream, DType.F32, g.modulation.address(), type, modulation, (long) batch * weights.modulationSize());
        }
        modulationLayer.backwardWeight(stream, a.conditionActivated.address(), modulation, partials, batch);
        modulationLayer.backwardInput(stream, a.conditionActivated.address(), modulation, dCondition, batch);
        kernels.mlp().siluBackward(stream, type, a.condition.address(), dCondition, dCondition, (long) batch * d);
        textPool.backwardWeight(stream, a.text.address(), dCondition, partials, batch);
        textPool.backwardInputF32(stream, dCondition, dText, batch);
        time2.backwardWeight(stream, a.timeActivated.address(), dCondition, partials, batch);
        time2.backwardInput(stream, a.timeActivated.address(), dCondition, dTime, batch);
        kernels.mlp().siluBackward(stream, type, a.timeHidden.address(), dTime, dTime, (long) batch * d);
        time1.backwardWeight(stream, a.timestep.address(), dTime, partials, batch);

        kernels.embed().tokenEmbeddingGradient(stream, trainedConditions, dText, gradient("context_embedder.weight"), batch, config.tokens(), d, config.vocabulary());
        kernels.embed().positionGradient(stream, dText, gradient("context_embedder.pos_embed"), batch, config.tokens() * d);
        kernels.embed().positionGradient(stream, dImage, gradient("pos_embed.pos_embed"), batch, ni * d);
        long stored = g.block.image().stored().address();
        if (g.block.image().stored() != g.block.image().residual()) {
            kernels.mlp().cast(stream, DType.F32, dImage, type, stored, (long) batch * ni * d);
        }
        patchEmbed.backwardWeight(stream, a.patches.address(), stored, partials, batch * ni);
    }

    // Parameters

    /** Reads the base model's parameters from a safetensors file and waits for it. */
    public void load(Path file, Stream stream) {
        ParameterFile.load(file, "", weights.layout(), parameters.values(), stream);
        baseChanged(stream);
        stream.synchronize();
    }

    /** Reads the weights that ship with the engine. */
    public void loadBundled(Stream stream) {
        ParameterFile.loadResource(GlyphModel.class, BUNDLED, weights.layout(), parameters.values(), stream);
        baseChanged(stream);
        stream.synchronize();
    }

    @Override
    public void initialiseAdapter(long seed, Stream stream) {
        ParameterLayout layout = trained().layout();
        var random = new SplittableRandom(seed);
        try (HostMemory flat = HostMemory.allocate(trained().values().bytes())) {
            flat.segment().fill((byte) 0);
            for (Slot slot : layout.slots().values()) {
                if (slot.name().endsWith(".lora_A.weight")) {
                    double bound = 1 / Math.sqrt(slot.shape()[1]);
                    for (long i = 0; i < slot.elements(); i++) {
                        flat.segment().setAtIndex(ValueLayout.JAVA_FLOAT, slot.offset() + i, (float) random.nextDouble(-bound, bound));
                    }
                }
            }
            Parameters.upload(flat.segment(), trained().values(), stream);
        }
        parametersChanged(stream);
        stream.synchronize();
    }

    public GlyphWeights weights() {
        return weights;
    }

    public GlyphConfig config() {
        return config;
    }

    /** The base model's parameters. */
    public Parameters baseParameters() {
        return parameters;
    }

    @Override
    public Parameters trained() {
        requireTraining();
        return adapter == null ? parameters : adapter;
    }

    @Override
    public void read(Parameters.Source source, Stream stream) {
        trained().read(source, kernels.mlp(), stream);
    }

    /** Queues what must follow a change of the base parameters from outside, such as loading them. */
    public void baseChanged(Stream stream) {
        parameters.changed(kernels.mlp(), stream);
    }

    @Override
    public void parametersChanged(Stream stream) {
        trained().changed(kernels.mlp(), stream);
    }

    @Override
    public long parameters() {
        return trained().values().address();
    }

    @Override
    public long gradients() {
        return trained().gradients().address();
    }

    @Override
    public long trainableCount() {
        return trained().size();
    }

    @Override
    public long computeCopy() {
        return trained().computeCopy();
    }

    @Override
    public void zeroGradients(Stream stream) {
        trained().gradients().clear(stream);
    }

    @Override
    public int latentSize() {
        return config.latentSize();
    }

    @Override
    public int conditionTokens() {
        return config.tokens();
    }

    @Override
    public DType storage() {
        return type;
    }

    @Override
    public int maxBatch() {
        return maxBatch;
    }

    @Override
    public int maxTrainBatch() {
        return maxTrainBatch;
    }

    /** Bytes of device memory for activations. */
    public long activationBytes() {
        return rolloutMemory.bytes() + trainMemory.bytes();
    }

    private long value(String name) {
        return parameters.value(slot(name));
    }

    private long gradient(String name) {
        return parameters.gradient(slot(name));
    }

    private Slot slot(String name) {
        return weights.layout().slot(name);
    }

    private void requireTraining() {
        if (trains == Trains.NOTHING) {
            throw new IllegalStateException("this glyph model was built for sampling only");
        }
    }

    @Override
    public void close() {
        resources.close();
    }

    private void closeLinears() {
        try (var all = new Resources()) {
            linears.values().forEach(all::add);
        }
    }
}
