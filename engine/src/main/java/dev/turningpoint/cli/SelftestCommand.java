package dev.turningpoint.cli;

import dev.turningpoint.gpu.Device;
import dev.turningpoint.report.ProgressLine;
import dev.turningpoint.selftest.Report;
import dev.turningpoint.selftest.Selftest;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

@Command(name = "selftest", description = {"Runs every kernel on the GPU and on the software GPU, compares, measures, and writes one text to send.",
        "Without a GPU it compares the software GPU's compiler with its interpreter."})
final class SelftestCommand implements Callable<Integer> {
    @Mixin private ConfigOptions options;
    @Spec private CommandSpec spec;

    @Option(names = "--only", paramLabel = "NAME", defaultValue = "", description = "Only the cases whose name contains this: attention, _bf16, norm.qk_norm_split_32_f32.small.")
    private String only;

    @Option(names = "--out", paramLabel = "FILE", defaultValue = "selftest.txt", description = "Text to write; default ${DEFAULT-VALUE}.")
    private Path out;

    @Override
    public Integer call() throws IOException, InterruptedException {
        options.read();
        var selftest = new Selftest(only);
        if (selftest.isEmpty()) throw new CommandException("--only " + only + ": no case has this in its name; they begin with the name of a .cu file: norm, attention");
        PrintWriter to = spec.commandLine().getOut();
        if (Device.isSoftware()) to.println("no GPU (" + Device.reason() + "): comparing the software GPU's compiler with its interpreter");
        return finish(run(selftest, to), out, to);
    }

    private static Report run(Selftest selftest, PrintWriter to) throws InterruptedException {
        boolean terminal = ProgressLine.onTerminal();
        try (var progress = new ProgressLine(to, terminal, "self-test")) {
            return selftest.run((task, done, total, name) -> progress.update(done, total, name.isEmpty() ? task : task + " " + name, -1));
        }
    }

    /** Writes the text, says what was found, and returns the exit status. */
    static int finish(Report report, Path out, PrintWriter to) throws IOException {
        Files.writeString(out, report.text());
        to.println(report.verdict());
        to.println(out);
        return report.ok() ? 0 : TurningPointCommand.FAILED;
    }
}
