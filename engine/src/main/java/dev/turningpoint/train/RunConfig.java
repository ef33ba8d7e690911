package dev.turningpoint.train;

import dev.turningpoint.credit.CreditMode;
import dev.turningpoint.credit.CreditOptions;
import dev.turningpoint.credit.CreditOptions.Balancing;
import dev.turningpoint.credit.CreditOptions.Normalization;
import dev.turningpoint.gpu.DType;
import dev.turningpoint.image.GlyphFont;
import dev.turningpoint.image.WordRenderer;
import dev.turningpoint.model.GlyphConfig;
import dev.turningpoint.model.LoraConfig;
import dev.turningpoint.optim.AdamW;
import dev.turningpoint.reward.RewardException;
import dev.turningpoint.reward.RewardFactory;
import dev.turningpoint.reward.RewardMix;
import dev.turningpoint.reward.RewardSettings;
import dev.turningpoint.sampler.WavefrontSampler.Completions;
import dev.turningpoint.schedule.Schedule;
import dev.turningpoint.schedule.StepTable;
import dev.turningpoint.schedule.StepType;
import dev.turningpoint.schedule.Window;
import dev.turningpoint.text.GlyphAlphabet;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;

/**
 * Everything that decides a run, immutable. The values of preset {@code glyph} and what each means stand in {@code glyph.yaml} beside this class; the
 * keys of a configuration file are these names in snake case. Two runs with equal configurations on the same kind of device give equal bits.
 *
 * @param preset     the named preset that a file's missing keys come from
 * @param seed       seed of prompts, noise and initial weights
 * @param device     which library serves the CUDA driver API
 * @param compat     whose choices to follow where paper and published code differ
 * @param storage    type of activations and compute weights; accumulation, residual streams and master weights are f32 in either
 * @param model      the network and its image
 * @param sampler    schedule, stochastic window and guidance of a rollout
 * @param credit     how rewards become advantages
 * @param train      the optimisation
 * @param reward     what scores an image
 * @param data       where prompts come from
 * @param evaluation held-out prompts
 * @param checkpoint when state is written
 * @param pretrain   flow matching from scratch, the command {@code pretrain}
 */
public record RunConfig(String preset, long seed, Device device, Compat compat, Storage storage, Model model, Sampler sampler, Credit credit, Train train,
                        Reward reward, Data data, Evaluation evaluation, Checkpoint checkpoint, Pretrain pretrain) {

    /** {@code AUTO}: CUDA where an NVIDIA driver loads, else the software GPU. */
    public enum Device { AUTO, CUDA, SOFTWARE }

    public enum Storage {
        F32, BF16;

        public DType type() { return DType.valueOf(name()); }
    }

    /** How sigma falls: {@code SHIFTED} is the glyph model's, the others those of their models as diffusers makes them. */
    public enum ScheduleType { SHIFTED, SD3, FLUX }

    /** {@code REFERENCE} repeats what the published code does where it departs from the paper; engine/docs/differences-from-the-reference.md lists it all. */
    public enum Compat { NONE, REFERENCE }

    /** {@code GRPO}: plain ratios (Flow-GRPO). {@code GRPO_GUARD}: ratios normalized step by step, whose losses are weighed by 1 / -dt (arXiv 2510.22319). */
    public enum Objective { GRPO, GRPO_GUARD }

    public enum Parameters { FULL, LORA }

    public enum Source { GENERATED, FILE }

    public RunConfig {
        if (train.klBeta() > 0) {
            int first = firstStepWithoutSpread(sampler);
            if (first >= 0)
                throw new ConfigException("train.kl_beta", "divides by the variance of every step in the window, and step " + first + " has none ("
                        + "sampler.type " + name(sampler.type()) + ", noise_level " + ConfigWriter.number(sampler.noiseLevelAt(first)) + "); end sampler.window_end at " + first + " or set it to 0");
        }
        if (train.objective() == Objective.GRPO_GUARD && sampler.type() != StepType.SDE && sampler.type() != StepType.DANCE)
            throw new ConfigException("train.objective", "grpo-guard scales the ratios of Gaussian steps, and sampler.type " + name(sampler.type())
                    + " leaves the variance out of its log-probability; take sde or dance");
        if (compat == Compat.REFERENCE && credit.balancing() == Balancing.REWARD)
            throw new ConfigException("credit.balancing", "reward ranks as the paper does, and compat is reference, whose code ranks by trend; write one of trend, none");
        if (!model.isGlyph() && train.parameters() == Parameters.FULL)
            throw new ConfigException("train.parameters", "is full, and of a published model an adapter is trained; write lora");
        if (!model.isGlyph() && data.source() == Source.GENERATED)
            throw new ConfigException("data.source", "generated makes words for the glyph model; write file, and data.path");
        if (data.source() == Source.FILE && data.path().isEmpty()) throw new ConfigException("data.path", "names no file, and data.source is file");
    }

    /** Checks what only training needs: a window with noise to explore. */
    public void requireExploration() {
        if (sampler.type() == StepType.ODE) throw new ConfigException("sampler.type", "ode has no noise, so that training would explore nothing; take cps or sde");
        for (int i = sampler.windowStart(); i < sampler.windowEnd(); i++)
            if (sampler.noiseLevelAt(i) == 0) throw new ConfigException("sampler.noise_level", "is 0 at step " + i + ", so that training would explore nothing there; 0.7 is usual");
        if (train.groupSize() < 2) throw new ConfigException("train.group_size", "must be at least 2: a trajectory is judged against its group");
    }

    private static int firstStepWithoutSpread(Sampler s) {
        for (int i = s.windowStart(); i < s.windowEnd(); i++)
            if (s.type() == StepType.ODE || s.noiseLevelAt(i) == 0 || s.type() == StepType.CPS && i == s.steps() - 1) return i;   // sigma_next = 0 there, and std = sigma_next sin(...)
        return -1;
    }

    private static String name(Enum<?> value) { return ConfigReader.nameOf(value); }

    /** How rewards become advantages. */
    public CreditOptions creditOptions() {
        return new CreditOptions(credit.mode(), (float) credit.eta(), credit.balancing(), credit.normalization(), credit.advantageClip(), compat == Compat.REFERENCE);
    }

    /** Whether trajectories whose advantages are all exactly 0 are left out of the updates; the published code always does. */
    public boolean dropsZeroAdvantages() { return credit.dropZeroAdvantages() || compat == Compat.REFERENCE; }

    /** The steps of a rollout. */
    public StepTable rolloutSteps() {
        var levels = new double[sampler.steps()];
        Arrays.setAll(levels, sampler::noiseLevelAt);
        var window = new Window(sampler.windowStart(), sampler.windowEnd(), sampler.window(), sampler.windowMove(), sampler.windowEvery(), seed, train.groupSize(),
                train.promptsPerIteration());
        var steps = new StepTable(schedule(sampler.steps()), sampler.type(), levels, window, sampler.completionStride());
        return compat == Compat.REFERENCE ? steps.withPublishedKl() : steps;
    }

    /** What a rollout has beside its trajectories. */
    public Completions completions() {
        if (!creditOptions().needsCompletions()) return Completions.NONE;
        return compat == Compat.REFERENCE ? Completions.OTHER_NOISE : Completions.SHARED_NOISE;
    }

    /** What the latents of a rollout are rounded to: the published code keeps them in the type of its network. */
    public DType latents() { return compat == Compat.REFERENCE ? storage.type() : DType.F32; }

    /** The deterministic steps of an evaluation. */
    public StepTable evaluationSteps() { return StepTable.ode(schedule(evaluation.steps() == 0 ? sampler.steps() : evaluation.steps())); }

    private Schedule schedule(int steps) {
        return switch (sampler.schedule()) {
            case SHIFTED -> Schedule.shifted(steps, sampler.shift());
            case SD3 -> Schedule.sd3(steps, sampler.shift());
            case FLUX -> Schedule.flux(steps, Schedule.fluxMu(model.imageTokens()));
        };
    }

    /** The values of preset {@code glyph}. */
    public static RunConfig glyph() { return Presets.get("glyph"); }

    /**
     * This configuration with some values changed.
     *
     * @param assignments as of {@code --set}: {@code "train.iterations=3"}
     */
    public RunConfig with(String... assignments) { return ConfigReader.override(this, List.of(assignments)); }

    /** What decides the bits of the rewards, in place of {@link #reward}. */
    RunConfig withoutTransport() {
        return new RunConfig(preset, seed, device, compat, storage, model, sampler, credit, train, reward.withoutTransport(), data, evaluation, checkpoint, pretrain);
    }

    /** This configuration as YAML that {@link ConfigReader} reads back to an equal one. */
    public String toYaml() { return ConfigWriter.write(this); }

    /** {@code GLYPH}: the engine's own. {@code DIFFUSERS}: SD3.5 or FLUX.1, the folder of a diffusers pipeline. */
    public enum Network { GLYPH, DIFFUSERS }

    /**
     * @param name           which network
     * @param weights        {@code bundled} (glyph only), or a path: of a safetensors file of the glyph model, of a diffusers pipeline its folder
     * @param imageHeight    pixels
     * @param imageWidth     pixels
     * @param width          glyph: numbers per token, D
     * @param depth          glyph: joint-attention blocks
     * @param heads          glyph: attention heads; D / heads must be 32, 64 or 128
     * @param patch          glyph: pixels along the side of a patch
     * @param mlpRatio       glyph: hidden width of the feed-forward layers over D
     * @param tokens         glyph: text tokens, the longest word
     * @param font           glyph: {@code bundled}, or the path of a TrueType file: what the words of pre-training are written in
     * @param textTokens     diffusers: tokens of T5
     * @param guidance       diffusers: the guidance that FLUX.1-dev takes as an input
     * @param negativePrompt diffusers: what the unconditional forward reads where sampler.guidance is not 1
     */
    public record Model(Network name, String weights, int imageHeight, int imageWidth, int width, int depth, int heads, int patch, int mlpRatio, int tokens, String font,
                        int textTokens, double guidance, String negativePrompt) {
        /** Pixels of an image's side to one token of a published network: 8 of the VAE, times a patch of 2. */
        private static final int TOKEN_PIXELS = 16;

        public Model {
            if (weights.isEmpty()) throw new ConfigException("model.weights", "is empty; write " + (name == Network.GLYPH ? "'bundled' or a path" : "the folder of a diffusers pipeline, or give --model"));
            if (font.isEmpty()) throw new ConfigException("model.font", "is empty; write 'bundled' or the path of a TrueType file");
            atLeast("model.width", width, 32);
            atLeast("model.depth", depth, 1);
            atLeast("model.heads", heads, 1);
            atLeast("model.patch", patch, 1);
            atLeast("model.mlp_ratio", mlpRatio, 1);
            atLeast("model.image_height", imageHeight, patch);
            atLeast("model.image_width", imageWidth, patch);
            atLeast("model.tokens", tokens, 1);
            within("model.text_tokens", textTokens, 1, 512);
            within("model.guidance", guidance, 0, 100);
            int head = width / heads;
            if (width % heads != 0 || head != 32 && head != 64 && head != 128)
                throw new ConfigException("model.heads", width + " / " + heads + " gives no head dimension of 32, 64 or 128");
            if (name == Network.GLYPH && (imageHeight % patch != 0 || imageWidth % patch != 0))
                throw new ConfigException("model.patch", patch + " does not divide the image, " + imageHeight + " x " + imageWidth);
        }

        /** Whether it is the engine's own small model. */
        public boolean isGlyph() { return name == Network.GLYPH; }

        /** The writer of the words that the glyph model learns. */
        public WordRenderer words() { return new WordRenderer(font.equals("bundled") ? GlyphFont.bundled() : GlyphFont.open(Path.of(font)), imageHeight, imageWidth); }

        public GlyphConfig glyph() { return new GlyphConfig(imageHeight, imageWidth, patch, width, depth, heads, mlpRatio, tokens, GlyphAlphabet.VOCABULARY); }

        /** Tokens of an image, which FLUX's schedule goes by. */
        int imageTokens() { return isGlyph() ? glyph().imageTokens() : imageHeight / TOKEN_PIXELS * (imageWidth / TOKEN_PIXELS); }
    }

    /**
     * @param type             the stochastic step inside the window; ODE steps outside. {@code ODE} explores nothing
     * @param schedule         how sigma falls
     * @param steps            denoising steps T
     * @param shift            timestep shift: sigma' = shift sigma / (1 + (shift - 1) sigma); {@code flux} takes its own from the tokens of the image
     * @param noiseLevel       a of the step's formula, 0 to 1 for {@code cps}: one for all steps, or one for each
     * @param windowStart      first step that can be stochastic, 0-based
     * @param windowEnd        one past the last that can
     * @param windowSize       stochastic, and so trained, steps of a trajectory; 0: all from windowStart to windowEnd
     * @param windowMove       how a window of windowSize steps moves between windowStart and windowEnd
     * @param windowEvery      iterations that a sliding window stays where it is
     * @param guidance         classifier-free guidance; 1 is none, and costs one forward instead of two
     * @param completionStride steps that the ODE branches take at once; more than 1 is an approximation of their rewards
     * @param forwardRows      rows of one rollout forward; 0 is what keeps the device busy. Changes memory and speed, no result
     * @param waveMemory       MiB that the latents and activations of one wave may take; 0 is unlimited
     */
    public record Sampler(StepType type, ScheduleType schedule, int steps, double shift, List<Double> noiseLevel, int windowStart, int windowEnd, int windowSize,
                          Window.Move windowMove, int windowEvery, double guidance, int completionStride, int forwardRows, int waveMemory) {
        public Sampler {
            noiseLevel = List.copyOf(noiseLevel);
            within("sampler.steps", steps, 2, 100);
            positive("sampler.shift", shift);
            if (noiseLevel.size() != 1 && noiseLevel.size() != steps)
                throw new ConfigException("sampler.noise_level", "must be one number, or one for each of the " + steps + " steps, is " + noiseLevel.size() + " numbers");
            for (double a : noiseLevel) within("sampler.noise_level", a, 0, type == StepType.CPS ? 1 : 10);
            atLeast("sampler.window_start", windowStart, 0);
            if (windowEnd <= windowStart || windowEnd > steps)
                throw new ConfigException("sampler.window_end", "must be " + (windowStart + 1) + " to " + steps + " (after window_start, at most steps), is " + windowEnd);
            if (windowMove == Window.Move.NONE && windowSize != 0)
                throw new ConfigException("sampler.window_size", "is " + windowSize + ", and sampler.window_move none has no window to move; write random or sliding there, or 0 here");
            if (windowMove != Window.Move.NONE && (windowSize < 1 || windowSize > windowEnd - windowStart))
                throw new ConfigException("sampler.window_size", "must be 1 to " + (windowEnd - windowStart) + " (the steps from window_start to window_end), is " + windowSize);
            atLeast("sampler.window_every", windowEvery, 1);
            within("sampler.guidance", guidance, 0, 100);
            within("sampler.completion_stride", completionStride, 1, steps);
            atLeast("sampler.forward_rows", forwardRows, 0);
            atLeast("sampler.wave_memory", waveMemory, 0);
        }

        /** Stochastic, and so trained, steps per trajectory: n. */
        public int window() { return windowMove == Window.Move.NONE ? windowEnd - windowStart : windowSize; }

        /** a of one step. */
        public double noiseLevelAt(int step) { return noiseLevel.get(noiseLevel.size() == 1 ? 0 : step); }
    }

    /**
     * @param mode               what a step is rewarded with
     * @param eta                factor of what turning points are rewarded with
     * @param balancing          whether a rollout keeps equally many turning points of either sign, and by what they are ranked
     * @param normalization      over what mean and standard deviation of an advantage are taken
     * @param advantageClip      advantages are clipped to plus or minus this
     * @param dropZeroAdvantages trajectories whose advantages are all exactly 0 are left out of the updates
     */
    public record Credit(CreditMode mode, double eta, Balancing balancing, Normalization normalization, double advantageClip, boolean dropZeroAdvantages) {
        public Credit {
            positive("credit.eta", eta);
            if (!mode.turns() && eta != 1) throw new ConfigException("credit.eta", "is a factor of the reward of turning points, and credit.mode " + name(mode) + " has none");
            if (!mode.turns() && balancing != Balancing.NONE)
                throw new ConfigException("credit.balancing", name(balancing) + " has no turning points to keep: credit.mode " + name(mode) + " has none");
            positive("credit.advantage_clip", advantageClip);
        }
    }

    /**
     * @param iterations          rounds of rollout and update
     * @param maxEvaluations      training ends after the iteration in which it has put so many rows through the network, a backward counted as two; 0 is no limit
     * @param promptsPerIteration prompt groups of a rollout
     * @param groupSize           trajectories of a prompt
     * @param updatesPerIteration optimizer steps on one rollout, each on its share of the trajectories
     * @param microBatch          rows (a trajectory at a step) in one forward; changes memory, speed, and the rounding of the gradient's sum
     * @param learningRate        of AdamW
     * @param beta1               of AdamW
     * @param beta2               of AdamW
     * @param eps                 of AdamW
     * @param weightDecay         of AdamW, decoupled
     * @param maxGradNorm         the gradient is scaled down to this norm
     * @param clipRange           c: the ratio is clipped to 1 - c .. 1 + c
     * @param objective           how ratios are made of log-probabilities
     * @param klBeta              weight of the KL to the reference: the model training started from, with the adapter off or as a frozen copy; 0 leaves it out
     * @param klTarget            klBeta is led so that the KL comes to this; 0 leaves it as it is
     * @param referenceReset      iterations after which the reference becomes the model of then; 0 never
     * @param emaDecay            decay of the averaged weights; 0 keeps none
     * @param emaInterval         optimizer steps between two updates of the average
     * @param parameters          what is trained
     * @param loraRank            r, with {@code lora}
     * @param loraAlpha           the adapter counts alpha / r
     * @param loraTargets         suffixes of the names of the linear layers that get an adapter
     * @param loraRanks           ranks of layers that have another, by parts of their names between dots: {@code transformer_blocks.0: 8}; alpha stays
     * @param loraStart           published LoRA that training starts from, file or folder; empty for a new one
     * @param timeLimitMinutes    training ends in time to have reported within this; 0 is no limit
     */
    public record Train(int iterations, long maxEvaluations, int promptsPerIteration, int groupSize, int updatesPerIteration, int microBatch, double learningRate, double beta1,
                        double beta2, double eps, double weightDecay, double maxGradNorm, double clipRange, Objective objective, double klBeta, double klTarget,
                        int referenceReset, double emaDecay, int emaInterval,
                        Parameters parameters, int loraRank, double loraAlpha, List<String> loraTargets, Map<String, Integer> loraRanks, String loraStart,
                        double timeLimitMinutes) {
        public Train {
            loraTargets = List.copyOf(loraTargets);
            loraRanks = Collections.unmodifiableMap(new LinkedHashMap<>(loraRanks));
            atLeast("train.iterations", iterations, 0);
            if (maxEvaluations < 0) throw new ConfigException("train.max_evaluations", "must be at least 0, is " + maxEvaluations);
            atLeast("train.prompts_per_iteration", promptsPerIteration, 1);
            atLeast("train.group_size", groupSize, 1);
            atLeast("train.updates_per_iteration", updatesPerIteration, 1);
            if (promptsPerIteration * (long) groupSize % updatesPerIteration != 0)
                throw new ConfigException("train.updates_per_iteration", updatesPerIteration + " does not divide the " + promptsPerIteration * (long) groupSize
                        + " trajectories of an iteration");
            atLeast("train.micro_batch", microBatch, 1);
            positive("train.learning_rate", learningRate);
            fraction("train.beta1", beta1);
            fraction("train.beta2", beta2);
            positive("train.eps", eps);
            within("train.weight_decay", weightDecay, 0, 1);
            positive("train.max_grad_norm", maxGradNorm);
            positive("train.clip_range", clipRange);
            within("train.kl_beta", klBeta, 0, 1e6);
            within("train.kl_target", klTarget, 0, 1e6);
            if (klTarget > 0 && klBeta == 0) throw new ConfigException("train.kl_target", "leads train.kl_beta from where it starts, which is 0");
            atLeast("train.reference_reset", referenceReset, 0);
            if (referenceReset > 0 && klBeta == 0) throw new ConfigException("train.reference_reset", "resets the reference of the KL, and train.kl_beta is 0");
            fraction("train.ema_decay", emaDecay);
            atLeast("train.ema_interval", emaInterval, 1);
            atLeast("train.lora_rank", loraRank, 1);
            loraRanks.forEach((layer, rank) -> atLeast("train.lora_ranks." + layer, rank, 1));
            positive("train.lora_alpha", loraAlpha);
            if (parameters == Parameters.LORA && loraTargets.isEmpty()) throw new ConfigException("train.lora_targets", "is empty, and train.parameters is lora");
            if (!loraStart.isEmpty() && parameters != Parameters.LORA) throw new ConfigException("train.lora_start", "names an adapter, and train.parameters is full");
            within("train.time_limit_minutes", timeLimitMinutes, 0, 1e9);
        }

        /** Trajectories of an iteration. */
        public int trajectories() { return promptsPerIteration * groupSize; }

        public AdamW.Settings adamW() { return new AdamW.Settings(beta1, beta2, eps, weightDecay, maxGradNorm, emaDecay, emaInterval); }

        /** The adapter, or null where all parameters are trained. */
        public LoraConfig lora() { return parameters == Parameters.LORA ? new LoraConfig(loraRank, loraAlpha, loraTargets, loraRanks, Map.of()) : null; }
    }

    /** Whether a reward is trained on; {@code HELD_OUT} is scored and shown beside those that are; {@code OFF} takes one of the preset's away. */
    public enum Role { TRAIN, HELD_OUT, OFF }

    /**
     * @param threads that score at the same time; 0 takes one per core
     * @param terms   rewards by name, as in the metric {@code reward_<name>}; what is trained on is the weighted sum of those of role {@code train}
     */
    public record Reward(int threads, Map<String, Term> terms) {
        public Reward {
            terms = Collections.unmodifiableMap(new LinkedHashMap<>(terms));
            atLeast("reward.threads", threads, 0);
            terms.forEach((name, term) -> {
                String key = "reward.terms." + name;
                if (!name.matches("[a-z][a-z0-9_]*") || name.equals("avg")) throw new ConfigException(key, "is no name for a reward: lower case letters, digits and _; avg is the sum");
                List<String> kinds = RewardFactory.kinds();
                if (!kinds.contains(term.kind)) throw new ConfigException(key + ".kind", term.kind.isEmpty() ? "is missing; there are: " + String.join(", ", kinds)
                        : "'" + term.kind + "' is not a kind of reward; " + Nearest.hint(term.kind, kinds, "there are: "));
                within(key + ".weight", term.weight, -1e9, 1e9);
                if (term.role == Role.TRAIN && term.weight == 0) throw new ConfigException(key + ".weight", "is 0; a reward that is shown and not trained on has role: held-out");
                if (!(term.clipLow < term.clipHigh)) throw new ConfigException(key + ".clip_low", "must be less than clip_high " + term.clipHigh + ", is " + term.clipLow);
            });
            if (terms.values().stream().noneMatch(t -> t.role == Role.TRAIN)) throw new ConfigException("reward.terms", "has no reward of role train");
        }

        /** The same rewards, wherever their scores come from. */
        Reward withoutTransport() {
            var same = new LinkedHashMap<String, Term>();
            terms.forEach((name, t) -> {
                var options = new LinkedHashMap<>(t.options);
                RewardFactory.of(t.kind).transport().forEach(options::remove);
                same.put(name, new Term(t.kind, t.role, t.weight, t.normalize, t.clipLow, t.clipHigh, t.partial, options));
            });
            return new Reward(0, same);
        }

        /**
         * Makes the rewards, models and all.
         *
         * @throws ConfigException if an option will not do
         * @param notice shows a line to the person who trains while the run waits for one
         */
        public RewardMix open(Consumer<String> notice) {
            var mix = new ArrayList<RewardMix.Term>();
            try {
                terms.forEach((name, term) -> {
                    if (term.role == Role.OFF) return;
                    var settings = new RewardSettings("reward.terms." + name + ".options", term.options, notice);
                    mix.add(new RewardMix.Term(name, settings.create(term.kind), term.role == Role.TRAIN, term.weight, term.normalize, term.clipLow, term.clipHigh,
                            term.partial));
                });
                return new RewardMix(mix, threads, false);
            } catch (RuntimeException | Error e) {
                for (RewardMix.Term made : mix) made.reward().close();
                if (e instanceof RewardException.Option o) throw new ConfigException(o.key(), o.complaint());
                throw e;
            }
        }
    }

    /**
     * One reward.
     *
     * @param kind      what scores: {@code ocr}, {@code pickscore}, {@code http} and others, and those on the class path; see docs/rewards.md
     * @param role      whether it is trained on
     * @param weight    in the sum
     * @param normalize over which images its mean is taken off and it is divided by its standard deviation before the sum
     * @param clipLow   scores below are raised to this
     * @param clipHigh  scores above are lowered to this
     * @param partial   it may say that it does not apply to a prompt
     * @param options   of the kind
     */
    public record Term(String kind, Role role, double weight, RewardMix.Normalize normalize, double clipLow, double clipHigh, boolean partial,
                       Map<String, String> options) {
        public Term {
            options = Collections.unmodifiableMap(new LinkedHashMap<>(options));
        }

        /** What a file leaves out. */
        public Term() {
            this("", Role.TRAIN, 1, RewardMix.Normalize.NONE, -1e9, 1e9, false, Map.of());
        }
    }

    /**
     * @param source {@code generated}: random words of the model's alphabet; {@code file}: one prompt a line
     * @param path   of that file or of its folder, seen from the working directory
     */
    public record Data(Source source, String path) {}

    /**
     * @param prompts held-out prompts, each with one noise of its own, fixed for the run
     * @param every   iterations between two evaluations; the first and the last are always evaluated
     * @param seed    of held-out prompts and their noise, whatever the run's seed
     * @param steps   ODE steps; 0 takes {@code sampler.steps}
     * @param ema     evaluate the averaged weights instead of the trained ones
     */
    public record Evaluation(int prompts, int every, long seed, int steps, boolean ema) {
        public Evaluation {
            atLeast("evaluation.prompts", prompts, 1);
            atLeast("evaluation.every", every, 1);
            atLeast("evaluation.steps", steps, 0);
        }
    }

    /**
     * @param every iterations between two checkpoints; 0 writes none but the last
     * @param keep  newest checkpoints kept
     */
    public record Checkpoint(int every, int keep) {
        public Checkpoint {
            atLeast("checkpoint.every", every, 0);
            atLeast("checkpoint.keep", keep, 1);
        }
    }

    /**
     * @param steps             optimizer steps
     * @param batch             images a step
     * @param learningRate      at its highest
     * @param warmup            steps over which it rises from 0; then it falls linearly
     * @param finalRate         where it ends, as a share of {@code learningRate}
     * @param beta1             of AdamW
     * @param beta2             of AdamW
     * @param eps               of AdamW
     * @param weightDecay       of AdamW
     * @param maxGradNorm       the gradient is scaled down to this norm
     * @param emaDecay          of the averaged weights, which are the result
     * @param conditionDropout  share of images trained without their word, for guidance
     * @param logEvery          steps between two lines of metrics
     */
    public record Pretrain(int steps, int batch, double learningRate, int warmup, double finalRate, double beta1, double beta2, double eps, double weightDecay,
                           double maxGradNorm, double emaDecay, double conditionDropout, int logEvery) {
        public Pretrain {
            atLeast("pretrain.steps", steps, 1);
            atLeast("pretrain.batch", batch, 1);
            positive("pretrain.learning_rate", learningRate);
            atLeast("pretrain.warmup", warmup, 0);
            within("pretrain.final_rate", finalRate, 0, 1);
            fraction("pretrain.beta1", beta1);
            fraction("pretrain.beta2", beta2);
            positive("pretrain.eps", eps);
            within("pretrain.weight_decay", weightDecay, 0, 1);
            positive("pretrain.max_grad_norm", maxGradNorm);
            fraction("pretrain.ema_decay", emaDecay);
            fraction("pretrain.condition_dropout", conditionDropout);
            atLeast("pretrain.log_every", logEvery, 1);
        }
    }

    private static void atLeast(String key, int value, int least) {
        if (value < least) throw new ConfigException(key, "must be at least " + least + ", is " + value);
    }

    private static void within(String key, int value, int low, int high) {
        if (value < low || value > high) throw new ConfigException(key, "must be " + low + " to " + high + ", is " + value);
    }

    private static void positive(String key, double value) {
        if (!(value > 0) || Double.isInfinite(value)) throw new ConfigException(key, "must be greater than 0, is " + value);
    }

    private static void within(String key, double value, double low, double high) {
        if (!(value >= low && value <= high)) throw new ConfigException(key, "must be " + ConfigWriter.number(low) + " to " + ConfigWriter.number(high) + ", is " + value);
    }

    private static void fraction(String key, double value) {
        if (!(value >= 0 && value < 1)) throw new ConfigException(key, "must be at least 0 and less than 1, is " + value);
    }
}
