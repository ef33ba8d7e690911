package dev.turningpoint.cli;

import dev.turningpoint.data.FilePrompts;
import dev.turningpoint.data.Prompts;
import dev.turningpoint.data.WordPrompts;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.report.ProgressLine;
import dev.turningpoint.report.RunFolder;
import dev.turningpoint.report.RunReport;
import dev.turningpoint.reward.RewardMix;
import dev.turningpoint.text.GlyphAlphabet;
import dev.turningpoint.train.ConfigReader;
import dev.turningpoint.train.RunConfig;
import dev.turningpoint.train.Trainer;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

@Command(name = "train", description = "Fine-tunes a model by reinforcement learning.")
final class TrainCommand implements Callable<Integer> {
    @Mixin private ConfigOptions options;
    @Spec private CommandSpec spec;

    @Option(names = "--out", paramLabel = "DIR", description = "Run folder; default runs/<time>.")
    private Path out;

    @Option(names = "--resume", paramLabel = "DIR", arity = "0..1", fallbackValue = "", description = "Go on where the run in DIR stopped; without DIR the newest in runs/.")
    private Path resume;

    @Override
    public Integer call() {
        long began = System.nanoTime();
        RunFolder folder = null;
        RunConfig config;
        if (resume == null) {
            config = options.read();
        } else {
            if (out != null) throw new CommandException("--resume goes on in the folder of its run; leave out --out");
            if (options.file != null || options.preset != null || options.seed != null)
                throw new CommandException("a resumed run keeps its configuration; leave out --config, --preset and --seed (--set may change how long it runs)");
            folder = resume.toString().isEmpty() ? RunFolder.newest().orElseThrow(() -> new CommandException("there is no run in " + RunFolder.RUNS + " to go on with"))
                    : RunFolder.open(resume);
            config = ConfigReader.read(folder.config(), null, options.assignments);
            ConfigOptions.chooseDevice(config);
        }
        config.requireExploration();
        Prompts prompts = prompts(config);
        PrintWriter lines = spec.commandLine().getOut();
        PrintWriter err = spec.commandLine().getErr();
        // Whatever can be refused is refused before the folder of a new run is made.
        try (Device device = Device.open(); RewardMix rewards = config.reward().open(err::println)) {
            if (folder == null) folder = RunFolder.of(out);
            try (Trainer trainer = new Trainer(device, config, rewards, prompts, folder.checkpoints())) {
                boolean goesOn = resume != null && trainer.resume();
                folder.create().writeConfig(config.toYaml());
                lines.println((goesOn ? "going on after iteration " + trainer.iteration() : "training") + " on " + device.name() + " (" + InspectCommand.size(device.allocated()) + " of its memory), into " + folder.path());
                lines.flush();
                Trainer.Outcome outcome;
                try (var report = new RunReport(folder, new ProgressLine(lines, ProgressLine.onTerminal(), "train"))) {
                    outcome = trainer.run(report, Shutdown.requested());
                    if (Shutdown.requested().getAsBoolean() && !outcome.complete()) {
                        report.close();
                        lines.println("stopped after iteration " + outcome.iterations() + " of " + config.train().iterations() + "; go on with: turningpoint train --resume " + folder.path());
                        return TurningPointCommand.FAILED;         // unless the signal's own status is reported
                    }
                    Path result = trainer.saveResult(folder.result());
                    report.close();
                    lines.printf(Locale.ROOT, "held-out reward %.3f -> %.3f (%+.3f) after %,d updates, %s%n", outcome.rewardBefore(), outcome.rewardAfter(),
                            outcome.rewardAfter() - outcome.rewardBefore(), outcome.updates(), ProgressLine.duration((System.nanoTime() - began) / 1e9));
                    if (Files.exists(report.beforeAfter())) lines.println("picture: " + report.beforeAfter());
                    lines.println("result:  " + result);
                    if (!outcome.complete()) lines.println("iteration " + outcome.iterations() + " of " + config.train().iterations() + "; go on with: turningpoint train --resume " + folder.path());
                    lines.flush();
                }
            }
        }
        return 0;
    }

    /** The prompts that a configuration names. */
    static Prompts prompts(RunConfig config) {
        RunConfig.Model model = config.model();
        if (!model.isGlyph()) return new FilePrompts(Path.of(config.data().path()), config.seed(), _ -> {});
        int fits = Math.min(model.tokens(), model.words().maxLetters());
        return config.data().source() == RunConfig.Source.FILE ? new FilePrompts(Path.of(config.data().path()), config.seed(), prompt -> GlyphAlphabet.encode(prompt.requireTarget().target(), fits))
                : new WordPrompts(config.seed(), Math.min(3, fits), Math.min(4, fits));
    }
}
