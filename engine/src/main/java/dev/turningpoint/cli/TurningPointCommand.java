package dev.turningpoint.cli;

import dev.turningpoint.bindings.NativeLibraryException;
import dev.turningpoint.data.PromptException;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.GpuException;
import dev.turningpoint.image.FontException;
import dev.turningpoint.onnx.OnnxException;
import dev.turningpoint.pipeline.PipelineException;
import dev.turningpoint.report.RunFolderException;
import dev.turningpoint.reward.RewardException;
import dev.turningpoint.train.ConfigException;
import dev.turningpoint.train.TrainingException;
import dev.turningpoint.weights.WeightsException;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileSystemException;
import java.nio.file.NoSuchFileException;
import picocli.CommandLine.Command;
import picocli.CommandLine.IVersionProvider;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.ScopeType;
import picocli.CommandLine.Spec;
import picocli.CommandLine;

/** {@code turningpoint}: the main class, what its commands share, and what an error looks like. */
@Command(name = "turningpoint", mixinStandardHelpOptions = true, versionProvider = TurningPointCommand.Version.class, scope = ScopeType.INHERIT,
        description = "Reinforcement learning of flow-matching text-to-image models with TP-GRPO.",
        synopsisSubcommandLabel = "COMMAND",
        subcommands = {TrainCommand.class, CompareCommand.class, PretrainCommand.class, SampleCommand.class, PlanCommand.class, ConvertCommand.class, MergeCommand.class, InspectCommand.class, VerifyCommand.class, CheckCommand.class, SelftestCommand.class, DevicesCommand.class, ProfileCommand.class,
            CommandLine.HelpCommand.class},
        footer = {"", "./turningpoint bench compares all of it with PyTorch; bench/README.md tells more."},
        exitCodeListHeading = "%nExit status:%n",
        exitCodeList = {" 0:done", " 1:it failed, or a check found an error beyond its tolerance; one line on stderr says what",
            " 2:the command line or the configuration is wrong", "70:a defect of turningpoint itself; --stacktrace shows where", "130, 143:ended by SIGINT, SIGTERM"})
public final class TurningPointCommand {
    /** The software GPU reads it when it starts. */
    private static final String CHECKING = "turningpoint.software.check", MEMORY = "turningpoint.software.memory";

    static final int FAILED = 1;
    static final int USAGE = 2;
    static final int DEFECT = 70;

    @Option(names = "--stacktrace", scope = ScopeType.INHERIT, description = "Show where in the code an error arose.")
    private boolean stacktrace;

    @Option(names = "--check", scope = ScopeType.INHERIT, description = "Run every kernel on the software GPU in checking mode: memory faults, uninitialised reads, races and leaks are reported with their line and thread. Very slow.")
    private boolean checks;

    private String memory;
    @Spec private CommandSpec spec;

    @Option(names = "--memory", paramLabel = "SIZE", scope = ScopeType.INHERIT, description = "Memory of the software GPU, in bytes or with k, m, g: 12g; default three quarters of the machine's.")
    private void memory(String size) {
        if (!size.matches("[1-9][0-9]{0,17}[kmgKMG]?")) throw new ParameterException(spec.commandLine(), "--memory " + size + ": a size is a number of bytes, or one with k, m or g, as 12g");
        memory = size;
    }

    public static void main(String[] args) {
        System.exit(run(args));
    }

    /** Runs one command line and returns its exit status; prints to the process' streams. */
    static int run(String... args) {
        return run(new PrintWriter(System.out, true), new PrintWriter(System.err, true), args);
    }

    static int run(PrintWriter out, PrintWriter err, String... args) {
        var command = new TurningPointCommand();
        var line = new CommandLine(command).setCaseInsensitiveEnumValuesAllowed(true).setOut(out).setErr(err);
        line.setParameterExceptionHandler((e, _) -> {
            err.println("turningpoint: " + e.getMessage().lines().findFirst().orElse(""));
            if (!CommandLine.UnmatchedArgumentException.printSuggestions(e, err)) err.println("Try '" + e.getCommandLine().getCommandSpec().qualifiedName() + " --help'.");
            return USAGE;
        });
        line.setExecutionStrategy(parsed -> {
            if (command.checks) System.setProperty(CHECKING, "true");
            if (command.memory != null) System.setProperty(MEMORY, command.memory);
            return new CommandLine.RunLast().execute(parsed);
        });
        line.setExecutionExceptionHandler((e, _, _) -> report(e, command.stacktrace, err));
        if (args.length == 0) {
            line.usage(out);
            return USAGE;
        }
        Shutdown.begun();
        try {
            return line.execute(args);
        } catch (Error e) {                                            // picocli hands over exceptions only
            return report(e, command.stacktrace, err);
        } finally {
            Shutdown.finished();
        }
    }

    /** Before a command opens the device: refuses on hardware what only the software GPU can do. */
    static void requireSoftwareWhereAsked() {
        if (System.getProperty(MEMORY) != null && !Device.isSoftware())
            throw new CommandException("--memory sizes the software GPU, and the device is a real one (" + Device.reason() + "); leave it out, or add --set device=software");
        if (Boolean.getBoolean(CHECKING) && !Device.isSoftware())
            throw new CommandException("--check needs the software GPU, and the device is a real one (" + Device.reason() + "); add --set device=software, or run compute-sanitizer on the real one");
    }

    /** Prints what happened for the person who can act on it. */
    static int report(Throwable e, boolean stacktrace, PrintWriter err) {
        if (stacktrace) e.printStackTrace(err);
        String message = message(e);
        err.println("turningpoint: " + (message != null ? message : "a defect: " + e + "; run again with --stacktrace to see where, and report it"));
        return message == null ? DEFECT : e instanceof ConfigException ? USAGE : FAILED;
    }

    /** The line for an expected failure, null for anything else. */
    private static String message(Throwable e) {
        return switch (e) {
            case ExceptionInInitializerError i when i.getCause() != null -> message(i.getCause());
            case ConfigException c -> c.getMessage();
            case GpuException g -> g.getMessage();
            case NativeLibraryException n -> n.getMessage();
            case RewardException r -> r.getMessage();
            case OnnxException o -> o.getMessage();
            case PipelineException p -> p.getMessage();
            case WeightsException w -> w.getMessage();
            case TrainingException t -> t.getMessage();
            case CommandException c -> c.getMessage();
            case UncheckedIOException u -> u.getCause().toString().equals(u.getMessage()) ? message(u.getCause()) : u.getMessage();
            case PromptException q -> q.getMessage();
            case FontException f -> f.getMessage();
            case RunFolderException f -> f.getMessage();
            case NoSuchFileException f -> f.getFile() + ": there is no such file";
            case AccessDeniedException f -> f.getFile() + ": access denied";
            case FileNotFoundException f -> f.getMessage();
            case FileSystemException f -> f.getMessage();
            case IOException io -> io.getMessage() == null ? io.toString() : io.getMessage();
            case OutOfMemoryError o -> "out of memory: " + o.getMessage();
            default -> null;
        };
    }

    /** The version of the jar, and what it runs on. */
    static final class Version implements IVersionProvider {
        @Override
        public String[] getVersion() {
            String version = TurningPointCommand.class.getPackage().getImplementationVersion();
            return new String[] {"turningpoint " + (version == null ? "(not packaged)" : version) + ", Java " + Runtime.version()};
        }
    }
}
