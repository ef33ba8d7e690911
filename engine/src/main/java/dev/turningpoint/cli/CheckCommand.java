package dev.turningpoint.cli;

import dev.turningpoint.check.Checker;
import dev.turningpoint.check.Results;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

@Command(name = "check", description = "Replays reference data and compares every tensor with its tolerance.")
final class CheckCommand implements Callable<Integer> {
    @Parameters(paramLabel = "DIR", description = "Folder of safetensors files with the reference's inputs and outputs.")
    private Path folder;

    @Spec private CommandSpec spec;

    @Override
    public Integer call() throws IOException {
        if (!Files.isDirectory(folder)) throw new CommandException(folder + (Files.exists(folder) ? ": is not a folder" : ": there is no such folder"));
        TurningPointCommand.requireSoftwareWhereAsked();
        Results results = Checker.run(folder);
        if (results.rows().isEmpty() && results.defects().isEmpty()) throw new CommandException(folder + ": holds no reference data that is served");
        spec.commandLine().getOut().print(results.table());
        spec.commandLine().getOut().flush();
        return results.ok() ? 0 : TurningPointCommand.FAILED;
    }
}
