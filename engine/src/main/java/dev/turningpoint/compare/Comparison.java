package dev.turningpoint.compare;

import dev.turningpoint.image.ImageBatch;
import dev.turningpoint.report.RunFolder;
import dev.turningpoint.train.ConfigException;
import dev.turningpoint.train.RunConfig;
import dev.turningpoint.train.TrainingObserver;
import dev.turningpoint.weights.AtomicFile;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;

/** Which runs a comparison has, where they lie, and the report of those that are done. Seeds are the outer loop: every arm has run once before one runs twice. */
public final class Comparison {
    private final Path folder;
    private final RunConfig common;
    private final List<Arm> arms;
    private final int seeds;
    private final String command;

    /**
     * @param folder  of the report; runs lie in {@code <arm>/seed-<n>} in it
     * @param common  what all runs share, of {@link #common}
     * @param arms    the first is the baseline
     * @param seeds   each arm runs with 1 .. seeds
     * @param command that made it, for the report
     */
    public Comparison(Path folder, RunConfig common, List<Arm> arms, int seeds, String command) {
        this.folder = folder;
        this.common = common;
        this.arms = List.copyOf(arms);
        this.seeds = seeds;
        this.command = command;
        var names = new HashSet<String>();
        for (Arm arm : arms) if (!names.add(arm.name())) throw new ConfigException("--arm", "'" + arm.name() + "' stands there twice");
    }

    /**
     * A configuration whose runs can be compared: no clock ends one.
     *
     * @param evaluations each run goes on until it has put so many rows through the network; 0 leaves that to {@code train.iterations}
     */
    public static RunConfig common(RunConfig config, long evaluations) {
        RunConfig timeless = config.with("train.time_limit_minutes=0");
        return evaluations == 0 ? timeless : timeless.with("train.max_evaluations=" + evaluations, "train.iterations=" + Integer.MAX_VALUE);
    }

    /** A training run of an arm with a seed. */
    public final class Run {
        private final Arm arm;
        private final long seed;
        private final RunConfig config;
        private final RunFolder folder;

        private Run(Arm arm, long seed) {
            this.arm = arm;
            this.seed = seed;
            config = arm.configure(common, seed);
            folder = new RunFolder(Comparison.this.folder.resolve(arm.name()).resolve("seed-" + seed));
        }

        public RunConfig config() { return config; }

        public RunFolder folder() { return folder; }

        /** Passes everything on, and keeps how long iterations took. */
        public TrainingObserver timed(TrainingObserver next) {
            var timing = new Timing(folder.path());
            return new TrainingObserver() {
                @Override
                public void resumed(long updates) { next.resumed(updates); }

                @Override
                public void update(long updates, Map<String, Double> metrics) { next.update(updates, metrics); }

                @Override
                public void evaluated(long updates, Map<String, Double> metrics, ImageBatch images, List<String> prompts) { next.evaluated(updates, metrics, images, prompts); }

                @Override
                public void iteration(Progress progress) {
                    timing.took(progress.iteration(), progress.seconds());
                    next.iteration(progress);
                }
            };
        }

        /** What it told; null if it is not at its end. */
        private Curve curve() {
            if (!Files.isRegularFile(folder.metrics())) return null;
            Curve curve = Curve.read(folder, new Timing(folder.path()));
            if (curve.points().isEmpty()) return null;
            long most = config.train().maxEvaluations();
            boolean ended = curve.last().iterations() >= config.train().iterations() || most > 0 && curve.last().evaluations() >= most;
            return ended ? curve : null;
        }

        @Override
        public String toString() { return arm.name() + " seed " + seed; }
    }

    /** All runs, in the order they are made. */
    public List<Run> runs() {
        var all = new ArrayList<Run>();
        for (long seed = 1; seed <= seeds; seed++) for (Arm arm : arms) all.add(new Run(arm, seed));
        return all;
    }

    /** Checks the configuration of every run before the first one is made. */
    public void requireValid(Consumer<RunConfig> check) { runs().forEach(run -> check.accept(run.config())); }

    /** Writes the report of the runs that are done. */
    public void report() {
        var curves = new LinkedHashMap<Arm, Map<Long, Curve>>();
        var pictures = new LinkedHashMap<Arm, Path>();
        for (Arm arm : arms) {
            curves.put(arm, new LinkedHashMap<>());
            pictures.put(arm, new Run(arm, 1).folder().pictures().resolve("before-after.png"));
        }
        for (Run run : runs()) {
            Curve curve = run.curve();
            if (curve != null) curves.get(run.arm).put(run.seed, curve);
        }
        try {
            Files.createDirectories(folder);
        } catch (IOException e) {
            throw AtomicFile.failure(folder, e);
        }
        new ComparisonReport(curves).write(folder, command, common.toYaml(), pictures);
    }
}
