package dev.turningpoint.cli;

import dev.turningpoint.compare.Arm;
import dev.turningpoint.compare.Comparison;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.report.ProgressLine;
import dev.turningpoint.report.RunReport;
import dev.turningpoint.reward.RewardMix;
import dev.turningpoint.train.RunConfig;
import dev.turningpoint.train.Trainer;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

@Command(name = "compare", description = "Trains in several ways with several seeds at equal cost, and reports the difference.",
        footer = {"", "An arm is a credit mode (outcome, incremental, turning-point, consistent-turning-point), one with +balancing, or NAME:KEY=VALUE,...; without --arm it is all of",
            "the paper's and incremental. The first is the baseline. Run the same command again to go on where it stopped."})
final class CompareCommand implements Callable<Integer> {
    @Mixin private ConfigOptions options;
    @Spec private CommandSpec spec;

    @Option(names = "--arm", paramLabel = "ARM", description = "What to compare; may be repeated.")
    private List<String> arms = new ArrayList<>();

    @Option(names = "--seeds", paramLabel = "N", defaultValue = "5", description = "Seeds of each arm, 1 to N; default ${DEFAULT-VALUE}.")
    private int seeds;

    @Option(names = "--evaluations", paramLabel = "N", description = "Every run goes on until it has put N rows through the network, a backward counted as two; default: train.iterations of each.")
    private long evaluations;

    @Option(names = "--out", paramLabel = "DIR", required = true, description = "Folder of the runs and the report.")
    private Path out;

    @Override
    public Integer call() {
        if (options.seed != null) throw new CommandException("a comparison has --seeds; leave out --seed");
        if (seeds < 1) throw new CommandException("--seeds must be at least 1, is " + seeds);
        if (evaluations < 0) throw new CommandException("--evaluations must be at least 1, is " + evaluations);
        RunConfig common = Comparison.common(options.read(), evaluations);
        List<Arm> compared = (arms.isEmpty() ? Arm.DEFAULTS : arms).stream().map(Arm::parse).toList();
        var comparison = new Comparison(out, common, compared, seeds, "./turningpoint " + String.join(" ", spec.commandLine().getParseResult().originalArgs()));
        PrintWriter lines = spec.commandLine().getOut();
        comparison.requireValid(RunConfig::requireExploration);
        try (Device device = Device.open()) {
            for (Comparison.Run run : comparison.runs()) {
                lines.println(run + ", into " + run.folder().path());
                lines.flush();
                try (RewardMix rewards = run.config().reward().open(spec.commandLine().getErr()::println);
                     Trainer trainer = new Trainer(device, run.config(), rewards, TrainCommand.prompts(run.config()), run.folder().checkpoints())) {
                    trainer.resume();
                    run.folder().create().writeConfig(run.config().toYaml());
                    try (var report = new RunReport(run.folder(), new ProgressLine(lines, ProgressLine.onTerminal(), run.toString()))) {
                        Trainer.Outcome outcome = trainer.run(run.timed(report), Shutdown.requested());
                        if (!outcome.complete()) {
                            lines.println("stopped; the same command goes on");
                            return TurningPointCommand.FAILED;
                        }
                        lines.printf(Locale.ROOT, "%s: held-out reward %.3f -> %.3f after %,d updates%n", run, outcome.rewardBefore(), outcome.rewardAfter(), outcome.updates());
                    }
                }
                comparison.report();   // of what there is: a comparison takes hours, and somebody looks
            }
        }
        lines.println("report: " + out.resolve("report.html"));
        lines.flush();
        return 0;
    }
}
