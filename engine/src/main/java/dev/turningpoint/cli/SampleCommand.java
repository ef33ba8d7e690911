package dev.turningpoint.cli;

import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Parameters;

@Command(name = "sample", description = "Draws words with a trained model.")
final class SampleCommand implements Callable<Integer> {
    @Parameters(paramLabel = "WORD", arity = "1..*", description = "What to draw.")
    private List<String> words;

    @Mixin private ConfigOptions options;

    @Override
    public Integer call() {
        options.read();
        throw new CommandException("sample is not served yet");
    }
}
