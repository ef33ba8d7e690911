package dev.turningpoint.bench;

import dev.turningpoint.bindings.NativeCache;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.Stream;
import dev.turningpoint.kernels.SamplerKernels;
import dev.turningpoint.kernels.cases.KernelCases;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/**
 * Milliseconds from the start of a JVM to the end of its first kernel, in processes of their own, of which the first fills the cache of compiled kernels and does not count; the same with the JDK's
 * ahead-of-time cache of classes, as {@code ./turningpoint} has it; and to compile every kernel with as many threads as there are processors, into a cache without kernels.
 */
public final class StartUp {
    private static final int PROCESSES = 7, COMPILING = 3;

    private StartUp() {}

    public static void main(String[] args) throws Exception {
        if (args.length == 0) {
            child("first");
            report("first kernel", PROCESSES, () -> child("first"));
            Path classes = Files.createTempFile("classes", ".aot");
            try {
                child("first", "-XX:AOTCacheOutput=" + classes);
                report("first kernel, with an ahead-of-time cache,", PROCESSES, () -> child("first", "-XX:AOTCache=" + classes));
            } finally {
                Files.delete(classes);
            }
            report("every kernel compiled", COMPILING, StartUp::compiled);
            return;
        }
        if (args[0].equals("compile")) {
            try (var device = Device.open()) {
                long start = System.nanoTime();
                KernelCases.compile(device, Runtime.getRuntime().availableProcessors());
                System.out.println((System.nanoTime() - start) / 1_000_000);
            }
            return;
        }
        try (var device = Device.open(); Stream stream = device.newStream(); var kernels = new SamplerKernels(device); var memory = device.allocate(4 * 64 + 256, "a latent and its key")) {
            stream.fill(memory.address() + 256, (byte) 0, 4);
            kernels.initialNoise(stream, memory.address(), memory.address() + 256, 42, 1, 64);
            stream.synchronize();
            System.out.println(System.currentTimeMillis() - ManagementFactory.getRuntimeMXBean().getStartTime());
        }
    }

    private interface Measured {
        long run() throws IOException, InterruptedException;
    }

    private static void report(String what, int processes, Measured child) throws IOException, InterruptedException {
        var times = new ArrayList<Long>();
        for (int i = 0; i < processes; i++) times.add(child.run());
        Collections.sort(times);
        System.out.printf("%s after %d ms (median of %d; %s)%n", what, times.get(processes / 2), processes, times);
    }

    /** In a cache of its own, with what the user's has but kernels. */
    private static long compiled() throws IOException, InterruptedException {
        Path cache = Files.createTempDirectory("cache");
        try {
            try (var kept = Files.list(NativeCache.folder())) {
                for (Path libraries : kept.filter(folder -> !folder.endsWith("kernels")).toList()) Files.createSymbolicLink(cache.resolve(libraries.getFileName()), libraries.toAbsolutePath());
            }
            return child("compile", "-Dturningpoint.cache=" + cache);
        } finally {
            try (var all = Files.walk(cache)) {
                for (Path file : all.sorted(Collections.reverseOrder()).toList()) Files.delete(file);
            }
        }
    }

    private static long child(String what, String... options) throws IOException, InterruptedException {
        var command = new ArrayList<>(List.of(ProcessHandle.current().info().command().orElse("java"), "-XX:+UseSerialGC", "--enable-native-access=ALL-UNNAMED", "-Dorg.lwjgl.system.memoryBackend=ffm",
                "-Dturningpoint.device=software"));
        command.addAll(List.of(options));
        command.addAll(List.of("-cp", System.getProperty("java.class.path"), StartUp.class.getName(), what));
        Process process = new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT).start();
        String said = new String(process.getInputStream().readAllBytes()).strip();
        if (process.waitFor() != 0) throw new IllegalStateException("a process ended with " + process.exitValue());
        return Long.parseLong(said.lines().filter(line -> line.chars().allMatch(Character::isDigit)).findFirst().orElseThrow());   // the JVM tells of its cache beside
    }
}
