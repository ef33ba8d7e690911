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
    private static final int PATIENCE_MINUTES = 4;

    @TempDir static Path folder;
    private static Path whole;

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
        Run run = train(whole);
        assertEquals(0, run.end(), run.output());
        assertTrue(run.output().contains("held-out reward"), run.output());
        assertTrue(Files.size(whole.resolve("pictures/before-after.png")) > 0);
    }

    /** Resumes where there is something to resume. */
    private static Run begin(Path out) throws IOException {
        return Files.exists(out.resolve("config.yaml")) ? new Run("train", "--resume", out.toString()) : train(out);
    }

    /** Waits until the run has told of so many updates and evaluations in all. */
    private static void await(Run run, Path out, int lines) throws IOException, InterruptedException {
        Path metrics = out.resolve("metrics.jsonl");
        while (run.process.isAlive() && (!Files.exists(metrics) || Files.readString(metrics).lines().count() < lines)) Thread.sleep(10);
    }

    /** What must not differ: weights, the last checkpoint with all of its state, every metric of every update and evaluation. */
    @Test
    void aRunEndedBySignalsAtRandomMomentsGoesOnToTheSameBits() throws Exception {
        long seed = new Random().nextLong();
        var random = new Random(seed);
        Path out = folder.resolve("killed");
        int lines = (int) Files.readString(whole.resolve("metrics.jsonl")).lines().count(), first = random.nextInt(lines - 1), second = first + random.nextInt(lines - first);
        String story = "SIGKILL after " + first + " of " + lines + " lines, SIGTERM after " + second + ", seed " + seed;

        Run killed = begin(out);
        await(killed, out, first);
        Thread.sleep(random.nextInt(300));
        killed.process.destroyForcibly().waitFor();

        Run terminated = begin(out);
        await(terminated, out, second);
        terminated.process.destroy();
        int status = terminated.end();
        String said = terminated.output();
        assertTrue(status == 128 + 15 || status == 0 && said.contains("held-out reward"), story + ": status " + status + "\n" + said);
        assertFalse(said.contains("Exception") || said.contains("SIGSEGV") || said.contains("hs_err"), story + "\n" + said);

        Run last = begin(out);
        assertEquals(0, last.end(), story + "\n" + last.output());
        for (String file : List.of("result/weights.safetensors", "checkpoints/checkpoint-%06d.safetensors".formatted(ITERATIONS), "metrics.jsonl"))
            assertArrayEquals(Files.readAllBytes(whole.resolve(file)), Files.readAllBytes(out.resolve(file)), file + " differs after " + story);
    }
}
