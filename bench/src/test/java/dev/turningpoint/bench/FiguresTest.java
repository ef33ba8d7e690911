package dev.turningpoint.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.turningpoint.gpu.DType;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Figures of two runs against each other: what is slower is told, what only looks so is not. */
class FiguresTest {
    @TempDir Path folder;

    /** Our times of three rounds, the peer's always 100 nanoseconds. */
    private static Row row(String name, double... ours) {
        return new Row(new Subject("work", name, "rows 3", 12, 24, DType.F32, 2, false, ""), ours, new double[] {100, 100, 100}, 0, new Triad(10, 0, 0, 40), new Peak(100, 200));
    }

    private Path written(String file, int threads, Row... rows) throws Exception {
        Path path = folder.resolve(file);
        Figures.write(path, threads, 10, List.of(rows));
        return path;
    }

    @Test
    void aRowKnowsItsRounds() {
        Row row = row("a", 20, 50, 25);
        assertEquals(4, row.ratio(), 1e-12);
        assertEquals(2, row.interval()[0], 1e-12);
        assertEquals(5, row.interval()[1], 1e-12);
        assertEquals(12 / 25., row.bandwidth(), 1e-12);
    }

    /** Stored ratios 4 to 5; 90 % of 4 is 3.6. */
    @Test
    void onlyWhatIsSlowerInEveryRoundIsARegression() throws Exception {
        Path before = written("before.json", 1, row("slower", 20, 25, 22), row("overlaps", 20, 25, 22), row("gone", 20, 25, 22));
        byte[] now = Files.readAllBytes(written("now.json", 1, row("slower", 29, 40, 28), row("overlaps", 40, 40, 27), row("new", 1000, 1000, 1000)));
        assertEquals(List.of("work, slower, 1 thread: 3.45x the peer (at most 3.57), was 4.55x (at least 4.00)"), Figures.regressions(before, now));
        assertEquals(List.of(), Figures.regressions(before, Files.readAllBytes(before)));
        assertEquals(List.of(), Figures.regressions(before, Files.readAllBytes(written("two.json", 2, row("slower", 29, 40, 28)))), "another number of threads is another case");
    }

    @Test
    void severalFilesBecomeOne() throws Exception {
        byte[] both = Figures.joined(List.of(written("one.json", 1, row("a", 20, 25, 22)), written("two.json", 2, row("a", 20, 25, 22))));
        Path stored = Files.write(folder.resolve("both.json"), both);
        assertEquals(1, Figures.regressions(stored, Files.readAllBytes(written("now.json", 2, row("a", 30, 30, 30)))).size());
    }

    @Test
    void whatIsNoFiguresIsRefused() throws Exception {
        Path text = Files.writeString(folder.resolve("text.json"), "{"), other = Files.writeString(folder.resolve("other.json"), "[{\"a\": 1}]");
        byte[] now = "[]".getBytes(StandardCharsets.UTF_8);
        assertEquals(text + " is not JSON", assertThrows(IllegalArgumentException.class, () -> Figures.regressions(text, now)).getMessage().split(":")[0]);
        assertEquals(other + " holds no figures of a benchmark", assertThrows(IllegalArgumentException.class, () -> Figures.regressions(other, now)).getMessage());
    }
}
