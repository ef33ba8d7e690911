package dev.turningpoint.cli;

import dev.turningpoint.report.ProgressLine;
import dev.turningpoint.weights.Verification;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.Locale;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

@Command(name = "verify", description = "Reads a weights file or folder whole: is it complete, undamaged, and are its numbers finite?")
final class VerifyCommand implements Callable<Integer> {
    @Spec private CommandSpec spec;

    @Parameters(index = "0", paramLabel = "INPUT", description = "A safetensors file, an index of shards, an engine file, or a folder with one of these.")
    private Path input;

    @Override
    public Integer call() {
        PrintWriter out = spec.commandLine().getOut();
        Verification v;
        try (var line = new ProgressLine(out, ProgressLine.onTerminal(), "verify")) {
            v = Verification.of(input, (done, total) -> line.update(done >> 20, total >> 20, "MiB", -1));
        }
        if (!v.notFinite().isEmpty()) {
            int shown = Math.min(5, v.notFinite().size());
            throw new CommandException(input + ": holds NaN or infinity in " + v.notFinite().size() + (v.notFinite().size() == 1 ? " tensor: " : " tensors: ")
                    + String.join(", ", v.notFinite().subList(0, shown)) + (v.notFinite().size() > shown ? ", ..." : ""));
        }
        out.println(input + ": a whole " + v.recognised().architecture().name() + " of " + String.format(Locale.ROOT, "%,d", v.recognised().architecture().parameters()) + " finite weights"
                + (v.engine() ? ", every checksum right" : ""));
        out.flush();
        return 0;
    }
}
