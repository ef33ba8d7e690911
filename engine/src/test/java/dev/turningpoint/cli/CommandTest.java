package dev.turningpoint.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
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
        assertTrue(run("--version").out().startsWith("turningpoint "));
        assertEquals(2, run().status());
    }

    @Test
    void unknownCommandsAndOptionsAreUsageErrors() {
        Outcome typo = run("trian");
        assertEquals(2, typo.status());
        assertTrue(typo.err().contains("Did you mean: turningpoint train"), typo.err());
        Outcome option = run("train", "--sed", "1");
        assertEquals(2, option.status());
        assertTrue(option.err().startsWith("turningpoint: Unknown option"), option.err());
        assertEquals(2, run("check").status());
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
        fails(2, "preset 'sd5' is not a preset; there are: glyph, glyph-quick", sample(command, "--preset", "sd5"));
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
    void missingReferenceDataIsOneLine() {
        Path gone = folder.resolve("gone");
        fails(1, gone + ": there is no such folder", run("check", gone));
        fails(1, folder + ": holds no reference data that is served", run("check", folder));
    }
}
