package dev.turningpoint.weights;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeSet;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Checkpoints that diffusers wrote (sd3_tiny, flux_tiny) in all layouts and types and back; what must be refused, with its message. */
class ConversionTest {
    @TempDir Path folder;

    /** A copy of a model's folder as diffusers wrote it. */
    private Path model(String name) throws Exception {
        Path to = Files.createDirectories(folder.resolve(name));
        for (String file : List.of("config.json", "diffusion_pytorch_model.safetensors"))
            try (var in = ConversionTest.class.getResourceAsStream(name + "/" + file)) {
                Files.write(to.resolve(file), in.readAllBytes());
            }
        return to;
    }

    private Path convert(Path from, String to, Layout layout, TensorType type, boolean engine) throws Exception {
        Path target = Files.createDirectories(folder.resolve(to)).resolve("model.safetensors");
        try (Checkpoint c = Checkpoint.open(from)) {
            new Conversion(Recognised.of(c), layout, type, engine).write(target, Progress.NONE);
        }
        return target;
    }

    private static Map<String, byte[]> tensors(Path file) {
        var all = new HashMap<String, byte[]>();
        try (Checkpoint c = Checkpoint.open(file)) {
            for (String name : c.names()) if (!name.startsWith(EngineFile.PADDING)) all.put(name + " " + c.info(name).type() + " " + c.info(name).shape(), c.data(name).toArray(ValueLayout.JAVA_BYTE));
        }
        return all;
    }

    private static void assertSameTensors(Map<String, byte[]> expected, Map<String, byte[]> actual) {
        assertEquals(new TreeSet<>(expected.keySet()), new TreeSet<>(actual.keySet()));
        expected.forEach((name, bytes) -> assertArrayEquals(bytes, actual.get(name), name));
    }

    @ParameterizedTest
    @ValueSource(strings = {"sd3_tiny", "flux_tiny"})
    void tensorsOfAConfigurationAreThoseDiffusersWrites(String name) throws Exception {
        try (Checkpoint c = Checkpoint.open(model(name))) {
            Architecture a = Architecture.of("config.json", c.config());
            assertEquals(c.names().size(), a.tensors(Layout.DIFFUSERS).size());
            a.tensors(Layout.DIFFUSERS).forEach((tensor, shape) -> assertEquals(c.info(tensor).shape(), shape, tensor));
            assertEquals(a, Architecture.of("config", tools.jackson.databind.json.JsonMapper.shared().valueToTree(a.config())), "a configuration is read back equal");
            long elements = c.names().stream().mapToLong(n -> c.info(n).elements()).sum();
            assertEquals(elements, a.parameters());
        }
    }

    /** The published networks by their sizes alone: what their own files hold is written in their index.json, in bytes of bf16 or f16. */
    @Test
    void publishedSizes() {
        var flux = new FluxArchitecture(19, 38, 24, 128, 64, 4096, 768, true, List.of(16, 56, 56));
        assertEquals(23_802_816_640L, 2 * flux.parameters(), "metadata.total_size of black-forest-labs/FLUX.1-dev/transformer, 2 bytes a weight");
        assertEquals(780, flux.tensors(Layout.ORIGINAL).size());
    }

    @ParameterizedTest
    @CsvSource({"sd3_tiny, true", "flux_tiny, true", "sd3_tiny, false"})
    void toTheOriginalLayoutAndBackEveryBitIsTheSame(String name, boolean configured) throws Exception {
        Path source = model(name);
        Path original = convert(source, "original", Layout.ORIGINAL, null, false);
        if (configured) Files.copy(source.resolve("config.json"), original.resolveSibling("config.json"));
        Path back = convert(original, "back", Layout.DIFFUSERS, null, false);
        assertSameTensors(tensors(source), tensors(back));
        assertTrue(Files.readString(back.resolveSibling("config.json")).contains("_class_name"), "diffusers finds the configuration beside the weights");
    }

    @Test
    void rowsGoWhereTheOriginalHasThem() throws Exception {
        Path source = model("sd3_tiny"), original = convert(source, "original", Layout.ORIGINAL, null, false);
        try (Checkpoint d = Checkpoint.open(source); Checkpoint o = Checkpoint.open(original)) {
            assertEquals(List.of(96L, 32L), o.info("joint_blocks.0.x_block.attn.qkv.weight").shape());
            long block = 32 * 32 * 4;
            assertEquals(-1, o.data("joint_blocks.0.x_block.attn.qkv.weight").asSlice(block, block).mismatch(d.data("transformer_blocks.0.attn.to_k.weight")), "the second third is k");
            assertEquals(-1, o.data("joint_blocks.0.x_block.attn2.qkv.bias").asSlice(256, 128).mismatch(d.data("transformer_blocks.0.attn2.to_v.bias")), "the last third is v");
            assertEquals(-1, o.data("joint_blocks.1.context_block.adaLN_modulation.1.bias").mismatch(d.data("transformer_blocks.1.norm1_context.linear.bias")), "six parts, not swapped");
            for (String[] pair : new String[][] {{"joint_blocks.2.context_block.adaLN_modulation.1.weight", "transformer_blocks.2.norm1_context.linear.weight"},
                {"final_layer.adaLN_modulation.1.weight", "norm_out.linear.weight"}}) {
                MemorySegment shiftScale = o.data(pair[0]), scaleShift = d.data(pair[1]);
                assertEquals(-1, shiftScale.asSlice(0, block).mismatch(scaleShift.asSlice(block, block)), "shift comes first in " + pair[0]);
                assertEquals(-1, shiftScale.asSlice(block, block).mismatch(scaleShift.asSlice(0, block)), "scale comes second in " + pair[0]);
            }
            assertFalse(o.contains("joint_blocks.2.context_block.attn.proj.weight"), "the text stream ends in the last block");
        }
        Path flux = model("flux_tiny"), fluxOriginal = convert(flux, "flux-original", Layout.ORIGINAL, null, false);
        try (Checkpoint d = Checkpoint.open(flux); Checkpoint o = Checkpoint.open(fluxOriginal)) {
            assertEquals(List.of(224L, 32L), o.info("single_blocks.1.linear1.weight").shape());
            assertEquals(-1, o.data("single_blocks.1.linear1.weight").asSlice(3 * 32 * 32 * 4).mismatch(d.data("single_transformer_blocks.1.proj_mlp.weight")));
            assertEquals(-1, o.data("double_blocks.0.txt_attn.norm.key_norm.scale").mismatch(d.data("transformer_blocks.0.attn.norm_added_k.weight")));
        }
    }

    @Test
    void aWholeCheckpointHoldsTheModelBelowAPrefix() throws Exception {
        Path original = convert(model("sd3_tiny"), "original", Layout.ORIGINAL, null, false), whole = folder.resolve("whole.safetensors");
        var writer = new SafetensorsWriter().tensor("first_stage_model.decoder.conv_in.bias", new float[4], 4).tensor("text_encoders.clip_l.logit_scale", new float[1]);
        try (Checkpoint c = Checkpoint.open(original)) {
            for (String n : c.names()) writer.tensor("model.diffusion_model." + n, c.info(n).type(), c.info(n).shape(), (at, into) -> MemorySegment.copy(c.data(n), at, into, 0, into.byteSize()));
            writer.write(whole);
        }
        try (Checkpoint c = Checkpoint.open(whole)) {
            Recognised r = Recognised.of(c);
            assertEquals("model.diffusion_model.", r.prefix());
            assertEquals(java.util.Set.of("first_stage_model.", "text_encoders."), r.others());
            // seen from the tensors alone: no config.json beside it
            assertEquals(new Sd3Architecture(3, List.of(0), 2, 16, 2, 4, 4, 24, 20, 12, true), r.architecture());
        }
        assertSameTensors(tensors(model("sd3_tiny")), tensors(convert(whole, "back", Layout.DIFFUSERS, null, false)));
    }

    @ParameterizedTest
    @CsvSource({"sd3_tiny, F32", "flux_tiny, F32", "sd3_tiny, BF16", "flux_tiny, F16"})
    void engineFilesAreAlignedSafetensors(String name, TensorType type) throws Exception {
        Path source = model(name), file = convert(source, "engine", Layout.DIFFUSERS, type, true);
        try (EngineFile e = EngineFile.open(file, Progress.NONE); Checkpoint c = Checkpoint.open(source)) {
            assertEquals(Architecture.of("config", c.config()), e.architecture());
            for (String tensor : c.names()) {
                assertEquals(0, e.data(tensor).address() % EngineFile.ALIGNMENT, tensor);
                assertEquals(type, e.info(tensor).type());
            }
        }
        if (type == TensorType.F32) assertSameTensors(tensors(source), tensors(convert(file, "back", Layout.DIFFUSERS, null, false)));
        assertEquals(0, Verification.of(file, Progress.NONE).notFinite().size());
        assertTrue(Verification.of(file, Progress.NONE).engine());
    }

    @Test
    void aDamagedByteIsFoundWhereverItLies() throws Exception {
        Path file = convert(model("sd3_tiny"), "engine", Layout.DIFFUSERS, TensorType.BF16, true);
        byte[] good = Files.readAllBytes(file);
        long seed = 5;
        var random = new Random(seed);
        int data = 8 + (int) java.nio.ByteBuffer.wrap(good).order(java.nio.ByteOrder.LITTLE_ENDIAN).getLong();
        for (int i = 0; i < 50; i++) {
            byte[] bad = good.clone();
            int at = data + random.nextInt(good.length - data);
            bad[at] ^= (byte) (1 << random.nextInt(8));
            Files.write(file, bad);
            String message = assertThrows(WeightsException.class, () -> EngineFile.open(file, Progress.NONE), "seed " + seed + ", byte " + at).getMessage();
            assertTrue(message.contains("checksum"), message);
        }
    }

    @Test
    void checksumIsXxh3() {
        try (var sum = new Checksum()) {
            assertEquals("2d06800538d394c2", sum.digest(), "of nothing, as the reference implementation's tests have it");
        }
    }

    @Test
    void castsRoundToNearestEven() {
        long seed = 17;
        var random = new Random(seed);
        for (int i = 0; i < 200_000; i++) {
            float v = Float.intBitsToFloat(i < 1000 ? i * 4_294_967 : random.nextInt());
            short h = Cast.bf16(v);
            float got = Float.intBitsToFloat(h << 16);
            if (Float.isNaN(v)) {
                assertTrue(Float.isNaN(got));
                continue;
            }
            if (Float.isInfinite(got)) {
                assertTrue(Math.abs((double) v) >= 0x1.FFp127, "half a step beyond the largest bf16");
                continue;
            }
            // no neighbour is nearer, and of two equally near the even one is taken
            for (int step : new int[] {-1, 1}) {
                float other = Float.intBitsToFloat(h + step << 16);
                if (Float.isNaN(other) || Math.signum(other) * Math.signum(got) < 0) continue;
                double mine = Math.abs((double) got - v), theirs = Float.isInfinite(other) ? Double.MAX_VALUE : Math.abs((double) other - v);
                assertTrue(mine < theirs || mine == theirs && (h & 1) == 0, "seed " + seed + ": " + v + " became " + got);
            }
        }
        MemorySegment from = MemorySegment.ofArray(new float[] {65504f, 65520f, 1f, Float.POSITIVE_INFINITY}), to = MemorySegment.ofArray(new byte[8]);
        assertEquals(1, Cast.cast(from, TensorType.F32, to, TensorType.F16, 4), "65520 rounds to infinity, infinity was one before");
    }

    @Test
    void numbersThatTheTypeDoesNotHaveAreRefused() throws Exception {
        Path file = withTensor("sd3_tiny", "proj_out.bias", new float[16], 1e6f);
        String message = assertThrows(WeightsException.class, () -> convert(file, "f16", Layout.DIFFUSERS, TensorType.F16, true)).getMessage();
        assertTrue(message.endsWith("tensor 'proj_out.bias' has 1 numbers beyond F16; keep F32, or take BF16 or F32"), message);
        assertEquals(0, Files.list(folder.resolve("f16")).count(), "nothing half-written stays");
        Path nan = withTensor("sd3_tiny", "proj_out.bias", new float[16], Float.NaN);
        assertEquals(List.of("'proj_out.bias' (1)"), Verification.of(nan, Progress.NONE).notFinite());
    }

    /** The model with one tensor replaced, whose third number is {@code third}. */
    private Path withTensor(String model, String tensor, float[] data, float third) throws Exception {
        Path file = folder.resolve("changed.safetensors");
        data[2] = third;
        try (Checkpoint c = Checkpoint.open(model(model))) {
            var writer = new SafetensorsWriter();
            for (String n : c.names()) if (!n.equals(tensor)) writer.tensor(n, c.info(n).type(), c.data(n), c.info(n).shape().stream().mapToLong(s -> s).toArray());
            writer.tensor(tensor, data, data.length).write(file);
        }
        return file;
    }

    @Test
    void whatIsMissingWrongOrTooManyIsListed() throws Exception {
        Path file = folder.resolve("partial.safetensors");
        try (Checkpoint c = Checkpoint.open(model("sd3_tiny"))) {
            var writer = new SafetensorsWriter().tensor("extra.weight", new float[1]).tensor("proj_out.bias", new float[3], 3);
            for (String n : c.names())
                if (!n.equals("proj_out.bias") && !n.startsWith("transformer_blocks.1.attn.")) writer.tensor(n, c.info(n).type(), c.data(n), c.info(n).shape().stream().mapToLong(s -> s).toArray());
            writer.write(file);
        }
        String message = assertThrows(WeightsException.class, () -> Verification.of(file, Progress.NONE)).getMessage();
        assertTrue(message.startsWith(file + ": is sd3 (diffusers layout), but 20 tensors missing: 'transformer_blocks.1.attn.to_q.weight', "), message);
        assertTrue(message.contains("; 1 tensor of another shape: 'proj_out.bias' is [3], not [16]; 1 tensor too many: 'extra.weight'"), message);
        assertTrue(message.lines().count() == 1 && message.length() < 600, message);
    }

    private final Map<String, String> shards = new HashMap<>();

    @BeforeEach
    void forget() { shards.clear(); }

    /** The tiny SD3 in two shards, with an index that says what {@link #shards} adds or replaces. */
    private Path sharded(String... dropped) throws Exception {
        Path to = Files.createDirectories(folder.resolve("sharded"));
        var map = new HashMap<String, String>();
        try (Checkpoint c = Checkpoint.open(model("sd3_tiny"))) {
            var writers = List.of(new SafetensorsWriter(), new SafetensorsWriter());
            int i = 0;
            for (String n : c.names()) {
                int shard = i++ % 2;
                writers.get(shard).tensor(n, c.info(n).type(), c.data(n), c.info(n).shape().stream().mapToLong(s -> s).toArray());
                map.put(n, "model-0000" + (shard + 1) + "-of-00002.safetensors");
            }
            for (int s = 0; s < 2; s++) writers.get(s).write(to.resolve("model-0000" + (s + 1) + "-of-00002.safetensors"));
        }
        map.putAll(shards);
        for (String d : dropped) map.remove(d);
        Files.writeString(to.resolve("model.safetensors.index.json"), tools.jackson.databind.json.JsonMapper.shared().writeValueAsString(Map.of("metadata", Map.of("total_size", 1), "weight_map", map)));
        return to;
    }

    @Test
    void shardsAreOneCheckpoint() throws Exception {
        Path to = sharded();
        assertSameTensors(tensors(model("sd3_tiny")), tensors(convert(to, "joined", Layout.DIFFUSERS, null, false)));
        Path pipeline = Files.createDirectories(folder.resolve("pipeline"));
        Files.move(to, pipeline.resolve("transformer"));
        assertSameTensors(tensors(model("sd3_tiny")), tensors(convert(pipeline, "piped", Layout.DIFFUSERS, null, false)));
    }

    @Test
    void indexAndShardsMustAgree() throws Exception {
        shards.put("no.such.tensor", "model-00001-of-00002.safetensors");
        refused("tensor 'no.such.tensor' is said to lie in model-00001-of-00002.safetensors, which does not have it", sharded());
        shards.clear();
        refused("shard model-00001-of-00002.safetensors has tensor", sharded(firstName()));
        shards.put("a.weight", "../../etc/passwd");
        refused("a file beside the index may stand there", sharded());
        shards.clear();
        Path to = sharded();
        Files.delete(to.resolve("model-00002-of-00002.safetensors"));
        refused("shard model-00002-of-00002.safetensors is missing: download it too, into the same folder", to);
        Files.writeString(to.resolve("model.safetensors.index.json"), "{\"weight_map\": 3}");
        refused("has no 'weight_map' from tensors to files", to);
        Files.writeString(to.resolve("model.safetensors.index.json"), "{");
        refused("is not valid JSON", to);
        Files.delete(to.resolve("model.safetensors.index.json"));
        Files.copy(to.resolve("model-00001-of-00002.safetensors"), to.resolve("other.safetensors"));
        refused("holds several checkpoints; name one of [model-00001-of-00002.safetensors, other.safetensors]", to);
        refused("holds no safetensors file", Files.createDirectories(folder.resolve("empty")));
    }

    private String firstName() throws Exception {
        try (Checkpoint c = Checkpoint.open(model("sd3_tiny"))) {
            return c.names().iterator().next();
        }
    }

    private void refused(String why, Path path) {
        String message = assertThrows(WeightsException.class, () -> Checkpoint.open(path)).getMessage();
        assertTrue(message.contains(why) && message.lines().count() == 1, message);
    }

    @Test
    void otherFilesAreRefusedByName() throws Exception {
        Path file = folder.resolve("other.safetensors");
        new SafetensorsWriter().tensor("encoder.weight", new float[4], 2, 2).write(file);
        assertEquals(file + ": holds no model we know (SD3, FLUX; diffusers or original layout); its tensors are called 'encoder.weight'",
                assertThrows(WeightsException.class, () -> Verification.of(file, Progress.NONE)).getMessage());
        assertTrue(assertThrows(WeightsException.class, () -> EngineFile.open(file, Progress.NONE)).getMessage().contains("is no engine file; make one: turningpoint convert"));
        Path flux = model("flux_tiny");
        Files.copy(model("sd3_tiny").resolve("config.json"), flux.resolve("config.json"), java.nio.file.StandardCopyOption.REPLACE_EXISTING);
        assertTrue(assertThrows(WeightsException.class, () -> Verification.of(flux, Progress.NONE)).getMessage().contains("its config.json is of sd3, its tensors are of flux"));
    }

    /** Bit flips, truncations, repetitions and hostile lengths: an error of ours or a correct result. */
    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void mutatedFilesAreErrorsOrRight(boolean engine) throws Exception {
        long seed = 20261126;
        var random = new Random(seed);
        Path source = folder.resolve("small.safetensors"), file = folder.resolve("mutated.safetensors");
        var architecture = new Sd3Architecture(1, List.of(0), 1, 8, 1, 1, 1, 8, 8, 2, true);
        var writer = new SafetensorsWriter().metadata(EngineFile.CONFIG, tools.jackson.databind.json.JsonMapper.shared().writeValueAsString(architecture.config()));
        architecture.tensors(Layout.DIFFUSERS).forEach((n, shape) -> {
            var values = new float[(int) (long) shape.stream().reduce(1L, (a, b) -> a * b)];
            for (int i = 0; i < values.length; i++) values[i] = random.nextFloat();
            writer.tensor(n, values, shape.stream().mapToLong(s -> s).toArray());
        });
        writer.write(source);
        Path good = engine ? convert(source, "engine", Layout.DIFFUSERS, null, true) : source;
        byte[] bytes = Files.readAllBytes(good);
        var expected = tensors(good);
        int header = 8 + (int) java.nio.ByteBuffer.wrap(bytes).order(java.nio.ByteOrder.LITTLE_ENDIAN).getLong(), refused = 0, right = 0;
        var unknown = new ArrayList<String>();
        for (int i = 0; i < 5000; i++) {
            byte[] bad = mutate(bytes, header, random);
            Files.write(file, bad);
            try {
                Verification.of(file, Progress.NONE);
                var found = tensors(file);
                if (found.size() != expected.size()) unknown.add("case " + i);
                else if (engine) assertSameTensors(expected, found);   // not a bit of a tensor may differ unnoticed
                right++;
            } catch (WeightsException e) {
                assertTrue(e.getMessage().startsWith(file.toString()) && e.getMessage().lines().count() == 1 && e.getMessage().length() < 4000, "seed " + seed + ", case " + i + ": " + e.getMessage());
                refused++;
            }
        }
        assertEquals(List.of(), unknown, "seed " + seed);
        assertTrue(refused > 2500 && right > 10, "seed " + seed + ": " + refused + " refused, " + right + " right");
    }

    private static byte[] mutate(byte[] good, int header, Random random) {
        byte[] bad = good.clone();
        switch (random.nextInt(6)) {
            case 0 -> bad = java.util.Arrays.copyOf(good, random.nextInt(good.length));
            case 1 -> bad = java.util.Arrays.copyOf(good, good.length + 1 + random.nextInt(64));
            case 2 -> bad[random.nextInt(8)] = (byte) random.nextInt(256);
            case 3 -> {
                for (int n = 1 + random.nextInt(3); n > 0; n--) bad[8 + random.nextInt(header - 8)] ^= (byte) (1 << random.nextInt(8));
            }
            case 4 -> {   // a digit of an offset or size
                for (int tries = 0; tries < 1000; tries++) {
                    int at = 8 + random.nextInt(header - 8);
                    if (bad[at] >= '0' && bad[at] <= '9') {
                        bad[at] = (byte) ('0' + random.nextInt(10));
                        break;
                    }
                }
            }
            default -> bad[random.nextInt(bad.length)] ^= (byte) (1 << random.nextInt(8));
        }
        return bad;
    }
}
