package dev.turningpoint.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.turningpoint.gpu.Device;
import dev.turningpoint.model.GlyphConfig;
import dev.turningpoint.weights.WeightsException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Flow-matching pre-training of a tiny model on stripes. */
class PretrainerTest {
    private static final GlyphConfig TINY = new GlyphConfig(8, 12, 4, 32, 2, 1, 2, 3, 7);

    private static Device device;

    @TempDir
    private Path folder;

    @BeforeAll
    static void open() {
        device = Device.open();
    }

    @AfterAll
    static void close() {
        device.close();
    }

    /** The first token says how far apart the stripes are. */
    private static void stripes(long sample, MemorySegment image, MemorySegment tokens) {
        int kind = (int) (sample % 6) + 1;
        for (int i = 0; i < TINY.latentSize(); i++) {
            image.setAtIndex(ValueLayout.JAVA_FLOAT, i, i % TINY.width() / kind % 2 == 0 ? 1 : -1);
        }
        for (int t = 0; t < TINY.tokens(); t++) {
            tokens.setAtIndex(ValueLayout.JAVA_INT, t, t == 0 ? kind : 0);
        }
    }

    private static RunConfig config(RunConfig.Storage storage, int steps) {
        return RunConfig.glyph().with("storage=" + storage.name().toLowerCase(java.util.Locale.ROOT), "pretrain.steps=" + steps, "pretrain.batch=12", "pretrain.warmup=5", "pretrain.learning_rate=3e-3");
    }

    private static List<Double> run(Pretrainer pretrainer, int until) throws InterruptedException {
        List<Double> losses = new ArrayList<>();
        pretrainer.run(p -> losses.add(p.loss()), () -> pretrainer.step() >= until);
        return losses;
    }

    @ParameterizedTest @EnumSource
    void theLossFalls(RunConfig.Storage storage) throws InterruptedException {
        try (var pretrainer = new Pretrainer(device, config(storage, 150), TINY, PretrainerTest::stripes, 5)) {
            List<Double> losses = run(pretrainer, 150);
            double first = losses.subList(0, 10).stream().mapToDouble(d -> d).average().orElseThrow();
            double last = losses.subList(140, 150).stream().mapToDouble(d -> d).average().orElseThrow();
            assertTrue(last < 0.6 * first, "from " + first + " to " + last);
        }
    }

    @ParameterizedTest @EnumSource
    void aResumedRunEndsInTheSameBits(RunConfig.Storage storage) throws Exception {
        RunConfig config = config(storage, 9);
        Path whole = folder.resolve("whole.safetensors");
        Path state = folder.resolve("state.safetensors");
        Path resumed = folder.resolve("resumed.safetensors");
        try (var pretrainer = new Pretrainer(device, config, TINY, PretrainerTest::stripes, 5)) {
            assertEquals(9, run(pretrainer, 9).size());
            pretrainer.saveState(whole);
        }
        try (var pretrainer = new Pretrainer(device, config, TINY, PretrainerTest::stripes, 5)) {
            assertEquals(4, run(pretrainer, 4).size());
            pretrainer.saveState(state);
        }
        try (var pretrainer = new Pretrainer(device, config, TINY, PretrainerTest::stripes, 5)) {
            pretrainer.loadState(state);
            assertEquals(5, run(pretrainer, 9).size());
            pretrainer.saveState(resumed);
        }
        assertArrayEquals(Files.readAllBytes(whole), Files.readAllBytes(resumed));
    }

    @Test
    void aStateOfOtherSettingsIsRefused() {
        Path state = folder.resolve("state.safetensors");
        try (var pretrainer = new Pretrainer(device, config(RunConfig.Storage.F32, 9), TINY, PretrainerTest::stripes, 5)) {
            pretrainer.saveState(state);
        }
        try (var pretrainer = new Pretrainer(device, config(RunConfig.Storage.F32, 9).with("pretrain.learning_rate=1e-3"), TINY, PretrainerTest::stripes, 5)) {
            var refused = assertThrows(WeightsException.class, () -> pretrainer.loadState(state));
            assertTrue(refused.getMessage().contains("other settings"), refused.getMessage());
        }
    }

    @Test
    void aPictureThatCannotBeDrawnEndsTheRun() {
        try (var pretrainer = new Pretrainer(device, config(RunConfig.Storage.F32, 9), TINY, (sample, image, tokens) -> {
            throw new IllegalArgumentException("no such letter");
        }, 5)) {
            assertEquals("no such letter", assertThrows(IllegalArgumentException.class, () -> run(pretrainer, 9)).getMessage());
        }
    }
}
