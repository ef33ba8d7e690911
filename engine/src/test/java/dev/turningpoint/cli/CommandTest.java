package dev.turningpoint.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.turningpoint.selftest.Selftest;
import dev.turningpoint.weights.SafetensorsWriter;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Exit statuses and the one line that each mistake earns. */
class CommandTest {
    @TempDir Path folder;

    private record Outcome(int status, String out, String err) {}

    private static Outcome run(Object... args) {
        var out = new StringWriter();
        var err = new StringWriter();
        var texts = java.util.Arrays.stream(args).map(Object::toString).toArray(String[]::new);
        int status = TurningPointCommand.run(new PrintWriter(out, true), new PrintWriter(err, true), texts);
        return new Outcome(status, out.toString(), err.toString());
    }

    /** One line on stderr, nothing on stdout. */
    private static void fails(int status, String line, Outcome outcome) {
        assertEquals("turningpoint: " + line + System.lineSeparator(), outcome.err());
        assertEquals(status, outcome.status());
        assertEquals("", outcome.out());
    }

    @Test
    void helpAndVersionSucceed() {
        assertEquals(0, run("--help").status());
        assertEquals(0, run("help", "train").status());
        assertTrue(run("train", "--help").out().contains("--resume"));
        assertTrue(run("sample", "--help").out().contains("--check"));
        assertTrue(run("--version").out().startsWith("turningpoint "));
        assertEquals(2, run().status());
    }

    @Test
    void unknownCommandsAndOptionsAreUsageErrors() {
        Outcome typo = run("trian");
        assertEquals(2, typo.status());
        assertTrue(typo.err().contains("Did you mean: ") && typo.err().contains("turningpoint train"), typo.err());
        Outcome option = run("train", "--sed", "1");
        assertEquals(2, option.status());
        assertTrue(option.err().startsWith("turningpoint: Unknown option"), option.err());
        assertEquals(2, run("check").status());
        Outcome size = run("devices", "--memory", "12q");
        assertEquals(2, size.status());
        assertTrue(size.err().startsWith("turningpoint: --memory 12q: a size is a number of bytes, or one with k, m or g, as 12g"), size.err());
        assertEquals(2, run("train", "--seed", "one").status());
    }

    @ParameterizedTest
    @ValueSource(strings = {"train", "pretrain", "sample"})
    void aBadConfigurationIsOneLine(String command) throws IOException {
        Path file = Files.writeString(folder.resolve("config.yaml"), "sampler:\n  noiselevel: 0.7\n");
        fails(2, "config.yaml:2: unknown key 'sampler.noiselevel'; did you mean 'sampler.noise_level'?", sample(command, "--config", file));
        Path gone = folder.resolve("gone.yaml");
        fails(2, gone + ": there is no such file", sample(command, "--config", gone));
        fails(2, "--set train.learning_rate=fast: train.learning_rate must be a number, is 'fast'", sample(command, "--set", "train.learning_rate=fast"));
        fails(2, "preset 'sd5' is not a preset; did you mean 'sd35'?", sample(command, "--preset", "sd5"));
    }

    private static Outcome sample(String command, Object option, Object value) {
        return command.equals("sample") ? run(command, option, value, "WORD") : run(command, option, value);
    }

    @Test
    void trainingWithoutNoiseIsRefusedBeforeAnythingIsLoaded() {
        fails(2, "sampler.type ode has no noise, so that training would explore nothing; take cps or sde", run("train", "--set", "sampler.type=ode", "--out", folder.resolve("run")));
        assertTrue(Files.notExists(folder.resolve("run")));
    }

    @Test
    void aComparisonRunsEveryArmToTheSameCostAndGoesOn() throws IOException {
        Path out = folder.resolve("comparison");
        Object[] command = {"compare", "--preset", "glyph-quick", "--arm", "outcome", "--arm", "consistent-turning-point+balancing", "--set", "evaluation.every=1", "--set", "sampler.steps=3",
            "--set", "sampler.window_end=2", "--out", out, "--evaluations", 190, "--seeds", 1};
        Outcome first = run(command);
        assertEquals(0, first.status(), first.err());
        command[command.length - 1] = 2;
        Outcome second = run(command);
        assertEquals(0, second.status(), second.err());
        var ends = new java.util.HashMap<String, String>();
        for (String line : Files.readAllLines(out.resolve("curves.csv"))) ends.put(line.substring(0, line.indexOf(',', line.indexOf(',') + 1)), line.split(",")[2] + " updates, " + line.split(",")[3] + " rows");
        // 8 trajectories, 3 steps, 2 of them trained: 3 + 3 * 2 rows for the outcome, 1 + 2 + 3 + 3 * 2 with completions, until 190 are spent; 2 updates an iteration
        assertEquals(java.util.Map.of("arm,seed", "updates updates, network_evaluations rows", "outcome,1", "6 updates, 216 rows", "outcome,2", "6 updates, 216 rows",
                "consistent-turning-point+balancing,1", "4 updates, 192 rows", "consistent-turning-point+balancing,2", "4 updates, 192 rows"), ends);
        assertTrue(Files.readString(out.resolve("report.html")).contains("2 ways to assign credit, 2 seeds"));
        fails(1, "--seeds must be at least 1, is 0", run("compare", "--seeds", 0, "--out", out));
        fails(2, "--arm 'a b' is no name: letters, digits, '-', '+' and '.'", run("compare", "--arm", "a b:seed=1", "--out", out));
        fails(2, "--set sampler.steps=none: sampler.steps must be a whole number, is 'none'", run("compare", "--arm", "x:sampler.steps=none", "--out", out));
    }

    @Test
    void weightsAreConvertedInspectedAndVerified() throws IOException {
        Path original = folder.resolve("original.safetensors"), engine = folder.resolve("engine.safetensors");
        var writer = new SafetensorsWriter();
        String[] shapes = {"pos_embed 1 4 64", "x_embedder.proj.weight 64 4 2 2", "x_embedder.proj.bias 64", "t_embedder.mlp.0.weight 64 256", "t_embedder.mlp.0.bias 64", "t_embedder.mlp.2.weight 64 64",
            "t_embedder.mlp.2.bias 64", "y_embedder.mlp.0.weight 64 8", "y_embedder.mlp.0.bias 64", "y_embedder.mlp.2.weight 64 64", "y_embedder.mlp.2.bias 64", "context_embedder.weight 64 12",
            "context_embedder.bias 64", "joint_blocks.0.x_block.adaLN_modulation.1.weight 384 64", "joint_blocks.0.x_block.adaLN_modulation.1.bias 384",
            "joint_blocks.0.context_block.adaLN_modulation.1.weight 128 64", "joint_blocks.0.context_block.adaLN_modulation.1.bias 128", "joint_blocks.0.x_block.attn.qkv.weight 192 64",
            "joint_blocks.0.x_block.attn.qkv.bias 192", "joint_blocks.0.context_block.attn.qkv.weight 192 64", "joint_blocks.0.context_block.attn.qkv.bias 192", "joint_blocks.0.x_block.attn.proj.weight 64 64",
            "joint_blocks.0.x_block.attn.proj.bias 64", "joint_blocks.0.x_block.mlp.fc1.weight 256 64", "joint_blocks.0.x_block.mlp.fc1.bias 256", "joint_blocks.0.x_block.mlp.fc2.weight 64 256",
            "joint_blocks.0.x_block.mlp.fc2.bias 64", "final_layer.adaLN_modulation.1.weight 128 64", "final_layer.adaLN_modulation.1.bias 128", "final_layer.linear.weight 16 64", "final_layer.linear.bias 16"};
        for (String s : shapes) {
            String[] parts = s.split(" ");
            long[] shape = java.util.Arrays.stream(parts).skip(1).mapToLong(Long::parseLong).toArray();
            writer.tensor("model.diffusion_model." + parts[0], new float[(int) java.util.Arrays.stream(shape).reduce(1, (a, b) -> a * b)], shape);
        }
        writer.write(original);
        Outcome convert = run("convert", original, engine, "--type", "bf16");
        assertEquals(0, convert.status(), convert.err());
        String out = run("inspect", original).out();
        assertTrue(out.contains("model:    sd3, original layout, below model.diffusion_model."), out);
        assertTrue(out.contains("num_layers 1, out_channels 4, patch_size 2"), out);
        assertTrue(run("inspect", engine, "--tensors").out().contains("  BF16 [64, 4, 2, 2] pos_embed.proj.weight"));
        Outcome verify = run("verify", engine);
        assertTrue(verify.out().endsWith(" finite weights, every checksum right" + System.lineSeparator()), verify.out() + verify.err());
        fails(1, original + ": is the input; name another file", run("convert", original, original));
        Path lora = folder.resolve("lora.safetensors"), full = folder.resolve("full.safetensors");
        float[] a = new float[64], b = new float[64];
        a[3] = 2;
        b[5] = 0.25f;
        new SafetensorsWriter().tensor("lora_unet_transformer_blocks_0_attn_to_k.lora_down.weight", a, 1, 64).tensor("lora_unet_transformer_blocks_0_attn_to_k.lora_up.weight", b, 64, 1).write(lora);
        Outcome merge = run("merge", original, lora, full, "--strength", "-3");
        assertEquals(0, merge.status(), merge.err());
        assertTrue(merge.out().startsWith(lora + ": says no alpha; its rank is taken"), merge.out());
        assertTrue(merge.out().contains(full + ": sd3 with 1 layers of " + lora + " at strength -3.0, diffusers, "), merge.out());
        try (var weights = dev.turningpoint.weights.SafetensorsFile.open(full)) {
            float[] k = weights.floats("transformer_blocks.0.attn.to_k.weight");
            assertEquals(-1.5f, k[5 * 64 + 3], "-3 x 2 x 0.25 on a weight of 0");
            k[5 * 64 + 3] = 0;
            org.junit.jupiter.api.Assertions.assertArrayEquals(new float[64 * 64], k);
        }
        fails(1, original + ": is the input; name another file", run("merge", original, lora, original));
        Path gone = folder.resolve("gone");
        fails(1, gone + ": there is no such file", run("inspect", gone));
        fails(1, gone + ": there is no such file", run("merge", original, gone, full));
        byte[] bytes = Files.readAllBytes(engine);
        bytes[bytes.length - 1] ^= 1;
        Files.write(engine, bytes);
        Outcome damaged = run("verify", engine);
        assertEquals(1, damaged.status());
        assertTrue(damaged.err().contains("'proj_out.bias' has the checksum ") && damaged.err().lines().count() == 1, damaged.err());
    }

    @Test
    void brokenWeightsAreOneLineThatNamesTheFile() throws IOException {
        Path good = folder.resolve("good.safetensors"), bad = folder.resolve("bad.safetensors"), gone = folder.resolve("gone.safetensors");
        new SafetensorsWriter().tensor("proj_out.weight", new float[96 * 16], 16, 96).write(good);
        Files.write(bad, java.util.Arrays.copyOf(Files.readAllBytes(good), 1000));
        Outcome truncated = run("sample", "--weights", bad, "CAT"), other = run("sample", "--weights", good, "CAT");
        assertEquals(1, truncated.status());
        assertTrue(truncated.err().startsWith("turningpoint: " + bad + ": ") && truncated.err().contains("truncated") && truncated.err().lines().count() == 1, truncated.err());
        assertEquals(1, other.status());
        assertTrue(other.err().startsWith("turningpoint: " + good + ": has no tensor '") && other.err().lines().count() == 1, other.err());
        fails(1, gone + ": there is no such file", run("sample", "--weights", gone, "CAT"));
        Outcome train = run("train", "--set", "model.weights=" + bad, "--out", folder.resolve("run"));
        assertEquals(1, train.status());
        assertTrue(train.err().contains("truncated") && train.err().lines().count() == 1, train.err());
        Path adapter = Files.createDirectory(folder.resolve("adapter"));
        Files.writeString(adapter.resolve("adapter_config.json"), "{\"r\": 4, \"target_modules\": [\"attn.to_qkv\"]}");
        fails(1, adapter.resolve("adapter_config.json") + ": does not say 'lora_alpha'", run("sample", "--lora", adapter, "CAT"));
    }

    @Test
    void aMissingFontIsOneLineBeforeAnythingIsTrained() {
        Path gone = folder.resolve("gone.ttf");
        String message = "font " + gone + ": there is no such file; name a .ttf file, or leave the font out to take the bundled one";
        Outcome pretrain = run("pretrain", "--set", "model.font=" + gone, "--out", folder.resolve("run"));
        assertEquals(1, pretrain.status());
        assertEquals("turningpoint: " + message + "\n", pretrain.err());
        fails(1, message, run("train", "--set", "model.font=" + gone, "--out", folder.resolve("run")));
    }

    @Test
    void whatCannotBeDrawnIsOneLine() {
        fails(1, "'CAT1' has the letter '1'; the glyph model writes only ABCDEFGHJKLMNPQRSTUVWXYZ2345679", run("sample", "CAT1"));
        fails(1, "'LONGER' has 6 letters; the model takes at most 5", run("sample", "LONGER"));
    }

    @Test
    void resumingNeedsARunAndKeepsItsConfiguration() {
        assertEquals(1, run("train", "--resume", folder).status());
        assertEquals(1, run("train", "--resume", folder, "--seed", "3").status());
        assertTrue(run("train", "--resume", folder).err().contains("holds no run to go on with"));
        assertEquals(1, run("pretrain", "--resume", "--out", folder).status());
    }

    @Test
    void missingReferenceDataIsOneLine() {
        Path gone = folder.resolve("gone");
        fails(1, gone + ": there is no such folder", run("check", gone));
        fails(1, folder + ": holds no reference data that is served", run("check", folder));
    }

    @Test
    void selftestWritesOneTextThatEndsWithItsVerdict() throws IOException {
        Path text = folder.resolve("selftest.txt");
        Outcome outcome = run("selftest", "--only", "norm.qk_norm_split_32_bf16", "--out", text);
        assertEquals(0, outcome.status(), outcome.err() + outcome.out());
        var lines = Files.readAllLines(text);
        for (String begin : java.util.List.of("TurningPoint self-test of 20", "version ", "device          TurningPoint software GPU", "driver          CUDA 1", "compared with   the interpreter",
                "processor ", "system          Linux", "copy on the device ", "product bf16 ", "product f32 ", "launch from Java ", "norm.qk_norm_split_32_bf16.small", "norm.qk_norm_split_32_bf16.glyph",
                "in all: 1 kernels in 2 cases, 1 compared", "verdict: ok, 1 cases agree with the interpreter of the software GPU within their tolerances"))
            assertTrue(lines.stream().anyMatch(l -> l.startsWith(begin)), begin + " is not in\n" + String.join("\n", lines));
        assertTrue(outcome.out().startsWith("no GPU ("), outcome.out());
        assertTrue(outcome.out().contains(lines.getLast()) && lines.getLast().startsWith("verdict: ok"), outcome.out());
        assertFalse(String.join("\n", lines).contains(System.getProperty("user.home")), "paths of the machine");
        fails(1, "--only norms: no case has this in its name; they begin with the name of a .cu file: norm, attention", run("selftest", "--only", "norms"));
    }

    @Test
    void aSelftestThatFindsAWrongResultFails() throws Exception {
        Path text = folder.resolve("selftest.txt");
        var out = new StringWriter();
        var selftest = new Selftest("credit.credit_scan", (_, result, expected, actual) -> {
            if (result.name().equals("reward")) actual.setAtIndex(ValueLayout.JAVA_FLOAT, 2, Math.nextUp(actual.getAtIndex(ValueLayout.JAVA_FLOAT, 2)));
            return result.tolerance().worst(result.type(), result.count(), expected, actual);
        });
        assertEquals(1, SelftestCommand.finish(selftest.run((_, _, _, _) -> { }), text, new PrintWriter(out, true)));
        assertTrue(out.toString().startsWith("verdict: FAILED, 1 of 2 cases: credit.credit_scan.small"), out.toString());
        assertTrue(Files.readString(text).contains("  reward[2] is "), Files.readString(text));
    }

    @Test
    void whatCannotBeProfiledIsOneLine() {
        fails(1, "profile takes one name; a command to profile follows --, as in: profile -- sample CAT", run("profile", "sample", "CAT"));
        fails(1, "there is no command to profile after --", run("profile", "--"));
        fails(1, "there is no command to profile after --", run("profile", "--", "profile"));
    }
}
