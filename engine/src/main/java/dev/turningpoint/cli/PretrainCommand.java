package dev.turningpoint.cli;

import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;

@Command(name = "pretrain", description = "Trains the glyph model from scratch by flow matching.")
final class PretrainCommand implements Callable<Integer> {
    @Mixin private ConfigOptions options;

    @Override
    public Integer call() {
        options.read();
        throw new CommandException("pretrain is not served yet");
    }
}
