package dev.turningpoint.embed;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.io.StringWriter;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.TreeSet;
import java.util.stream.Collectors;
import javax.tools.ToolProvider;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** The program in {@code engine/docs/embedding.md}, as it stands there. */
@Timeout(120)
class EmbeddingDocumentTest {
    @TempDir Path folder;

    @Test
    void theProgramOfTheDocumentCompilesAndRuns() throws Exception {
        String program = Files.readAllLines(Path.of("docs/embedding.md")).stream().dropWhile(line -> !line.startsWith("    import ")).takeWhile(line -> line.isEmpty() || line.startsWith("    "))
                .map(line -> line.isEmpty() ? line : line.substring(4)).collect(Collectors.joining("\n"));
        Path source = folder.resolve("Words.java");
        Files.writeString(source, program);
        var compiler = ToolProvider.getSystemJavaCompiler();
        var messages = new StringWriter();
        try (var files = compiler.getStandardFileManager(null, null, null)) {
            boolean compiled = compiler.getTask(messages, files, null, List.of("-d", folder.toString(), "-classpath", System.getProperty("java.class.path"), "-Xlint:all", "-Werror"), null,
                    files.getJavaFileObjects(source)).call();
            assertTrue(compiled, messages::toString);
        }
        var printed = new ByteArrayOutputStream();
        PrintStream before = System.out;
        try (var loader = new URLClassLoader(new URL[] {folder.toUri().toURL()}, getClass().getClassLoader())) {
            System.setOut(new PrintStream(printed, true, StandardCharsets.UTF_8));
            loader.loadClass("Words").getMethod("main", String[].class).invoke(null, (Object) new String[] {"CAT", "DRUM", "ZEBRA"});
        } finally {
            System.setOut(before);
        }
        var lines = new TreeSet<>(printed.toString(StandardCharsets.UTF_8).lines().toList());
        assertEquals(3, lines.size(), () -> lines.toString());
        assertTrue(lines.first().matches("CAT score [01]\\.\\d+(E-\\d+)?, LoRA version 0"), lines.first());
    }
}
