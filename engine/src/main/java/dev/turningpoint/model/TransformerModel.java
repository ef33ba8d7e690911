package dev.turningpoint.model;

import static dev.turningpoint.model.BlockActivations.orZero;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.HostMemory;
import dev.turningpoint.gpu.Resources;
import dev.turningpoint.gpu.Stream;
import dev.turningpoint.kernels.NormKernels;
import dev.turningpoint.tensor.ParameterLayout;
import dev.turningpoint.tensor.ParameterLayout.Slot;
import dev.turningpoint.tensor.Parameters;
import dev.turningpoint.tensor.Tensor;
import dev.turningpoint.tensor.Workspace;
import dev.turningpoint.weights.Architecture;
import dev.turningpoint.weights.FluxArchitecture;
import dev.turningpoint.weights.Lora;
import dev.turningpoint.weights.Recognised;
import dev.turningpoint.weights.Sd3Architecture;
import dev.turningpoint.weights.WeightsException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.SplittableRandom;

/**
 * The published transformers, SD3 (3.5-medium, 3.5-large) and FLUX.1: velocity of latents from the noisy latents, sigma, and a prompt's embeddings.
 *
 * <pre>
 *   condition = silu-MLP(sinusoid(1000 sigma)) + silu-MLP(pooled text) (+ silu-MLP(sinusoid(1000 guidance)), FLUX.1-dev)
 *   image     = patches Wp^T + b (+ positions, SD3)   text = text embeddings Wc^T + b
 *   image, text = block(image, text, condition)       depth times; FLUX rotates queries and keys by position
 *   velocity  = unpatch((LN(image) (1 + scale) + shift) Wo^T + b)
 * </pre>
 *
 * <p>A condition is the number of a prompt whose embeddings were given by {@link #setPrompt}; prompt 0 is the empty one, for guidance. Rollout and training run the
 * same launches in the same order, so that a row's velocity has the same bits in both, whatever the batch.
 */
public final class TransformerModel implements TrainableVelocity {
    /** Width of the timestep sinusoid. */
    static final int TIMESTEP_FEATURES = 256;
    private static final String LORA_A = ".lora_A.weight", LORA_B = ".lora_B.weight";

    /**
     * How a model is built.
     *
     * @param architecture   of the network
     * @param height         of a latent
     * @param width          of a latent
     * @param textTokens     of a prompt
     * @param prompts        most prompts that are known at once
     * @param storage        type T of activations and matrix products, F32 or BF16
     * @param maxBatch       rows of one rollout forward
     * @param maxTrainBatch  rows of one training forward; ignored where nothing trains
     * @param trains         what learns
     * @param lora           the adapter, with {@link GlyphModel.Trains#ADAPTER}; else null
     * @param keep           what the trained parameters keep beside their gradients
     * @param inputGradients whether a backward gives the gradients of latents and embeddings too
     */
    public record Options(Architecture architecture, int height, int width, int textTokens, int prompts, DType storage, int maxBatch, int maxTrainBatch, GlyphModel.Trains trains,
                          LoraConfig lora, Set<Parameters.Keep> keep, boolean inputGradients) {
        public Options {
            if (maxBatch < 1 || trains != GlyphModel.Trains.NOTHING && maxTrainBatch < 1) {
                throw new IllegalArgumentException("the largest batch must be at least 1, not " + maxBatch + " (rollout) and " + maxTrainBatch + " (training)");
            }
            if ((trains == GlyphModel.Trains.ADAPTER) != (lora != null)) {
                throw new IllegalArgumentException("an adapter is given exactly where an adapter trains");
            }
            if (textTokens < 1 || prompts < 1) {
                throw new IllegalArgumentException("a model needs at least one text token and one prompt, not " + textTokens + " and " + prompts);
            }
            if (inputGradients && trains == GlyphModel.Trains.NOTHING) {
                throw new IllegalArgumentException("gradients of the input are asked of a model that has no backward");
            }
        }

        /** For sampling only. */
        public static Options inference(Architecture architecture, int height, int width, int textTokens, int prompts, DType storage, int maxBatch) {
            return new Options(architecture, height, width, textTokens, prompts, storage, maxBatch, 0, GlyphModel.Trains.NOTHING, null, Set.of(), false);
        }
    }

    /** Sizes of the network for one size of latents. */
    record Sizes(BlockShape block, int blocks, boolean secondAttention, boolean guidance, int patch, int channels, int outChannels, int textWidth, int pooledWidth, int height, int width,
                 boolean channelsLast) {
        int patchIn() {
            return channels * patch * patch;
        }

        int patchOut() {
            return outChannels * patch * patch;
        }
    }

    /** A linear layer by the name of its weights; two streams may use the same. */
    private record Layer(String name, Linear linear) {
    }

    /** Two layers with a silu between; null linears where there are none. */
    private record Embedding(Linear first, Linear second) {
    }

    private final Device device;
    private final Options options;
    private final Sizes sizes;
    private final DType type;
    private final int maxTrainBatch;
    private final TransformerWeights weights;
    private final HeadFilling filling;
    private final NetKernels kernels;
    private final Parameters parameters;
    private final Parameters adapter;
    private final List<Layer> layers = new ArrayList<>();
    private final Linear patchEmbed, contextEmbed, modulationLayer, output;
    private final Embedding time, pooled, guidance;
    private final Block[] blocks;
    private final Resources resources = new Resources();
    private final Workspace tables = new Workspace("prompt embeddings and positions"), rolloutMemory = new Workspace("activations of the rollout"),
            trainMemory = new Workspace("activations of training");
    private final Tensor promptText, promptPooled, promptGuidance, positions, rope;
    private final TransformerActivations rollout, train;
    private final BlockGradients gradients;
    private final Tensor modulationStored, outPatches, dCondition, dHidden, dLatents, dText, dPooled;
    private final int finalModulation;
    private final int lowest;
    private int trainedBatch;

    public TransformerModel(Device device, Options options) {
        this.device = device;
        this.options = options;
        type = options.storage;
        boolean backward = options.trains != GlyphModel.Trains.NOTHING, full = options.trains == GlyphModel.Trains.EVERYTHING, inputs = options.inputGradients, conditions = full || inputs;
        maxTrainBatch = backward ? options.maxTrainBatch : 0;
        filling = switch (options.architecture) {
            case Sd3Architecture a -> new HeadFilling(a.heads(), a.headDim(), BlockShape.served(a.headDim()));
            case FluxArchitecture a -> new HeadFilling(a.heads(), a.headDim(), BlockShape.served(a.headDim()));
        };
        sizes = switch (options.architecture) {
            case Sd3Architecture a -> sizes(a, options, filling);
            case FluxArchitecture a -> sizes(a, options, filling);
        };
        BlockShape shape = sizes.block;
        try {
            weights = switch (options.architecture) {
                case Sd3Architecture a -> new Sd3Weights(a, filling);
                case FluxArchitecture a -> new FluxWeights(a, filling);
            };
            var kept = EnumSet.of(Parameters.Keep.GRADIENTS);
            kept.addAll(options.keep);
            kernels = resources.add(NetKernels.load(device));
            String purpose = "parameters of " + options.architecture.name();
            parameters = resources.add(full ? new Parameters(device, purpose, weights.layout(), type, kept) : Parameters.inStorage(device, purpose, weights.layout(), type));
            resources.add(this::closeLinears);
            int ni = shape.imageTokens(), nt = shape.textTokens();
            promptText = tables.tensor("text of all prompts", DType.F32, options.prompts, (long) nt * sizes.textWidth);
            promptPooled = tables.tensor("pooled text of all prompts", DType.F32, options.prompts, sizes.pooledWidth);
            promptGuidance = tables.tensor("guidance of all prompts", DType.F32, options.prompts);
            boolean flux = options.architecture instanceof FluxArchitecture;
            positions = flux ? null : tables.tensor("positions", DType.F32, ni, shape.width());
            rope = flux ? tables.tensor("rotations", DType.F32, shape.jointTokens(), shape.headDim()) : null;

            patchEmbed = linear(flux ? "x_embedder" : "pos_embed.proj", DType.F32, ni, conditions);
            contextEmbed = linear("context_embedder", DType.F32, nt, conditions);
            time = embedding("time_text_embed.timestep_embedder", conditions);
            pooled = embedding("time_text_embed.text_embedder", conditions);
            guidance = sizes.guidance ? embedding("time_text_embed.guidance_embedder", conditions) : null;
            modulationLayer = new Linear(kernels, parameters, weights.modulation(), weights.modulationBias(), DType.F32, 1, conditions);
            layers.add(new Layer("modulation", modulationLayer));
            output = linear("proj_out", type, ni, backward);
            blocks = new Block[sizes.blocks];
            JointBlock.Layers make = (name, tokens) -> linear(name, type, tokens, backward);
            for (int i = 0; i < blocks.length; i++) {
                blocks[i] = block(i, make);
            }
            finalModulation = weights.modulationOffset("norm_out.linear");

            rollout = new TransformerActivations(rolloutMemory, sizes, type, weights.modulationSize(), options.maxBatch, Pass.ROLLOUT);
            train = backward ? new TransformerActivations(trainMemory, sizes, type, weights.modulationSize(), maxTrainBatch, Pass.TRAIN) : null;
            adapter = options.lora != null ? adapt(device, options.lora, kept) : null;
            lowest = lowestTrained();
            long batch = maxTrainBatch;
            Tensor modulationGradient = backward && conditions ? trainMemory.tensor("d modulation", DType.F32, batch, weights.modulationSize()) : null;
            Tensor textModulation = modulationGradient != null && flux ? trainMemory.tensor("d modulation of the text", DType.F32, batch, weights.modulationSize()) : null;
            gradients = backward ? BlockGradients.reserve(trainMemory, shape, type, modulationGradient, textModulation, maxTrainBatch, partialBytes()) : null;
            modulationStored = modulationGradient == null || type == DType.F32 ? modulationGradient : trainMemory.tensor("d modulation in storage type", type, batch, weights.modulationSize());
            outPatches = backward ? trainMemory.tensor("d velocity patches", type, batch * ni, sizes.patchOut()) : null;
            dCondition = conditions ? trainMemory.tensor("d condition", type, batch, shape.width()) : null;
            dHidden = conditions ? trainMemory.tensor("d hidden condition", type, batch, shape.width()) : null;
            dLatents = inputs ? trainMemory.tensor("d latents", DType.F32, batch, latentSize()) : null;
            dText = inputs ? trainMemory.tensor("d text embeddings", DType.F32, batch * nt, sizes.textWidth) : null;
            dPooled = inputs ? trainMemory.tensor("d pooled text", DType.F32, batch, sizes.pooledWidth) : null;
            resources.add(tables.allocate(device));
            resources.add(rolloutMemory.allocate(device));
            if (backward) {
                resources.add(trainMemory.allocate(device));
            }
            try (Stream stream = device.newStream()) {
                stream.fill(promptText.address(), (byte) 0, tables.bytes());
                if (options.architecture instanceof FluxArchitecture a) {
                    uploadRotations(a, stream);
                }
                stream.synchronize();
            }
        } catch (RuntimeException | Error e) {      // out of device memory, most likely: nobody gets a model to close
            resources.closeAfter(e);
            throw e;
        }
    }

    private static Sizes sizes(Sd3Architecture a, Options o, HeadFilling filling) {
        int p = a.patch();
        if (o.height % p != 0 || o.width % p != 0 || o.height / p > a.positions() || o.width / p > a.positions()) {
            throw new IllegalArgumentException("latents of " + o.height + " x " + o.width + ": both sides are multiples of " + p + " up to " + p * a.positions());
        }
        if (a.inChannels() != a.outChannels()) {
            throw new IllegalArgumentException("a velocity has the channels of its latents, not " + a.outChannels() + " of " + a.inChannels());
        }
        var shape = new BlockShape(a.width(), a.heads(), filling.memory(), a.headDim(), 4 * a.width(), o.height / p * (o.width / p), o.textTokens);
        return new Sizes(shape, a.depth(), !a.dualLayers().isEmpty(), false, p, a.inChannels(), a.outChannels(), a.textWidth(), a.pooledWidth(), o.height, o.width, true);
    }

    private static Sizes sizes(FluxArchitecture a, Options o, HeadFilling filling) {
        if (o.height % 2 != 0 || o.width % 2 != 0) {
            throw new IllegalArgumentException("latents of " + o.height + " x " + o.width + ": both sides are even, for 2 x 2 pixels are one token");
        }
        var shape = new BlockShape(a.width(), a.heads(), filling.memory(), a.headDim(), 4 * a.width(), o.height / 2 * (o.width / 2), o.textTokens);
        return new Sizes(shape, a.doubleBlocks() + a.singleBlocks(), false, a.guidance(), 2, a.channels() / 4, a.channels() / 4, a.textWidth(), a.pooledWidth(), o.height, o.width, false);
    }

    /**
     * The rotary embedding of every place: pairs of a head are shared by index (0 everywhere), row and column of an image token, with frequencies 10000^(-2 i / n) of
     * the n numbers of each; text stands at 0, 0, 0. Angles are f64, as diffusers has them.
     */
    private void uploadRotations(FluxArchitecture a, Stream stream) {
        int columns = sizes.width / 2, memory = sizes.block.headDim();
        try (HostMemory host = HostMemory.allocate(rope.bytes())) {
            for (int token = 0; token < sizes.block.jointTokens(); token++) {
                boolean image = token < sizes.block.imageTokens();
                double[] place = {0, image ? token / columns : 0, image ? token % columns : 0};
                int pair = 0;
                for (int axis = 0; axis < 3; axis++) {
                    for (int i = 0; i < a.axes().get(axis) / 2; i++, pair++) {
                        double angle = place[axis] * Math.pow(10000, -2.0 * i / a.axes().get(axis));
                        turn(host.segment(), token * memory + 2 * pair, Math.cos(angle), Math.sin(angle));
                    }
                }
                for (; pair < memory / 2; pair++) {
                    turn(host.segment(), token * memory + 2 * pair, 1, 0);
                }
            }
            rope.copyFrom(host.segment(), stream);
            stream.synchronize();
        }
    }

    private static void turn(MemorySegment table, int at, double cos, double sin) {
        table.setAtIndex(ValueLayout.JAVA_FLOAT, at, (float) cos);
        table.setAtIndex(ValueLayout.JAVA_FLOAT, at + 1, (float) sin);
    }

    private Embedding embedding(String name, boolean backward) {
        return new Embedding(linear(name + ".linear_1", type, 1, backward), linear(name + ".linear_2", type, 1, backward));
    }

    private Block block(int i, JointBlock.Layers make) {
        String joint = DiffusersWeights.block(i);
        return switch (options.architecture) {
            case Sd3Architecture a -> new JointBlock(kernels, parameters, weights, sizes.block, joint, new JointBlock.Kind(i == a.depth() - 1, true, a.isDual(i), a.qkNorm()), make, null);
            case FluxArchitecture a when i < a.doubleBlocks() -> new JointBlock(kernels, parameters, weights, sizes.block, joint, new JointBlock.Kind(false, false, false, true), make, rope);
            case FluxArchitecture a -> new SingleBlock(kernels, parameters, weights, sizes.block, FluxWeights.single(i - a.doubleBlocks()), make, rope);
        };
    }

    private Linear linear(String name, DType y, int rowsPerSample, boolean backward) {
        var linear = new Linear(kernels, parameters, name, y, rowsPerSample, backward);
        layers.add(new Layer(name, linear));
        return linear;
    }

    /** Gives the targeted layers their low-rank branches, those within a fused layer each its own. */
    private Parameters adapt(Device device, LoraConfig lora, Set<Parameters.Keep> kept) {
        var layout = new ParameterLayout();
        forTargets(lora, (name, linear, column) -> {
            if (!layout.contains(name + LORA_A)) {          // else the other stream has it too
                layout.add(name + LORA_A, lora.rank(name), linear.in());
                layout.add(name + LORA_B, weights.layout().slot(name + ".weight").shape()[0], lora.rank(name));
            }
        });
        if (layout.slots().isEmpty()) {
            throw new IllegalArgumentException("no layer of " + options.architecture.name() + " is named as a target of the adapter: " + lora.targets());
        }
        var low = resources.add(new Parameters(device, "the adapter", layout, type, kept));
        forTargets(lora, (name, linear, column) -> {
            long tokens = linear.rowsPerSample();
            linear.adapt(low, layout.slot(name + LORA_A), layout.slot(name + LORA_B), lora.scale(name), column,
                    trainMemory.tensor(name + " low-rank, kept", type, maxTrainBatch * tokens, lora.rank(name)), rolloutMemory.tensor(name + " low-rank", type, options.maxBatch * tokens, lora.rank(name)),
                    trainMemory.tensor(name + " low-rank gradient", type, maxTrainBatch * tokens, lora.rank(name)));
        });
        return low;
    }

    private interface Target {
        void take(String name, Linear linear, int column);
    }

    private void forTargets(LoraConfig lora, Target target) {
        for (Layer layer : layers) {
            int column = 0;
            for (String part : weights.parts(layer.name)) {
                if (part.contains("transformer_blocks.") && lora.targets(part)) {
                    target.take(part, layer.linear, column);
                }
                if (part.contains("transformer_blocks.")) {
                    column += Math.toIntExact(weights.layout().slot(part + ".weight").shape()[0]);
                }
            }
        }
    }

    /** The first block whose backward somebody asks for. */
    private int lowestTrained() {
        if (adapter == null || options.inputGradients) {
            return 0;
        }
        int least = blocks.length;
        for (String name : adapter.layout().slots().keySet()) {
            int number = Integer.parseInt(name.split("\\.")[1]);
            least = Math.min(least, options.architecture instanceof FluxArchitecture a && name.startsWith("single_") ? a.doubleBlocks() + number : number);
        }
        return least;
    }

    private long partialBytes() {
        long bytes = NormKernels.qkNormScratch(maxTrainBatch, Math.max(sizes.block.imageTokens(), sizes.block.textTokens()), sizes.block.heads(), sizes.block.headDim());
        for (Layer layer : layers) {
            bytes = Math.max(bytes, layer.linear.scratch(maxTrainBatch * layer.linear.rowsPerSample()));
        }
        return bytes;
    }

    // Prompts

    /**
     * Gives a prompt a number, for the conditions of a forward; waits for the copy.
     *
     * @param prompt 0 to prompts - 1; 0 is the empty prompt, all zeros until it is given
     * @param text   f32 [textTokens, text width], off the heap
     * @param pooled f32 [pooled width], off the heap
     * @param scale  of the guidance that FLUX.1-dev takes as an input; of no meaning to other networks
     */
    public void setPrompt(int prompt, MemorySegment text, MemorySegment pooled, double scale, Stream stream) {
        if (prompt < 0 || prompt >= options.prompts) {
            throw new IllegalArgumentException("prompt " + prompt + " of " + options.prompts);
        }
        promptText.view("text of a prompt", prompt * (promptText.elements() / options.prompts), promptText.elements() / options.prompts).copyFrom(text, stream);
        promptPooled.view("pooled text of a prompt", prompt * (promptPooled.elements() / options.prompts), promptPooled.elements() / options.prompts).copyFrom(pooled, stream);
        try (HostMemory host = HostMemory.allocate(Float.BYTES)) {
            host.segment().set(ValueLayout.JAVA_FLOAT, 0, (float) scale);
            stream.copyToDevice(promptGuidance.address(prompt), host.segment());
            stream.synchronize();
        }
    }

    // The forward

    @Override
    public void velocity(Stream stream, long latents, long sigma, long conditions, long velocity, int batch) {
        inChunks(stream, latents, sigma, conditions, velocity, batch, Pass.ROLLOUT);
    }

    @Override
    public void referenceVelocity(Stream stream, long latents, long sigma, long conditions, long velocity, int batch) {
        Parameters trained = adapter == null ? parameters : adapter;
        if (adapter != null && !adapter.hasReference()) {
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
        long n = latentSize();
        for (int from = 0; from < batch; from += options.maxBatch) {
            int rows = Math.min(options.maxBatch, batch - from);
            forward(stream, rollout, latents + DType.F32.bytes(from * n), sigma + DType.F32.bytes(from), conditions + DType.I32.bytes(from), velocity + type.bytes(from * n), rows, pass);
        }
    }

    @Override
    public void trainVelocity(Stream stream, long latents, long sigma, long conditions, long velocity, int batch) {
        requireTraining();
        if (batch > maxTrainBatch) {
            throw new IllegalArgumentException("a training forward holds " + maxTrainBatch + " rows, not " + batch);
        }
        trainedBatch = batch;
        forward(stream, train, latents, sigma, conditions, velocity, batch, Pass.TRAIN);
    }

    private void forward(Stream stream, TransformerActivations a, long latents, long sigma, long conditions, long velocity, int batch, Pass pass) {
        BlockShape s = sizes.block;
        int d = s.width(), ni = s.imageTokens(), nt = s.textTokens(), imageRows = batch * ni;
        kernels.embed().tokenEmbedding(stream, conditions, promptText.address(), 0, a.text.address(), batch, 1, nt * sizes.textWidth, options.prompts);
        store(stream, a.text, a.textStored, (long) batch * nt * sizes.textWidth);
        contextEmbed.forward(stream, a.textStored.address(), a.words.address(), batch * nt, false);

        kernels.embed().timestepEmbedding(stream, type, sigma, a.timestep.address(), batch, TIMESTEP_FEATURES);
        embed(stream, time, a.timestep, a.timeHidden, a.timeActivated, a.condition, batch, false);
        kernels.embed().tokenEmbedding(stream, conditions, promptPooled.address(), 0, a.pooled.address(), batch, 1, sizes.pooledWidth, options.prompts);
        store(stream, a.pooled, a.pooledStored, (long) batch * sizes.pooledWidth);
        embed(stream, pooled, a.pooledStored, a.pooledHidden, a.pooledActivated, a.condition, batch, true);
        if (guidance != null) {
            kernels.embed().tokenEmbedding(stream, conditions, promptGuidance.address(), 0, a.guidance.address(), batch, 1, 1, options.prompts);
            kernels.embed().timestepEmbedding(stream, type, a.guidance.address(), a.guidanceFeatures.address(), batch, TIMESTEP_FEATURES);
            embed(stream, guidance, a.guidanceFeatures, a.guidanceHidden, a.guidanceActivated, a.condition, batch, true);
        }
        kernels.mlp().silu(stream, type, a.condition.address(), a.conditionActivated.address(), (long) batch * d);
        modulationLayer.forward(stream, a.conditionActivated.address(), a.modulation.address(), batch, false);

        kernels.embed().patchify(stream, DType.F32, latents, type, a.patches.address(), batch, sizes.channels, sizes.height, sizes.width, sizes.patch, false);
        patchEmbed.forward(stream, a.patches.address(), a.image.address(), imageRows, false);
        if (positions != null) {
            kernels.embed().addPosition(stream, DType.F32, a.image.address(), positions.address(), a.image.address(), batch, ni * d);
        }

        for (int i = 0; i < blocks.length; i++) {
            blocks[i].forward(stream, a.blocks[i], a.modulation, batch, pass);
        }
        // scale comes before shift
        kernels.norm().adaptiveLayerNorm(stream, type, a.result.address(), a.modulation.address(finalModulation + d), a.modulation.address(finalModulation), weights.modulationSize(),
                a.resultNormed.address(), orZero(a.resultStats), imageRows, d, ni, BlockShape.EPS);
        output.forward(stream, a.resultNormed.address(), a.outPatches.address(), imageRows, false);
        kernels.embed().unpatchify(stream, type, a.outPatches.address(), type, velocity, batch, sizes.outChannels, sizes.height, sizes.width, sizes.patch, sizes.channelsLast);
    }

    private void embed(Stream stream, Embedding layers, Tensor in, Tensor hidden, Tensor activated, Tensor condition, int batch, boolean added) {
        layers.first.forward(stream, in.address(), hidden.address(), batch, false);
        kernels.mlp().silu(stream, type, hidden.address(), activated.address(), (long) batch * sizes.block.width());
        layers.second.forward(stream, activated.address(), condition.address(), batch, added);
    }

    private void store(Stream stream, Tensor f32, Tensor stored, long elements) {
        if (stored != f32) {
            kernels.mlp().cast(stream, DType.F32, f32.address(), type, stored.address(), elements);
        }
    }

    // The backward

    @Override
    public void backward(Stream stream, long velocityGradient, int batch) {
        requireTraining();
        if (batch != trainedBatch) {
            throw new IllegalStateException("the last training forward had " + trainedBatch + " rows, the backward asks for " + batch);
        }
        trainedBatch = 0;
        TransformerActivations a = train;
        BlockGradients g = gradients;
        BlockShape s = sizes.block;
        int d = s.width(), ni = s.imageTokens(), imageRows = batch * ni;
        long partials = g.partials().address(), dImage = g.image().residual().address(), dWords = g.text().residual().address(), narrow = g.image().narrow().address();
        boolean asked = g.modulation() != null;

        kernels.embed().patchify(stream, type, velocityGradient, type, outPatches.address(), batch, sizes.outChannels, sizes.height, sizes.width, sizes.patch, sizes.channelsLast);
        output.backwardWeight(stream, a.resultNormed.address(), outPatches.address(), partials, imageRows);
        output.backwardInput(stream, a.resultNormed.address(), outPatches.address(), narrow, imageRows);
        stream.fill(dImage, (byte) 0, DType.F32.bytes((long) imageRows * d));
        stream.fill(dWords, (byte) 0, DType.F32.bytes((long) batch * s.textTokens() * d));
        if (g.textModulation() != null) {
            g.textModulation().clear(stream);
        }
        kernels.norm().adaptiveLayerNormBackward(stream, type, a.result.address(), a.modulation.address(finalModulation), weights.modulationSize(), a.resultStats.address(), narrow,
                dImage, asked ? g.modulation().address(finalModulation + d) : 0, asked ? g.modulation().address(finalModulation) : 0, imageRows, d, ni);
        for (int i = blocks.length - 1; i >= lowest; i--) {
            if (i < blocks.length - 1) {                     // the last block's activations are still there
                blocks[i].forward(stream, a.blocks[i], a.modulation, batch, Pass.TRAIN);
            }
            blocks[i].backward(stream, a.blocks[i], a.modulation, g, batch, i > lowest || asked);
        }
        if (asked) {
            backwardEmbeddings(stream, a, g, dImage, dWords, batch);
        }
    }

    private void backwardEmbeddings(Stream stream, TransformerActivations a, BlockGradients g, long dImage, long dWords, int batch) {
        int d = sizes.block.width(), imageRows = batch * sizes.block.imageTokens(), textRows = batch * sizes.block.textTokens();
        long partials = g.partials().address(), dConditions = dCondition.address(), hidden = dHidden.address();
        if (g.textModulation() != null) {
            kernels.mlp().add(stream, DType.F32, g.modulation().address(), g.textModulation().address(), g.modulation().address(), (long) batch * weights.modulationSize());
        }
        store(stream, g.modulation(), modulationStored, (long) batch * weights.modulationSize());
        modulationLayer.backwardWeight(stream, a.conditionActivated.address(), modulationStored.address(), partials, batch);
        modulationLayer.backwardInput(stream, a.conditionActivated.address(), modulationStored.address(), dConditions, batch);
        kernels.mlp().siluBackward(stream, type, a.condition.address(), dConditions, dConditions, (long) batch * d);
        embedBackward(stream, time, a.timestep, a.timeHidden, a.timeActivated, batch);
        if (guidance != null) {
            embedBackward(stream, guidance, a.guidanceFeatures, a.guidanceHidden, a.guidanceActivated, batch);
        }
        embedBackward(stream, pooled, a.pooledStored, a.pooledHidden, a.pooledActivated, batch);   // the last: its dHidden is read below

        long image = g.image().stored().address(), words = g.text().stored().address();
        store(stream, g.image().residual(), g.image().stored(), (long) imageRows * d);
        store(stream, g.text().residual(), g.text().stored(), (long) textRows * d);
        patchEmbed.backwardWeight(stream, a.patches.address(), image, partials, imageRows);
        contextEmbed.backwardWeight(stream, a.textStored.address(), words, partials, textRows);
        if (options.inputGradients) {
            dPooled.clear(stream);
            dText.clear(stream);
            pooled.first.backwardInputF32(stream, hidden, dPooled.address(), batch);
            contextEmbed.backwardInputF32(stream, words, dText.address(), textRows);
            patchEmbed.backwardInput(stream, a.patches.address(), image, a.patches.address(), imageRows);
            kernels.embed().unpatchify(stream, type, a.patches.address(), DType.F32, dLatents.address(), batch, sizes.channels, sizes.height, sizes.width, sizes.patch, false);
        }
    }

    private void embedBackward(Stream stream, Embedding layers, Tensor in, Tensor hidden, Tensor activated, int batch) {
        long partials = gradients.partials().address();
        layers.second.backwardWeight(stream, activated.address(), dCondition.address(), partials, batch);
        layers.second.backwardInput(stream, activated.address(), dCondition.address(), dHidden.address(), batch);
        kernels.mlp().siluBackward(stream, type, hidden.address(), dHidden.address(), dHidden.address(), (long) batch * sizes.block.width());
        layers.first.backwardWeight(stream, in.address(), dHidden.address(), partials, batch);
    }

    /**
     * What the modules of the network gave in the last {@link #trainVelocity}, f32, by the names that diffusers' modules have and in the shapes they give; several
     * results of one module are numbered. For whoever compares networks: it repeats every block.
     */
    public Map<String, float[]> activations(Stream stream) {
        requireTraining();
        TransformerActivations a = train;
        int batch = trainedBatch, d = sizes.block.width(), ni = sizes.block.imageTokens(), nt = sizes.block.textTokens();
        var all = new LinkedHashMap<String, float[]>();
        var read = new ActivationReader(stream, batch);
        boolean flux = options.architecture instanceof FluxArchitecture;
        all.put("context_embedder", read.rows(a.words, nt, d));
        all.put(flux ? "x_embedder" : "pos_embed", read.rows(a.image, ni, d));
        all.put("time_text_embed", read.rows(a.condition, 1, d));
        all.put("time_text_embed.time_proj", read.rows(a.timestep, 1, TIMESTEP_FEATURES));
        if (guidance != null) {
            all.put("time_text_embed.time_proj.second_call", read.rows(a.guidanceFeatures, 1, TIMESTEP_FEATURES));
        }
        for (int i = 0; i < blocks.length; i++) {
            blocks[i].forward(stream, a.blocks[i], a.modulation, batch, Pass.TRAIN);
            BlockActivations b = a.blocks[i];
            boolean single = blocks[i] instanceof SingleBlock, ends = !flux && i == blocks.length - 1;
            String name = single ? FluxWeights.single(i - ((FluxArchitecture) options.architecture).doubleBlocks()) : DiffusersWeights.block(i);
            if (!ends) {
                all.put(name + "0", read.rows(b.text().output(), nt, d));
            }
            all.put(name + "1", read.rows(b.image().output(), ni, d));
            if (single) {
                int attended = sizes.block.attended();
                all.put(name + "attn", read.joint(taken(read.rows(b.text().attended(), nt, attended), nt * batch), nt, taken(read.rows(b.image().attended(), ni, attended), ni * batch), ni));
                all.put(name + "norm.0", read.joint(read.rows(b.text().normed(), nt, d), nt, read.rows(b.image().normed(), ni, d), ni));
                all.put(name + "norm.1", chunk(read, a, name + "norm.linear", 2));
                continue;
            }
            all.put(name + "attn.0", read.rows(b.image().projected(), ni, d));
            all.put(name + "ff", read.rows(b.image().fed(), ni, d));
            all.put(name + "norm1.0", read.rows(b.image().normed(), ni, d));
            for (int k = 1; k <= 4; k++) {
                all.put(name + "norm1." + k, chunk(read, a, name + "norm1.linear", k + 1));
            }
            if (options.architecture instanceof Sd3Architecture sd3 && sd3.isDual(i)) {
                all.put(name + "attn2", read.rows(b.second().projected(), ni, d));
                all.put(name + "norm1.5", read.rows(b.second().normed(), ni, d));
                all.put(name + "norm1.6", chunk(read, a, name + "norm1.linear", 8));
            }
            if (!ends) {
                all.put(name + "attn.1", read.rows(b.text().projected(), nt, d));
                all.put(name + "ff_context", read.rows(b.text().fed(), nt, d));
                all.put(name + "norm1_context.0", read.rows(b.text().normed(), nt, d));
                for (int k = 1; k <= 4; k++) {
                    all.put(name + "norm1_context." + k, chunk(read, a, name + "norm1_context.linear", k + 1));
                }
            }
        }
        all.put("norm_out", read.rows(a.resultNormed, ni, d));
        all.put("proj_out", read.rows(a.outPatches, ni, sizes.patchOut()));
        return all;
    }

    private float[] chunk(ActivationReader read, TransformerActivations a, String layer, int chunk) {
        return read.columns(a.modulation, weights.modulationSize(), weights.modulationOffset(layer) + chunk * sizes.block.width(), sizes.block.width());
    }

    /** Rows of heads as the model has them, without what fills them up. */
    private float[] taken(float[] rows, int count) {
        return new HeadFilling.Plan(count, filling.heads(), filling.model(), filling.memory(), 1).taken(MemorySegment.ofArray(rows));
    }

    /** Gradient of the latents of the last backward, f32 [batch, latentSize]; of a model that was built for it. */
    public Tensor latentsGradient() {
        return asked(dLatents);
    }

    /** Gradient of each row's text embeddings, f32 [batch * textTokens, text width]. */
    public Tensor textGradient() {
        return asked(dText);
    }

    /** Gradient of each row's pooled text embedding, f32 [batch, pooled width]. */
    public Tensor pooledGradient() {
        return asked(dPooled);
    }

    private static Tensor asked(Tensor gradient) {
        if (gradient == null) {
            throw new IllegalStateException("the model was built without gradients of its input");
        }
        return gradient;
    }

    // Parameters

    /**
     * Reads a checkpoint of this architecture, of either layout and any type, and waits for it.
     *
     * @throws IllegalArgumentException if the checkpoint is of another architecture
     */
    public void load(Recognised checkpoint, Stream stream) {
        if (!checkpoint.architecture().equals(options.architecture)) {
            throw new IllegalArgumentException("the model is " + options.architecture.config() + ", the checkpoint " + checkpoint.architecture().config());
        }
        try (Parameters.Upload upload = parameters.upload(device, kernels.mlp(), stream)) {
            checkpoint.forEachTensor((name, values) -> {
                if (name.equals("pos_embed.pos_embed")) {
                    uploadPositions(values, stream);
                } else if (FluxWeights.isSplit(name)) {
                    split(name, values, upload);
                } else {
                    put(weights.layout().slot(FluxWeights.here(name)), values, upload);
                }
            });
        }
    }

    private void uploadPositions(MemorySegment table, Stream stream) {
        try (HostMemory host = HostMemory.allocate(positions.bytes())) {
            crop(table, host.segment());
            Parameters.upload(host.segment(), positions, stream);
        }
    }

    /** The columns of attention and feed-forward, each to its own matrix. */
    private void split(String name, MemorySegment values, Parameters.Upload upload) {
        Slot attention = weights.layout().slot(name.replace(FluxWeights.OUT, FluxWeights.OUT_ATTENTION)), mlp = weights.layout().slot(name.replace(FluxWeights.OUT, FluxWeights.OUT_MLP));
        long d = sizes.block.width(), mine = (long) filling.heads() * filling.model(), others = mlp.shape()[1], row = mine + others;
        try (HostMemory part = HostMemory.allocate(4 * d * mine); HostMemory other = HostMemory.allocate(4 * d * others)) {
            for (long i = 0; i < d; i++) {
                MemorySegment.copy(values, 4 * i * row, part.segment(), 4 * i * mine, 4 * mine);
                MemorySegment.copy(values, 4 * (i * row + mine), other.segment(), 4 * i * others, 4 * others);
            }
            put(attention, part.segment(), upload);
            upload.set(mlp, other.segment());
        }
    }

    /** The middle of the table of positions. */
    private void crop(MemorySegment table, MemorySegment into) {
        int side = ((Sd3Architecture) options.architecture).positions(), rows = sizes.height / sizes.patch, columns = sizes.width / sizes.patch;
        long row = 4L * columns * sizes.block.width();
        for (int y = 0; y < rows; y++) {
            long at = (long) ((side - rows) / 2 + y) * side + (side - columns) / 2;
            MemorySegment.copy(table, 4 * at * sizes.block.width(), into, y * row, row);
        }
    }

    private void put(Slot slot, MemorySegment values, Parameters.Upload upload) {
        HeadFilling.Plan plan = filling.plan(slot.name(), slot.shape());
        if (plan.model() == plan.memory()) {
            upload.set(slot, values);
            return;
        }
        try (HostMemory filled = HostMemory.allocate(4 * slot.elements())) {
            filled.segment().fill((byte) 0);
            plan.fill(values, filled.segment());
            upload.set(slot, filled.segment());
        }
    }

    private void put(Slot slot, MemorySegment values, MemorySegment flat) {
        filling.plan(slot.name(), slot.shape()).fill(values, flat.asSlice(4 * slot.offset(), 4 * slot.elements()));
    }

    /**
     * Sets the adapter from tensors by PEFT's names without their prefix: {@code <module>.lora_A.weight}, f32, of the model's shapes.
     *
     * @throws IllegalArgumentException if one is missing
     */
    public void setAdapter(Map<String, float[]> tensors, Stream stream) {
        try (HostMemory flat = HostMemory.allocate(trained().values().bytes())) {
            flat.segment().fill((byte) 0);
            for (Slot slot : trained().layout().slots().values()) {
                float[] values = tensors.get(slot.name());
                if (values == null) {
                    throw new IllegalArgumentException("the adapter has no tensor '" + slot.name() + "'");
                }
                put(slot, MemorySegment.ofArray(values), flat.segment());
            }
            Parameters.upload(flat.segment(), trained().values(), stream);
        }
        parametersChanged(stream);
        stream.synchronize();
    }

    /** Names of the modules that have an adapter, as diffusers has them. */
    public List<String> adapted() {
        return adapter.layout().slots().keySet().stream().filter(name -> name.endsWith(LORA_A)).map(name -> name.substring(0, name.length() - LORA_A.length())).toList();
    }

    /** A flat buffer of the adapter's parameters as a LoRA; waits for it. */
    public Lora adapter(Tensor flat, Stream stream) {
        Map<String, float[]> tensors = tensors(flat, stream);
        var modules = new LinkedHashMap<String, Lora.Factors>();
        for (String module : adapted()) {
            modules.put(module, new Lora.Factors(tensors.get(module + LORA_A), tensors.get(module + LORA_B), options.lora.rank(module), options.lora.alpha(module)));
        }
        return new Lora(modules, false);
    }

    /**
     * Sets the adapter to a LoRA that has factors for exactly its modules.
     *
     * @param name of the LoRA in messages
     * @throws WeightsException if modules are missing, or a rank, strength or shape is another
     */
    public void setAdapter(String name, Lora lora, Stream stream) {
        var tensors = new LinkedHashMap<String, float[]>();
        for (String module : adapted()) {
            Lora.Factors f = lora.modules().get(module);
            if (f == null) {
                throw new WeightsException(name, "has no factors for '" + module + "', which the adapter trains; train.lora_targets names its modules");
            }
            if (f.rank() != options.lora.rank(module) || f.alpha() != options.lora.alpha(module)) {
                throw new WeightsException(name, "has rank " + f.rank() + " and alpha " + f.alpha() + " for '" + module + "', the adapter rank " + options.lora.rank(module) + " and alpha " + options.lora.alpha(module)
                        + "; set train.lora_rank and train.lora_alpha");
            }
            for (String factor : List.of(LORA_A, LORA_B)) {
                float[] values = factor.equals(LORA_A) ? f.a() : f.b();
                Slot slot = adapter.layout().slot(module + factor);
                int elements = filling.plan(slot.name(), slot.shape()).elements();
                if (values.length != elements) {
                    throw new WeightsException(name, "has " + values.length + " numbers in '" + module + factor + "', the network's layer takes " + elements);
                }
                tensors.put(module + factor, values);
            }
        }
        setAdapter(tensors, stream);
    }

    /** Tensors of a flat buffer of the trained parameters (values, gradients), by diffusers' names, of the model's shapes; waits for them. */
    public Map<String, float[]> tensors(Tensor flat, Stream stream) {
        var all = new LinkedHashMap<String, float[]>();
        try (HostMemory host = Parameters.download(flat, stream)) {
            for (Slot slot : trained().layout().slots().values()) {
                all.put(slot.name(), filling.plan(slot.name(), slot.shape()).taken(host.segment().asSlice(4 * slot.offset(), 4 * slot.elements())));
            }
        }
        for (String name : List.copyOf(all.keySet())) {
            if (name.endsWith(FluxWeights.OUT_ATTENTION + ".bias")) {
                all.put(name.replace(FluxWeights.OUT_ATTENTION, FluxWeights.OUT), all.remove(name));
            } else if (name.endsWith(FluxWeights.OUT_ATTENTION + ".weight")) {
                all.put(name.replace(FluxWeights.OUT_ATTENTION, FluxWeights.OUT),
                        sideBySide(all.remove(name), all.remove(name.replace(FluxWeights.OUT_ATTENTION, FluxWeights.OUT_MLP)), sizes.block.width()));
            }
        }
        return all;
    }

    private static float[] sideBySide(float[] a, float[] b, int rows) {
        var out = new float[a.length + b.length];
        int left = a.length / rows, right = b.length / rows;
        for (int i = 0; i < rows; i++) {
            System.arraycopy(a, i * left, out, i * (left + right), left);
            System.arraycopy(b, i * right, out, i * (left + right) + left, right);
        }
        return out;
    }

    @Override
    public void initialiseAdapter(long seed, Stream stream) {
        var random = new SplittableRandom(seed);
        var tensors = new LinkedHashMap<String, float[]>();
        for (Slot slot : trained().layout().slots().values()) {
            HeadFilling.Plan plan = filling.plan(slot.name(), slot.shape());
            var values = new float[plan.elements()];
            if (slot.name().endsWith(LORA_A)) {
                double bound = 1 / Math.sqrt((double) values.length / slot.shape()[0]);
                for (int i = 0; i < values.length; i++) {
                    values[i] = (float) random.nextDouble(-bound, bound);
                }
            }
            tensors.put(slot.name(), values);
        }
        setAdapter(tensors, stream);
    }

    @Override
    public void read(Parameters.Source source, Stream stream) {
        trained().read(source, kernels.mlp(), stream);
    }

    @Override
    public Parameters trained() {
        requireTraining();
        return adapter == null ? parameters : adapter;
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
        return sizes.channels * sizes.height * sizes.width;
    }

    /** 1: the number of the prompt. */
    @Override
    public int conditionTokens() {
        return 1;
    }

    @Override
    public DType storage() {
        return type;
    }

    @Override
    public int maxBatch() {
        return options.maxBatch;
    }

    @Override
    public int maxTrainBatch() {
        return maxTrainBatch;
    }

    private void requireTraining() {
        if (options.trains == GlyphModel.Trains.NOTHING) {
            throw new IllegalStateException("this model was built for sampling only");
        }
    }

    @Override
    public void close() {
        resources.close();
    }

    private void closeLinears() {
        try (var all = new Resources()) {
            layers.forEach(layer -> all.add(layer.linear));
        }
    }
}
