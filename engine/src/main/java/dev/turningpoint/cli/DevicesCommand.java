package dev.turningpoint.cli;

import dev.turningpoint.gpu.Device;
import java.io.PrintWriter;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Spec;

@Command(name = "devices", description = "Shows the device that would be used, and why.")
final class DevicesCommand implements Callable<Integer> {
    @Mixin private ConfigOptions options;
    @Spec private CommandSpec spec;

    @Override
    public Integer call() {
        options.read();
        PrintWriter out = spec.commandLine().getOut();
        try (Device device = Device.open()) {
            int version = Device.driverVersion(), capability = device.computeCapability();
            line(out, "device", device.name() + (Device.count() > 1 ? " (the first of " + Device.count() + ")" : ""));
            line(out, "served by", (Device.isSoftware() ? "the software GPU: " : "libcuda: ") + Device.reason());
            line(out, "driver", "CUDA " + version / 1000 + "." + version % 1000 / 10);
            line(out, "memory", "%.1f of %.1f GB free".formatted(device.freeMemory() / 1e9, device.totalMemory() / 1e9));
            line(out, Device.isSoftware() ? "threads" : "multiprocessors", device.multiprocessors() + ", compute capability " + capability / 10 + "." + capability % 10);
        }
        Runtime jvm = Runtime.getRuntime();
        line(out, "java", Runtime.version() + ", " + jvm.availableProcessors() + " processors, heap " + jvm.maxMemory() / (1 << 20) + " MiB");
        return 0;
    }

    private static void line(PrintWriter out, String what, String value) { out.printf("%-16s %s%n", what, value); }
}
