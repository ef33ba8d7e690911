package dev.turningpoint.cli;

import dev.turningpoint.report.ProgressLine;
import dev.turningpoint.weights.Checkpoint;
import dev.turningpoint.weights.Conversion;
import dev.turningpoint.weights.Layout;
import dev.turningpoint.weights.Lora;
import dev.turningpoint.weights.Merge;
import dev.turningpoint.weights.Recognised;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

@Command(name = "merge", description = "Adds a LoRA to the weights it was trained on (SD3, SD3.5, FLUX.1): full weights that need no LoRA.")
final class MergeCommand implements Callable<Integer> {
    /** What can be written: LoRAs are for diffusers' layers. */
    enum Form { engine, diffusers }

    @Spec private CommandSpec spec;

    @Parameters(index = "0", paramLabel = "MODEL", description = "A safetensors file, an index of shards, or a folder with either (a diffusers pipeline too).")
    private Path input;

    @Parameters(index = "1", paramLabel = "LORA", description = "A LoRA of PEFT (a folder), diffusers or kohya.")
    private Path lora;

    @Parameters(index = "2", paramLabel = "OUTPUT", description = "The file to write.")
    private Path output;

    @Option(names = "--strength", paramLabel = "S", defaultValue = "1", description = "Of the LoRA; 1 is what it was trained with. Default ${DEFAULT-VALUE}.")
    private double strength;

    @Option(names = "--to", paramLabel = "FORM", defaultValue = "diffusers", description = "diffusers: safetensors of that layout; engine: one mapped, aligned, checksummed file. Default ${DEFAULT-VALUE}.")
    private Form form;

    @Option(names = "--type", paramLabel = "TYPE", defaultValue = "keep", description = "f32, f16 or bf16, rounded to nearest; keep is each tensor's own. Default ${DEFAULT-VALUE}.")
    private ConvertCommand.Type type;

    @Override
    public Integer call() {
        PrintWriter out = spec.commandLine().getOut();
        if (!Double.isFinite(strength)) throw new CommandException("--strength: is " + strength);
        ConvertCommand.requireFile(input, output);
        try (Checkpoint checkpoint = Checkpoint.open(input); var line = new ProgressLine(out, ProgressLine.onTerminal(), "merge")) {
            Recognised found = Recognised.of(checkpoint);
            Lora read = Lora.read(lora, Merge.modules(found.architecture()));
            if (read.alphaAssumed()) line.say(lora + ": says no alpha; its rank is taken, which may not be the strength it was trained with");
            new Conversion(found, Layout.DIFFUSERS, type.tensors(), form == Form.engine, new Merge(read, strength)).write(output, ConvertCommand.progress(line));
            line.close();
            out.println(output + ": " + found.architecture().name() + " with " + read.modules().size() + " layers of " + lora + " at strength " + strength + ", " + form + ", "
                    + InspectCommand.size(output.toFile().length()));
        }
        out.flush();
        return 0;
    }
}
