package dev.turningpoint.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.turningpoint.data.FilePrompts;
import dev.turningpoint.data.Prompts;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.image.ImageBatch;
import dev.turningpoint.pipeline.PipelineFolder.Family;
import dev.turningpoint.pipeline.TinyPipeline;
import dev.turningpoint.reward.RewardMix;
import dev.turningpoint.train.ConfigReader;
import dev.turningpoint.train.RunConfig;
import dev.turningpoint.train.Trainer;
import dev.turningpoint.train.TrainingObserver;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What a plan says against what training takes: the same bytes, and the workspace that matrix products have on a GPU, if any of them asks for it. */
class PlanTest {
    private static final long WORKSPACE = 32L << 20;
    private static final String CACHE = "turningpoint.prompts.cache";
    @TempDir static Path folder;

    @BeforeAll
    static void write() throws IOException {
        System.setProperty(CACHE, folder.resolve("prompts").toString());
        for (Family family : Family.values()) TinyPipeline.write(folder.resolve(family.name()), family);
        Files.writeString(folder.resolve("train.txt"), "a cat\na dog\na cot\n");
    }

    @AfterAll
    static void forget() {
        System.clearProperty(CACHE);
    }

    private static long bytes(String out, String what) {
        Matcher m = Pattern.compile("([0-9,]+)  " + what).matcher(out);
        assertTrue(m.find(), out);
        return Long.parseLong(m.group(1).replace(",", ""));
    }

    @ParameterizedTest
    @CsvSource({"SD3, f32, train.kl_beta=1e-3", "SD3, bf16, train.reference_reset=2", "FLUX, f32, sampler.forward_rows=3", "FLUX, bf16, train.objective=grpo-guard", ", f32, train.kl_beta=1e-3",
        ", bf16, train.parameters=lora"})
    void aPlanIsWhatTrainingTakes(Family family, String storage, String more) throws Exception {
        var assignments = new ArrayList<>(List.of("storage=" + storage, more, "sampler.steps=3", "sampler.window_end=2", "train.iterations=1", "train.prompts_per_iteration=2", "train.group_size=4",
                "train.micro_batch=2", "evaluation.prompts=3", "checkpoint.every=0", "train.time_limit_minutes=0"));
        String preset = family == null ? "glyph" : family == Family.SD3 ? "sd35-ocr" : "flux-ocr";
        if (family != null) assignments.addAll(List.of("model.name=diffusers", "model.weights=" + folder.resolve(family.name()), "model.image_height=16", "model.image_width=24",
                "model.text_tokens=" + TinyPipeline.T5_TOKENS, "data.path=" + folder.resolve("train.txt")));
        var command = new ArrayList<>(List.of("plan", "--preset", preset));
        assignments.forEach(a -> command.addAll(List.of("--set", a)));
        ChildProcess planned = ChildProcess.run(folder, null, command.toArray(String[]::new));
        assertEquals(0, planned.status(), planned.err());

        RunConfig config = ConfigReader.read(null, preset, assignments);
        Prompts prompts = family == null ? TrainCommand.prompts(config) : new FilePrompts(folder.resolve("train.txt"), 1, _ -> {});
        try (Device device = Device.open(); RewardMix rewards = RewardMix.of("brightness", batch -> {
            var scores = new float[batch.count()];
            for (int i = 0; i < scores.length; i++) scores[i] = batch.images().get(i, 3, 5);
            return scores;
        }, 1); var trainer = new Trainer(device, config, rewards, prompts, folder.resolve("checkpoints-" + preset + storage))) {
            long allocated = device.allocated();
            long besides = bytes(planned.out(), "bytes on the device") - allocated;
            assertTrue(Device.isSoftware() ? besides == WORKSPACE : besides == WORKSPACE || besides == 0, planned.out() + device.outstanding());
            trainer.run(new TrainingObserver() {
                @Override
                public void update(long updates, Map<String, Double> metrics) {}

                @Override
                public void evaluated(long updates, Map<String, Double> metrics, ImageBatch images, List<String> captions) {}
            }, () -> false);
            assertEquals(allocated, device.allocated(), "training takes no more than it began with");
        }
    }

    /** Room for batches of three and not of four. */
    @Test
    void theLargestBatchesThatFitAreNamed() throws Exception {
        List<String> command = List.of("plan", "--preset", "sd35-ocr", "--model", folder.resolve("SD3").toString(), "--set", "model.image_height=24", "--set", "model.image_width=24", "--set",
                "model.text_tokens=6");
        long three = sized(command, 3), four = sized(command, 4);
        assertTrue(three < four);
        String memory = Long.toString((1L << 30) + (three + four) / 2);
        ChildProcess chosen = plan(command, "--memory", memory);
        assertEquals(0, chosen.status(), chosen.err());
        String expected = String.format("%s: --set train.micro_batch=3 --set sampler.forward_rows=6 takes %,d bytes; 1 GiB is left to the driver", memory, three);
        assertEquals(expected, chosen.out().strip().lines().toList().getLast());
        ChildProcess bare = ChildProcess.run(folder, null, "plan", "--model", jsonOnly().toString(), "--set", "model.image_height=24", "--set", "model.image_width=24");
        assertTrue(bare.status() == 0 && bare.out().startsWith("sd35: "), bare.err());
        ChildProcess small = plan(command, "--memory", "1m");
        assertEquals(1, small.status());
        assertTrue(small.err().matches("turningpoint: --memory 1m: the smallest batches take [0-9.]+ MB, and 0 bytes are left beside the driver\\R"), small.err());
    }

    /** A folder that has been described and not yet downloaded. */
    private static Path jsonOnly() throws IOException {
        Path bare = folder.resolve("bare");
        for (String file : List.of("model_index.json", "transformer/config.json", "vae/config.json")) {
            Files.createDirectories(bare.resolve(file).getParent());
            Files.copy(folder.resolve("SD3").resolve(file), bare.resolve(file));
        }
        return bare;
    }

    private static long sized(List<String> command, int size) throws Exception {
        return bytes(plan(command, "--set", "train.micro_batch=" + size, "--set", "sampler.forward_rows=" + 2 * size).out(), "bytes on the device");
    }

    private static ChildProcess plan(List<String> command, String... more) throws Exception {
        var all = new ArrayList<>(command);
        all.addAll(List.of(more));
        return ChildProcess.run(folder, null, all.toArray(String[]::new));
    }
}
