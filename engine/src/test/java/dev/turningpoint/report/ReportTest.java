package dev.turningpoint.report;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.turningpoint.image.ImageBatch;
import dev.turningpoint.image.Picture;
import dev.turningpoint.train.TrainingObserver;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ReportTest {
    @TempDir Path folder;

    private static Map<String, Double> values(Object... pairs) {
        var map = new LinkedHashMap<String, Double>();
        for (int i = 0; i < pairs.length; i += 2) map.put((String) pairs[i], (Double) pairs[i + 1]);
        return map;
    }

    @Test
    void metricsAreOneObjectALine() throws IOException {
        Path path = folder.resolve("metrics.jsonl");
        try (var w = new MetricsWriter(path)) {
            w.write(1, values("loss", -1.25e-7, "epoch", 3.0, "a \"b\"", Double.NaN));
            assertEquals("{\"step\":1,\"loss\":-1.25E-7,\"epoch\":3,\"a \\\"b\\\"\":null}\n", Files.readString(path));   // there at once
            w.write(2, values());
        }
        assertEquals(2, Files.readAllLines(path).size());
    }

    @Test
    void resumeCutsTornAndLaterLines() throws IOException {
        Path path = folder.resolve("metrics.jsonl");
        String one = "{\"step\":1,\"x\":0.5}\n", two = "{\"step\":2,\"x\":null}\n", three = "{\"step\":3,\"x\":1}\n";
        String all = one + two + two + three;
        for (int cut = 0; cut <= all.length(); cut++) {   // torn at every byte
            Files.writeString(path, all.substring(0, cut));
            new MetricsWriter(path).close();
            String expected = all.substring(0, all.substring(0, cut).lastIndexOf('\n') + 1);
            assertEquals(expected, Files.readString(path));
        }
        try (var w = new MetricsWriter(path)) {
            w.keepUpTo(2);
            assertEquals(one + two + two, Files.readString(path));
            w.write(3, values("x", 7.0));
        }
        assertEquals(one + two + two + "{\"step\":3,\"x\":7}\n", Files.readString(path));
        for (String damage : List.of("garbage\n", "{\"step\":1\n", "{}\n", "[]\n", "\n", "{\"step\":1}{}\n", "\0\0\0\n", "{\"x\":1,\"step\":1}\n")) {
            Files.writeString(path, one + damage + three);
            new MetricsWriter(path).close();
            assertEquals(one, Files.readString(path), damage);
        }
    }

    @Test
    void aFullDiskIsOneLine() {
        Path full = Path.of("/dev/full");
        Assumptions.assumeTrue(Files.isWritable(full));
        String message = assertThrows(UncheckedIOException.class, () -> {
            try (var w = new FullDisk(full)) {
                w.write();
            }
        }).getMessage();
        assertTrue(message.matches("/dev/full: cannot be written: No space left on device; \\d+ MB free"), message);
    }

    /** A device that is always full, written the way our files are. */
    private record FullDisk(Path path) implements AutoCloseable {
        void write() {
            try (var channel = java.nio.channels.FileChannel.open(path, java.nio.file.StandardOpenOption.WRITE)) {
                dev.turningpoint.weights.AtomicFile.writeFully(channel, ByteBuffer.wrap(new byte[100]));
            } catch (IOException e) {
                throw dev.turningpoint.weights.AtomicFile.failure(path, e);
            }
        }

        @Override
        public void close() {}
    }

    /** CRC-32C bit by bit, from the polynomial; nothing of the code under test. */
    private static int crc32c(byte[] bytes) {
        int crc = -1;
        for (byte b : bytes) {
            crc ^= b & 0xff;
            for (int i = 0; i < 8; i++) crc = crc >>> 1 ^ ((crc & 1) != 0 ? 0x82f63b78 : 0);
        }
        return ~crc;
    }

    @Test
    void checksumsMatchTheirPublishedVectors() {
        assertEquals(0xe3069283, crc32c("123456789".getBytes(StandardCharsets.US_ASCII)));
        assertEquals(0x8a9136aa, crc32c(new byte[32]));   // RFC 3720, appendix B.4
        byte[] digits = "123456789".getBytes(StandardCharsets.US_ASCII);
        int crc = 0xe3069283;
        assertEquals((crc >>> 15 | crc << 17) + 0xa282ead8, EventWriter.maskedCrc(digits, 0, 9));
    }

    private record Field(int number, Object value) {}

    /** Any protocol buffer message, by the wire format alone. */
    private static List<Field> parse(byte[] message) {
        var in = ByteBuffer.wrap(message).order(ByteOrder.LITTLE_ENDIAN);
        var fields = new ArrayList<Field>();
        while (in.hasRemaining()) {
            long key = varint(in);
            Object value = switch ((int) key & 7) {
                case 0 -> varint(in);
                case 1 -> in.getDouble();
                case 5 -> in.getFloat();
                case 2 -> {
                    byte[] bytes = new byte[(int) varint(in)];
                    in.get(bytes);
                    yield bytes;
                }
                default -> throw new AssertionError("wire type " + (key & 7));
            };
            fields.add(new Field((int) (key >>> 3), value));
        }
        return fields;
    }

    private static long varint(ByteBuffer in) {
        long value = 0;
        for (int shift = 0; ; shift += 7) {
            byte b = in.get();
            value |= (long) (b & 0x7f) << shift;
            if (b >= 0) return value;
        }
    }

    private static Object get(List<Field> fields, int number) {
        return fields.stream().filter(f -> f.number() == number).findFirst().orElseThrow().value();
    }

    private static byte[] message(List<Field> fields, int number) {
        return (byte[]) get(fields, number);
    }

    private static List<List<Field>> events(Path file) throws IOException {
        var in = ByteBuffer.wrap(Files.readAllBytes(file)).order(ByteOrder.LITTLE_ENDIAN);
        var events = new ArrayList<List<Field>>();
        while (in.hasRemaining()) {
            byte[] length = new byte[8];
            in.get(length);
            int lengthCrc = in.getInt();
            byte[] payload = new byte[(int) ByteBuffer.wrap(length).order(ByteOrder.LITTLE_ENDIAN).getLong()];
            in.get(payload);
            int payloadCrc = in.getInt();
            assertEquals(Integer.rotateRight(crc32c(length), 15) + 0xa282ead8, lengthCrc);
            assertEquals(Integer.rotateRight(crc32c(payload), 15) + 0xa282ead8, payloadCrc);
            events.add(parse(payload));
        }
        return events;
    }

    @Test
    void eventFilesParseBack() throws IOException {
        byte[] png = new Picture(7, 5).png();
        Path path;
        try (var w = new EventWriter(folder, 12)) {
            w.scalars(300, values("loss", -0.125, "eval/reward_ocr", 0.75, "kl", Double.NaN));
            w.image(1L << 40, "eval/images", png, 7, 5, 1);
            path = w.path();
        }
        assertTrue(path.getFileName().toString().contains("tfevents"));
        var events = events(path);
        assertEquals(4, events.size());
        assertEquals("brain.Event:2", new String(message(events.get(0), 3), StandardCharsets.UTF_8));
        assertEquals(12L, get(events.get(1), 2));
        assertEquals(1L, get(parse(message(events.get(1), 7)), 1));   // a session starts: later steps of earlier files are forgotten
        double now = System.currentTimeMillis() / 1e3;
        for (var e : events) assertEquals(now, (double) get(e, 1), 60);
        assertEquals(300L, get(events.get(2), 2));
        var values = parse(message(events.get(2), 5));
        assertEquals(3, values.size());
        assertEquals("loss", new String(message(parse((byte[]) values.get(0).value()), 1), StandardCharsets.UTF_8));
        assertEquals(-0.125f, get(parse((byte[]) values.get(0).value()), 2));
        assertEquals("eval/reward_ocr", new String(message(parse((byte[]) values.get(1).value()), 1), StandardCharsets.UTF_8));
        assertEquals(0.75f, get(parse((byte[]) values.get(1).value()), 2));
        assertEquals(Float.NaN, get(parse((byte[]) values.get(2).value()), 2));
        assertEquals(1L << 40, get(events.get(3), 2));
        var image = parse(message(parse(message(parse(message(events.get(3), 5)), 1)), 4));
        assertEquals(5L, get(image, 1));
        assertEquals(7L, get(image, 2));
        assertEquals(1L, get(image, 3));
        assertArrayEquals(png, message(image, 4));
    }

    @Test
    void aRunFolderHoldsOneRun() throws IOException {
        var run = RunFolder.of(folder.resolve("a/b"));
        assertThrows(RunFolderException.class, () -> RunFolder.open(run.path()));
        assertFalse(Files.exists(run.path()));   // what can be refused is refused first
        run.create();
        Path torn = Files.writeString(run.checkpoints().resolve(".checkpoint-000004.safetensors.77.tmp"), "half");
        run.create().writeConfig("seed: 1\n");
        assertFalse(Files.exists(torn));
        assertEquals(run, RunFolder.open(run.path()));
        assertEquals("seed: 1\n", Files.readString(run.config()));
        String message = assertThrows(RunFolderException.class, () -> RunFolder.of(run.path())).getMessage();
        assertTrue(message.contains("--resume " + run.path()), message);
        Path file = Files.writeString(folder.resolve("file"), "");
        assertEquals(file + ": is a file, and a folder is needed there", assertThrows(RunFolderException.class, () -> RunFolder.of(file)).getMessage());
    }

    @Test
    void progressRewritesATerminalAndSparesALog() {
        var bytes = new ByteArrayOutputStream();
        try (var line = new ProgressLine(new PrintWriter(bytes, false, StandardCharsets.UTF_8), true, "train")) {
            line.update(1, 4, "reward 0.500", 75);
            line.say("held-out reward 0.5");
            line.update(4, 4, "reward 0.600", 0);
        }
        String shown = bytes.toString(StandardCharsets.UTF_8);
        assertTrue(shown.startsWith("\rtrain ██████░░░░░░░░░░░░░░░░░░ 1/4 reward 0.500, 1m15s left"), shown);
        assertTrue(shown.contains("\rheld-out reward 0.5\n\rtrain ████████████████████████ 4/4 reward 0.600"), shown);
        assertTrue(shown.endsWith("\n"));
        bytes.reset();
        try (var line = new ProgressLine(new PrintWriter(bytes, false, StandardCharsets.UTF_8), false, "train")) {
            for (int i = 1; i <= 100; i++) line.update(i, 100, "x", -1);
            line.update(100, 100, "x", -1);
        }
        assertEquals("train 1/100 x\ntrain 100/100 x\n", bytes.toString(StandardCharsets.UTF_8));
        assertEquals("1h05m", ProgressLine.duration(3900));
        assertEquals("12m30s", ProgressLine.duration(750));
        assertEquals("8s", ProgressLine.duration(7.6));
    }

    /** A run, its crash after four updates with a checkpoint at two, and its resumption leave what one run leaves. */
    @Test
    void aResumedReportEqualsAnUninterruptedOne() throws IOException {
        String whole = run(RunFolder.of(folder.resolve("whole")).create(), 0, 6), parts;
        var broken = RunFolder.of(folder.resolve("broken")).create();
        run(broken, 0, 4);
        Files.writeString(broken.metrics(), Files.readString(broken.metrics()) + "{\"step\":5,\"los");
        parts = run(broken, 2, 6);
        assertEquals(whole, parts);
        assertTrue(Files.size(broken.pictures().resolve("before-after.png")) > 1000);
        assertEquals(-1, Files.mismatch(folder.resolve("whole/pictures/before-after.png"), broken.pictures().resolve("before-after.png")));
        try (var files = Files.list(broken.tensorboard())) {
            assertFalse(files.toList().isEmpty());
        }
    }

    private static String run(RunFolder run, int from, int to) throws IOException {
        List<String> prompts = List.of("CAT", "DOG", "ZEBRA");
        try (Arena arena = Arena.ofConfined(); var report = new RunReport(run, new ProgressLine(new PrintWriter(new ByteArrayOutputStream()), false, "train"))) {
            var images = ImageBatch.allocate(arena, 3, 24, 64);
            if (from == 0) report.evaluated(0, values("eval/reward_avg", 0.5), images, prompts);
            else report.resumed(from);
            for (int step = from + 1; step <= to; step++) {
                report.update(step, values("loss", step / 8.0));
                report.iteration(new TrainingObserver.Progress(step, 6, 0.5, 32, 2.0, 10));
                images.set(0, 1, step, -1);
                if (step % 2 == 0) {
                    for (int i = 1; i <= step; i++) images.set(0, 1, i, -1);
                    report.evaluated(step, values("eval/reward_avg", 0.5 + step / 16.0), images, prompts);
                }
            }
        }
        return Files.readString(run.metrics());
    }
}
