package dev.turningpoint.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** {@code profile}, in processes of its own: a device counts from its first use on or never. */
class ProfileTest {
    @TempDir Path folder;

    private record Outcome(int status, String output) {}

    private Outcome run(String... args) throws Exception {
        Path log = folder.resolve("log");
        var command = new ArrayList<>(List.of(Path.of(System.getProperty("java.home"), "bin", "java").toString(), "-XX:+UseSerialGC", "--enable-native-access=ALL-UNNAMED",
                "--sun-misc-unsafe-memory-access=allow", "-Dorg.lwjgl.system.memoryBackend=ffm", "-cp", System.getProperty("java.class.path"), TurningPointCommand.class.getName()));
        command.addAll(List.of(args));
        Process process = new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(log.toFile()).directory(folder.toFile()).start();
        if (!process.waitFor(4, TimeUnit.MINUTES)) {
            process.destroyForcibly();
            throw new AssertionError("no end: " + Files.readString(log));
        }
        return new Outcome(process.exitValue(), Files.readString(log));
    }

    /** gather_rows of the small case: as many bytes written as read, each once. */
    @Test
    void aCaseIsCountedAndWritten() throws Exception {
        Outcome outcome = run("profile", "gather_rows", "--details", "--json", "counts.json");
        assertEquals(0, outcome.status(), outcome.output());
        assertTrue(outcome.output().contains("sampler.gather_rows_f32.small") && outcome.output().contains("estimate"), outcome.output());
        JsonNode rows = JsonMapper.shared().readTree(Files.readString(folder.resolve("counts.json")));
        assertEquals(1, rows.size());
        JsonNode row = rows.get(0);
        assertEquals("gather_rows_f32", row.get("kernel").asString());
        assertEquals(row.get("compulsoryBytes").asLong(), row.get("dramReadBytes").asLong() + row.get("dramWrittenBytes").asLong(), 3 * 32);
        assertTrue(row.get("H100").get("registers").asInt() > 0);
        assertTrue(row.get("B200").get("estimatedSeconds").asDouble() > 0);
    }

    @Test
    void checkingAndCountingExclude() throws Exception {
        assertEquals(new Outcome(1, "turningpoint: a launch is either checked or counted: leave out --check\n"), run("--check", "profile", "gather_rows"));
    }

    @Test
    void aCommandWithoutLaunchesHasNothingToCount() throws Exception {
        Outcome outcome = run("profile", "--", "devices");
        assertEquals(1, outcome.status());
        assertTrue(outcome.output().contains("the software GPU: ") && outcome.output().endsWith("turningpoint: the command launched no kernel on the software GPU\n"), outcome.output());
    }
}
