package dev.turningpoint.cli;

import dev.turningpoint.train.RunConfig;
import java.nio.file.Path;
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
        RunConfig config = options.read();
        config.requireExploration();
        throw new CommandException("train is not served yet");
    }
}
