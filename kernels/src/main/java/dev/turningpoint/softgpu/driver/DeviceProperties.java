package dev.turningpoint.softgpu.driver;

import dev.turningpoint.softgpu.count.Gpu;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** What the device says of itself. */
final class DeviceProperties {
    /** The GPU whose limits these are. */
    static final Gpu LIKE = Gpu.H100;
    /** Its compute capability as 10 * major + minor. */
    static final int ARCHITECTURE = 90;
    /** The newest PTX that this driver reads, as 10 * major + minor. */
    static final int PTX_VERSION = 90;
    static final String NAME = "TurningPoint software GPU (" + cpu() + ")";

    private DeviceProperties() {}

    private static String cpu() {
        try (var lines = Files.lines(Path.of("/proc/cpuinfo"))) {
            return lines.filter(l -> l.startsWith("model name")).map(l -> l.substring(l.indexOf(':') + 1).strip()).findFirst().orElse(System.getProperty("os.arch"));
        } catch (IOException | java.io.UncheckedIOException e) {
            return System.getProperty("os.arch");
        }
    }

    /** CUdevice_attribute by number; what a software device has not is 0. */
    static int attribute(int number) {
        if (number < 1 || number > 147) throw Code.INVALID_VALUE.error("device attribute " + number);
        return switch (number) {
            case 1, 2, 3 -> 1024;                        // threads per block, block x, y
            case 4 -> 64;                                // block z
            case 5 -> Integer.MAX_VALUE;                 // grid x
            case 6, 7 -> 65535;                          // grid y, z
            case 8 -> (int) Function.DEFAULT_SHARED;     // shared memory per block
            case 9 -> 65536;                             // constant memory
            case 10 -> 32;                               // warp
            case 11 -> Integer.MAX_VALUE;                // pitch
            case 12, 82 -> 65536;                        // registers
            case 13 -> 1_000_000;                        // clock, kHz
            case 14 -> 512;                              // texture alignment
            case 16 -> Workers.THREADS;                  // multiprocessors
            case 18 -> 1;                                // integrated: its memory is the host's
            case 19, 15, 31, 41 -> 1;                    // maps host memory, overlaps copies, concurrent kernels, unified addressing
            case 38 -> 1 << 20;                          // L2 bytes
            case 39 -> 2048;                             // threads per multiprocessor
            case 40 -> 1;                                // copy engines
            case 75 -> ARCHITECTURE / 10;                // compute capability
            case 76 -> ARCHITECTURE % 10;
            case 81 -> (int) Function.MOST_SHARED + 1024;
            case 95 -> 1;                                // cooperative launch
            case 97 -> (int) Function.MOST_SHARED;
            case 99 -> 1;                                // cuMemHostRegister
            case 106 -> 32;                              // blocks per multiprocessor
            case 111 -> 1024;                            // shared memory reserved per block
            case 115 -> 1;                               // cuMemAllocAsync
            default -> 0;
        };
    }
}
