package dev.turningpoint.selftest;

import dev.turningpoint.gpu.Device;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.regex.Pattern;

/** Device, driver, processor and versions, in words; nothing that tells whose machine it is. */
record Machine(String version, String device, String driver, String processor, String system) {
    private static final Path NVIDIA = Path.of("/proc/driver/nvidia/version");
    private static final Path PROCESSOR = Path.of("/proc/cpuinfo");

    static Machine of(Device device) {
        int cuda = Device.driverVersion(), capability = device.computeCapability();
        String version = Machine.class.getPackage().getImplementationVersion();
        String kernelModule = first(NVIDIA, "Kernel Module\\s+(?:for \\S+\\s+)?([0-9.]+)");
        return new Machine(version == null ? "(not packaged)" : version,
                String.format(Locale.ROOT, "%s, compute capability %d.%d, %d %s, %.1f GB", device.name(), capability / 10, capability % 10, device.multiprocessors(),
                        Device.isSoftware() ? "threads" : "multiprocessors", device.totalMemory() / 1e9),
                "CUDA " + cuda / 1000 + "." + cuda % 1000 / 10 + (Device.isSoftware() || kernelModule.isEmpty() ? "" : ", " + kernelModule) + " (" + Device.reason() + ")",
                (first(PROCESSOR, "model name\\s*:\\s*(.+)") + ", " + Runtime.getRuntime().availableProcessors() + " threads").replaceFirst("^, ", ""),
                System.getProperty("os.name") + " " + System.getProperty("os.version") + " " + System.getProperty("os.arch") + ", Java " + Runtime.version());
    }

    /** What the first group of the pattern matches first in the file; empty where there is neither. */
    private static String first(Path file, String pattern) {
        try {
            var matcher = Pattern.compile(pattern).matcher(Files.readString(file));
            return matcher.find() ? matcher.group(1).strip() : "";
        } catch (IOException e) {
            return "";
        }
    }
}
