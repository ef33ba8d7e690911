package dev.turningpoint.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.turningpoint.bindings.cuda.Cuda;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.GpuException;
import dev.turningpoint.gpu.HostMemory;
import dev.turningpoint.sampler.TestModel;
import dev.turningpoint.softgpu.driver.DriverFunctions;
import dev.turningpoint.softgpu.driver.Stubs;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Every call that a short training run makes to the driver or to cuBLASLt fails once: the run ends with a message that names call and error, gives back all it
 * had, and resumes to the bits of a run that nothing disturbed.
 *
 * <p>A place is a function and the method that calls it, seen from outside the package gpu. By default each fails at one of its uses, the first of one place, the
 * middle one of the next, the last of the third; with {@code -Dturningpoint.test.failures=all} a place is two methods deep, and fails at each of the three.
 */
class FailureWalkTest {
    private static final boolean ALL = System.getProperty("turningpoint.test.failures", "").equals("all");
    private static final int DEPTH = ALL ? 2 : 1;
    /** One of so many interrupted runs is resumed. */
    private static final int RESUMED = ALL ? 3 : 8;
    private static final Duration PATIENCE = Duration.ofMinutes(2);
    private static final int UNKNOWN = 999, OUT_OF_MEMORY = 2, LAUNCH_FAILED = 719, ILLEGAL_ADDRESS = 700, CUBLAS_INTERNAL_ERROR = 14;
    /** An object whose destruction fails is still there. */
    private static final Set<String> DESTROYS = Set.of("cuMemFree_v2", "cuStreamDestroy_v2", "cuEventDestroy_v2", "cuModuleUnload", "cublasLtDestroy", "cublasLtMatrixLayoutDestroy",
            "cublasLtMatmulDescDestroy", "cublasLtMatmulPreferenceDestroy", "cuDevicePrimaryCtxRelease_v2");

    @TempDir static Path folder;
    private static byte[] undisturbed;
    /** Objects that a failed call could not destroy: they stay to the end of the process. */
    private static final Map<String, Integer> LINGERING = new HashMap<>();
    /** What lived when the last trainer was closed, or could not be made. */
    private static volatile Map<String, Integer> afterTrainer = Map.of();
    /** Uses of each place, each as how many calls of its function came before. */
    private static final Map<String, List<Integer>> PLACES = new LinkedHashMap<>();

    private record Failure(String function, int use, int code) {
        @Override
        public String toString() { return function + ":" + use + ":" + code; }
    }

    private record Outcome(Throwable failure, String site, Map<String, Integer> left, Path run) {}

    private static RunConfig config() {
        return TrainerTest.config("model.depth=1", "sampler.steps=3", "sampler.window_end=2", "train.iterations=2", "train.prompts_per_iteration=2", "train.group_size=2", "evaluation.every=2");
    }

    @BeforeAll
    static void recordTheUsesOfARun() throws Exception {
        try (Device d = Device.open()) {
            assumeTrue(Device.isSoftware(), "a real driver does not fail when it is told to");
            try (var stream = d.newStream()) {
                TrainerTest.weights = folder.resolve("start.safetensors");
                TestModel.weights(d, stream, config().model().glyph(), TrainerTest.weights);
            }
        }
        var uses = new HashMap<String, Integer>();
        Path run = Files.createDirectory(folder.resolve("undisturbed"));
        Stubs.intercept(function -> {
            PLACES.computeIfAbsent(function + " in " + caller(DEPTH), _ -> new ArrayList<>()).add(uses.merge(function, 1, Integer::sum));
            return 0;
        });
        try {
            train(run);
        } finally {
            Stubs.intercept(null);
        }
        undisturbed = Files.readAllBytes(run.resolve("weights.safetensors"));
    }

    @AfterEach
    void serveAll() {
        Stubs.intercept(null);
    }

    @AfterAll
    static void nothingIsLeft() {
        assertEquals(0, HostMemory.outstanding());
    }

    /** The methods of the engine or of the kernels that made a call, innermost first. */
    private static String caller(int depth) {
        return StackWalker.getInstance().walk(frames -> frames
                .filter(f -> f.getClassName().startsWith("dev.turningpoint.") && !f.getClassName().matches("dev\\.turningpoint\\.(softgpu|bindings|gpu)\\..*|.*FailureWalkTest.*"))
                .limit(depth).map(f -> f.getClassName().substring(f.getClassName().lastIndexOf('.') + 1) + "." + f.getMethodName() + ":" + f.getLineNumber()).collect(Collectors.joining(" < ")));
    }

    /** Trains to the end, from the last checkpoint if there is one. */
    private static void train(Path run) throws Exception {
        try (Device d = Device.open()) {
            try (var rewards = TrainerTest.brightness(0); Trainer t = new Trainer(d, config(), rewards, TrainerTest.PROMPTS, run)) {
                t.resume();
                t.run(new TrainerTest.Recorder(), () -> false);
                t.saveResult(run);
            } finally {
                afterTrainer = DriverFunctions.living();
            }
        }
    }

    /** What lives that did not live before, without what belongs to the device; functions go with their modules. */
    private static Map<String, Integer> left(Map<String, Integer> living, String... ofTheDevice) {
        var left = new HashMap<>(living);
        LINGERING.forEach((kind, count) -> left.computeIfPresent(kind, (_, now) -> now > count ? now - count : null));
        left.keySet().removeAll(Set.of("function"));
        left.keySet().removeAll(List.of(ofTheDevice));
        return left;
    }

    private static int sum(Map<String, Integer> counts) { return counts.values().stream().mapToInt(Integer::intValue).sum(); }

    private static Outcome fail(Failure f) {
        afterTrainer = Map.of();
        return assertTimeoutPreemptively(PATIENCE, () -> {
            Path run = Files.createTempDirectory(folder, "run");
            var site = new String[1];
            var count = new int[1];
            Throwable failure = null;
            Stubs.intercept(function -> {
                if (!function.equals(f.function) || ++count[0] != f.use) return 0;
                site[0] = caller(3);
                return f.code;
            });
            try {
                train(run);
            } catch (Throwable e) {
                failure = e;
            } finally {
                Stubs.intercept(null);
            }
            return new Outcome(failure, site[0], left(afterTrainer, "context", "cuBLASLt library"), run);
        }, () -> f + ": no end");
    }

    private static List<Failure> failures() {
        var all = new LinkedHashMap<Failure, Boolean>();
        int turn = 0;
        for (var place : PLACES.entrySet()) {
            String function = place.getKey().substring(0, place.getKey().indexOf(' '));
            List<Integer> uses = place.getValue();
            int code = function.equals("cuMemAlloc_v2") ? OUT_OF_MEMORY : function.startsWith("cublas") ? CUBLAS_INTERNAL_ERROR : UNKNOWN;
            var chosen = new TreeSet<>(List.of(uses.getFirst(), uses.get(uses.size() / 2), uses.getLast()));
            if (!ALL) chosen = new TreeSet<>(List.of(new ArrayList<>(chosen).get(turn++ % chosen.size())));
            for (int use : chosen) all.put(new Failure(function, use, code), true);
        }
        return List.copyOf(all.keySet());
    }

    @Test
    void everyCallMayFail() throws Exception {
        assertTrue(PLACES.size() > 100, PLACES.size() + " places");
        List<String> wrong = new ArrayList<>();
        int interrupted = 0;
        for (Failure f : failures()) {
            Outcome o = fail(f);
            String at = f + " in " + o.site + ": ";
            if (o.failure == null) wrong.add(at + "no failure");
            else if (!(o.failure instanceof GpuException)) wrong.add(at + o.failure);
            else {
                String message = o.failure.getMessage(), first = message.lines().findFirst().orElse("");
                String error = f.code == OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY (2)" : f.code == UNKNOWN ? "CUDA_ERROR_UNKNOWN (999)" : "CUBLAS_STATUS_INTERNAL_ERROR (14)";
                if (!first.contains(" failed: " + error) || message.lines().count() > 2) wrong.add(at + message);
                if (f.code == OUT_OF_MEMORY && !(first.contains(" free.") && message.contains("\nLower sampler.wave_memory (now unlimited) or train.micro_batch (now 5)."))) wrong.add(at + message);
            }
            if (sum(o.left) > (DESTROYS.contains(f.function) ? 1 : 0)) wrong.add(at + "left " + o.left);
            endContext(f, at, wrong);
            if (HostMemory.outstanding() != 0) wrong.add(at + HostMemory.outstanding() + " bytes of host memory");
            if (Files.exists(o.run.resolve("checkpoint-000001.safetensors")) && interrupted++ % RESUMED == 0) {
                train(o.run);
                assertArrayEquals(undisturbed, Files.readAllBytes(o.run.resolve("weights.safetensors")), at + "the resumed run has other bits");
            }
        }
        assertEquals("", String.join("\n", wrong));
        assertTrue(interrupted >= 10, interrupted + " runs left a checkpoint to go on from");
    }

    /** After the device is closed nothing lives, but what could not be destroyed. */
    private static void endContext(Failure f, String at, List<String> wrong) {
        Map<String, Integer> left = left(DriverFunctions.living());
        if (left.containsKey("context")) Cuda.cuDevicePrimaryCtxRelease_v2(0);
        if (sum(left) > (DESTROYS.contains(f.function) ? 1 : 0)) wrong.add(at + "the closed device leaves " + left);
        LINGERING.clear();
        LINGERING.putAll(DriverFunctions.living());
    }

    /** A fault in a kernel ends everything at the next call that notices; nothing can be given back one by one, and all is at the end of the context. */
    @Test
    void aFaultInAKernelEndsTheRunAndIsResumed() throws Exception {
        for (String function : List.of("cuStreamSynchronize", "cuLaunchKernel", "cuMemcpyDtoHAsync_v2", "cuEventSynchronize", "cuMemcpyHtoDAsync_v2", "cuMemFree_v2")) {
            int uses = PLACES.entrySet().stream().filter(p -> p.getKey().startsWith(function + " ")).mapToInt(p -> p.getValue().getLast()).max().orElseThrow();
            var f = new Failure(function, (uses * 3 + 3) / 4, function.equals("cuLaunchKernel") ? ILLEGAL_ADDRESS : LAUNCH_FAILED);
            Outcome o = fail(f);
            assertTrue(o.failure instanceof GpuException, () -> f + ": " + o.failure);
            String message = o.failure.getMessage(), error = f.code == ILLEGAL_ADDRESS ? "CUDA_ERROR_ILLEGAL_ADDRESS (700)" : "CUDA_ERROR_LAUNCH_FAILED (719)";
            assertTrue(message.contains(" failed: " + error + "; " + function + ": made to fail") && message.endsWith("A kernel launched earlier failed; nothing else will run in this process."), f + ": " + message);
            assertEquals(LINGERING, DriverFunctions.living(), f + ": the context has ended");
            assertEquals(0, HostMemory.outstanding());
            if (Files.exists(o.run.resolve("checkpoint-000001.safetensors"))) {
                train(o.run);
                assertArrayEquals(undisturbed, Files.readAllBytes(o.run.resolve("weights.safetensors")), f + ": the resumed run has other bits");
            }
        }
    }
}
