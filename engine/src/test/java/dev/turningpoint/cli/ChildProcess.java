package dev.turningpoint.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/** A command line of turningpoint in a process of its own, on the software GPU, and what came of it. */
record ChildProcess(int status, String out, String err) {
    private static final int PATIENCE_MINUTES = 4;

    /** @param property of the JVM, or null */
    static ChildProcess run(Path folder, String property, String... args) throws IOException, InterruptedException {
        var command = new ArrayList<>(List.of(Path.of(System.getProperty("java.home"), "bin", "java").toString(), "-XX:+UseSerialGC", "--enable-native-access=ALL-UNNAMED",
                "--sun-misc-unsafe-memory-access=allow", "-Dorg.lwjgl.system.memoryBackend=ffm", "-Djava.awt.headless=true", "-Dturningpoint.device=software"));
        if (property != null) command.add(property);
        command.addAll(List.of("-cp", System.getProperty("surefire.test.class.path", System.getProperty("java.class.path")), TurningPointCommand.class.getName()));
        command.addAll(List.of(args));
        Path out = Files.createTempFile(folder, "out", ""), err = Files.createTempFile(folder, "err", "");
        var builder = new ProcessBuilder(command).redirectOutput(out.toFile()).redirectError(err.toFile()).directory(folder.toFile());
        builder.environment().putAll(Map.of("OMP_WAIT_POLICY", "passive", "OMP_NUM_THREADS", "1"));
        Process process = builder.start();
        if (!process.waitFor(PATIENCE_MINUTES, TimeUnit.MINUTES)) {
            process.destroyForcibly();
            throw new AssertionError("no end: " + Files.readString(out) + Files.readString(err));
        }
        return new ChildProcess(process.exitValue(), Files.readString(out), Files.readString(err));
    }
}
