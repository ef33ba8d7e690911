package dev.turningpoint.weights;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.params.provider.Arguments.arguments;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

class SafetensorsTest {
    @TempDir Path folder;

    private static byte[] file(long length, String header, int dataBytes) {
        byte[] json = header.getBytes(StandardCharsets.UTF_8);
        return ByteBuffer.allocate(8 + json.length + dataBytes).order(ByteOrder.LITTLE_ENDIAN).putLong(length).put(json).array();
    }

    private static byte[] file(String header, int dataBytes) {
        return file(header.getBytes(StandardCharsets.UTF_8).length, header, dataBytes);
    }

    private Path write(byte[] bytes) throws IOException {
        return Files.write(folder.resolve("x.safetensors"), bytes);
    }

    private String refusal(byte[] bytes) throws IOException {
        Path path = write(bytes);
        String message = assertThrows(WeightsException.class, () -> SafetensorsFile.open(path).close()).getMessage();
        assertTrue(message.startsWith(path + ": "), message);
        assertFalse(message.contains("\n"), message);
        return message.substring(path.toString().length() + 2);
    }

    private static String one(String fields) {
        return "{\"w\":{" + fields + "}}";
    }

    static Stream<Arguments> malformed() {
        String good = "\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]";
        return Stream.of(
                arguments(new byte[5], "has 5 bytes, a safetensors file begins with 8 of header length: the file is truncated; download it again"),
                arguments(file(100_000_001, "{}", 0), "claims a header of 100,000,001 bytes, the format allows 100,000,000: this is no safetensors file"),
                arguments(file(-1, "{}", 0), "claims a header of 18446744073709551615 bytes, the format allows 100,000,000: this is no safetensors file"),
                arguments(file(90, one(good), 8), "the header ends at byte 98, the file at 70: the file is truncated; download it again"),
                arguments(file("", 0), "the header does not begin with '{': this is no safetensors file"),
                arguments(file("[]", 0), "the header does not begin with '{': this is no safetensors file"),
                arguments(file(" {}", 0), "the header does not begin with '{': this is no safetensors file"),
                arguments(file("{\"w\":{", 0), "the header is not valid JSON at byte *"),
                arguments(file("{\"w\" 1}", 0), "the header is not valid JSON at byte *"),
                arguments(file("{'w':1}", 0), "the header is not valid JSON at byte *"),
                arguments(file("{\"a\\u0000\":1}", 0), "tensor 'a' is not described by an object"),
                arguments(file("{}{}", 0), "the header goes on after its closing brace"),
                arguments(file("{} x", 0), "the header is not valid JSON at byte *"),
                arguments(file("{\"w\":7}", 0), "tensor 'w' is not described by an object"),
                arguments(file("{\"w\":{" + good + "},\"w\":{" + good + "}}", 8), "tensor 'w' stands twice in the header"),
                arguments(file(one(good + ",\"shape\":[2]"), 8), "tensor 'w' has two fields 'shape'"),
                arguments(file(one("\"dtype\":\"F32\",\"shape\":[2]"), 8), "tensor 'w' has no 'data_offsets'"),
                arguments(file(one("\"dtype\":\"F32\",\"data_offsets\":[0,8]"), 8), "tensor 'w' has no 'shape'"),
                arguments(file(one("\"shape\":[2],\"data_offsets\":[0,8]"), 8), "tensor 'w' has no 'dtype'"),
                arguments(file(one(good + ",\"strides\":[1]"), 8), "tensor 'w' has the field 'strides', which the format does not know"),
                arguments(file(one("\"dtype\":\"F33\",\"shape\":[2],\"data_offsets\":[0,8]"), 8),
                        "tensor 'w' has dtype 'F33'; known are [F64, F32, F16, BF16, I64, I32, I16, I8, U8, BOOL]"),
                arguments(file(one("\"dtype\":32,\"shape\":[2],\"data_offsets\":[0,8]"), 8), "tensor 'w' has a dtype that is not a string"),
                arguments(file(one("\"dtype\":\"F32\",\"shape\":2,\"data_offsets\":[0,8]"), 8), "tensor 'w' has a 'shape' that is not a list"),
                arguments(file(one("\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]"), 8),
                        "tensor 'w' has '-2' in its 'shape'; whole numbers from 0 to 2^63 - 1 may stand there"),
                arguments(file(one("\"dtype\":\"F32\",\"shape\":[2.0],\"data_offsets\":[0,8]"), 8),
                        "tensor 'w' has '2.0' in its 'shape'; whole numbers from 0 to 2^63 - 1 may stand there"),
                arguments(file(one("\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,9223372036854775808]"), 8),
                        "tensor 'w' has '9223372036854775808' in its 'data_offsets'; whole numbers from 0 to 2^63 - 1 may stand there"),
                arguments(file(one("\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,8]"), 8),
                        "tensor 'w' of shape [4294967296, 4294967296] has more than 2^63 bytes"),
                arguments(file(one("\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8,8]"), 8), "tensor 'w' has 3 data_offsets, not 2"),
                arguments(file(one("\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]"), 8), "tensor 'w' ends at offset 0, before it begins at 8"),
                arguments(file(one("\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]"), 8), "tensor 'w' has 8 bytes of data, F32 [3] takes 12"),
                arguments(file(one("\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,8]"), 8), "tensor 'w' has 8 bytes of data, F32 [] takes 4"),
                arguments(file(one(good), 4), "tensor 'w' ends at byte 70, the file at 66: the file is truncated; download it again"),
                arguments(file(one(good), 9), "the last tensor ends at byte 70, the file at 71: 1 bytes belong to no tensor"),
                arguments(file("{}", 3), "the last tensor ends at byte 10, the file at 13: 3 bytes belong to no tensor"),
                arguments(file("{\"a\":{" + good + "},\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[6,10]}}", 10), "tensors 'a' and 'b' overlap at byte 121"),
                arguments(file("{\"a\":{" + good + "},\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[10,14]}}", 14),
                        "no tensor owns the bytes 124 to 126 before 'b'; the format allows no holes"),
                arguments(file(one("\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,16]"), 16), "no tensor owns the bytes 63 to 71 before 'w'; the format allows no holes"),
                arguments(file("{\"__metadata__\":{\"format\":1}}", 0), "__metadata__ 'format' is not a string"),
                arguments(file("{\"__metadata__\":{\"a\":\"x\",\"a\":\"y\"}}", 0), "__metadata__ 'a' stands twice in the header"),
                arguments(file("{\"__metadata__\":{},\"__metadata__\":{}}", 0), "__metadata__ stands twice in the header"),
                arguments(file("{\"__metadata__\":[]}", 0), "__metadata__ is not an object"));
    }

    @ParameterizedTest @MethodSource("malformed")
    void eachMalformationHasItsMessage(byte[] bytes, String expected) throws IOException {
        String message = refusal(bytes);
        if (expected.endsWith("*")) assertTrue(message.startsWith(expected.substring(0, expected.length() - 1)), message);
        else assertEquals(expected, message);
    }

    @Test
    void invalidUtf8IsRefused() throws IOException {
        byte[] bytes = file("{\"ww\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1);
        bytes[10] = (byte) 0xc3;
        bytes[11] = (byte) 0x28;
        assertTrue(refusal(bytes).startsWith("the header is not valid JSON"));
    }

    @Test
    void missingFileAndFolderAreNamed() {
        Path none = folder.resolve("none.safetensors");
        assertEquals(none + ": there is no such file", assertThrows(WeightsException.class, () -> SafetensorsFile.open(none)).getMessage());
        assertEquals(folder + ": is a folder, not a safetensors file", assertThrows(WeightsException.class, () -> SafetensorsFile.open(folder)).getMessage());
    }

    /** Whatever bytes change, the file opens and every tensor is readable, or a one-line refusal comes: 3 files x 500 mutations. */
    @ParameterizedTest @ValueSource(strings = {"schedules", "ema", "pytorch_lora_weights"})
    void mutatedFilesNeverCrash(String name) throws IOException {
        byte[] original;
        try (var in = getClass().getResourceAsStream(name + ".safetensors")) {
            original = in.readAllBytes();
        }
        int header = 8 + (int) ByteBuffer.wrap(original).order(ByteOrder.LITTLE_ENDIAN).getLong();
        var random = new Random(20260207);
        String interesting = "{}[]\",:0123456789-.eE \\utrue\u0000\n";
        int refused = 0;
        for (int i = 0; i < 500; i++) {
            byte[] bytes = original.clone();
            int changes = 1 + random.nextInt(3);
            for (int c = 0; c < changes; c++) {
                int at = random.nextInt(10) == 0 ? random.nextInt(8) : random.nextInt(header);
                switch (random.nextInt(4)) {
                    case 0 -> bytes[at] = (byte) random.nextInt(256);
                    case 1 -> bytes[at] = (byte) interesting.charAt(random.nextInt(interesting.length()));
                    case 2 -> bytes[at] ^= (byte) (1 << random.nextInt(8));
                    default -> {
                        int length = Math.min(1 + random.nextInt(20), bytes.length - at), from = random.nextInt(header - length);
                        if (at + length <= header) System.arraycopy(original, from, bytes, at, length);
                    }
                }
            }
            if (random.nextInt(20) == 0) bytes = java.util.Arrays.copyOf(bytes, random.nextInt(bytes.length));
            Path path = write(bytes);
            try (var f = SafetensorsFile.open(path)) {
                long sum = 0;
                for (String tensor : f.names()) sum += f.data(tensor).toArray(ValueLayout.JAVA_BYTE).length;
                assertTrue(sum <= bytes.length);
            } catch (WeightsException e) {
                assertFalse(e.getMessage().contains("\n"), e.getMessage());
                refused++;
            }
        }
        assertTrue(refused > 170, "only " + refused + " mutations were refused");
    }

    @Test
    void roundTripKeepsEveryBit() throws IOException {
        var random = new Random(7);
        Path path = folder.resolve("out.safetensors");
        var writer = new SafetensorsWriter().metadata("format", "pt").metadata("quote\"d", "two\nlines, ünïcode");
        var expected = new java.util.HashMap<String, byte[]>();
        for (TensorType type : TensorType.values()) {
            for (long[] shape : new long[][] {{}, {0, 3}, {5}, {3, 7}, {2, 1, 5}}) {
                long n = type.bytes();
                for (long s : shape) n *= s;
                byte[] data = new byte[(int) n];
                random.nextBytes(data);
                String name = "t." + type + "." + java.util.Arrays.toString(shape);
                expected.put(name, data);
                writer.tensor(name, type, MemorySegment.ofArray(data), shape);
            }
        }
        writer.write(path);
        byte[] first = Files.readAllBytes(path);
        writer.write(path);
        assertArrayEquals(first, Files.readAllBytes(path));
        assertEquals(List.of("out.safetensors"), List.of(folder.toFile().list()));   // nothing beside it
        try (var f = SafetensorsFile.open(path)) {
            assertEquals(expected.keySet(), f.names());
            assertEquals(java.util.Map.of("format", "pt", "quote\"d", "two\nlines, ünïcode"), f.metadata());
            for (String name : f.names()) {
                assertArrayEquals(expected.get(name), f.data(name).toArray(ValueLayout.JAVA_BYTE), name);
                assertEquals(0, f.data(name).address() % f.info(name).type().bytes(), "aligned: " + name);
            }
            var order = new ArrayList<>(f.names());
            for (int i = 1; i < order.size(); i++) {
                TensorInfo a = f.info(order.get(i - 1)), b = f.info(order.get(i));
                assertTrue(a.type().bytes() > b.type().bytes() || a.type().bytes() == b.type().bytes() && a.name().compareTo(b.name()) < 0);
            }
        }
    }

    /** More than one 4 MiB piece, from a source that makes its bytes up. */
    @Test
    void largeTensorsStream() {
        Path path = folder.resolve("big.safetensors");
        new SafetensorsWriter().tensor("big", TensorType.I64, List.of(1_300_001L), (offset, into) -> {
            for (long i = 0; i < into.byteSize(); i += 8) into.set(TensorType.LONG, i, (offset + i) / 8 * 31);
        }).write(path);
        try (var f = SafetensorsFile.open(path)) {
            long[] values = f.longs("big");
            for (int i = 0; i < values.length; i++) if (values[i] != i * 31L) assertEquals(i * 31L, values[i], "element " + i);
        }
    }

    @Test
    void readsFilesOfTheReference() throws Exception {
        try (var f = open("schedules")) {
            assertArrayEquals(new double[] {0.63}, f.doubles("flux.T6.seq1024.mu"), 1e-12);
            assertArrayEquals(new float[] {1f, 0.9233425259590149f, 0.8189233541488647f, 0.6683266758918762f}, java.util.Arrays.copyOf(f.floats("sd3.T6.sigmas"), 4));
            assertEquals("Sampling schedules: sigmas and timesteps.", f.metadata().get("about"));
            assertEquals(List.of(11L), f.info("sd3.T10.sigmas").shape());
        }
        try (var f = open("ema")) {
            assertEquals(TensorType.I64, f.info("optimization_step").type());
            assertEquals(20, f.longs("optimization_step").length);
            assertEquals(700, f.info("p0.ema").elements());
        }
        try (var f = open("pytorch_lora_weights")) {
            assertTrue(f.metadata().get("lora_adapter_metadata").contains("transformer.alpha_pattern"));
            f.data("transformer.transformer_blocks.0.attn.add_k_proj.lora_A.weight", TensorType.F32, 4, 32);
            String message = assertThrows(WeightsException.class, () -> f.data("transformer.transformer_blocks.0.attn.add_k_proj.lora_A.weight", TensorType.F32, 32, 4)).getMessage();
            assertTrue(message.endsWith("is F32 [4, 32], expected F32 [32, 4]"), message);
            assertTrue(assertThrows(WeightsException.class, () -> f.info("nothing")).getMessage().endsWith("has no tensor 'nothing'"));
        }
    }

    /** A copy of a file of the reference, on disk, where a map can reach it. */
    private SafetensorsFile open(String name) throws IOException {
        Path copy = folder.resolve(name + ".safetensors");
        try (var in = getClass().getResourceAsStream(name + ".safetensors")) {
            Files.copy(in, copy);
        }
        return SafetensorsFile.open(copy);
    }

    @Test
    void dataMayBeUnaligned() throws IOException {
        String header = one("\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]");
        header += " ".repeat((8 - header.length() % 8 + 3) % 8);   // data begins at an odd multiple
        byte[] bytes = file(header, 8);
        ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).putFloat(bytes.length - 8, 1.5f).putFloat(bytes.length - 4, -2f);
        try (var f = SafetensorsFile.open(write(bytes))) {
            assertTrue(f.data("w").address() % 4 != 0);
            assertArrayEquals(new float[] {1.5f, -2f}, f.floats("w"));
        }
    }

    @Test
    void halfTypesConvertExactly() {
        Path path = folder.resolve("half.safetensors");
        short[] half = {0x3c00, (short) 0xc000, 0x7bff, 0x0001}, brain = {0x3f80, (short) 0xc000, 0x7f7f, 0x0001};
        new SafetensorsWriter().tensor("f16", TensorType.F16, MemorySegment.ofArray(half), 4).tensor("bf16", TensorType.BF16, MemorySegment.ofArray(brain), 4).write(path);
        try (var f = SafetensorsFile.open(path)) {
            assertArrayEquals(new float[] {1, -2, 65504, 0x1p-24f}, f.floats("f16"));
            assertArrayEquals(new float[] {1, -2, 0x1.fep127f, 0x1p-133f}, f.floats("bf16"));
        }
    }

    @Test
    void aFullDiskIsOneLineAndLeavesTheOldFile() throws IOException {
        Path path = folder.resolve("keep.safetensors");
        Files.writeString(path, "old");
        var broken = new SafetensorsWriter().tensor("w", TensorType.U8, List.of(10L), (offset, into) -> {
            throw new IllegalStateException("the device is gone");
        });
        assertEquals("the device is gone", assertThrows(IllegalStateException.class, () -> broken.write(path)).getMessage());
        assertEquals("old", Files.readString(path));
        assertEquals(1, folder.toFile().list().length);
        Path nowhere = folder.resolve("no/such/folder/w.safetensors");
        String message = assertThrows(UncheckedIOException.class, () -> new SafetensorsWriter().write(nowhere)).getMessage();
        assertEquals(nowhere + ": cannot be written: there is no folder for it", message);
        var full = AtomicFile.failure(path, new java.nio.file.FileSystemException("x", null, "No space left on device"));
        assertTrue(full.getMessage().matches(".*keep\\.safetensors: cannot be written: No space left on device; \\d+ MB free"), full.getMessage());
    }

    @Test
    void writerRefusesWhatItCouldNotReadBack() {
        var writer = new SafetensorsWriter().tensor("w", new float[] {1}, 1);
        assertThrows(IllegalArgumentException.class, () -> writer.tensor("w", new float[] {1}, 1));
        assertThrows(IllegalArgumentException.class, () -> writer.tensor("v", new float[] {1}, 2));
        assertThrows(IllegalArgumentException.class, () -> writer.tensor("v", TensorType.F32, List.of(-1L), (o, s) -> {}));
        assertThrows(IllegalArgumentException.class, () -> writer.tensor("__metadata__", new float[] {1}, 1));
    }
}
