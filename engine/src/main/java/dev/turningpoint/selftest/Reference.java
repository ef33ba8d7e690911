package dev.turningpoint.selftest;

import dev.turningpoint.kernels.cases.Buffer;
import dev.turningpoint.kernels.cases.KernelCase;
import dev.turningpoint.kernels.cases.KernelCases;
import java.io.BufferedInputStream;
import java.io.DataInputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.regex.Pattern;

/**
 * The software GPU in a process of its own, for a process has one device only. It works ahead as far as a pipe holds its results. If it crashes, fails or takes too long it is started
 * anew at the next case, a few times. For one thread.
 */
final class Reference implements AutoCloseable {
    private static final int MOST_STARTS = 4;
    /** Options of this JVM that its child does not take over: debuggers, and what makes the device another one than the reference has to be. */
    private static final Pattern OURS_ALONE = Pattern.compile("-agent|-javaagent|-Dturningpoint\\.device=|-Dturningpoint\\.software\\.(?!threads=|memory=)");

    /** Which engine of the software GPU. */
    enum Engine {
        COMPILED("the software GPU", List.of("-Dturningpoint.device=software")),
        INTERPRETED("the interpreter of the software GPU", List.of("-Dturningpoint.device=software", "-Dturningpoint.software.interpret=true"));

        final String title;
        private final List<String> options;

        Engine(String title, List<String> options) {
            this.title = title;
            this.options = options;
        }
    }

    private final List<String> command;
    private final Engine engine;
    private final List<KernelCase> cases;
    private final Duration patience;
    private Process process;
    private DataInputStream results;
    private Path errors;
    private int starts;

    /** @param patience how long one case may take, the start of a process included */
    Reference(Engine engine, List<KernelCase> cases, Duration patience) {
        this(engine, cases, patience, List.of(ReferenceProcess.class.getName()));
    }

    /** @param main the main class and its first arguments; the names of the cases follow */
    Reference(Engine engine, List<KernelCase> cases, Duration patience, List<String> main) {
        this.engine = engine;
        this.cases = List.copyOf(cases);
        this.patience = patience;
        command = new ArrayList<>(List.of(Path.of(System.getProperty("java.home"), "bin", "java").toString()));
        for (String option : ManagementFactory.getRuntimeMXBean().getInputArguments())
            if (!OURS_ALONE.matcher(option).lookingAt()) command.add(option);
        command.addAll(engine.options);
        command.addAll(List.of("-XX:+DisplayVMOutputToStderr", "-cp", System.getProperty("java.class.path")));
        command.addAll(main);
    }

    /** What it is, for people. */
    String title() { return engine.title; }

    /**
     * The results of a case, in memory of {@code arena}, which must be shared. Cases are asked for in the order given; those between are passed over.
     *
     * @throws ReferenceException if there are none; the next case may be asked for nevertheless
     */
    Map<Buffer, MemorySegment> results(KernelCase c, Arena arena) throws ReferenceException, InterruptedException {
        if (process == null) start(c);
        var reading = new FutureTask<>(() -> read(c, arena));
        Thread reader = Thread.ofPlatform().daemon().name("reference").start(reading);
        try {
            return reading.get(patience.toMillis(), TimeUnit.MILLISECONDS);
        } catch (TimeoutException e) {
            end();                                                     // ends the reading, too: the arena is the caller's again
            reader.join();
            throw new ReferenceException(engine.title + " gave no result within " + patience.toSeconds() + " s");
        } catch (ExecutionException e) {
            throw new ReferenceException(e.getCause() instanceof ReferenceException r ? engine.title + ": " + end(r.getMessage()) : engine.title + " " + end(null));
        }
    }

    private void start(KernelCase from) throws ReferenceException {
        if (starts == MOST_STARTS) throw new ReferenceException(engine.title + " was not started again after " + starts + " ends before time");
        starts++;
        var full = new ArrayList<>(command);
        cases.subList(cases.indexOf(from), cases.size()).forEach(c -> full.add(c.name()));
        try {
            errors = Files.createTempFile("turningpoint-selftest", ".log");
            process = new ProcessBuilder(full).redirectError(errors.toFile()).start();
        } catch (IOException e) {
            throw new ReferenceException(engine.title + " does not start: " + e.getMessage());
        }
        results = new DataInputStream(new BufferedInputStream(process.getInputStream(), 1 << 16));
    }

    private Map<Buffer, MemorySegment> read(KernelCase c, Arena arena) throws IOException, ReferenceException {
        var piece = new byte[1 << 16];
        while (true) {
            String name = results.readUTF(), error = results.readUTF();
            boolean wanted = name.equals(c.name());
            if (!error.isEmpty()) throw new ReferenceException(wanted ? error : name + ": " + error);
            var content = new LinkedHashMap<Buffer, MemorySegment>();
            for (Buffer b : KernelCases.get(name).buffers()) {
                if (!b.isResult()) continue;
                MemorySegment segment = wanted ? arena.allocate(b.bytes(), 64) : null;
                for (long at = 0; at < b.bytes(); at += piece.length) {
                    int length = (int) Math.min(piece.length, b.bytes() - at);
                    results.readFully(piece, 0, length);
                    if (wanted) MemorySegment.copy(piece, 0, segment, ValueLayout.JAVA_BYTE, at, length);
                }
                content.put(b, segment);
            }
            if (wanted) return content;
        }
    }

    /** Ends the process; its story in a line. */
    private String end(String message) throws InterruptedException {
        boolean ended = process.waitFor(1, TimeUnit.SECONDS);
        int status = ended ? process.exitValue() : -1;
        String last = "";
        try {
            last = Files.readString(errors).lines().filter(l -> !l.isBlank() && !l.equals("#")).findFirst().map(l -> ": " + l.strip()).orElse("");
        } catch (IOException e) {
            last = ": " + e.getMessage();
        }
        end();
        return message != null ? message : (ended ? "ended with status " + status : "sent what is no result") + last;
    }

    private void end() {
        if (process == null) return;
        process.destroyForcibly();
        process = null;
        try {
            Files.deleteIfExists(errors);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    @Override
    public void close() { end(); }
}
