package dev.turningpoint.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Whole runs in processes of their own, ended by signals at random moments: what is resumed ends in the bits of what was left alone. */
class KilledRunTest {
    private static final int ITERATIONS = 4;
    private static final int KILLS = 2;
    private static final int PATIENCE_MINUTES = 4;

    @TempDir static Path folder;
    private static Path whole;
    private static long wholeMillis;

    private static final class Run {
        final Process process;
        final Path log;

        Run(String... args) throws IOException {
            log = Files.createTempFile(folder, "run", ".log");
            var command = new ArrayList<>(List.of(Path.of(System.getProperty("java.home"), "bin", "java").toString(), "-XX:+UseSerialGC",
                    "--enable-native-access=ALL-UNNAMED", "--sun-misc-unsafe-memory-access=allow", "-Dorg.lwjgl.system.memoryBackend=ffm", "-cp",
                    System.getProperty("java.class.path"), TurningPointCommand.class.getName()));
            command.addAll(List.of(args));
            var builder = new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(log.toFile()).directory(folder.toFile());
            builder.environment().putAll(java.util.Map.of("OMP_WAIT_POLICY", "passive", "OMP_NUM_THREADS", "1"));
            process = builder.start();
        }

        int end() throws IOException, InterruptedException {
            if (!process.waitFor(PATIENCE_MINUTES, TimeUnit.MINUTES)) {
                process.destroyForcibly();
                throw new AssertionError("no end after " + PATIENCE_MINUTES + " minutes: " + output());
            }
            return process.exitValue();
        }

        String output() throws IOException { return Files.readString(log); }
    }

    private static Run train(Path out) throws IOException {
        var args = new ArrayList<>(List.of("train", "--preset", "glyph-quick", "--set", "train.iterations=" + ITERATIONS, "--out", out.toString()));
        if (!bundled()) args.addAll(List.of("--set", "model.weights=" + folder.resolve("start/glyph.safetensors")));
        return new Run(args.toArray(String[]::new));
    }

    private static boolean bundled() { return dev.turningpoint.model.GlyphModel.class.getResource("glyph.safetensors") != null; }

    @BeforeAll
    static void trainWithoutInterruption() throws Exception {
        if (!bundled()) {
            var quiet = new PrintWriter(PrintWriter.nullWriter());
            assertEquals(0, TurningPointCommand.run(quiet, quiet, "pretrain", "--preset", "glyph-quick", "--out", folder.resolve("start").toString()));
        }
        whole = folder.resolve("whole");
        long began = System.nanoTime();
        Run run = train(whole);
        assertEquals(0, run.end(), run.output());
        wholeMillis = (System.nanoTime() - began) / 1_000_000;
        assertTrue(run.output().contains("held-out OCR reward"), run.output());
        assertTrue(Files.size(whole.resolve("pictures/before-after.png")) > 0);
    }

    /** Files that must not differ: weights, the last checkpoint with all of its state, every metric of every update and evaluation. */
    private static void sameAsWhole(Path run, String story) throws IOException {
        for (String file : List.of("result/weights.safetensors", "checkpoints/checkpoint-%06d.safetensors".formatted(ITERATIONS), "metrics.jsonl"))
            assertArrayEquals(Files.readAllBytes(whole.resolve(file)), Files.readAllBytes(run.resolve(file)), file + " differs after " + story);
    }

    @Test
    void aRunKilledAtRandomMomentsResumesToTheSameBits() throws Exception {
        long seed = new Random().nextLong();
        var random = new Random(seed);
        Path out = folder.resolve("killed");
        var story = new StringBuilder("seed " + seed);
        for (int kill = 0; kill < KILLS; kill++) {
            Run run = begin(out);
            long delay = random.nextLong(wholeMillis);
            boolean ended = run.process.waitFor(delay, TimeUnit.MILLISECONDS);
            run.process.destroyForcibly().waitFor();                      // SIGKILL
            story.append(ended ? ", ended before " : ", killed after ").append(delay).append(" ms");
        }
        Run last = begin(out);
        assertEquals(0, last.end(), story + "\n" + last.output());
        sameAsWhole(out, story.toString());
    }

    /** Resumes where there is something to resume. */
    private static Run begin(Path out) throws IOException {
        return Files.exists(out.resolve("config.yaml")) ? new Run("train", "--resume", out.toString()) : train(out);
    }

    @Test
    void sigtermEndsCleanlyAndTheRunGoesOn() throws Exception {
        Path out = folder.resolve("terminated"), metrics = out.resolve("metrics.jsonl");
        Run run = train(out);
        while (run.process.isAlive() && (!Files.exists(metrics) || Files.size(metrics) == 0)) Thread.sleep(20);
        run.process.destroy();                                            // SIGTERM
        assertEquals(128 + 15, run.end(), run.output());
        assertFalse(run.output().contains("Exception") || run.output().contains("SIGSEGV") || run.output().contains("hs_err"), run.output());
        Run resumed = new Run("train", "--resume", out.toString());
        assertEquals(0, resumed.end(), resumed.output());
        for (String file : List.of("result/weights.safetensors", "checkpoints/checkpoint-%06d.safetensors".formatted(ITERATIONS)))
            assertArrayEquals(Files.readAllBytes(whole.resolve(file)), Files.readAllBytes(out.resolve(file)), file + " differs");
    }
}
