package dev.turningpoint.cli;

import dev.turningpoint.report.ProgressLine;
import dev.turningpoint.weights.Checkpoint;
import dev.turningpoint.weights.Conversion;
import dev.turningpoint.weights.Layout;
import dev.turningpoint.weights.Progress;
import dev.turningpoint.weights.Recognised;
import dev.turningpoint.weights.TensorType;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

@Command(name = "convert", description = "Rewrites published weights (SD3, SD3.5, FLUX.1) for the engine, or back.")
final class ConvertCommand implements Callable<Integer> {
    /** What can be written. */
    enum Form { engine, diffusers, original }

    /** Element types, as people write them. */
    enum Type {
        keep, f32, f16, bf16;

        /** Null to keep each tensor's own. */
        TensorType tensors() { return this == keep ? null : TensorType.valueOf(name().toUpperCase(Locale.ROOT)); }
    }

    @Spec private CommandSpec spec;

    @Parameters(index = "0", paramLabel = "INPUT", description = "A safetensors file, an index of shards, or a folder with either (a diffusers pipeline too).")
    private Path input;

    @Parameters(index = "1", paramLabel = "OUTPUT", description = "The file to write.")
    private Path output;

    @Option(names = "--to", paramLabel = "FORM", defaultValue = "engine", description = "engine: one mapped, aligned, checksummed file; diffusers, original: safetensors of that layout. Default ${DEFAULT-VALUE}.")
    private Form form;

    @Option(names = "--type", paramLabel = "TYPE", defaultValue = "keep", description = "f32, f16 or bf16, rounded to nearest; keep leaves every tensor as it is. Default ${DEFAULT-VALUE}.")
    private Type type;

    @Override
    public Integer call() {
        PrintWriter out = spec.commandLine().getOut();
        requireFile(input, output);
        try (Checkpoint checkpoint = Checkpoint.open(input); var line = new ProgressLine(out, ProgressLine.onTerminal(), "convert")) {
            Recognised found = Recognised.of(checkpoint);
            var conversion = new Conversion(found, form == Form.original ? Layout.ORIGINAL : Layout.DIFFUSERS, type.tensors(), form == Form.engine);
            conversion.write(output, progress(line));
            line.close();
            out.println(output + ": " + found.architecture().name() + ", " + String.format(Locale.ROOT, "%,d", found.architecture().parameters()) + " weights, " + form + ", "
                    + InspectCommand.size(output.toFile().length()));
        }
        out.flush();
        return 0;
    }

    /** @throws CommandException if the output is a folder or the input itself */
    static void requireFile(Path input, Path output) {
        if (Files.isDirectory(output)) throw new CommandException(output + ": is a folder; name the file to write");
        if (Files.exists(output) && same(input, output)) throw new CommandException(output + ": is the input; name another file");
    }

    /** MiB so far, and how fast. */
    static Progress progress(ProgressLine line) {
        long began = System.nanoTime();
        return (done, total) -> {
            double seconds = (System.nanoTime() - began) / 1e9;
            line.update(done >> 20, total >> 20, String.format(Locale.ROOT, "MiB, %.0f MiB/s", (done >> 20) / Math.max(seconds, 1e-3)), seconds * (total - done) / Math.max(1, done));
        };
    }

    private static boolean same(Path a, Path b) {
        try {
            return Files.isSameFile(a, b);
        } catch (java.io.IOException e) {
            return false;                                              // the input is missing: it will be said in a moment
        }
    }
}
