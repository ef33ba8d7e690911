package dev.turningpoint.bench;

import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.Stream;
import dev.turningpoint.kernels.SamplerKernels;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/** Milliseconds from the start of a JVM to the end of its first kernel, in processes of their own; the first fills the cache of compiled kernels and does not count. */
public final class StartUp {
    private static final int PROCESSES = 7;

    private StartUp() {}

    public static void main(String[] args) throws Exception {
        if (args.length == 0) {
            var times = new ArrayList<Long>();
            for (int i = 0; i <= PROCESSES; i++) {
                long time = child();
                if (i > 0) times.add(time);
            }
            Collections.sort(times);
            System.out.printf("first kernel after %d ms (median of %d; %s)%n", times.get(PROCESSES / 2), PROCESSES, times);
            return;
        }
        try (var device = Device.open(); Stream stream = device.newStream(); var kernels = new SamplerKernels(device); var memory = device.allocate(4 * 64 + 256, "a latent and its key")) {
            stream.fill(memory.address() + 256, (byte) 0, 4);
            kernels.initialNoise(stream, memory.address(), memory.address() + 256, 42, 1, 64);
            stream.synchronize();
            System.out.println(System.currentTimeMillis() - ManagementFactory.getRuntimeMXBean().getStartTime());
        }
    }

    private static long child() throws IOException, InterruptedException {
        Process process = new ProcessBuilder(List.of(ProcessHandle.current().info().command().orElse("java"), "-XX:+UseSerialGC", "--enable-native-access=ALL-UNNAMED", "-Dorg.lwjgl.system.memoryBackend=ffm",
                "-cp", System.getProperty("java.class.path"), StartUp.class.getName(), "child")).redirectError(ProcessBuilder.Redirect.INHERIT).start();
        String said = new String(process.getInputStream().readAllBytes()).strip();
        if (process.waitFor() != 0) throw new IllegalStateException("a process ended with " + process.exitValue());
        return Long.parseLong(said);
    }
}
