package dev.turningpoint.selftest;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.DeviceMemory;
import dev.turningpoint.gpu.Gemm;
import dev.turningpoint.gpu.Stream;
import dev.turningpoint.kernels.MlpKernels;
import dev.turningpoint.kernels.SamplerKernels;
import java.util.Arrays;

/**
 * What the device does at best, medians of several rounds.
 *
 * @param copyBytes       of one copy from device memory to device memory
 * @param copyGigabytes   read and written a second while it lasts
 * @param productSide     n of the n x n x n products
 * @param bf16Gigaflops   of the product of bf16 matrices
 * @param f32Gigaflops    of the product of f32 matrices
 * @param launchMicros    that a launch keeps the calling thread
 * @param roundTripMicros from a launch to knowing that the kernel is done
 */
record Speed(long copyBytes, double copyGigabytes, int productSide, double bf16Gigaflops, double f32Gigaflops, double launchMicros, double roundTripMicros) {
    private static final int ROUNDS = 7;
    private static final int LAUNCHES = 200;
    private static final double LONG_ENOUGH_MILLIS = 5;
    private static final int MOST_REPETITIONS = 256;
    private static final double MOST_MICROS = 1e6;

    static Speed of(Device device, Stream stream) {
        boolean software = Device.isSoftware();
        long bytes = software ? 64L << 20 : 512L << 20;
        int side = software ? 1024 : 4096;
        double copy;
        try (var from = device.allocate(bytes, "the copy's source"); var to = device.allocate(bytes, "the copy's target")) {
            from.clear(stream);
            copy = 2e-3 * bytes / micros(device, stream, () -> stream.copyOnDevice(to.address(), from.address(), bytes));
        }
        double flops = 2.0 * side * side * side;
        try (var kernels = new MlpKernels(device); var words = device.allocate(64, "the launched kernel's arrays")) {
            words.clear(stream);
            Runnable launch = () -> kernels.add(stream, DType.F32, words.address(), words.address() + 16, words.address() + 32, 1);
            return new Speed(bytes, copy, side, flops / 1e3 / product(device, stream, DType.BF16, side), flops / 1e3 / product(device, stream, DType.F32, side),
                    launch(stream, launch), roundTrip(stream, launch));
        }
    }

    /** Microseconds on the device that one run of {@code work} takes, in a graph of as many as last some milliseconds. */
    static double micros(Device device, Stream stream, Runnable work) {
        work.run();
        stream.synchronize();
        double once = graph(device, stream, work, 1, 1);
        int repetitions = (int) Math.clamp(LONG_ENOUGH_MILLIS * 1e3 / Math.max(once, 1e-3), 1, MOST_REPETITIONS);
        return graph(device, stream, work, repetitions, (int) Math.clamp(MOST_MICROS / once, 1, ROUNDS));
    }

    private static double graph(Device device, Stream stream, Runnable work, int repetitions, int rounds) {
        Runnable all = () -> {
            for (int i = 0; i < repetitions; i++) work.run();
        };
        try (var graph = stream.capture(all); var start = device.newEvent(); var end = device.newEvent()) {
            var times = new double[rounds];
            for (int i = 0; i < rounds; i++) {
                stream.record(start);
                graph.launch(stream);
                stream.record(end);
                end.synchronize();
                times[i] = 1e3 * end.millisecondsSince(start) / repetitions;
            }
            return median(times);
        }
    }

    /** Microseconds of one product of two normal matrices. */
    private static double product(Device device, Stream stream, DType type, int side) {
        int n = side * side;
        try (var row = device.allocate(Integer.BYTES, "the noise's key"); var noise = device.allocate(DType.F32.bytes(n), "noise"); var a = device.allocate(type.bytes(n), "the first factor");
             var b = device.allocate(type.bytes(n), "the second factor"); var c = device.allocate(type.bytes(n), "the product");
             var sampler = new SamplerKernels(device); var mlp = new MlpKernels(device); var gemm = Gemm.of(device, type, type, type, false, true, side, side, side, false)) {
            row.clear(stream);
            int seed = 1;
            for (DeviceMemory factor : new DeviceMemory[] {a, b}) {
                sampler.initialNoise(stream, noise.address(), row.address(), seed++, 1, n);
                mlp.cast(stream, DType.F32, noise.address(), type, factor.address(), n);
            }
            return micros(device, stream, () -> gemm.run(stream, side, a.address(), side, b.address(), side, c.address(), side, 0, 1, 0));
        }
    }

    private static double launch(Stream stream, Runnable launch) {
        var times = new double[ROUNDS * 3];
        for (int i = 0; i < times.length; i++) {
            long start = System.nanoTime();
            for (int j = 0; j < LAUNCHES; j++) launch.run();
            times[i] = (System.nanoTime() - start) / 1e3 / LAUNCHES;
            stream.synchronize();
        }
        return median(times);
    }

    private static double roundTrip(Stream stream, Runnable launch) {
        var times = new double[LAUNCHES];
        for (int i = 0; i < times.length; i++) {
            long start = System.nanoTime();
            launch.run();
            stream.synchronize();
            times[i] = (System.nanoTime() - start) / 1e3;
        }
        return median(times);
    }

    private static double median(double[] values) {
        Arrays.sort(values);
        return values[values.length / 2];
    }
}
