package dev.turningpoint.cli;

import java.util.concurrent.Callable;
import picocli.CommandLine.Command;

@Command(name = "pretrain", description = "Trains the glyph model from scratch by flow matching.")
final class PretrainCommand implements Callable<Integer> {
    @Override
    public Integer call() { throw new CommandException("pretrain is not served yet"); }
}
