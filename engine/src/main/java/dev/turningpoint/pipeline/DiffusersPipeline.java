package dev.turningpoint.pipeline;

import dev.turningpoint.data.Prompt;
import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.HostMemory;
import dev.turningpoint.gpu.Resources;
import dev.turningpoint.gpu.Stream;
import dev.turningpoint.image.ImageBatch;
import dev.turningpoint.model.GlyphModel;
import dev.turningpoint.model.LoraConfig;
import dev.turningpoint.model.TransformerModel;
import dev.turningpoint.tensor.Parameters;
import dev.turningpoint.tensor.Tensor;
import dev.turningpoint.weights.Architecture;
import dev.turningpoint.weights.Checkpoint;
import dev.turningpoint.weights.FluxArchitecture;
import dev.turningpoint.weights.Lora;
import dev.turningpoint.weights.Merge;
import dev.turningpoint.weights.Recognised;
import dev.turningpoint.weights.Sd3Architecture;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** SD3.5 or FLUX.1 from the folder of a diffusers pipeline: text encoders, network and VAE decoder. */
public final class DiffusersPipeline implements Pipeline {
    private final PipelineFolder folder;
    private final Options options;
    private final LoraConfig lora;
    private final Resources resources = new Resources();
    private final TransformerModel network;
    private final PromptEncoder encoder;
    private final VaeDecoder decoder;
    private final HostMemory embeddings;
    private final int textElements;

    /**
     * How a pipeline is built.
     *
     * @param height         pixels of an image
     * @param width          pixels of an image
     * @param textTokens     of T5; SD3 has CLIP's 77 before them
     * @param prompts        most different prompts of one call of {@link #conditions}
     * @param guidance       that FLUX.1-dev takes as an input; of no meaning to other networks
     * @param negativePrompt what the unconditional forward of classifier-free guidance reads
     * @param storage        type of weights and activations, F32 or BF16
     * @param maxBatch       rows of one rollout forward
     * @param maxTrainBatch  rows of one training forward; ignored without an adapter
     * @param lora           the adapter, which is what trains; null for sampling
     * @param keep           what the adapter keeps beside its gradients
     */
    public record Options(int height, int width, int textTokens, int prompts, double guidance, String negativePrompt, DType storage, int maxBatch, int maxTrainBatch,
                          LoraConfig lora, Set<Parameters.Keep> keep) {}

    /**
     * Opens the folder and reads the network's weights.
     *
     * @param adapter a published LoRA of any of the three forms, file or folder, that the adapter is set to; null: with {@code options.lora} it is to be set later, else
     *                there is none. Without {@code options.lora} ranks and strengths are the LoRA's own
     * @throws PipelineException                            if the folder is not what it should be, or the image has no size of the model's
     * @throws dev.turningpoint.weights.WeightsException    if the network's weights are not whole
     * @throws dev.turningpoint.gpu.GpuException            if the device's memory does not suffice
     */
    public DiffusersPipeline(Device device, PipelineFolder folder, Options options, Path adapter, Stream stream) {
        this.folder = folder;
        this.options = options;
        int pixels = folder.vae().pixels();
        if (options.height % pixels != 0 || options.width % pixels != 0) {
            throw new PipelineException("an image of " + options.height + " x " + options.width + ": " + folder.path() + " makes " + pixels + " x " + pixels + " pixels of a latent, so that both sides are multiples of "
                    + pixels);
        }
        int h = options.height / pixels, w = options.width / pixels;
        boolean plans = Device.isPlanning();                         // then only the device's memory is taken, and nothing is read
        try (Checkpoint checkpoint = plans ? null : Checkpoint.open(folder.transformer())) {
            Recognised recognised = plans ? null : Recognised.of(checkpoint);
            Architecture architecture = plans ? folder.architecture() : recognised.architecture();
            requireFamily(architecture);
            Lora published = adapter == null ? null : Lora.read(adapter, Merge.modules(architecture));
            lora = published == null || options.lora != null ? options.lora : config(published);
            int textWidth = textWidth(architecture), pooledWidth = pooledWidth(architecture), tokens = PromptEncoder.tokens(folder.family(), options.textTokens);
            decoder = plans ? null : resources.add(new VaeDecoder(folder.decoder(), folder.vae(), h, w));
            encoder = plans ? null : resources.add(new PromptEncoder(folder, options.textTokens, textWidth, pooledWidth));
            network = resources.add(new TransformerModel(device, new TransformerModel.Options(architecture, h, w, tokens, 1 + options.prompts, options.storage, options.maxBatch,
                    options.maxTrainBatch, lora == null ? GlyphModel.Trains.NOTHING : GlyphModel.Trains.ADAPTER, lora, options.keep, false)));
            textElements = tokens * textWidth;
            embeddings = resources.add(HostMemory.allocate(DType.F32.bytes(textElements + pooledWidth)));
            if (plans) return;
            network.load(recognised, stream);
            if (published != null) network.setAdapter(adapter.toString(), published, stream);
            set(0, options.negativePrompt, stream);
        } catch (RuntimeException | Error e) {
            resources.closeAfter(e);
            throw e;
        }
    }

    private static LoraConfig config(Lora lora) {
        Map<String, Integer> ranks = new HashMap<>();
        Map<String, Double> alphas = new HashMap<>();
        lora.modules().forEach((module, f) -> {
            ranks.put(module, f.rank());
            alphas.put(module, f.alpha());
        });
        return new LoraConfig(1, 1, List.copyOf(ranks.keySet()), ranks, alphas);
    }

    private void requireFamily(Architecture architecture) {
        boolean flux = architecture instanceof FluxArchitecture;
        if (flux != (folder.family() == PipelineFolder.Family.FLUX)) {
            throw new PipelineException(folder.path() + ": its model_index.json is of " + folder.family() + ", its transformer is " + architecture.name());
        }
        int channels = switch (architecture) {
            case Sd3Architecture a -> a.inChannels();
            case FluxArchitecture a -> a.channels() / 4;
        };
        if (channels != folder.vae().channels()) {
            throw new PipelineException(folder.path() + ": its VAE has latents of " + folder.vae().channels() + " channels, its transformer takes " + channels);
        }
    }

    private static int textWidth(Architecture architecture) {
        return switch (architecture) {
            case Sd3Architecture a -> a.textWidth();
            case FluxArchitecture a -> a.textWidth();
        };
    }

    private static int pooledWidth(Architecture architecture) {
        return switch (architecture) {
            case Sd3Architecture a -> a.pooledWidth();
            case FluxArchitecture a -> a.pooledWidth();
        };
    }

    @Override
    public TransformerModel network() {
        return network;
    }

    @Override
    public int channels() {
        return 3;
    }

    @Override
    public int height() {
        return options.height;
    }

    @Override
    public int width() {
        return options.width;
    }

    /** @throws IllegalArgumentException if there are more different prompts than the pipeline was built for */
    @Override
    public int[] conditions(List<Prompt> prompts, Stream stream) {
        Map<String, Integer> numbers = new LinkedHashMap<>();
        var conditions = new int[prompts.size()];
        for (int i = 0; i < conditions.length; i++) {
            conditions[i] = numbers.computeIfAbsent(prompts.get(i).text(), _ -> numbers.size() + 1);
        }
        if (numbers.size() > options.prompts) throw new IllegalArgumentException(numbers.size() + " different prompts, and the pipeline was built for " + options.prompts);
        numbers.forEach((text, number) -> set(number, text, stream));
        return conditions;
    }

    private void set(int number, String prompt, Stream stream) {
        Embeddings e = encoder.encode(prompt);
        MemorySegment all = embeddings.segment();
        MemorySegment.copy(e.text(), 0, all, ValueLayout.JAVA_FLOAT, 0, e.text().length);
        MemorySegment.copy(e.pooled(), 0, all, ValueLayout.JAVA_FLOAT, DType.F32.bytes(textElements), e.pooled().length);
        network.setPrompt(number, all.asSlice(0, DType.F32.bytes(textElements)), all.asSlice(DType.F32.bytes(textElements), DType.F32.bytes(e.pooled().length)), options.guidance, stream);
    }

    @Override
    public void decode(MemorySegment latents, ImageBatch images) {
        decoder.decode(latents, images);
    }

    /**
     * The adapter in three forms, f32: PEFT's {@code adapter_model.safetensors} and {@code adapter_config.json}, diffusers' {@code pytorch_lora_weights.safetensors}, and
     * {@code lora_kohya.safetensors}.
     */
    @Override
    public Path save(Path folder, Parameters.Source source, Stream stream) {
        Parameters trained = network.trained();
        Tensor flat = source == Parameters.Source.AVERAGE ? trained.average() : trained.values();
        Lora made = network.adapter(flat, stream);
        made.write(Lora.Form.PEFT, folder);
        made.write(Lora.Form.KOHYA, folder.resolve("lora_kohya.safetensors"));
        Path file = folder.resolve("pytorch_lora_weights.safetensors");
        made.write(Lora.Form.DIFFUSERS, file);
        return file;
    }

    @Override
    public void close() {
        resources.close();
    }
}
