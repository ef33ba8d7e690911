package dev.turningpoint.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.turningpoint.data.Prompt;
import dev.turningpoint.data.Prompts;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.image.ImageBatch;
import dev.turningpoint.reward.Reward;
import dev.turningpoint.reward.RewardBatch;
import dev.turningpoint.reward.RewardException;
import dev.turningpoint.reward.RewardMix;
import dev.turningpoint.sampler.TestModel;
import dev.turningpoint.softgpu.driver.StreamOrder;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.LongStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The training loop on a model of a few thousand parameters and a reward of a few lines: exact ratios, learning, and resuming to equal bits. */
class TrainerTest {
    static Device device;
    static dev.turningpoint.gpu.Stream stream;
    @TempDir static Path folder;
    static Path weights;

    @BeforeAll
    static void open() {
        device = Device.open();
        stream = device.newStream();
        weights = folder.resolve("start.safetensors");
        TestModel.weights(device, stream, config().model().glyph(), weights);
    }

    @AfterAll
    static void close() {
        stream.close();
        device.close();
        REWARDS.close();
    }

    /** Bright where the prompt's letter says so: the mean brightness of the left or of the right half. */
    record Brightness(float poison) implements Reward {
        @Override
        public float[] score(RewardBatch batch) {
            ImageBatch images = batch.images();
            var rewards = new float[images.count()];
            for (int i = 0; i < rewards.length; i++) {
                boolean left = batch.prompts().get(i).target().charAt(0) % 2 == 0;
                double sum = 0;
                for (int p = 0; p < images.pixels(); p++) {
                    float v = images.image(i).getAtIndex(ValueLayout.JAVA_FLOAT, p);
                    sum += (p % images.width() < images.width() / 2) == left ? v : 0;
                }
                rewards[i] = (float) (1 / (1 + Math.exp(-sum / images.pixels()))) + poison;
            }
            return rewards;
        }

        @Override
        public int pieceSize() {
            return 16;
        }
    }

    static RewardMix brightness(float poison) {
        return RewardMix.of("brightness", new Brightness(poison), 2);
    }

    private static final RewardMix REWARDS = brightness(0);

    static final Prompts PROMPTS = new Prompts() {
        @Override
        public List<Prompt> train(long iteration, int count) {
            return LongStream.range(iteration * count, (iteration + 1) * count).mapToObj(n -> prompt("" + (char) ('A' + n % 5) + (char) ('A' + n % 3))).toList();
        }

        @Override
        public List<Prompt> heldOut(long seed, int count) {
            return Stream.of("AAA", "BBB", "CC", "FA", "DEF").map(this::prompt).toList();
        }

        private Prompt prompt(String word) {
            return new Prompt("the word \"" + word + "\"", word);
        }
    };

    static RunConfig config(String... more) {
        List<String> all = new ArrayList<>(List.of("model.weights=" + weights, "model.width=32", "model.depth=2", "model.heads=1", "model.mlp_ratio=2", "model.image_height=8", "model.image_width=16", "model.tokens=3", "sampler.steps=4", "sampler.window_end=3", "train.iterations=4", "train.prompts_per_iteration=3", "train.group_size=4",
                "train.micro_batch=5", "train.learning_rate=3e-3", "evaluation.every=2", "checkpoint.every=1", "train.ema_interval=2", "train.time_limit_minutes=0"));
        all.addAll(List.of(more));
        return RunConfig.glyph().with(all.toArray(String[]::new));
    }

    /** Keeps everything it is told. */
    static class Recorder implements TrainingObserver {
        final List<Map<String, Double>> updates = new ArrayList<>(), evaluations = new ArrayList<>();
        final List<Progress> iterations = new ArrayList<>();

        @Override
        public void iteration(Progress progress) {
            iterations.add(progress);
        }

        @Override
        public void update(long step, Map<String, Double> metrics) {
            updates.add(metrics);
        }

        @Override
        public void evaluated(long step, Map<String, Double> metrics, ImageBatch images, List<String> prompts) {
            evaluations.add(metrics);
        }
    }

    static Trainer trainer(RunConfig config, Path checkpoints) {
        return new Trainer(device, config, REWARDS, PROMPTS, checkpoints);
    }

    @ParameterizedTest
    @CsvSource({"f32, 5, 1, full", "f32, 18, 1, full", "bf16, 5, 1, full", "bf16, 18, 1, full", "f32, 7, 2, full", "bf16, 7, 1, lora", "f32, 7, 1, lora"})
    void firstUpdateOfEveryRolloutHasRatioExactlyOne(String storage, int microBatch, double guidance, String parameters) throws Exception {
        var seen = new Recorder();
        try (Trainer t = trainer(config("storage=" + storage, "train.micro_batch=" + microBatch, "sampler.guidance=" + guidance, "train.parameters=" + parameters,
                "train.lora_targets=[attn.to_qkv, attn.to_out.0]", "train.lora_rank=4", "train.iterations=3"), Files.createTempDirectory(folder, "run"))) {
            t.run(seen, () -> false);
        }
        assertEquals(6, seen.updates.size());
        for (int i = 0; i < 6; i++) {
            double deviation = seen.updates.get(i).get("ratio_deviation_max");
            if (i % 2 == 0) {
                assertEquals(0.0, deviation, "first update of iteration " + i / 2);
            } else {
                assertTrue(deviation > 0, "the second update of an iteration is off-policy");
            }
            assertTrue(seen.updates.get(i).get("grad_norm") > 0);
        }
    }

    /**
     * T = 4, n = 3, 12 trajectories. The wave has the trajectory at sigma 0, and the branch that began at each earlier sigma besides:
     * 1 + 2 + 3 + 4 = 10 rows a trajectory, 4 without completions; the gradient costs 3 rows for each of its 3 steps, 4 with a reference.
     */
    @ParameterizedTest
    @CsvSource({"consistent-turning-point, 1, 0, 12 * (10 + 9), 48", "outcome, 1, 0, 12 * (4 + 9), 12", "outcome, 2, 0, 12 * 2 * (4 + 9), 12", "incremental, 1, 0.1, 12 * (10 + 12), 48"})
    void countsWhatItSpendsAndStopsThere(String mode, double guidance, double klBeta, String hand, long images) throws Exception {
        int perTrajectory = hand.endsWith("(4 + 9)") ? 13 : hand.endsWith("(10 + 9)") ? 19 : 22;
        long evaluations = 12L * perTrajectory * (guidance == 1 ? 1 : 2);
        Path checkpoints = Files.createTempDirectory(folder, "run");
        var seen = new Recorder();
        RunConfig config = config("credit.mode=" + mode, "sampler.guidance=" + guidance, "train.kl_beta=" + klBeta, "train.max_evaluations=" + (2 * evaluations - 1));
        try (Trainer t = trainer(config, checkpoints)) {
            Trainer.Outcome outcome = t.run(seen, () -> false);
            assertEquals(2, outcome.iterations(), hand);
            assertTrue(outcome.complete());
        }
        assertEquals(List.of(2, 2), seen.iterations.stream().map(TrainingObserver.Progress::iterations).toList(), "foreseen from what an iteration costs");
        assertEquals(2.0 * evaluations, seen.updates.getLast().get("network_evaluations"), hand);
        assertEquals(2.0 * images, seen.updates.getLast().get("reward_calls"));
        try (Trainer t = trainer(config("credit.mode=" + mode, "sampler.guidance=" + guidance, "train.kl_beta=" + klBeta, "train.iterations=3"), checkpoints)) {
            assertTrue(t.resume(), "a budget may change between a run and its continuation");
            t.run(seen, () -> false);
        }
        assertEquals(3.0 * evaluations, seen.updates.getLast().get("network_evaluations"), "the count goes on after a resume");
    }

    /** Windows, step types, schedules and completions of every kind: what the loss recomputes has the bits of the rollout. */
    @ParameterizedTest
    @ValueSource(strings = {"sampler.window_move=random sampler.window_size=2", "sampler.window_move=sliding sampler.window_size=1 sampler.window_every=1", "sampler.type=dance sampler.noise_level=0.3",
        "sampler.type=sde sampler.noise_level=[0.3,0.5,0.7,0.9] sampler.schedule=sd3", "sampler.schedule=flux sampler.completion_stride=2", "compat=reference credit.balancing=trend",
        "sampler.type=sde train.objective=grpo-guard", "sampler.type=dance sampler.noise_level=0.4 train.objective=grpo-guard storage=bf16 train.kl_beta=0.01 sampler.guidance=1.5",
        "sampler.wave_memory=1 sampler.window_move=random sampler.window_size=1 sampler.guidance=2"})
    void theRatioIsExactlyOneUnderEveryOption(String options) throws Exception {
        var seen = new Recorder();
        try (Trainer t = trainer(config((options + " train.iterations=3").split(" ")), Files.createTempDirectory(folder, "run"))) {
            t.run(seen, () -> false);
        }
        for (int i = 0; i < 6; i++) {
            double deviation = seen.updates.get(i).get("ratio_deviation_max");
            assertTrue(i % 2 == 0 ? deviation == 0 : deviation > 0, "update " + i + " of " + options + ": " + deviation);
        }
    }

    /** What the default does right: the published code's latents in half precision have ratios off 1 before any update. */
    @Test
    void publishedLatentsInHalfPrecisionMissTheRatio() throws Exception {
        var seen = new Recorder();
        try (Trainer t = trainer(config("compat=reference", "storage=bf16", "train.iterations=1"), Files.createTempDirectory(folder, "run"))) {
            t.run(seen, () -> false);
        }
        double deviation = seen.updates.getFirst().get("ratio_deviation_max");
        assertTrue(deviation > 1e-6 && deviation < 1e-2, "the ratio is off by " + deviation);
    }

    /** On the same weights, how rows are cut into micro-batches changes no bit of a rollout, of its advantages, or of a row's loss. */
    @Test
    void theMicroBatchChangesNoBitBeforeTheFirstStep() throws Exception {
        Map<String, Double> expected = null;
        for (int microBatch : new int[] {18, 5, 1}) {
            var seen = new Recorder();
            try (Trainer t = trainer(config("train.micro_batch=" + microBatch, "train.iterations=1", "train.kl_beta=0.01", "train.updates_per_iteration=1"), Files.createTempDirectory(folder, "run"))) {
                t.run(seen, () -> false);
            }
            Map<String, Double> metrics = new java.util.TreeMap<>(seen.updates.getFirst());
            metrics.remove("grad_norm");               // the sum of the gradient is rounded from micro-batch to micro-batch
            expected = expected == null ? metrics : expected;
            assertEquals(expected, metrics, "micro-batches of " + microBatch);
        }
    }

    /** Half of 1 MiB holds 8 latents of 24 x 64 f32 pixels of 10 trajectories. */
    @Test
    void waveMemoryBoundsTheLatentsOfAPart() {
        assertEquals(32, Trainer.part(RunConfig.glyph(), 24 * 64, 24 * 64), "2 of 6 prompts, 16 trajectories each");
        assertEquals((1 << 19) / (8 * 24 * 64 * 4), Trainer.part(RunConfig.glyph().with("sampler.wave_memory=1"), 24 * 64, 24 * 64));
        assertEquals(21, Trainer.part(RunConfig.glyph().with("sampler.wave_memory=2"), 24 * 64, 24 * 64), "1048576 / 49152 = 21.3");
        assertEquals(42, Trainer.part(RunConfig.glyph().with("train.prompts_per_iteration=48"), 16 * 64 * 64, 3 * 512 * 512), "8 branches of 3 MiB in 1 GiB");
    }

    @ParameterizedTest
    @ValueSource(strings = {"train.iterations=2", "sampler.window_move=random sampler.window_size=2 train.iterations=2"})
    void howMuchOfAWaveFitsInMemoryChangesNoBit(String options) throws Exception {
        byte[] unlimited = null;
        for (int memory = 0; memory <= 1; memory++) {          // a forward of 64 rows and parts of a quarter; then a forward of few rows and parts of few trajectories
            RunConfig c = config((options + " sampler.wave_memory=" + memory).split(" "));
            Path run = Files.createTempDirectory(folder, "memory");
            try (Trainer t = trainer(c, run)) {
                t.run(new Recorder(), () -> false);
            }
            byte[] got = Files.readAllBytes(run.resolve("checkpoint-000002.safetensors"));
            assertTrue(memory == 0 || ConfiguredPipeline.glyphRows(c, c.model().glyph()) < 64, "the limit splits the wave");
            if (memory == 0) {
                unlimited = got;
            }
            assertArrayEquals(unlimited, got, "wave_memory " + memory);
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"credit.mode=outcome", "credit.mode=incremental", "credit.mode=turning-point", "credit.mode=consistent-turning-point",
        "sampler.type=sde train.objective=grpo-guard", "sampler.type=dance sampler.noise_level=0.5", "credit.mode=outcome sampler.window_move=random sampler.window_size=2",
        "sampler.window_move=sliding sampler.window_size=2 sampler.window_every=2", "sampler.completion_stride=2 credit.drop_zero_advantages=true"})
    void rewardRises(String options) throws Exception {
        var seen = new Recorder();
        try (Trainer t = trainer(config((options + " train.iterations=12 train.group_size=8").split(" ")), Files.createTempDirectory(folder, "run"))) {
            Trainer.Outcome outcome = t.run(seen, () -> false);
            assertTrue(outcome.complete());
            assertTrue(outcome.rewardAfter() > outcome.rewardBefore() + 0.02, options + ": " + outcome);
        }
        assertEquals(7, seen.evaluations.size());
    }

    /** With the reference reset before every iteration its KL begins each at 0; else it grows. */
    @ParameterizedTest
    @CsvSource({"full, 1", "lora, 1", "full, 0", "lora, 0", "lora, 2"})
    void theReferenceOfTheKlIsWhatItWasResetTo(String parameters, int reset) throws Exception {
        var seen = new Recorder();
        try (Trainer t = trainer(config("train.parameters=" + parameters, "train.lora_targets=[attn.to_qkv, attn.to_out.0]", "train.lora_rank=4", "train.kl_beta=0.01",
                "train.reference_reset=" + reset, "train.iterations=3"), Files.createTempDirectory(folder, "run"))) {
            t.run(seen, () -> false);
        }
        for (int i = 0; i < 6; i++) {
            boolean same = i == 0 || reset > 0 && i % (2 * reset) == 0;            // two updates an iteration; the first is at the weights of the rollout
            double kl = seen.updates.get(i).get("kl_loss");
            assertTrue(same ? kl == 0 : kl > 0, "KL of update " + i + ": " + kl);
        }
    }

    @Test
    void theWeightOfTheKlIsLedToItsTarget() throws Exception {
        for (double target : new double[] {1e-12, 1e3}) {
            var seen = new Recorder();
            try (Trainer t = trainer(config("train.kl_beta=0.01", "train.kl_target=" + target, "train.iterations=3"), Files.createTempDirectory(folder, "run"))) {
                t.run(seen, () -> false);
            }
            double first = seen.updates.getFirst().get("kl_beta"), expected = first;
            assertEquals(0.01, first);
            for (int i = 1; i < 6; i++) {
                double error = Math.clamp(seen.updates.get(i - 1).get("kl_loss") / target - 1, -0.2, 0.2);
                expected *= 1 + error / 10;
                assertEquals(expected, seen.updates.get(i).get("kl_beta"), 1e-15);
            }
            assertTrue(target < 1 ? expected > first * 1.05 : expected < first * 0.95, "the KL is " + (target < 1 ? "above" : "below") + " its target");
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"storage=f32", "storage=bf16 train.kl_beta=0.01", "train.kl_beta=0.01 train.kl_target=1e-4 train.reference_reset=2",
        "train.kl_beta=0.01 train.reference_reset=2 train.parameters=lora train.lora_targets=[attn.to_qkv] train.lora_rank=4",
        "sampler.type=sde train.objective=grpo-guard sampler.window_move=sliding sampler.window_size=2 sampler.window_every=1", "sampler.window_move=random sampler.window_size=1"})
    void aStoppedRunResumesToTheSameBits(String options) throws Exception {
        RunConfig c = config(options.split(" "));
        Path whole = Files.createTempDirectory(folder, "whole"), parts = Files.createTempDirectory(folder, "parts");
        Trainer.Outcome uninterrupted, resumed;
        try (Trainer t = trainer(c, whole)) {
            uninterrupted = t.run(new Recorder(), () -> false);
            t.save(whole.resolve("result"), Map.of());
        }
        try (Trainer t = trainer(c, parts)) {
            assertFalse(t.resume());
            assertFalse(t.run(new Recorder(), () -> t.iteration() == 1).complete());
        }
        try (Trainer t = trainer(c, parts)) {
            assertTrue(t.resume());
            assertEquals(1, t.iteration());
            resumed = t.run(new Recorder(), () -> false);
            t.save(parts.resolve("result"), Map.of());
        }
        assertEquals(uninterrupted, resumed);
        assertArrayEquals(Files.readAllBytes(whole.resolve("result")), Files.readAllBytes(parts.resolve("result")));
        assertArrayEquals(Files.readAllBytes(whole.resolve("checkpoint-000004.safetensors")), Files.readAllBytes(parts.resolve("checkpoint-000004.safetensors")));
        assertFalse(Files.exists(parts.resolve("checkpoint-000001.safetensors")), "only the newest checkpoints stay");
    }

    /** A server that never answers: the run ends when it is asked to, and goes on to the bits of one that was not held up. */
    @Test
    void aRunThatWaitsForARewardCanBeStopped() throws Exception {
        Path whole = Files.createTempDirectory(folder, "whole"), parts = Files.createTempDirectory(folder, "parts");
        Trainer.Outcome uninterrupted, resumed;
        try (Trainer t = trainer(config(), whole)) {
            uninterrupted = t.run(new Recorder(), () -> false);
        }
        var calls = new AtomicInteger();
        Reward stuck = new Reward() {
            private final Brightness brightness = new Brightness(0);

            @Override
            public float[] score(RewardBatch batch) throws InterruptedException {
                if (calls.incrementAndGet() > 5) Thread.sleep(1_000_000);   // within the second iteration
                return brightness.score(batch);
            }

            @Override
            public int pieceSize() {
                return 16;
            }

            @Override
            public int waitingCalls() {
                return 2;
            }
        };
        try (RewardMix mix = RewardMix.of("brightness", stuck, 1); Trainer t = new Trainer(device, config(), mix, PROMPTS, parts)) {
            Trainer.Outcome stopped = t.run(new Recorder(), () -> calls.get() > 5);
            assertFalse(stopped.complete());
            assertEquals(1, stopped.iterations());
        }
        try (Trainer t = trainer(config(), parts)) {
            assertTrue(t.resume());
            resumed = t.run(new Recorder(), () -> false);
        }
        assertEquals(uninterrupted, resumed);
        assertArrayEquals(Files.readAllBytes(whole.resolve("checkpoint-000004.safetensors")), Files.readAllBytes(parts.resolve("checkpoint-000004.safetensors")));
    }

    /** What is held out is shown and changes no bit of what is trained; a server that moved is the same reward. */
    @Test
    void aHeldOutRewardIsShownAndChangesNothing() throws Exception {
        Path alone = Files.createTempDirectory(folder, "alone"), beside = Files.createTempDirectory(folder, "beside");
        try (Trainer t = trainer(config("train.iterations=2"), alone)) {
            t.run(new Recorder(), () -> false);
        }
        var held = new RewardMix.Term("held", b -> new float[] {7}, false, 1, RewardMix.Normalize.NONE, -5, 5, false);
        var seen = new Recorder();
        try (var mix = new RewardMix(List.of(held, new RewardMix.Term("brightness", new Brightness(0))), 2, false);
             Trainer t = new Trainer(device, config("train.iterations=2"), mix, PROMPTS, beside)) {
            t.run(seen, () -> false);
        }
        assertArrayEquals(Files.readAllBytes(alone.resolve("checkpoint-000002.safetensors")), Files.readAllBytes(beside.resolve("checkpoint-000002.safetensors")));
        for (var metrics : seen.updates) {
            assertEquals(5, metrics.get("reward_held"));
            assertEquals(metrics.get("reward_brightness"), metrics.get("reward_avg"));
        }
        assertEquals(5, seen.evaluations.getFirst().get("eval/reward_held"));
        assertEquals(seen.evaluations.getFirst().get("eval/reward_brightness"), seen.evaluations.getFirst().get("eval/reward_avg"), 1e-12);
        assertEquals(config("reward.terms.web.kind=http", "reward.terms.web.options.url=http://a/", "reward.terms.web.options.field=x").withoutTransport(),
                config("reward.terms.web.kind=http", "reward.terms.web.options.url=http://b/", "reward.terms.web.options.field=x", "reward.threads=3").withoutTransport());
    }

    /** Streams and events are used as they must be: whatever the order that the API leaves free, the bits are those of a run left to itself. */
    @Test
    void theOrderOfStreamsDoesNotMatter() throws Exception {
        Assumptions.assumeTrue(Device.isSoftware(), "a real GPU chooses its own order");
        byte[] expected = null;
        try {
            for (int seed = 0; seed < 4; seed++) {
                if (seed > 0) {
                    StreamOrder.draw(seed);
                }
                Path run = Files.createTempDirectory(folder, "order");
                try (Trainer t = trainer(config("train.iterations=2"), run)) {
                    t.run(new Recorder(), () -> false);
                }
                byte[] got = Files.readAllBytes(run.resolve("checkpoint-000002.safetensors"));
                if (seed == 0) {
                    expected = got;
                }
                assertArrayEquals(expected, got, "order of seed " + seed);
            }
        } finally {
            StreamOrder.end();
        }
    }

    /** A process of its own, killed where it happens to be, as often as it takes to finish. */
    @Test
    void aKilledRunResumesToTheSameBits() throws Exception {
        Path killed = Files.createTempDirectory(folder, "killed"), whole = Files.createTempDirectory(folder, "whole");
        try (Trainer t = trainer(config("train.iterations=30"), whole)) {
            t.run(new Recorder(), () -> false);
        }
        var random = new Random();
        int kills = 0;
        while (true) {
            var command = new ArrayList<>(List.of(ProcessHandle.current().info().command().orElseThrow()));
            command.addAll(java.lang.management.ManagementFactory.getRuntimeMXBean().getInputArguments().stream().filter(a -> a.startsWith("--enable-native") || a.startsWith("-D")).toList());
            command.addAll(List.of("-cp", System.getProperty("surefire.test.class.path", System.getProperty("java.class.path")), Child.class.getName(), killed.toString(), weights.toString()));
            Path log = killed.resolve("child.log");
            Process child = new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(ProcessBuilder.Redirect.appendTo(log.toFile())).start();
            if (kills < 3) {
                Path begun = killed.resolve("begun-" + child.pid());
                long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
                while (child.isAlive() && !Files.exists(begun) && System.nanoTime() < deadline) {
                    Thread.sleep(5);
                }
                if (!child.waitFor(random.nextInt(300), TimeUnit.MILLISECONDS)) {
                    child.destroyForcibly().waitFor();
                    kills++;
                    continue;
                }
            }
            assertEquals(0, child.waitFor(), () -> read(log));
            break;
        }
        assertTrue(kills > 0, "the run ended before it could be killed");
        assertArrayEquals(Files.readAllBytes(whole.resolve("checkpoint-000030.safetensors")), Files.readAllBytes(killed.resolve("checkpoint-000030.safetensors")), "after " + kills + " kills");
    }

    /** The run of {@link #aKilledRunResumesToTheSameBits}. */
    static final class Child {
        public static void main(String[] args) throws Exception {
            weights = Path.of(args[1]);
            Path run = Path.of(args[0]);
            try (Device d = Device.open(); Trainer t = new Trainer(d, config("train.iterations=30"), REWARDS, PROMPTS, run)) {
                t.resume();
                Files.createFile(run.resolve("begun-" + ProcessHandle.current().pid()));
                t.run(new Recorder(), () -> false);
            }
        }
    }

    @Test
    void anotherConfigurationDoesNotResume() throws Exception {
        Path run = Files.createTempDirectory(folder, "run");
        try (Trainer t = trainer(config("train.iterations=1"), run)) {
            t.run(new Recorder(), () -> false);
        }
        try (Trainer t = trainer(config("train.iterations=2", "train.clip_range=0.1"), run)) {
            String message = assertThrows(TrainingException.class, t::resume).getMessage();
            assertTrue(message.contains("clip_range"), message);
            assertFalse(message.contains("\n"), message);
        }
        try (Trainer t = trainer(config("train.iterations=2"), run)) {
            assertTrue(t.resume(), "more iterations are the same run");
        }
    }

    @Test
    void aRewardThatIsNoNumberEndsTheRunInOneLine() throws Exception {
        try (var rewards = brightness(Float.NaN); Trainer t = new Trainer(device, config(), rewards, PROMPTS, Files.createTempDirectory(folder, "run"))) {
            String message = assertThrows(RewardException.class, () -> t.run(new Recorder(), () -> false)).getMessage();
            assertTrue(message.contains("reward brightness of 'AAA'") && message.contains("NaN") && !message.contains("\n"), message);
        }
    }

    private static String read(Path file) {
        try {
            return Files.readString(file);
        } catch (java.io.IOException e) {
            return e.toString();
        }
    }
}
