package dev.turningpoint.pipeline;

import dev.turningpoint.weights.Architecture;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * A diffusers pipeline on disk: {@code model_index.json} says whose it is, {@code transformer} holds the network, {@code vae/config.json} the scale of its latents,
 * {@code tokenizer*} the tokenizers. Text encoders and the VAE's decoder are ONNX files beside their PyTorch weights; docs/sd35-and-flux.md has the script that makes them.
 *
 * @param path   of the folder
 * @param family whose pipeline it is
 * @param vae    of its latents
 * @param t5     whether the pipeline has its T5 encoder; SD3 may leave it out
 */
public record PipelineFolder(Path path, Family family, Vae vae, boolean t5) {
    private static final JsonMapper JSON = new JsonMapper();
    private static final String SCRIPT = "; the script in docs/sd35-and-flux.md exports it";

    /** Pipelines that are served. */
    public enum Family {
        /** CLIP-L, CLIP-G and T5; guided by a second forward. */
        SD3("StableDiffusion3Pipeline", 3),
        /** CLIP-L and T5; FLUX.1-dev is guided by an input. */
        FLUX("FluxPipeline", 2);

        private final String pipeline;
        private final int encoders;

        Family(String pipeline, int encoders) {
            this.pipeline = pipeline;
            this.encoders = encoders;
        }

        /** Text encoders; T5 is the last. */
        int encoders() {
            return encoders;
        }
    }

    /**
     * Of {@code vae/config.json}: the image is decoded from {@code z / scale + shift}.
     *
     * @param channels of a latent
     * @param pixels   of an image's side to one of a latent
     */
    public record Vae(int channels, int pixels, double scale, double shift) {}

    /**
     * Reads what the folder says of itself and looks whether its files are there; opens none of the large ones.
     *
     * @throws PipelineException if something is missing or of another kind
     */
    public static PipelineFolder open(Path path) {
        PipelineFolder folder = describe(path);
        if (!Files.isDirectory(folder.transformer())) throw new PipelineException(folder.transformer() + ": there is no such folder; it holds the network");
        for (int i = 0; i < folder.family.encoders - (folder.t5 ? 0 : 1); i++) {
            require(folder.encoder(i));
        }
        require(folder.decoder());
        return folder;
    }

    /**
     * Reads what the folder says of itself, its JSON files.
     *
     * @throws PipelineException if it is of another kind
     */
    public static PipelineFolder describe(Path path) {
        JsonNode index = json(path.resolve("model_index.json"));
        String name = index.path("_class_name").asString("");
        Family family = null;
        for (Family f : Family.values()) {
            if (f.pipeline.equals(name)) family = f;
        }
        if (family == null) {
            throw new PipelineException(path.resolve("model_index.json") + " is of " + (name.isEmpty() ? "no named pipeline" : "a " + name) + "; there are: StableDiffusion3Pipeline, FluxPipeline");
        }
        var folder = new PipelineFolder(path, family, vae(path.resolve("vae/config.json")), !index.path(encoderName(family.encoders - 1)).path(0).isNull());
        if (!folder.t5 && family == Family.FLUX) throw new PipelineException(path.resolve("model_index.json") + " has no text_encoder_2, and FLUX reads its text through it");
        return folder;
    }

    /** The network, as its {@code config.json} says. */
    Architecture architecture() {
        Path file = transformer().resolve("config.json");
        return Architecture.of(file.toString(), json(file));
    }

    private static Vae vae(Path file) {
        JsonNode json = json(file);
        int levels = json.path("block_out_channels").size();
        if (levels < 1 || levels > 8) throw new PipelineException(file + ": block_out_channels lists " + levels + " levels; 1 to 8 may stand there");
        return new Vae((int) number(file, json, "latent_channels"), 1 << levels - 1, number(file, json, "scaling_factor"), number(file, json, "shift_factor"));
    }

    private static double number(Path file, JsonNode json, String key) {
        JsonNode value = json.path(key);
        if (!value.isNumber()) throw new PipelineException(file + ": " + key + (value.isMissingNode() ? " is missing" : " is " + value) + "; a number should stand there");
        return value.asDouble();
    }

    static JsonNode json(Path file) {
        try {
            JsonNode node = JSON.readTree(Files.readString(file));
            if (!node.isObject()) throw new PipelineException(file + " is no JSON object");
            return node;
        } catch (NoSuchFileException e) {
            throw new PipelineException(file + ": there is no such file, and a diffusers pipeline has one", e);
        } catch (IOException e) {
            throw new PipelineException(file + " cannot be read: " + e.getMessage(), e);
        } catch (JacksonException e) {
            throw new PipelineException(file + " is not JSON: " + e.getOriginalMessage().lines().findFirst().orElse(""), e);
        }
    }

    private static void require(Path file) {
        if (!Files.isRegularFile(file)) throw new PipelineException(file + ": there is no such file" + SCRIPT);
    }

    private static String encoderName(int number) {
        return "text_encoder" + suffix(number);
    }

    private static String suffix(int number) {
        return number == 0 ? "" : "_" + (number + 1);
    }

    /** Of the network. */
    public Path transformer() {
        return path.resolve("transformer");
    }

    /** ONNX file of a text encoder, counted from 0. */
    Path encoder(int number) {
        return path.resolve(encoderName(number)).resolve("model.onnx");
    }

    /** Folder of a text encoder's tokenizer. */
    Path tokenizer(int number) {
        return path.resolve("tokenizer" + suffix(number));
    }

    /** ONNX file of the VAE's decoder. */
    Path decoder() {
        return path.resolve("vae").resolve("decoder.onnx");
    }
}
