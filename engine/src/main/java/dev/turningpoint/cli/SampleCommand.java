package dev.turningpoint.cli;

import java.util.concurrent.Callable;
import picocli.CommandLine.Command;

@Command(name = "sample", description = "Draws words with a trained model.")
final class SampleCommand implements Callable<Integer> {
    @Override
    public Integer call() { throw new CommandException("sample is not served yet"); }
}
