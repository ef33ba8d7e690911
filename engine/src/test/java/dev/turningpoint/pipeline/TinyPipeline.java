package dev.turningpoint.pipeline;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * Pipelines of diffusers' layout in small: the networks of the goldens sd3_tiny and flux_tiny, and encoders, tokenizers and a decoder of models/make_models.py, whose
 * numbers are computed here again in double precision.
 */
public final class TinyPipeline {
    static final Path MODELS = Path.of("src/test/resources/models"), GOLDENS = Path.of("src/test/resources/goldens");
    public static final int T5_TOKENS = 6, TEXT_WIDTH = 24;

    private TinyPipeline() {}

    /** Writes the folder of a pipeline. */
    public static Path write(Path folder, PipelineFolder.Family family) throws IOException {
        boolean sd3 = family == PipelineFolder.Family.SD3;
        Files.createDirectories(folder);
        Files.writeString(folder.resolve("model_index.json"), sd3 ? "{\"_class_name\": \"StableDiffusion3Pipeline\", \"text_encoder_3\": [\"transformers\", \"T5EncoderModel\"]}"
                : "{\"_class_name\": \"FluxPipeline\", \"text_encoder_2\": [\"transformers\", \"T5EncoderModel\"]}");
        Path transformer = Files.createDirectories(folder.resolve("transformer")), vae = Files.createDirectories(folder.resolve("vae"));
        for (String file : List.of("config.json", "diffusion_pytorch_model.safetensors")) Files.copy(GOLDENS.resolve(sd3 ? "sd3_tiny" : "flux_tiny").resolve(file), transformer.resolve(file));
        Files.writeString(vae.resolve("config.json"), "{\"latent_channels\": 4, \"block_out_channels\": [8, 8], \"scaling_factor\": 1.5305, \"shift_factor\": 0.0609}");
        Files.copy(MODELS.resolve("pipeline_decoder.onnx"), vae.resolve("decoder.onnx"));
        encoder(folder, "", sd3 ? "pipeline_clip_l.onnx" : "pipeline_clip_flux.onnx");
        clipFiles(Files.createDirectories(folder.resolve("tokenizer")));
        int t5 = sd3 ? 3 : 2;
        if (sd3) {
            encoder(folder, "_2", "pipeline_clip_g.onnx");
            tokenizer(folder.resolve("tokenizer_2"), "clip_tokenizer.json", "{\"pad_token\": {\"content\": \"a\"}}");   // as CLIP-G's is "!", its number 0
        }
        encoder(folder, "_" + t5, "pipeline_t5.onnx");
        tokenizer(folder.resolve("tokenizer_" + t5), "t5_tokenizer.json", "{\"pad_token\": \"<pad>\"}");
        return folder;
    }

    private static void encoder(Path folder, String suffix, String model) throws IOException {
        Files.copy(MODELS.resolve(model), Files.createDirectories(folder.resolve("text_encoder" + suffix)).resolve("model.onnx"));
    }

    private static void tokenizer(Path folder, String json, String special) throws IOException {
        Files.createDirectories(folder);
        Files.copy(MODELS.resolve(json), folder.resolve("tokenizer.json"));
        Files.writeString(folder.resolve("special_tokens_map.json"), special);
    }

    /** CLIP's older form, of the same vocabulary. */
    static void clipFiles(Path folder) throws IOException {
        JsonNode model = new JsonMapper().readTree(Files.readString(MODELS.resolve("clip_tokenizer.json"))).path("model");
        Files.writeString(folder.resolve("vocab.json"), model.path("vocab").toString());
        var merges = new StringBuilder("#version: 0.2\n");
        model.path("merges").forEach(m -> merges.append(m.asString()).append('\n'));
        Files.writeString(folder.resolve("merges.txt"), merges);
        Files.writeString(folder.resolve("special_tokens_map.json"), "{\"pad_token\": \"<|endoftext|>\"}");
    }

    static double weight(double phase, double amplitude, int i) { return (float) (amplitude * Math.sin(0.7 * i + phase)); }

    /** What an encoder of make_models.py gives: hidden, then pooled if it pools. */
    static double[][] encoded(long[] ids, int width, double phase, int pooledWidth) {
        var hidden = new double[ids.length * width];
        var mean = new double[width];
        for (int t = 0; t < ids.length; t++)
            for (int c = 0; c < width; c++) {
                hidden[t * width + c] = Math.tanh(weight(phase, 0.9, (int) ids[t] * width + c) * weight(phase + 0.1, 1.3, t));
                mean[c] += hidden[t * width + c] / ids.length;
            }
        var pooled = new double[pooledWidth];
        for (int p = 0; p < pooledWidth; p++) {
            double sum = 0;
            for (int c = 0; c < width; c++) sum += mean[c] * weight(phase + 0.2, 2.0, c * pooledWidth + p);
            pooled[p] = Math.tanh(sum);
        }
        return new double[][] {hidden, pooled};
    }

    /** A pixel of the decoder of make_models.py, clamped by its tanh. */
    static double pixel(float[] latent, int height, int width, int channel, int y, int x) {
        double sum = weight(1.6, 0.2, channel);
        for (int c = 0; c < 4; c++) {
            double z = latent[(c * height + y / 2) * width + x / 2] / 1.5305 + 0.0609;
            sum += z * weight(1.5, 0.4, ((c * 3 + channel) * 2 + y % 2) * 2 + x % 2);
        }
        return Math.tanh(sum);
    }
}
