package dev.turningpoint.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.turningpoint.gpu.Device;
import dev.turningpoint.model.GlyphModel;
import dev.turningpoint.softgpu.driver.Stubs;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Processes whose device fails or is too small: what is said, the exit status, and that such a run goes on. */
class FailedRunTest {
    @TempDir Path folder;

    @BeforeAll
    static void onlyTheSoftwareGpuFailsWhenAsked() {
        assumeTrue(Device.isSoftware() && GlyphModel.class.getResource("glyph.safetensors") != null);
    }

    private static String[] train(Path out, String... more) {
        var args = new ArrayList<>(List.of("train", "--preset", "glyph-quick", "--out", out.toString()));
        for (String set : List.of("train.iterations=2", "train.prompts_per_iteration=2", "train.group_size=4", "train.micro_batch=4", "evaluation.prompts=4", "checkpoint.every=1"))
            args.addAll(List.of("--set", set));
        args.addAll(List.of(more));
        return args.toArray(String[]::new);
    }

    private ChildProcess process(String property, String... args) throws IOException, InterruptedException {
        return ChildProcess.run(folder, property, args);
    }

    private static int here(String... args) {
        var text = new StringWriter();
        int status = TurningPointCommand.run(new PrintWriter(text, true), new PrintWriter(text, true), args);
        assertEquals(0, status, text::toString);
        return status;
    }

    @Test
    void aFailedCallEndsTheProcessInOneLineAndTheRunGoesOn() throws Exception {
        Path whole = folder.resolve("whole"), failed = folder.resolve("failed");
        var synchronizations = new AtomicInteger();
        Stubs.intercept(function -> {
            if (function.equals("cuStreamSynchronize")) synchronizations.incrementAndGet();
            return 0;
        });
        try {
            here(train(whole));
        } finally {
            Stubs.intercept(null);
        }
        ChildProcess ended = process("-Dturningpoint.software.fail=cuStreamSynchronize:" + synchronizations.get() * 3 / 4 + ":46", train(failed));
        assertEquals(1, ended.status(), ended.err());
        assertEquals(List.of("turningpoint: cuStreamSynchronize failed: CUDA_ERROR_DEVICE_UNAVAILABLE (46); cuStreamSynchronize: made to fail with CUDA_ERROR_DEVICE_UNAVAILABLE (46).",
                "device unavailable"), ended.err().lines().toList());
        here("train", "--resume", failed.toString());
        for (String file : List.of("result/weights.safetensors", "checkpoints/checkpoint-000002.safetensors", "metrics.jsonl"))
            assertArrayEquals(Files.readAllBytes(whole.resolve(file)), Files.readAllBytes(failed.resolve(file)), file);
    }

    @Test
    void aDeviceThatIsTooSmallSaysWhatToLower() throws Exception {
        ChildProcess ended = process(null, train(folder.resolve("small"), "--memory", "16m"));
        assertEquals(1, ended.status(), ended.err());
        List<String> lines = ended.err().lines().toList();
        assertTrue(lines.size() == 2 && lines.getFirst().matches("turningpoint: cuMemAlloc\\(.* for .*\\) failed: CUDA_ERROR_OUT_OF_MEMORY \\(2\\); [0-9.]+ of 1[67](\\.[0-9])? MB free\\.")
                && lines.getLast().equals("Lower sampler.wave_memory (now unlimited) or train.micro_batch (now 4)."), ended.err());
    }

    @Test
    void aPlanThatCannotBeReadIsOneLine() throws Exception {
        ChildProcess ended = process("-Dturningpoint.software.fail=cuMemAlloc:3", "devices");
        assertEquals(1, ended.status(), ended.err());
        assertEquals("turningpoint: -Dturningpoint.software.fail: 'cuMemAlloc:3' is not FUNCTION:USE:CODE, as cuMemAlloc_v2:3:2, with uses counted from 1\n", ended.err());
    }
}
