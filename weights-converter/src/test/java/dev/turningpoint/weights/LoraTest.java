package dev.turningpoint.weights;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** LoRA files that PEFT and diffusers wrote, and ours by the rules their readers have: names of keys.json, strength, bits. */
class LoraTest {
    @TempDir Path folder;

    private static Path golden(String name) throws URISyntaxException { return Path.of(LoraTest.class.getResource("peft_lora/" + name).toURI()); }

    /** The modules of the tiny network, as linear layers with a weight. */
    private static TreeSet<String> known(String model) throws URISyntaxException {
        try (Checkpoint c = Checkpoint.open(Path.of(LoraTest.class.getResource(model + "_tiny").toURI()))) {
            return Recognised.of(c).architecture().tensors(Layout.DIFFUSERS).keySet().stream().filter(t -> t.endsWith(".weight")).map(t -> t.substring(0, t.length() - 7))
                    .collect(Collectors.toCollection(TreeSet::new));
        }
    }

    private static void assertSame(Lora expected, Lora found) {
        assertEquals(expected.modules().keySet(), found.modules().keySet());
        expected.modules().forEach((module, f) -> {
            Lora.Factors g = found.modules().get(module);
            assertArrayEquals(f.a(), g.a(), module);
            assertArrayEquals(f.b(), g.b(), module);
            assertEquals(f.rank(), g.rank(), module);
            assertEquals(f.alpha(), g.alpha(), module);
        });
        assertFalse(found.alphaAssumed());
    }

    @ParameterizedTest
    @ValueSource(strings = {"sd3", "flux"})
    void filesOfOthersAreReadAtTheirStrength(String model) throws Exception {
        Lora peft = Lora.read(golden(model + "/peft"), known(model));
        assertEquals(model.equals("sd3") ? 23 : 30, peft.modules().size());
        assertTrue(peft.modules().values().stream().allMatch(f -> f.rank() == 4 && f.alpha() == 8));
        assertSame(peft, Lora.read(golden(model + "/diffusers_with_metadata"), known(model)));
        Lora without = Lora.read(golden(model + "/diffusers"), known(model));
        assertTrue(without.alphaAssumed(), "a file without alpha");
        assertTrue(without.modules().values().stream().allMatch(f -> f.alpha() == 4), "the rank stands for it");
    }

    @ParameterizedTest
    @ValueSource(strings = {"sd3", "flux"})
    void namesAreThoseOfPeftAndDiffusers(String model) throws Exception {
        Lora lora = Lora.read(golden(model + "/peft"), known(model));
        lora.write(Lora.Form.PEFT, folder);
        lora.write(Lora.Form.DIFFUSERS, folder.resolve("pytorch_lora_weights.safetensors"));
        JsonNode keys = new JsonMapper().readTree(Files.readString(golden(model + "/keys.json")));
        var expected = Map.of("peft", new TreeSet<String>(), "diffusers", new TreeSet<String>());
        for (JsonNode k : keys) expected.forEach((form, names) -> names.add(k.get(form).asString()));
        try (var peft = SafetensorsFile.open(folder.resolve("adapter_model.safetensors")); var diffusers = SafetensorsFile.open(folder.resolve("pytorch_lora_weights.safetensors"))) {
            assertEquals(expected.get("peft"), new TreeSet<>(peft.names()));
            assertEquals(expected.get("diffusers"), new TreeSet<>(diffusers.names()));
            for (JsonNode k : keys) assertEquals(k.get("shape").toString().replace(",", ", "), diffusers.info(k.get("diffusers").asString()).shape().toString());
            JsonNode ours = new JsonMapper().readTree(diffusers.metadata().get("lora_adapter_metadata")), theirs;
            try (var file = SafetensorsFile.open(golden(model + "/diffusers_with_metadata").resolve("pytorch_lora_weights.safetensors"))) {
                theirs = new JsonMapper().readTree(file.metadata().get("lora_adapter_metadata"));
            }
            for (String field : new String[] {"lora_alpha", "r", "alpha_pattern", "rank_pattern", "bias", "peft_type", "use_dora", "use_rslora"})
                assertEquals(theirs.get("transformer." + field), ours.get("transformer." + field), field);
        }
    }

    @ParameterizedTest
    @EnumSource(Lora.Form.class)
    void whatIsWrittenIsReadBackBitForBit(Lora.Form form) throws Exception {
        var modules = new LinkedHashMap<>(Lora.read(golden("sd3/peft"), known("sd3")).modules());
        modules.put("transformer_blocks.0.ff.net.2", new Lora.Factors(new float[2 * 128], new float[2 * 32], 2, 3.5));   // another rank and strength than the rest
        var lora = new Lora(modules, false);
        Path path = form == Lora.Form.PEFT ? folder : folder.resolve("lora.safetensors");
        lora.write(form, path);
        assertSame(lora, Lora.read(path, known("sd3")));
    }

    @Test
    void kohyasNamesAndStrength() throws Exception {
        Path file = folder.resolve("kohya.safetensors");
        Lora.read(golden("flux/peft"), known("flux")).write(Lora.Form.KOHYA, file);
        try (var f = SafetensorsFile.open(file)) {
            assertEquals(java.util.List.of(4L, 32L), f.info("lora_unet_single_transformer_blocks_0_attn_to_q.lora_down.weight").shape());
            assertEquals(8, f.floats("lora_unet_transformer_blocks_1_ff_net_0_proj.alpha")[0]);
            assertEquals("8", f.metadata().get("ss_network_alpha"));
            assertEquals("4", f.metadata().get("ss_network_dim"));
        }
    }

    @Test
    void whatIsWrongIsSaid() throws Exception {
        Path file = folder.resolve("lora.safetensors");
        new SafetensorsWriter().tensor("transformer.transformer_blocks.0.attn.to_q.lora_A.weight", new float[4], 2, 2).write(file);
        refused(file, "has no tensor 'transformer.transformer_blocks.0.attn.to_q.lora_B.weight' beside");
        new SafetensorsWriter().tensor("transformer.transformer_blocks.0.attn.to_q.lora_A.weight", new float[4], 2, 2)
                .tensor("transformer.transformer_blocks.0.attn.to_q.lora_B.weight", new float[6], 2, 3).write(file);
        refused(file, "are [2, 2] and [2, 3], not [rank, in] and [out, rank]");
        new SafetensorsWriter().tensor("lora_unet_no_such_layer.lora_down.weight", new float[2], 1, 2).tensor("lora_unet_no_such_layer.lora_up.weight", new float[2], 2, 1).write(file);
        refused(file, "the model has no layer 'no_such_layer'");
        new SafetensorsWriter().tensor("some.weight", new float[2], 2).write(file);
        refused(file, "is no LoRA we know");
        refused(Files.createDirectory(folder.resolve("empty")), "holds neither adapter_model.safetensors nor pytorch_lora_weights.safetensors");
        Path alone = Files.createDirectory(folder.resolve("alone"));
        Files.copy(golden("sd3/peft").resolve("adapter_model.safetensors"), alone.resolve("adapter_model.safetensors"));
        refused(alone, "adapter_config.json: cannot be read, and it holds the strength of the LoRA");
    }

    private void refused(Path path, String why) throws Exception {
        var known = known("sd3");
        String message = assertThrows(WeightsException.class, () -> Lora.read(path, known)).getMessage();
        assertTrue(message.contains(why) && message.lines().count() == 1, message);
    }

    // ---- merging

    private static Path model(String name) throws URISyntaxException { return Path.of(LoraTest.class.getResource(name + "_tiny").toURI()); }

    private Path merged(String model, Lora lora, double strength, TensorType type, boolean engine) throws Exception {
        Path file = Files.createDirectories(folder.resolve(model + type + strength + engine)).resolve("model.safetensors");
        try (Checkpoint c = Checkpoint.open(model(model))) {
            new Conversion(Recognised.of(c), Layout.DIFFUSERS, type, engine, new Merge(lora, strength)).write(file, Progress.NONE);
        }
        return file;
    }

    @ParameterizedTest
    @CsvSource({"sd3, 1, F32, false", "flux, 0.7, F32, true", "sd3, -1.5, BF16, false", "flux, 1, F16, false"})
    void mergedWeightsAreTheSumRoundedOnce(String model, double strength, TensorType type, boolean engine) throws Exception {
        Lora lora = Lora.read(golden(model + "/peft"), known(model));
        Path file = merged(model, lora, strength, type, engine), plain = folder.resolve("plain.safetensors");
        int changed = 0;
        try (Checkpoint base = Checkpoint.open(model(model)); Checkpoint result = Checkpoint.open(file)) {
            new Conversion(Recognised.of(base), Layout.DIFFUSERS, type, false).write(plain, Progress.NONE);
            try (SafetensorsFile before = SafetensorsFile.open(model(model).resolve("diffusion_pytorch_model.safetensors")); SafetensorsFile without = SafetensorsFile.open(plain);
                    SafetensorsFile with = SafetensorsFile.open(file)) {
                for (String name : without.names()) {
                    assertEquals(type, result.info(name).type());
                    Lora.Factors f = name.endsWith(".weight") ? lora.modules().get(name.substring(0, name.length() - 7)) : null;
                    if (f == null) {
                        assertArrayEquals(without.data(name).toArray(ValueLayout.JAVA_BYTE), with.data(name).toArray(ValueLayout.JAVA_BYTE), name);
                        continue;
                    }
                    float[] w = before.floats(name), got = with.floats(name);
                    int in = (int) (f.a().length / f.rank());
                    for (int i = 0; i < w.length; i++) {
                        double sum = 0;
                        for (int k = f.rank() - 1; k >= 0; k--) sum += (double) f.b()[i / in * f.rank() + k] * f.a()[k * in + i % in];
                        double exact = w[i] + strength * 8 / 4 * sum;
                        double step = type == TensorType.F32 ? Math.ulp(got[i]) : type == TensorType.BF16 ? Math.scalb(1, Math.getExponent(got[i]) - 7) : Math.scalb(1, Math.max(Math.getExponent(got[i]), -14) - 10);
                        assertEquals(exact, got[i], step / 2 * (1 + 1e-6), name + " " + i);
                        if (got[i] != w[i]) changed++;
                    }
                }
            }
        }
        assertTrue(changed > 1000, changed + " weights changed");
    }

    @Test
    void strengthZeroLeavesEveryBit() throws Exception {
        Path file = merged("sd3", Lora.read(golden("sd3/peft"), known("sd3")), 0, null, false);
        try (SafetensorsFile before = SafetensorsFile.open(model("sd3").resolve("diffusion_pytorch_model.safetensors")); SafetensorsFile after = SafetensorsFile.open(file)) {
            for (String name : before.names()) assertArrayEquals(before.data(name).toArray(ValueLayout.JAVA_BYTE), after.data(name).toArray(ValueLayout.JAVA_BYTE), name);
        }
    }

    @Test
    void doublesAreRoundedOnce() {
        MemorySegment to = MemorySegment.ofArray(new byte[4]);
        // Just above the middle of two numbers of the type, by less than a float can hold; and just below it.
        assertTrue(Cast.store(1 + 0x1p-8 + 0x1p-40, to, TensorType.BF16, 0));
        assertEquals((short) 0x3f81, to.get(TensorType.SHORT, 0));
        assertTrue(Cast.store(-(1 + 3 * 0x1p-8 - 0x1p-40), to, TensorType.BF16, 0));
        assertEquals((short) 0xbf81, to.get(TensorType.SHORT, 0));
        assertTrue(Cast.store(1 + 0x1p-11 + 0x1p-40, to, TensorType.F16, 0));
        assertEquals((short) 0x3c01, to.get(TensorType.SHORT, 0));
        assertTrue(Cast.store(0x1p-25 + 0x1p-60, to, TensorType.F16, 0), "above half the least number");
        assertEquals((short) 1, to.get(TensorType.SHORT, 0));
        assertFalse(Cast.store(65520, to, TensorType.F16, 0), "the middle between the largest number and what would be the next");
        assertTrue(Cast.store(65519.999999, to, TensorType.F16, 0));
        assertFalse(Cast.store(1e39, to, TensorType.F32, 0));
        assertTrue(Cast.store(Double.NEGATIVE_INFINITY, to, TensorType.BF16, 0));
    }

    @Test
    void aLoraOfAnotherModelIsRefused() throws Exception {
        Lora flux = Lora.read(golden("flux/peft"), known("flux"));
        assertTrue(assertThrows(WeightsException.class, () -> merged("sd3", flux, 1, null, false)).getMessage().contains("has no such layer"));
        String module = "transformer_blocks.0.attn.to_q";
        Lora narrow = new Lora(Map.of(module, new Lora.Factors(new float[6], new float[4], 2, 1)), false);
        String message = assertThrows(WeightsException.class, () -> merged("sd3", narrow, 1, null, false)).getMessage();
        assertTrue(message.contains("the LoRA's branch of it [2, 3]: it is of another model"), message);
        Lora huge = new Lora(Map.of(module, new Lora.Factors(filled(32, 3e4f), filled(32, 3e4f), 1, 1)), false);
        message = assertThrows(WeightsException.class, () -> merged("sd3", huge, 1, TensorType.F16, false)).getMessage();
        assertTrue(message.contains("1024 numbers beyond F16; take BF16 or F32, or less strength"), message);
        assertFalse(Files.exists(folder.resolve("sd3F161.0false").resolve("model.safetensors")), "no partial file");
    }

    private static float[] filled(int n, float v) {
        var all = new float[n];
        java.util.Arrays.fill(all, v);
        return all;
    }
}
