package dev.turningpoint.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.turningpoint.pipeline.PipelineFolder.Family;
import dev.turningpoint.pipeline.TinyPipeline;
import dev.turningpoint.weights.Lora;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** Diffusers folders in small through {@code sample} and {@code train}, from the command line to files. */
class PublishedModelTest {
    private static final String CACHE = "turningpoint.prompts.cache";
    @TempDir static Path folder;

    @BeforeAll
    static void write() throws IOException {
        System.setProperty(CACHE, folder.resolve("prompts").toString());
        for (Family family : Family.values()) TinyPipeline.write(folder.resolve(family.name()), family);
        Files.writeString(folder.resolve("train.txt"), "a cat\na dog\na cat o dog\n");
        Files.writeString(folder.resolve("test.txt"), "a dog o cat\na cot\n");
    }

    @AfterAll
    static void forget() {
        System.clearProperty(CACHE);
    }

    private static String run(Object... args) {
        var out = new StringWriter();
        var err = new StringWriter();
        int status = TurningPointCommand.run(new PrintWriter(out, true), new PrintWriter(err, true), Arrays.stream(args).map(Object::toString).toArray(String[]::new));
        assertEquals(0, status, err.toString());
        return out.toString();
    }

    private static Object[] command(String name, Family family, Object... more) {
        var all = new ArrayList<Object>(List.of(name, "--model", folder.resolve(family.name()), "--set", "model.image_height=16", "--set", "model.image_width=24", "--set",
                "model.text_tokens=" + TinyPipeline.T5_TOKENS));
        all.addAll(List.of(more));
        return all.toArray();
    }

    private static int[] pixels(Path png) throws IOException {
        var image = ImageIO.read(png.toFile());
        return image.getRGB(0, 0, image.getWidth(), image.getHeight(), null, 0, image.getWidth());
    }

    /** What is drawn depends on prompt and seed, and on nothing that is drawn beside it. */
    @ParameterizedTest
    @EnumSource(Family.class)
    void samples(Family family) throws IOException {
        Path one = folder.resolve("one.png"), three = folder.resolve("three.png"), other = folder.resolve("other.png");
        run(command("sample", family, "--set", "evaluation.steps=4", "--prompt", "a cat", "--out", one));
        run(command("sample", family, "--set", "evaluation.steps=4", "--prompt", "a cat", "--prompt", "a dog", "--prompt", "a cot", "--out", three));
        run(command("sample", family, "--set", "evaluation.steps=4", "--prompt", "a dog", "--out", other));
        int[] a = pixels(one), b = pixels(three), c = pixels(other);
        int narrow = ImageIO.read(one.toFile()).getWidth(), wide = ImageIO.read(three.toFile()).getWidth();
        boolean coloured = false;
        int differ = 0;
        for (int y = 7; y < 7 + 16; y++) {
            for (int x = 7; x < 7 + 24; x++) {
                int rgb = a[y * narrow + x];
                assertEquals(rgb, b[y * wide + x], "pixel " + x + ", " + y);
                coloured |= (rgb >> 16 & 255) != (rgb & 255);
                differ += rgb != c[y * narrow + x] ? 1 : 0;
            }
        }
        assertTrue(coloured && differ > 100, differ + " pixels of 384 know the prompt");
    }

    /** Two iterations at once, or one and then one more: the same files to the bit; the LoRA in three forms is one LoRA, and it draws what training made. */
    @ParameterizedTest
    @CsvSource({"SD3, f32", "SD3, bf16", "FLUX, f32", "FLUX, bf16"})
    void trains(Family family, String storage) throws IOException {
        String name = family + "-" + storage;
        Object[] options = command("train", family, "--set", "storage=" + storage, "--set", "data.path=" + folder.resolve("train.txt"), "--set", "reward.terms={ocr: {role: 'off'}, small: {kind: jpeg-compressibility}}", "--set", "sampler.steps=3",
                "--set", "sampler.window_end=2", "--set", "train.prompts_per_iteration=2", "--set", "train.group_size=4", "--set", "train.micro_batch=2", "--set", "evaluation.prompts=2", "--set",
                "evaluation.steps=3", "--set", "checkpoint.every=1", "--set", "train.lora_rank=4", "--set", "train.lora_ranks={transformer_blocks.1: 2}", "--set", "train.ema_interval=1");
        Path straight = folder.resolve(name + "-straight"), broken = folder.resolve(name + "-broken");
        String told = run(with(options, "--set", "train.iterations=2", "--out", straight));
        assertTrue(told.contains("after 4 updates"), told);
        run(with(options, "--set", "train.iterations=1", "--out", broken));
        run("train", "--resume", broken, "--set", "train.iterations=2");
        for (String file : List.of("adapter_model.safetensors", "pytorch_lora_weights.safetensors", "lora_kohya.safetensors"))
            assertArrayEquals(Files.readAllBytes(straight.resolve("result").resolve(file)), Files.readAllBytes(broken.resolve("result").resolve(file)), file);

        List<String> metrics = Files.readAllLines(straight.resolve("metrics.jsonl"));
        String first = metrics.stream().filter(l -> l.contains("\"ratio_deviation_max\"")).findFirst().orElseThrow();
        assertTrue(first.matches(".*\"ratio_deviation_max\":0(\\.0)?[,}].*"), "the first update is on the policy itself: " + first);

        List<String> modules = List.copyOf(Lora.read(straight.resolve("result"), dev.turningpoint.weights.Merge.modules(architecture(family))).modules().keySet());
        Lora peft = Lora.read(straight.resolve("result"), modules), diffusers = Lora.read(straight.resolve("result/pytorch_lora_weights.safetensors"), modules),
                kohya = Lora.read(straight.resolve("result/lora_kohya.safetensors"), modules);
        boolean learned = false;
        for (String module : modules) {
            Lora.Factors f = peft.modules().get(module);
            assertEquals(module.startsWith("transformer_blocks.1.") ? 2 : 4, f.rank(), module);
            assertEquals(family == Family.SD3 ? 64 : 128, f.alpha(), module);
            for (Lora form : List.of(diffusers, kohya)) {
                assertArrayEquals(f.a(), form.modules().get(module).a(), module);
                assertArrayEquals(f.b(), form.modules().get(module).b(), module);
                assertEquals(f.alpha(), form.modules().get(module).alpha(), module);
            }
            for (float v : f.b()) learned |= v != 0;
        }
        assertTrue(learned, "B has left 0");

        Path before = folder.resolve(name + "-before.png"), after = folder.resolve(name + "-after.png"), again = folder.resolve(name + "-again.png");
        Object[] sample = command("sample", family, "--set", "storage=" + storage, "--set", "evaluation.steps=3", "--prompt", "a cat", "--out");
        run(with(sample, before));
        run(with(sample, after, "--lora", straight.resolve("result")));
        run(with(sample, again, "--lora", straight.resolve("result/lora_kohya.safetensors")));
        assertFalse(Arrays.equals(pixels(before), pixels(after)), "the LoRA changes what is drawn");
        assertArrayEquals(pixels(after), pixels(again), "in any form the same");

        // Training goes on from a published LoRA: with no update it comes out as it went in.
        Path started = folder.resolve(name + "-started");
        run(with(options, "--set", "train.iterations=0", "--set", "train.lora_start=" + straight.resolve("result/pytorch_lora_weights.safetensors"), "--out", started));
        assertArrayEquals(Files.readAllBytes(straight.resolve("result/adapter_model.safetensors")), Files.readAllBytes(started.resolve("result/adapter_model.safetensors")));
    }

    private static dev.turningpoint.weights.Architecture architecture(Family family) {
        try (var checkpoint = dev.turningpoint.weights.Checkpoint.open(folder.resolve(family.name()))) {
            return dev.turningpoint.weights.Recognised.of(checkpoint).architecture();
        }
    }

    private static Object[] with(Object[] command, Object... more) {
        var all = new ArrayList<>(List.of(command));
        all.addAll(List.of(more));
        return all.toArray();
    }
}
