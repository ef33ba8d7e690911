package dev.turningpoint.cli;

import dev.turningpoint.gpu.Device;
import dev.turningpoint.train.ConfigReader;
import dev.turningpoint.train.PretrainRun;
import dev.turningpoint.train.Pretrainer;
import dev.turningpoint.train.RunConfig;
import dev.turningpoint.weights.AtomicFile;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

@Command(name = "pretrain", description = "Trains the glyph model from scratch by flow matching, on words of the bundled font.")
final class PretrainCommand implements Callable<Integer> {
    @Mixin private ConfigOptions options;
    @Spec private CommandSpec spec;

    @Option(names = "--out", paramLabel = "DIR", defaultValue = "runs/pretrain", description = "Run folder; default ${DEFAULT-VALUE}.")
    private Path out;

    @Option(names = "--resume", description = "Go on from the state in the run folder, with its configuration.")
    private boolean resume;

    @Override
    public Integer call() throws IOException, InterruptedException {
        Path saved = out.resolve("config.yaml");
        if (resume && !Files.exists(out.resolve(PretrainRun.STATE))) throw new CommandException(out + ": holds no pre-training to resume (" + PretrainRun.STATE + ")");
        if (resume && !options.isEmpty()) throw new CommandException("a resumed run keeps its configuration, " + saved + "; leave out --config, --preset, --set and --seed");
        if (!resume && Files.exists(out.resolve(PretrainRun.STATE))) throw new CommandException(out + ": holds a pre-training already; add --resume, or choose another folder by --out");
        RunConfig config = resume ? ConfigReader.read(saved, null, List.of()) : options.read();
        ConfigOptions.chooseDevice(config);
        PrintWriter lines = spec.commandLine().getOut();
        try (Device device = Device.open()) {
            lines.println("pre-training on " + device.name() + ": " + config.pretrain().steps() + " steps of " + config.pretrain().batch() + " images, into " + out);
            Files.createDirectories(out);
            AtomicFile.write(saved, config.toYaml().getBytes(StandardCharsets.UTF_8));
            boolean done = PretrainRun.run(device, config, out, resume, p -> progress(lines, config, p), Shutdown.requested());
            lines.println(done ? "weights: " + out.resolve(PretrainRun.WEIGHTS) : "stopped; go on with: turningpoint pretrain --resume --out " + out);
        }
        return 0;
    }

    private static void progress(PrintWriter lines, RunConfig config, Pretrainer.Progress p) {
        if (p.step() % config.pretrain().logEvery() != 0 && p.step() != p.steps()) return;
        lines.printf("step %d of %d  loss %.4f  gradient %.3f  rate %.1e  %.2f s  %d min left%n", p.step(), p.steps(), p.loss(), p.gradNorm(), p.learningRate(), p.seconds(),
                Math.round((p.steps() - p.step()) * p.seconds() / 60));
    }
}
