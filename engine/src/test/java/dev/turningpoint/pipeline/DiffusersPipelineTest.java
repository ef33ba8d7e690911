package dev.turningpoint.pipeline;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.turningpoint.data.Prompt;
import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.Stream;
import dev.turningpoint.image.ImageBatch;
import dev.turningpoint.onnx.Tokens;
import dev.turningpoint.pipeline.PipelineFolder.Family;
import dev.turningpoint.weights.SafetensorsWriter;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.SplittableRandom;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** A diffusers folder in small: prompts and images against double precision, and what is wrong with a folder by name. */
class DiffusersPipelineTest {
    private static final String CACHE = "turningpoint.prompts.cache";
    @TempDir static Path folder;
    static Path sd3, flux;

    @BeforeAll
    static void write() throws IOException {
        System.setProperty(CACHE, folder.resolve("prompts").toString());
        sd3 = TinyPipeline.write(folder.resolve("sd3"), Family.SD3);
        flux = TinyPipeline.write(folder.resolve("flux"), Family.FLUX);
    }

    @AfterAll
    static void forget() {
        System.clearProperty(CACHE);
    }

    private static PromptEncoder encoder(Path pipeline) {
        return new PromptEncoder(PipelineFolder.open(pipeline), TinyPipeline.T5_TOKENS, TinyPipeline.TEXT_WIDTH, 20);
    }

    private static long[] ids(int length, long padding, long... ids) {
        long[] all = Arrays.copyOf(ids, length);
        Arrays.fill(all, ids.length, length, padding);
        return all;
    }

    /** "a cat" is 30 6 13 31 to CLIP (see clip_tokenizer.json), 3 4 1 to T5. */
    @Test
    void sd3ReadsAPromptAsDiffusersPutsItTogether() {
        double[][] l = TinyPipeline.encoded(ids(77, 31, 30, 6, 13, 31), 8, 1.1, 8), g = TinyPipeline.encoded(ids(77, 0, 30, 6, 13, 31), 12, 1.2, 12),
                t5 = TinyPipeline.encoded(ids(6, 0, 3, 4, 1), 24, 1.4, 0);
        var text = new double[(77 + 6) * 24];
        for (int t = 0; t < 77; t++) {
            System.arraycopy(l[0], t * 8, text, t * 24, 8);
            System.arraycopy(g[0], t * 12, text, t * 24 + 8, 12);
        }
        System.arraycopy(t5[0], 0, text, 77 * 24, 6 * 24);
        try (var encoder = encoder(sd3)) {
            Embeddings e = encoder.encode("a cat");
            near(text, e.text());
            near(Arrays.copyOf(l[1], 8), Arrays.copyOf(e.pooled(), 8));
            near(g[1], Arrays.copyOfRange(e.pooled(), 8, 20));
        }
    }

    @Test
    void sd3DoesWithoutT5() throws IOException {
        Path without = TinyPipeline.write(folder.resolve("without-t5"), Family.SD3);
        Files.writeString(without.resolve("model_index.json"), "{\"_class_name\": \"StableDiffusion3Pipeline\", \"text_encoder_3\": [null, null]}");
        Files.delete(without.resolve("text_encoder_3/model.onnx"));
        try (var with = encoder(sd3); var encoder = encoder(without)) {
            float[] text = encoder.encode("a dog").text(), whole = with.encode("a dog").text();
            assertArrayEquals(Arrays.copyOf(whole, 77 * 24), Arrays.copyOf(text, 77 * 24));
            assertArrayEquals(new float[6 * 24], Arrays.copyOfRange(text, 77 * 24, text.length));
        }
    }

    @Test
    void fluxReadsT5AndOneVector() {
        double[][] l = TinyPipeline.encoded(ids(77, 31, 30, 6, 15, 31), 8, 1.3, 20), t5 = TinyPipeline.encoded(ids(6, 0, 3, 5, 6, 1), 24, 1.4, 0);
        try (var encoder = encoder(flux)) {
            near(t5[0], encoder.encode("a dogs").text());
            near(l[1], encoder.encode("a dog").pooled());
        }
    }

    private static void near(double[] expected, float[] got) {
        assertEquals(expected.length, got.length);
        for (int i = 0; i < got.length; i++) assertEquals(expected[i], got[i], 2e-6, "element " + i);
    }

    /** The older form of CLIP's tokenizer gives what the newer gives. */
    @Test
    void vocabularyAndMergesAreTheTokenizer() throws IOException {
        Path old = Files.createDirectories(folder.resolve("old"));
        TinyPipeline.clipFiles(old);
        TokenizerFolder made = TokenizerFolder.open(old, 77);
        try (Tokens whole = new Tokens(TinyPipeline.MODELS.resolve("clip_tokenizer.json"), 77); Tokens tokens = made.tokens()) {
            assertEquals(31, made.padding());
            for (String text : List.of("", "cat", "A Cat  and a DOG", "dogcat", "tod, god's cot 77", "cat ".repeat(100), "caf\u00e9\tdo\u0301g"))
                assertArrayEquals(whole.encode(text, made.padding()).ids(), tokens.encode(text, made.padding()).ids(), text);
        }
    }

    @Test
    void whatIsCachedIsReadAndWhatIsBrokenIsMadeAnew() throws IOException {
        Path own = folder.resolve("own-cache"), saved = Path.of(System.getProperty(CACHE));
        System.setProperty(CACHE, own.toString());
        try {
            Embeddings first;
            try (var encoder = encoder(flux)) {
                first = encoder.encode("a cat");
                encoder.encode("a dog");
            }
            List<Path> files;
            try (var all = Files.list(own)) {
                files = all.toList();
            }
            assertEquals(2, files.size());
            for (Path f : files) {
                try (var file = dev.turningpoint.weights.SafetensorsFile.open(f)) {
                    if (!file.metadata().get("prompt").equals("a cat")) continue;
                    float[] text = file.floats("text"), pooled = file.floats("pooled");
                    assertArrayEquals(first.text(), text);
                    text[5] = 7;
                    new SafetensorsWriter().metadata("prompt", "a cat").metadata("encoders", file.metadata().get("encoders")).tensor("text", text, text.length).tensor("pooled", pooled, pooled.length)
                            .write(own.resolve("changed"));
                }
                Files.move(own.resolve("changed"), f, java.nio.file.StandardCopyOption.REPLACE_EXISTING);
                try (var encoder = encoder(flux)) {
                    assertEquals(7, encoder.encode("a cat").text()[5], "read, not encoded");
                }
                byte[] bytes = Files.readAllBytes(f);
                Files.write(f, Arrays.copyOf(bytes, bytes.length - 9));
                try (var encoder = encoder(flux)) {
                    assertArrayEquals(first.text(), encoder.encode("a cat").text());
                }
                break;
            }
            System.setProperty("turningpoint.prompts.cacheBytes", "1");
            try (var encoder = encoder(flux)) {
                encoder.encode("a cot");
            }
            try (var all = Files.list(own)) {
                assertEquals(1, all.count(), "the others made room");
            }
        } finally {
            System.setProperty(CACHE, saved.toString());
            System.clearProperty("turningpoint.prompts.cacheBytes");
        }
    }

    private static DiffusersPipeline.Options options(int height, int width, int prompts) {
        return new DiffusersPipeline.Options(height, width, TinyPipeline.T5_TOKENS, prompts, 3.5, "", DType.F32, 2, 1, null, Set.of());
    }

    @ParameterizedTest
    @EnumSource(Family.class)
    void imagesAreDecodedAndPromptsNumbered(Family family) {
        try (Device device = Device.open(); Stream stream = device.newStream(); Arena arena = Arena.ofConfined();
             var pipeline = new DiffusersPipeline(device, PipelineFolder.open(family == Family.SD3 ? sd3 : flux), options(16, 24, 2), null, stream)) {
            assertEquals(4 * 8 * 12, pipeline.network().latentSize());
            var random = new SplittableRandom(5);
            MemorySegment latents = arena.allocate(4L * 3 * 4 * 8 * 12, 64);
            var values = new float[3][4 * 8 * 12];
            for (int i = 0; i < 3; i++)
                for (int k = 0; k < values[i].length; k++) latents.setAtIndex(ValueLayout.JAVA_FLOAT, (long) i * values[i].length + k, values[i][k] = (float) random.nextDouble(-3, 3));
            ImageBatch images = ImageBatch.allocate(arena, 3, 3, 16, 24);
            pipeline.decode(latents, images);
            for (int i = 0; i < 3; i++)
                for (int c = 0; c < 3; c++)
                    for (int y = 0; y < 16; y++) for (int x = 0; x < 24; x++) assertEquals(TinyPipeline.pixel(values[i], 8, 12, c, y, x), images.get(i, c, y, x), 2e-6);

            List<Prompt> prompts = java.util.stream.Stream.of("a cat", "a dog", "a cat").map(t -> Prompt.of(t, Map.of())).toList();
            assertArrayEquals(new int[] {1, 2, 1}, pipeline.conditions(prompts, stream));
            String message = assertThrows(IllegalArgumentException.class, () -> pipeline.conditions(java.util.stream.Stream.of("a", "b", "c").map(t -> Prompt.of(t, Map.of())).toList(), stream)).getMessage();
            assertEquals("3 different prompts, and the pipeline was built for 2", message);
        }
    }

    @Test
    void aFolderThatWillNotDoIsNamed() throws IOException {
        Path bad = folder.resolve("bad");
        complaint(bad.resolve("model_index.json") + ": there is no such file, and a diffusers pipeline has one", bad);
        TinyPipeline.write(bad, Family.SD3);
        Path index = bad.resolve("model_index.json"), vae = bad.resolve("vae/config.json");
        String whole = Files.readString(index), vaeWhole = Files.readString(vae);
        Files.writeString(index, "{\"_class_name\": \"SanaPipeline\"}");
        complaint(index + " is of a SanaPipeline; there are: StableDiffusion3Pipeline, FluxPipeline", bad);
        Files.writeString(index, "[1]");
        complaint(index + " is no JSON object", bad);
        Files.writeString(index, "{\"_class_name\": \"FluxPipeline\"}");
        open(bad + ": its model_index.json is of FLUX, its transformer is sd3", bad, 16, 24);
        Files.writeString(index, whole);
        Files.writeString(vae, vaeWhole.replace("0.0609", "null"));
        complaint(vae + ": shift_factor is null; a number should stand there", bad);
        Files.writeString(vae, vaeWhole.replace("\"latent_channels\": 4", "\"latent_channels\": 16"));
        open(bad + ": its VAE has latents of 16 channels, its transformer takes 4", bad, 16, 24);
        Files.writeString(vae, vaeWhole);
        open("an image of 15 x 24: " + bad + " makes 2 x 2 pixels of a latent, so that both sides are multiples of 2", bad, 15, 24);
        Files.delete(bad.resolve("text_encoder_2/model.onnx"));
        complaint(bad.resolve("text_encoder_2/model.onnx") + ": there is no such file; the script in docs/sd35-and-flux.md exports it", bad);
        Files.copy(TinyPipeline.MODELS.resolve("pipeline_t5.onnx"), bad.resolve("text_encoder_2/model.onnx"));
        open(bad.resolve("text_encoder_2/model.onnx") + " has no input 'input_ids' of type INT64 and shape [1, 77]; its 'input_ids' is INT64 [1, 6]", bad, 16, 24);
        Files.copy(TinyPipeline.MODELS.resolve("pipeline_clip_g.onnx"), bad.resolve("text_encoder_2/model.onnx"), java.nio.file.StandardCopyOption.REPLACE_EXISTING);
        Files.writeString(bad.resolve("tokenizer_2/special_tokens_map.json"), "{\"pad_token\": \"!\"}");
        open(bad.resolve("tokenizer_2") + ": the vocabulary does not have the pad_token !", bad, 16, 24);
        Files.delete(bad.resolve("tokenizer_2/special_tokens_map.json"));
        open(bad.resolve("tokenizer_2") + ": neither special_tokens_map.json nor tokenizer_config.json there names a pad_token", bad, 16, 24);
        Files.delete(bad.resolve("tokenizer/merges.txt"));
        open(bad.resolve("tokenizer") + " has neither tokenizer.json nor vocab.json with merges.txt; AutoTokenizer.from_pretrained(...).save_pretrained(...) of transformers writes a tokenizer.json", bad, 16, 24);
    }

    private static void complaint(String expected, Path pipeline) {
        assertEquals(expected, assertThrows(PipelineException.class, () -> PipelineFolder.open(pipeline)).getMessage());
    }

    private static void open(String expected, Path pipeline, int height, int width) {
        try (Device device = Device.open(); Stream stream = device.newStream()) {
            String message = assertThrows(RuntimeException.class, () -> new DiffusersPipeline(device, PipelineFolder.open(pipeline), options(height, width, 1), null, stream).close()).getMessage();
            assertTrue(message.endsWith(expected), message);
        }
    }
}
