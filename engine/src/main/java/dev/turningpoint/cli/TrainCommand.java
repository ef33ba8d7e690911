package dev.turningpoint.cli;

import java.util.concurrent.Callable;
import picocli.CommandLine.Command;

@Command(name = "train", description = "Fine-tunes a model by reinforcement learning.")
final class TrainCommand implements Callable<Integer> {
    @Override
    public Integer call() { throw new CommandException("train is not served yet"); }
}
