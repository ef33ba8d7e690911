package dev.turningpoint.bench;

import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.Stream;
import dev.turningpoint.kernels.SamplerKernels;
import dev.turningpoint.kernels.cases.KernelCases;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/**
 * Milliseconds from the start of a JVM to the end of its first kernel, in processes of their own, of which the first fills the cache of compiled kernels and does not count; and to compile every
 * kernel with as many threads as there are processors, without the cache.
 */
public final class StartUp {
    private static final int PROCESSES = 7, COMPILING = 3;

    private StartUp() {}

    public static void main(String[] args) throws Exception {
        if (args.length == 0) {
            child("first");
            report("first kernel", "first", PROCESSES);
            report("every kernel compiled", "compile", COMPILING);
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

    private static void report(String what, String child, int processes) throws IOException, InterruptedException {
        var times = new ArrayList<Long>();
        for (int i = 0; i < processes; i++) times.add(child(child));
        Collections.sort(times);
        System.out.printf("%s after %d ms (median of %d; %s)%n", what, times.get(processes / 2), processes, times);
    }

    private static long child(String what) throws IOException, InterruptedException {
        Process process = new ProcessBuilder(List.of(ProcessHandle.current().info().command().orElse("java"), "-XX:+UseSerialGC", "--enable-native-access=ALL-UNNAMED", "-Dorg.lwjgl.system.memoryBackend=ffm",
                "-Dturningpoint.device=software", "-Dturningpoint.software.cache=" + !what.equals("compile"), "-cp", System.getProperty("java.class.path"), StartUp.class.getName(), what))
                .redirectError(ProcessBuilder.Redirect.INHERIT).start();
        String said = new String(process.getInputStream().readAllBytes()).strip();
        if (process.waitFor() != 0) throw new IllegalStateException("a process ended with " + process.exitValue());
        return Long.parseLong(said);
    }
}
