package dev.turningpoint.train;

import dev.turningpoint.checkpoint.CheckpointFolder;
import dev.turningpoint.credit.CreditAssigner;
import dev.turningpoint.credit.CreditAssigner.Credit;
import dev.turningpoint.credit.ZeroAdvantages;
import dev.turningpoint.data.KRepeat;
import dev.turningpoint.data.Prompt;
import dev.turningpoint.data.Prompts;
import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.GpuException;
import dev.turningpoint.gpu.Resources;
import dev.turningpoint.gpu.Stream;
import dev.turningpoint.grpo.KlWeight;
import dev.turningpoint.grpo.PolicyUpdate;
import dev.turningpoint.grpo.UpdateStatistics;
import dev.turningpoint.image.ImageBatch;
import dev.turningpoint.kernels.CreditKernels;
import dev.turningpoint.kernels.GrpoKernels;
import dev.turningpoint.kernels.OptimKernels;
import dev.turningpoint.kernels.SamplerKernels;
import dev.turningpoint.model.TrainableVelocity;
import dev.turningpoint.optim.AdamW;
import dev.turningpoint.pipeline.Pipeline;
import dev.turningpoint.reward.RewardMix;
import dev.turningpoint.sampler.TrajectoryStore;
import dev.turningpoint.sampler.WavefrontSampler;
import dev.turningpoint.sampler.WavefrontSampler.Completions;
import dev.turningpoint.schedule.StepTable;
import dev.turningpoint.tensor.ParameterFile;
import dev.turningpoint.tensor.Parameters;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.function.BooleanSupplier;

/**
 * TP-GRPO: rollout, rewards, credit, updates, again and again. An iteration rolls out one group of trajectories for each of its prompts, scores all branches,
 * assigns every step its advantage, and takes its optimizer steps, each on its share of the trajectories.
 *
 * <p>Prompts, noise and the shares are functions of (seed, iteration): a run that was killed goes on from its newest checkpoint to the bits of one that was not.
 */
public final class Trainer implements AutoCloseable {
    private static final String ITERATION = "train.iteration", UPDATES = "train.updates", BEFORE = "train.reward_before", AFTER = "train.reward_after",
            EVALUATED = "train.evaluated_at", EVALUATIONS = "train.network_evaluations", REWARD_CALLS = "train.reward_calls", CONFIG = "train.config", KL_WEIGHT = "train.kl_weight";

    /** Bytes of the images of a part, most. */
    private static final long PART_IMAGES = 1L << 30;

    private final RunConfig config;
    private final RunConfig.Train train;
    private final RewardMix rewards;
    private final Prompts prompts;
    private final List<Prompt> heldOut;
    private final Resources resources = new Resources();
    private final Pipeline pipeline;
    private final TrainableVelocity model;
    private final SamplerKernels samplerKernels;
    private final GrpoKernels grpoKernels;
    private final CreditKernels creditKernels;
    private final OptimKernels optimKernels;
    private final Stream stream;
    private final StepTable steps;
    private final TrajectoryStore store;
    private final WavefrontSampler sampler, evaluationSampler;
    private final RolloutRewards rollout, evaluation;
    private final CreditAssigner credit;
    private final PolicyUpdate policy;
    private final AdamW optimizer;
    private final KlWeight klWeight;
    private final CheckpointFolder checkpoints;
    private int iteration;
    /** Of training, as its metrics count them: rows through the network, a backward as two, and images scored. What an evaluation costs is not in them. */
    private long evaluations, rewardCalls;
    private double rewardBefore = Double.NaN, rewardAfter = Double.NaN;
    private int evaluatedAt = -1;
    private BooleanSupplier stop = () -> false;

    /**
     * How a run ended.
     *
     * @param iterations   done
     * @param updates      done
     * @param rewardBefore mean reward on held-out prompts before training
     * @param rewardAfter  at the last evaluation, which is after training unless the run was stopped
     * @param complete     whether all iterations of the configuration were done, or time or a signal ended it
     */
    public record Outcome(int iterations, long updates, double rewardBefore, double rewardAfter, boolean complete) {
    }

    /**
     * @param rewards     stay open; the caller closes them
     * @param checkpoints folder of this run's checkpoints
     */
    public Trainer(Device device, RunConfig config, RewardMix rewards, Prompts prompts, Path checkpoints) {
        config.requireExploration();
        this.config = config;
        this.rewards = rewards;
        this.prompts = prompts;
        this.checkpoints = new CheckpointFolder(checkpoints, config.checkpoint().keep(), config.train().referenceReset() > 0);
        train = config.train();
        klWeight = new KlWeight(train.klBeta(), train.klTarget());
        try {
            stream = resources.add(device.newStream());
            prompts.train(0, train.promptsPerIteration());   // too few are refused now
            heldOut = prompts.heldOut(config.evaluation().seed(), config.evaluation().prompts());
            pipeline = resources.add(ConfiguredPipeline.forTraining(device, config, stream));
            model = pipeline.network();
            samplerKernels = resources.add(new SamplerKernels(device));
            grpoKernels = resources.add(new GrpoKernels(device));
            creditKernels = resources.add(new CreditKernels(device));
            optimKernels = resources.add(new OptimKernels(device));
            begin();

            var s = config.sampler();
            steps = config.rolloutSteps();
            int trajectories = train.trajectories();
            store = resources.add(new TrajectoryStore(device, trajectories, steps.window(), model.latentSize(), train.objective() == RunConfig.Objective.GRPO_GUARD));
            sampler = resources.add(new WavefrontSampler(device, samplerKernels, model, steps, s.guidance(), part(config, model.latentSize(), pipeline.channels() * pipeline.height() * pipeline.width()), config.completions(), config.latents(), model.maxBatch()));
            rollout = resources.add(new RolloutRewards(device, sampler, pipeline, rewards, stream, trajectories, 0, this::stopped));
            credit = resources.add(new CreditAssigner(device, creditKernels, config.creditOptions(), trajectories, steps.window()));
            evaluationSampler = resources.add(new WavefrontSampler(device, samplerKernels, model, config.evaluationSteps(), s.guidance(),
                    Math.min(heldOut.size(), model.maxBatch()), Completions.NONE, DType.F32, model.maxBatch()));
            evaluation = resources.add(new RolloutRewards(device, evaluationSampler, pipeline, rewards, stream, heldOut.size(), Math.min(heldOut.size(), TrainingObserver.SHOWN), this::stopped));
            policy = resources.add(new PolicyUpdate(device, samplerKernels, grpoKernels, model, steps, store,
                    new PolicyUpdate.Settings(train.clipRange(), config.credit().advantageClip(), train.klBeta() > 0, s.guidance()), train.microBatch(),
                    trajectories / train.updatesPerIteration() * steps.window()));
            optimizer = resources.add(new AdamW(device, optimKernels, model.trained(),
                    new AdamW.Settings(train.beta1(), train.beta2(), train.eps(), train.weightDecay(), train.maxGradNorm(), train.emaDecay(), train.emaInterval())));
            resources.add(stream::synchronize);   // first of all: what is still copied needs its memory
        } catch (RuntimeException | Error e) {   // a damaged file or too little memory, most likely: the caller gets no trainer to close
            resources.closeAfter(e);
            if (e instanceof GpuException g && g.error().equals("CUDA_ERROR_OUT_OF_MEMORY")) {
                long wave = config.sampler().waveMemory();
                throw g.withAdvice("Lower sampler.wave_memory (now " + (wave == 0 ? "unlimited" : wave + " MB") + ") or train.micro_batch (now " + train.microBatch() + ").");
            }
            throw e;
        }
    }

    /**
     * Trajectories of one part of a rollout: a quarter of them, so that rewards overlap rollouts, or as many as have the images of all their branches in a gibibyte of host
     * memory and their latents in half of wave_memory; any number gives the same bits.
     *
     * @param image numbers of an image
     */
    static int part(RunConfig config, int latentSize, int image) {
        RunConfig.Train train = config.train();
        long branches = 1L + config.sampler().window(), latents = branches * latentSize * Float.BYTES, memory = halfOfWaveMemory(config);
        int quarter = train.groupSize() * ((train.promptsPerIteration() + 3) / 4);
        int wanted = (int) Math.clamp(PART_IMAGES / (branches * image * Float.BYTES), 1, Math.min(quarter, train.trajectories()));
        return memory == 0 ? wanted : (int) Math.clamp(memory / latents, 1, wanted);
    }

    static long halfOfWaveMemory(RunConfig config) {
        return config.sampler().waveMemory() * (1L << 19);
    }

    /** The state that training starts from, also before a resume: it is the reference of the KL. */
    private void begin() {
        Parameters trained = model.trained();
        trained.firstMoment().clear(stream);
        trained.secondMoment().clear(stream);
        if (trained.hasAverage()) {
            trained.average().copyFrom(trained.values(), stream);
        }
        if (trained.hasReference()) {
            trained.takeReference(stream);
        }
        model.parametersChanged(stream);
        stream.synchronize();
    }

    /**
     * Goes on from the newest checkpoint.
     *
     * @return whether there was one
     */
    public boolean resume() {
        Path file = checkpoints.newest();
        if (file == null) {
            return false;
        }
        Map<String, String> metadata = CheckpointFolder.metadata(file);
        String ours = fingerprint(config), theirs = metadata.get(CONFIG);
        if (!ours.equals(theirs)) {
            throw new TrainingException(file + " was written with another configuration: " + difference(theirs, ours));
        }
        checkpoints.read(file, model.trained(), stream);
        model.parametersChanged(stream);
        stream.synchronize();
        iteration = Integer.parseInt(metadata.get(ITERATION));
        optimizer.resumeAt(Long.parseLong(metadata.get(UPDATES)));
        klWeight.resumeAt(Double.parseDouble(metadata.getOrDefault(KL_WEIGHT, Double.toString(train.klBeta()))));
        rewardBefore = Double.parseDouble(metadata.get(BEFORE));
        rewardAfter = Double.parseDouble(metadata.getOrDefault(AFTER, "NaN"));
        evaluatedAt = Integer.parseInt(metadata.getOrDefault(EVALUATED, "-1"));
        evaluations = Long.parseLong(metadata.getOrDefault(EVALUATIONS, "0"));
        rewardCalls = Long.parseLong(metadata.getOrDefault(REWARD_CALLS, "0"));
        return true;
    }

    /**
     * Trains to the configured number of iterations, to the time limit, or until {@code stop}; evaluates before, between and after. A run that is stopped
     * writes its checkpoint and leaves the last evaluation to the run that goes on; what waits for rewards gives up, and its iteration is done again then.
     */
    public Outcome run(TrainingObserver observer, BooleanSupplier stop) {
        this.stop = stop;
        long began = System.nanoTime();
        if (iteration > 0) {
            observer.resumed(optimizer.steps());
            if (iteration % config.evaluation().every() == 0 && evaluatedAt != iteration) {   // the run before was stopped in it
                evaluate(observer);
            }
        } else {
            evaluate(observer);
            rewardBefore = rewardAfter;
        }
        double evaluationSeconds = (System.nanoTime() - began) / 1e9, slowest = 0;
        while (goesOn() && !stop.getAsBoolean()) {
            double spent = (System.nanoTime() - began) / 1e9;
            if (train.timeLimitMinutes() > 0 && spent + 1.2 * slowest + 1.5 * evaluationSeconds > 60 * train.timeLimitMinutes()) {
                break;
            }
            long start = System.nanoTime();
            double mean = iterate(observer);
            if (Double.isNaN(mean)) {
                break;
            }
            double seconds = (System.nanoTime() - start) / 1e9;
            slowest = Math.max(slowest, seconds);
            int last = lastIteration();
            double rest = (last - iteration) * (seconds + evaluationSeconds / config.evaluation().every());
            if (train.timeLimitMinutes() > 0) {
                rest = Math.min(rest, 60 * train.timeLimitMinutes() - (System.nanoTime() - began) / 1e9);
            }
            observer.iteration(new TrainingObserver.Progress(iteration, last, mean, train.trajectories() * sampler.branches(), seconds, rest));
            if (iteration % config.evaluation().every() == 0) {
                long e = System.nanoTime();
                evaluate(observer);
                evaluationSeconds = (System.nanoTime() - e) / 1e9;
            }
            if (config.checkpoint().every() > 0 && iteration % config.checkpoint().every() == 0) {
                checkpoint();
            }
        }
        boolean stopped = goesOn() && stop.getAsBoolean();
        if (evaluatedAt != iteration && !stopped) {
            evaluate(observer);
        }
        checkpoint();
        return new Outcome(iteration, optimizer.steps(), rewardBefore, rewardAfter, !goesOn());
    }

    private boolean goesOn() {
        return iteration < train.iterations() && (train.maxEvaluations() == 0 || evaluations < train.maxEvaluations());
    }

    /** The iteration that will be the last if those to come cost as many evaluations as those that were. */
    private int lastIteration() {
        if (train.maxEvaluations() == 0 || evaluations == 0) {
            return train.iterations();
        }
        double each = (double) evaluations / iteration;
        return (int) Math.min(train.iterations(), iteration + Math.max(0, Math.ceil((train.maxEvaluations() - evaluations) / each)));
    }

    private boolean stopped() {
        return stop.getAsBoolean();
    }

    /** One iteration; returns the mean reward of its trajectories, NaN if it was given up for a stop. */
    private double iterate(TrainingObserver observer) {
        int trajectories = train.trajectories(), groupSize = train.groupSize(), n = steps.window();
        if (train.referenceReset() > 0 && iteration > 0 && iteration % train.referenceReset() == 0) {
            model.trained().takeReference(stream);
        }
        var repeat = new KRepeat(train.promptsPerIteration(), groupSize, 1);
        List<Prompt> of = repeat.trajectories(prompts, iteration, 0);
        int[] group = repeat.group(0), conditions = pipeline.conditions(of, stream);
        long before = sampler.evaluations();
        RolloutRewards.Rewards scored = rollout.run(of, group, conditions, Math.multiplyExact(iteration, trajectories), config.seed(), store);
        if (scored == null) {
            return Double.NaN;
        }
        Credit assigned = credit.assign(stream, scored.summed(), group, train.promptsPerIteration());
        Map<String, Double> rolled = TrainingMetrics.rollout(scored, iteration, assigned, trajectories, groupSize, n, sampler.branches() > 1);

        evaluations += sampler.evaluations() - before;
        rewardCalls += (long) trajectories * sampler.branches();
        float[] recorded = policy.recordedLogProbs(stream);
        int[] order = permutation(trajectories, new SplittableRandom(config.seed() * 0x9E3779B97F4A7C15L + iteration));
        if (config.dropsZeroAdvantages()) {
            order = ZeroAdvantages.drop(assigned.advantage(), n, order, train.updatesPerIteration());
        }
        rolled.put("actual_batch_size", (double) order.length);
        int share = order.length / train.updatesPerIteration();
        for (int u = 0; u < train.updatesPerIteration(); u++) {
            UpdateStatistics statistics = policy.accumulate(stream, Arrays.copyOfRange(order, u * share, (u + 1) * share), conditions, recorded, assigned.advantage(), klWeight.value());
            double norm = optimizer.step(stream, train.learningRate());
            if (!Double.isFinite(norm)) {
                throw new TrainingException("the gradient of update " + (optimizer.steps() + 1) + " (iteration " + (iteration + 1) + ") is not finite: training diverged; lower "
                        + "train.learning_rate (now " + train.learningRate() + ") or resume from a checkpoint with another seed");
            }
            evaluations += policy.evaluations(share);
            var metrics = new LinkedHashMap<>(TrainingMetrics.update(statistics, klWeight.value(), norm, train.learningRate()));
            klWeight.observe(statistics.kl());
            metrics.putAll(rolled);
            countInto(metrics);
            observer.update(optimizer.steps(), metrics);
        }
        iteration++;
        return rolled.get("reward_avg");
    }

    /** Judges ODE samples of the held-out prompts, with noise of their own that never changes; their mean becomes {@code rewardAfter}, unless a stop came first. */
    private void evaluate(TrainingObserver observer) {
        int[] conditions = pipeline.conditions(heldOut, stream);
        boolean average = config.evaluation().ema() && model.trained().hasAverage();
        if (average) {
            model.read(Parameters.Source.AVERAGE, stream);
        }
        try {
            RolloutRewards.Rewards scored = evaluation.run(heldOut, null, conditions, 0, config.evaluation().seed(), null);
            if (scored == null) {
                return;
            }
            rewardAfter = TrainingMetrics.mean(scored.summed());
            evaluatedAt = iteration;
            var metrics = new LinkedHashMap<String, Double>();
            scored.reached().forEach((name, values) -> metrics.put("eval/reward_" + name, RewardMix.mean(values)));
            metrics.put("eval/reward_avg", rewardAfter);
            metrics.put("epoch", (double) iteration);
            countInto(metrics);
            ImageBatch images = evaluation.shown();
            observer.evaluated(optimizer.steps(), metrics, images, heldOut.stream().limit(images.count()).map(Prompt::caption).toList());
        } finally {
            if (average) {
                model.read(Parameters.Source.VALUES, stream);
            }
        }
    }

    private void countInto(Map<String, Double> metrics) {
        metrics.put("network_evaluations", (double) evaluations);
        metrics.put("reward_calls", (double) rewardCalls);
    }

    private void checkpoint() {
        checkpoints.write(iteration, model.trained(), Map.of(ITERATION, Integer.toString(iteration), UPDATES, Long.toString(optimizer.steps()), BEFORE,
                Double.toString(rewardBefore), AFTER, Double.toString(rewardAfter), EVALUATED, Integer.toString(evaluatedAt), EVALUATIONS, Long.toString(evaluations),
                REWARD_CALLS, Long.toString(rewardCalls), KL_WEIGHT, Double.toString(klWeight.value()), CONFIG, fingerprint(config)), stream);
    }

    /** What of a configuration decides the bits of a run: not how long it runs, how much of a wave fits in memory, or when it reports. */
    private static String fingerprint(RunConfig config) {
        return config.with("train.iterations=0", "train.max_evaluations=0", "train.time_limit_minutes=0", "sampler.wave_memory=0", "sampler.forward_rows=0", "evaluation.every=1",
                "checkpoint.every=0", "checkpoint.keep=1", "device=auto").withoutTransport().toYaml();
    }

    private static String difference(String theirs, String ours) {
        String[] a = theirs == null ? new String[0] : theirs.split("\n"), b = ours.split("\n");
        for (int i = 0; i < Math.min(a.length, b.length); i++) {
            if (!a[i].equals(b[i])) {
                return "'" + a[i].strip() + "' there, '" + b[i].strip() + "' now";
            }
        }
        return "it has " + a.length + " lines, this one " + b.length;
    }

    private static int[] permutation(int count, SplittableRandom random) {
        var order = new int[count];
        for (int i = 0; i < count; i++) {
            int j = random.nextInt(i + 1);
            order[i] = order[j];
            order[j] = i;
        }
        return order;
    }

    /** The model in training, to sample from or to save. */
    public Pipeline pipeline() {
        return pipeline;
    }

    /** Iterations done. */
    public int iteration() {
        return iteration;
    }

    /** Updates done. */
    public long updates() {
        return optimizer.steps();
    }

    /** Writes the trained weights: all of them, or the adapter, f32. */
    public void save(Path file, Map<String, String> metadata) {
        ParameterFile.save(file, model.trained().layout(), model.trained().values(), metadata, stream);
    }

    /**
     * Writes what training made, of the averaged weights if those are evaluated, in the forms that other tools read.
     *
     * @param folder exists
     * @return the file to name to the user
     */
    public Path saveResult(Path folder) {
        return pipeline.save(folder, config.evaluation().ema() && model.trained().hasAverage() ? Parameters.Source.AVERAGE : Parameters.Source.VALUES, stream);
    }

    @Override
    public void close() {
        resources.close();
    }
}
