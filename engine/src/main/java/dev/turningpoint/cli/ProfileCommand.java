package dev.turningpoint.cli;

import dev.turningpoint.gpu.Device;
import dev.turningpoint.kernels.cases.CaseRun;
import dev.turningpoint.kernels.cases.KernelCase;
import dev.turningpoint.kernels.cases.KernelCases;
import dev.turningpoint.kernels.cases.Launchers;
import dev.turningpoint.kernels.cases.Size;
import dev.turningpoint.softgpu.count.Counting;
import dev.turningpoint.softgpu.count.Gpu;
import dev.turningpoint.softgpu.count.LaunchCounts;
import dev.turningpoint.softgpu.count.Report;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

@Command(name = "profile", description = "Counts what kernels do, on the software GPU, and estimates their time on a GPU.",
        customSynopsis = {"turningpoint profile [--size=SIZE] [--gpu=GPU] [--details] [--json=FILE] [NAME]",
            "turningpoint profile [--gpu=GPU] [--details] [--json=FILE] -- COMMAND..."},
        footer = {"", "Kernels are interpreted lane by lane, which is slow. Sectors, bank conflicts and divergence are exact for the PTX; the time is an estimate from peaks "
            + "of the data sheets. A GPU is never asked: it has its own profiler."})
final class ProfileCommand implements Callable<Integer> {
    @Parameters(paramLabel = "NAME", arity = "0..*", description = "Part of the name of the cases to run; default all. After --: a command line of turningpoint, "
            + "whose launches are added up by kernel.")
    private List<String> words = new ArrayList<>();

    @Option(names = "--size", paramLabel = "SIZE", defaultValue = "small", description = "Of the arrays of the cases: ${COMPLETION-CANDIDATES}; default ${DEFAULT-VALUE}.")
    private Size size;

    @Option(names = "--gpu", paramLabel = "GPU", defaultValue = "H100", description = "Whose registers, occupancy and time the table shows: ${COMPLETION-CANDIDATES}; "
            + "default ${DEFAULT-VALUE}.")
    private Gpu gpu;

    @Option(names = "--details", description = "Show everything, for all of them, and the lines with uncoalesced accesses, bank conflicts and divergence.")
    private boolean details;

    @Option(names = "--json", paramLabel = "FILE", description = "Write everything to a file.")
    private Path json;

    @Spec private CommandSpec spec;

    @Override
    public Integer call() throws Exception {
        boolean aCommand = spec.commandLine().getParseResult().originalArgs().contains("--");
        if (!aCommand && words.size() > 1) throw new CommandException("profile takes one name; a command to profile follows --, as in: profile -- sample CAT");
        if (aCommand && (words.isEmpty() || words.getFirst().equals("profile"))) throw new CommandException("there is no command to profile after --");
        refuseChecking();
        System.setProperty("turningpoint.device", "software");
        System.setProperty(Counting.PROPERTY, "true");
        if (Counting.DEVICE == null) throw new CommandException("kernels are already compiled in this process: profile has to come first");

        var report = new Report();
        int status = aCommand ? run(report) : cases(report);
        PrintWriter out = spec.commandLine().getOut();
        if (details) out.print(report.details());
        out.print(report.table(gpu));
        out.printf("%nCounted on the software GPU; times are estimates for an idle %s whose kernels wait for nothing but its busiest part.%n", gpu.title());
        out.flush();
        if (json != null) Files.writeString(json, report.json());
        return status;
    }

    private int run(Report report) {
        Counting.DEVICE.to(report::add);
        int status = TurningPointCommand.run(spec.commandLine().getOut(), spec.commandLine().getErr(), words.toArray(String[]::new));
        refuseChecking();
        if (report.isEmpty()) throw new CommandException("the command launched no kernel on the software GPU");
        return status;
    }

    private static void refuseChecking() {
        if (Boolean.getBoolean("turningpoint.software.check")) throw new CommandException("a launch is either checked or counted: leave out --check");
    }

    private int cases(Report report) throws Exception {
        String name = words.isEmpty() ? "" : words.getFirst();
        List<KernelCase> cases = KernelCases.of(size).stream().filter(c -> c.name().contains(name)).toList();
        if (cases.isEmpty()) throw new CommandException("no case of size " + size.name().toLowerCase(java.util.Locale.ROOT) + " has '" + name + "' in its name");
        List<LaunchCounts> counts = Collections.synchronizedList(new ArrayList<>());
        Counting.DEVICE.to(counts::add);
        try (var device = Device.open(); var stream = device.newStream(); var launchers = new Launchers(device)) {
            for (KernelCase c : cases) {
                try (var run = new CaseRun(c, launchers, stream)) {
                    run.fill();
                    counts.clear();
                    run.launch();
                    stream.synchronize();
                }
                if (counts.size() != c.launches().size()) throw new IllegalStateException(c + " made " + counts.size() + " launches, not " + c.launches());
                for (int i = 0; i < counts.size(); i++) {
                    String label = c.name() + (c.launches().size() == 1 ? "" : " " + c.launches().get(i).entry());
                    report.add(label, counts.get(i), c.launches().get(i).compulsoryBytes());
                }
            }
        }
        return 0;
    }
}
