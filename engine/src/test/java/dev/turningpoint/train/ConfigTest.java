package dev.turningpoint.train;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.turningpoint.credit.CreditMode;
import dev.turningpoint.credit.CreditOptions;
import dev.turningpoint.model.GlyphConfig;
import dev.turningpoint.reward.RewardMix;
import dev.turningpoint.schedule.Schedule;
import dev.turningpoint.schedule.StepType;
import dev.turningpoint.schedule.Window;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Presets, files, assignments, and that each mistake is told in one line with its place, its key and the way out. */
class ConfigTest {
    @TempDir Path folder;

    private RunConfig read(String yaml, String... assignments) {
        Path file = folder.resolve("config.yaml");
        try {
            Files.writeString(file, yaml);
        } catch (IOException e) {
            throw new AssertionError(e);
        }
        return ConfigReader.read(file, null, List.of(assignments));
    }

    private String complaint(String yaml, String... assignments) {
        String message = assertThrows(ConfigException.class, () -> read(yaml, assignments)).getMessage();
        assertFalse(message.contains("\n"), message);
        return message;
    }

    @Test
    void glyphIsWhatTheIssueAsksFor() {
        RunConfig c = RunConfig.glyph();
        assertEquals("glyph", c.preset());
        assertEquals(CreditMode.CONSISTENT_TURNING_POINT, c.credit().mode());
        assertEquals(96, c.train().trajectories());
        assertEquals(7, c.sampler().window());
        assertEquals(GlyphConfig.DEFAULT, c.model().glyph());
        assertEquals(8, c.evaluationSteps().steps());
        assertEquals(CreditOptions.of(CreditMode.CONSISTENT_TURNING_POINT), c.creditOptions());
        assertEquals(1e-4, c.train().learningRate());
        assertEquals("attn.to_add_out", c.train().loraTargets().get(3));
        c.requireExploration();
    }

    /** The settings that the published code trains with, and rewards whose files alone are missing. */
    @Test
    void presetsOfPublishedModelsAreTheReferences() {
        for (String task : List.of("ocr", "geneval", "pickscore")) {
            RunConfig sd3 = Presets.get("sd35-" + task), flux = Presets.get("flux-" + task);
            for (RunConfig c : List.of(sd3, flux)) {
                assertEquals("dataset/" + task, c.data().path());
                assertEquals(24, c.train().groupSize());
                assertEquals(48, c.train().promptsPerIteration());
                assertEquals(3e-4, c.train().learningRate());
                assertEquals(1e-5, c.train().clipRange());
                assertEquals(512 * 512, c.model().imageHeight() * c.model().imageWidth());
                assertEquals(1024, c.model().imageTokens());
                assertEquals(List.of(task), c.reward().terms().entrySet().stream().filter(t -> t.getValue().role() == RunConfig.Role.TRAIN).map(java.util.Map.Entry::getKey).toList());
                c.requireExploration();
                if (task.equals("ocr")) c.reward().open(_ -> {}).close();
                else assertTrue(assertThrows(ConfigException.class, () -> c.reward().open(_ -> {})).getMessage().contains("models/"));
            }
            assertEquals("10 9 4.5 32 64.0 8 40", sd3.sampler().steps() + " " + sd3.sampler().window() + " " + sd3.sampler().guidance() + " " + sd3.train().loraRank() + " " + sd3.train().loraAlpha() + " "
                    + sd3.train().loraTargets().size() + " " + sd3.evaluation().steps());
            assertEquals("6 5 1.0 64 128.0 12 28 3.5", flux.sampler().steps() + " " + flux.sampler().window() + " " + flux.sampler().guidance() + " " + flux.train().loraRank() + " " + flux.train().loraAlpha() + " "
                    + flux.train().loraTargets().size() + " " + flux.evaluation().steps() + " " + flux.model().guidance());
        }
    }

    /** Another kind of reward has options of its own; the same kind keeps what is not named. */
    @Test
    void aRewardOfAnotherKindStartsAnew() {
        RunConfig.Term same = RunConfig.glyph().with("reward.terms.ocr.weight=2").reward().terms().get("ocr"), other = RunConfig.glyph().with("reward.terms.ocr={kind: ocr, clip_low: 0}").reward().terms().get("ocr");
        assertEquals(java.util.Map.of("letters", "capitals"), same.options());
        assertEquals(2, same.weight());
        assertEquals(java.util.Map.of(), other.options());
        assertEquals(0, other.clipLow());
    }

    /** Rows read {@code | `sampler.steps`, `shift` | 8, 2.0 | ... |}; a key without a dot after the first is in the section of the first. */
    @Test
    void theTableOfTheReadmeGivesTheDefaults() throws IOException {
        int keys = 0;
        List<String> table = Files.readAllLines(Path.of("../README.md")).stream().dropWhile(line -> !line.startsWith("| key | default |")).skip(2)
                .takeWhile(line -> line.startsWith("|")).toList();
        for (String line : table) {
            String[] cells = line.split(" *\\| *"), names = cells[1].replace("`", "").split(", "), values = cells[2].split(", ");
            String section = names[0].substring(0, names[0].indexOf('.') + 1);
            for (int i = 0; i < names.length; i++, keys++) {
                String key = names[i].contains(".") ? names[i] : section + names[i];
                assertEquals(RunConfig.glyph(), RunConfig.glyph().with(key + "=" + values[i]), "README.md: default of " + key);
            }
        }
        assertTrue(keys >= 20, "only " + keys + " keys found");
    }

    /** Every choice of a key that has a table in engine/docs has its row there. */
    @Test
    void theDocumentsHaveEveryChoice() throws IOException {
        var tables = java.util.Map.of("credit.md", List.of(CreditMode.values(), CreditOptions.Balancing.values(), CreditOptions.Normalization.values()),
                "samplers.md", List.of(new StepType[] {StepType.CPS, StepType.SDE, StepType.DANCE}, RunConfig.ScheduleType.values(), Window.Move.values()));
        for (var table : tables.entrySet()) {
            List<String> lines = Files.readAllLines(Path.of("docs", table.getKey()));
            for (Enum<?>[] choices : table.getValue())
                for (Enum<?> choice : choices) {
                    String cell = "| `" + ConfigReader.nameOf(choice) + "` |";
                    assertTrue(lines.stream().anyMatch(line -> line.startsWith(cell)), table.getKey() + " has no row " + cell);
                }
        }
    }

    @Test
    void noFileIsTheGlyphPreset() { assertEquals(RunConfig.glyph(), ConfigReader.read(null, null, List.of())); }

    @ParameterizedTest
    @ValueSource(strings = {"glyph", "glyph-quick"})
    void aWrittenConfigurationReadsBackEqual(String preset) {
        RunConfig c = Presets.get(preset).with("seed=-9007199254740993", "train.learning_rate=3.0000000000000004e-5", "data.path='a b: #c'",
                "train.lora_targets=[x.0, 'yes', '7']", "train.eps=1e-300");
        assertEquals(c, read(c.toYaml()));
    }

    @Test
    void aFileChangesOnlyWhatItNames() {
        RunConfig c = read("""
                preset: glyph-quick
                sampler:
                  noise_level: 0.5
                credit: {mode: outcome}
                """);
        assertEquals(Presets.get("glyph-quick").with("sampler.noise_level=0.5", "credit.mode=outcome"), c);
        assertEquals("glyph-quick", c.preset());
        assertEquals(4, c.sampler().steps());
    }

    @Test
    void assignmentsWinOverTheFileAndLaterOnesOverEarlier() {
        RunConfig c = read("train:\n  iterations: 7\n", "train.iterations=8", "seed=5", "train.iterations=9", "train.lora_targets=[q]");
        assertEquals(9, c.train().iterations());
        assertEquals(5, c.seed());
        assertEquals(List.of("q"), c.train().loraTargets());
    }

    @Test
    void thePresetOfTheCommandLineWins() throws IOException {
        Path file = Files.writeString(folder.resolve("c.yaml"), "preset: glyph-quick\nseed: 3\n");
        RunConfig c = ConfigReader.read(file, "glyph", List.of());
        assertEquals(RunConfig.glyph().with("seed=3"), c);
        assertNotEquals(Presets.get("glyph-quick").with("seed=3"), c);
    }

    @Test
    void emptySectionsAndEmptyFilesChangeNothing() {
        assertEquals(RunConfig.glyph(), read(""));
        assertEquals(RunConfig.glyph(), read("# nothing\n"));
        assertEquals(RunConfig.glyph(), read("sampler:\ntrain:\n"));
    }

    @Test
    void aMistypedKeyNamesItsLineAndTheNearestKey() {
        assertEquals("config.yaml:4: unknown key 'sampler.noiselevel'; did you mean 'sampler.noise_level'?", complaint("""
                seed: 1
                sampler:
                  steps: 8
                  noiselevel: 0.7
                """));
        assertEquals("config.yaml:1: unknown key 'sampeler'; did you mean 'sampler'?", complaint("sampeler: {steps: 8}"));
        assertEquals("config.yaml:2: unknown key 'train.noise_level'; did you mean 'sampler.noise_level'?", complaint("train:\n  noise_level: 1\n"));
        assertTrue(complaint("credit:\n  zzzzzzzz: 1\n").contains("credit has: mode, eta, balancing, normalization"));
        assertEquals("--set train.iteratoins=3: unknown key 'train.iteratoins'; did you mean 'train.iterations'?", complaint("", "train.iteratoins=3"));
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
        "train.iterations: many      | train.iterations must be a whole number, is 'many'",
        "train.iterations: 1.5       | train.iterations must be a whole number, is '1.5'",
        "train.iterations: 3e9       | train.iterations must be a whole number, is '3e9'",
        "train.iterations: 3000000000 | train.iterations must be a whole number of 32 bits, is '3000000000'",
        "train.learning_rate: fast   | train.learning_rate must be a number, is 'fast'",
        "train.learning_rate: .nan   | train.learning_rate must be a number, is '.nan'",
        "train.learning_rate: NaN    | train.learning_rate must be a number, is 'NaN'",
        "train.learning_rate: [1]    | train.learning_rate must be a number, is a list",
        "train.learning_rate:        | train.learning_rate must be a number, is empty",
        "evaluation.ema: yes         | evaluation.ema must be true or false, is 'yes'",
        "credit.balancing: true      | credit.balancing must be one of none, reward, trend, is 'true'",
        "credit.mode: ctp            | credit.mode must be one of outcome, incremental, turning-point, consistent-turning-point, consistent-first-step, consistent-inner-steps, no-first-step, local-flip, rising-only, trend-bonus, outcome-bonus, added-bonus, trend-and-gain, spread-bonus, is 'ctp'",
        "credit.eta: 0               | credit.eta must be greater than 0, is 0.0",
        "train.lora_targets: q       | train.lora_targets must be a list, as in [a, b], is 'q'",
        "train.iterations: -1        | train.iterations must be at least 0, is -1",
        "train.learning_rate: 0      | train.learning_rate must be greater than 0, is 0.0",
        "train.beta1: 1              | train.beta1 must be at least 0 and less than 1, is 1.0",
        "train.updates_per_iteration: 5 | train.updates_per_iteration 5 does not divide the 96 trajectories of an iteration",
        "sampler.window_end: 9       | sampler.window_end must be 1 to 8 (after window_start, at most steps), is 9",
        "sampler.steps: 101          | sampler.steps must be 2 to 100, is 101",
        "sampler.noise_level: [1, 2] | sampler.noise_level must be one number, or one for each of the 8 steps, is 2 numbers",
        "sampler.noise_level: [a]    | sampler.noise_level must be a number, is 'a'",
        "sampler.window_size: 3      | sampler.window_size is 3, and sampler.window_move none has no window to move; write random or sliding there, or 0 here",
        "sampler.completion_stride: 0 | sampler.completion_stride must be 1 to 8, is 0",
        "sampler.noise_level: 1.5    | sampler.noise_level must be 0 to 1, is 1.5",
        "model.heads: 5              | model.heads 96 / 5 gives no head dimension of 32, 64 or 128",
        "model.name: sd4             | model.name must be one of glyph, diffusers, is 'sd4'",
        "data.source: file           | data.path names no file, and data.source is file",
    })
    void aWrongValueNamesItsLine(String line, String expected) {
        String[] parts = line.split("[.:]", 3);
        String message = complaint("seed: 1\n" + parts[0] + ":\n  " + parts[1] + ":" + parts[2] + "\n");
        assertEquals((expected.startsWith("data.path") ? "config.yaml:2: " : "config.yaml:3: ") + expected, message);
    }

    @Test
    void rewardsJoinThoseOfThePresetByName() {
        RunConfig c = read("""
                reward:
                  terms:
                    ocr: {weight: 2, normalize: group}
                    bright:
                      kind: test-brightness
                      role: held-out
                      options: {factor: 2.5}
                """, "reward.terms.ocr.clip_high=1");
        assertEquals(List.of("ocr", "bright"), List.copyOf(c.reward().terms().keySet()));
        RunConfig.Term ocr = c.reward().terms().get("ocr"), bright = c.reward().terms().get("bright");
        assertEquals(new RunConfig.Term("ocr-line", RunConfig.Role.TRAIN, 2, RewardMix.Normalize.GROUP, -1e9, 1, false, Map.of("letters", "capitals")), ocr);
        assertEquals(new RunConfig.Term("test-brightness", RunConfig.Role.HELD_OUT, 1, RewardMix.Normalize.NONE, -1e9, 1e9, false, Map.of("factor", "2.5")), bright);
        assertEquals(c, read(c.toYaml()));
        try (RewardMix mix = c.reward().open(line -> {})) {
            assertEquals(List.of("ocr", "bright"), mix.terms().stream().map(RewardMix.Term::name).toList());
            assertFalse(mix.terms().get(1).trained());
        }
        RunConfig only = read("reward: {terms: {ocr: {role: off}, bright: {kind: test-brightness}}}");
        try (RewardMix mix = only.reward().open(line -> {})) {
            assertEquals(List.of("bright"), mix.terms().stream().map(RewardMix.Term::name).toList());
        }
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
        "ocr: {kind: orc-line}          | reward.terms.ocr.kind 'orc-line' is not a kind of reward; did you mean 'ocr-line'?",
        "ocr: {role: held-out}          | reward.terms has no reward of role train",
        "ocr: {weight: 0}               | reward.terms.ocr.weight is 0; a reward that is shown and not trained on has role: held-out",
        "ocr: {clip_low: 1, clip_high: 1} | reward.terms.ocr.clip_low must be less than clip_high 1.0, is 1.0",
        "ocr: {wieght: 1}               | unknown key 'reward.terms.ocr.wieght'; did you mean 'reward.terms.ocr.weight'?",
        "avg: {kind: ocr-line}          | reward.terms.avg is no name for a reward: lower case letters, digits and _; avg is the sum",
        "ocr: {options: {letters: [a]}} | reward.terms.ocr.options.letters must be text, is a list",
        "ocr: 3                         | reward.terms.ocr is a section: write its keys indented below it",
    })
    void aWrongRewardNamesItsLine(String line, String expected) {
        assertEquals("config.yaml:3: " + expected, complaint("reward:\n  terms:\n    " + line + "\n").replace("config.yaml:2: reward.terms has", "config.yaml:3: reward.terms has"));
        assertTrue(complaint("reward: {terms: {x: {weight: 1}}}").startsWith("config.yaml:1: reward.terms.x.kind is missing; there are: "));
    }

    @Test
    void aWrongOptionOfARewardIsAWrongConfiguration() {
        RunConfig c = read("reward: {terms: {pick: {kind: pickscore, options: {image_model: gone.onnx}}}}");
        assertEquals("reward.terms.pick.options.image_model names gone.onnx, and there is no such file; expected an ONNX file of CLIP's image half",
                assertThrows(ConfigException.class, () -> c.reward().open(line -> {})).getMessage());
    }

    @Test
    void klNeedsVarianceInEveryStepOfTheWindow() {
        assertEquals("config.yaml:3: train.kl_beta divides by the variance of every step in the window, and step 7 has none (sampler.type cps, noise_level 0.7); "
                + "end sampler.window_end at 7 or set it to 0", complaint("sampler: {window_end: 8}\ntrain:\n  kl_beta: 1e-4\n"));
        read("train: {kl_beta: 1e-4}");
        read("sampler: {type: sde, window_end: 8}\ntrain: {kl_beta: 1e-4}");
        complaint("sampler: {noise_level: 0}\ntrain: {kl_beta: 1e-4}");
    }

    @Test
    void whatTurningPointsAloneUseIsRefusedWithoutThem() {
        assertEquals("config.yaml:1: credit.balancing reward has no turning points to keep: credit.mode outcome has none", complaint("credit: {mode: outcome, balancing: reward}\n"));
        assertEquals("config.yaml:3: credit.eta is a factor of the reward of turning points, and credit.mode incremental has none",
                complaint("credit:\n  mode: incremental\n  eta: 0.5\n"));
        assertEquals("--set credit.balancing=reward: credit.balancing reward ranks as the paper does, and compat is reference, whose code ranks by trend; write one of trend, none",
                complaint("compat: reference\n", "credit.balancing=reward"));
        assertTrue(read("compat: reference\n").dropsZeroAdvantages());
    }

    @Test
    void aWindowThatMovesNeedsASize() {
        assertEquals("config.yaml:1: sampler.window_size must be 1 to 7 (the steps from window_start to window_end), is 0", complaint("sampler: {window_move: random}\n"));
        assertEquals(3, read("sampler: {window_move: sliding, window_size: 3}").sampler().window());
        assertEquals(List.of(0.5), read("sampler: {noise_level: 0.5}").sampler().noiseLevel());
        RunConfig c = read("sampler: {steps: 3, window_end: 2, noise_level: [0.5, 1, 0.25]}");
        assertEquals(c, read(c.toYaml()));
        assertEquals(0.25, c.sampler().noiseLevelAt(2));
        assertEquals(Schedule.flux(8, Schedule.fluxMu(96)).sigma(3), read("sampler: {schedule: flux}").rolloutSteps().schedule().sigma(3), "96 tokens of 4 x 4 pixels");
        assertEquals(Schedule.sd3(20, 3).sigma(3), read("sampler: {schedule: sd3, shift: 3}\nevaluation: {steps: 20}").evaluationSteps().schedule().sigma(3));
    }

    @Test
    void whatLeadsOrResetsTheKlNeedsOne() {
        assertEquals("config.yaml:1: train.kl_target leads train.kl_beta from where it starts, which is 0", complaint("train: {kl_target: 1}\n"));
        assertEquals("config.yaml:1: train.reference_reset resets the reference of the KL, and train.kl_beta is 0", complaint("train: {reference_reset: 1}\n"));
        assertEquals("config.yaml:2: train.objective grpo-guard scales the ratios of Gaussian steps, and sampler.type cps leaves the variance out of its log-probability; take sde or dance",
                complaint("train:\n  objective: grpo-guard\n"));
        read("sampler: {type: dance}\ntrain: {objective: grpo-guard}");
    }

    @Test
    void trainingNeedsNoise() {
        assertThrows(ConfigException.class, () -> read("sampler: {type: ode}").requireExploration());
        assertThrows(ConfigException.class, () -> read("sampler: {noise_level: 0}").requireExploration());
        assertThrows(ConfigException.class, () -> read("sampler: {steps: 3, window_end: 2, noise_level: [0.5, 0, 0.5]}").requireExploration());
        read("sampler: {steps: 3, window_end: 2, noise_level: [0.5, 0.5, 0]}").requireExploration();
        assertThrows(ConfigException.class, () -> read("train: {group_size: 1}").requireExploration());
    }

    @Test
    void brokenDocumentsAreOneLineToo() {
        assertTrue(complaint("seed: [1\n").startsWith("config.yaml:"), complaint("seed: [1\n"));
        assertTrue(complaint("a: b: c\n").startsWith("config.yaml:1: is not YAML: "));
        assertEquals("config.yaml: is not a mapping of keys to values", complaint("- 1\n- 2\n"));
        assertEquals("config.yaml:2: 'seed' stands here a second time", complaint("seed: 1\nseed: 2\n"));
        assertEquals("config.yaml:1: sampler is a section: write its keys indented below it", complaint("sampler: 8\n"));
        assertTrue(complaint("seed: 1\n---\nseed: 2\n").contains("second document"));
        assertEquals("--set steps: an assignment reads key=value, as in sampler.steps=8", complaint("", "steps"));
    }

    @Test
    void missingFilesAndPresetsAreNamed() {
        Path gone = folder.resolve("gone.yaml");
        assertEquals(gone + ": there is no such file", assertThrows(ConfigException.class, () -> ConfigReader.read(gone, null, List.of())).getMessage());
        assertTrue(assertThrows(ConfigException.class, () -> ConfigReader.read(folder, null, List.of())).getMessage().contains("folder"));
        assertEquals("config.yaml:2: preset 'glyf' is not a preset; did you mean 'glyph'?", complaint("seed: 1\npreset: glyf\n"));
    }
}
