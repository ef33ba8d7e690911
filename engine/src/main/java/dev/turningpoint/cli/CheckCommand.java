package dev.turningpoint.cli;

import java.nio.file.Path;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Parameters;

@Command(name = "check", description = "Replays reference data and compares every tensor with its tolerance.")
final class CheckCommand implements Callable<Integer> {
    @Parameters(paramLabel = "DIR", description = "Folder of safetensors files with the reference's inputs and outputs.")
    private Path folder;

    @Override
    public Integer call() { throw new CommandException("check is not served yet"); }
}
