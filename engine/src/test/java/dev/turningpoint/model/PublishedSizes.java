package dev.turningpoint.model;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.HostMemory;
import dev.turningpoint.gpu.Stream;
import dev.turningpoint.weights.Architecture;
import dev.turningpoint.weights.AtomicFile;
import dev.turningpoint.weights.Checkpoint;
import dev.turningpoint.weights.FluxArchitecture;
import dev.turningpoint.weights.Layout;
import dev.turningpoint.weights.Recognised;
import dev.turningpoint.weights.SafetensorsWriter;
import dev.turningpoint.weights.Sd3Architecture;
import dev.turningpoint.weights.TensorType;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.stream.IntStream;
import tools.jackson.databind.json.JsonMapper;

/**
 * A tool, not a test: checkpoints with the names, shapes and shards of published models and random weights; one forward and one backward of SD3.5-medium, or many and how long they take.
 *
 * <pre>{@code
 * PublishedSizes write sd35-medium|flux-dev FOLDER   # bf16, diffusers' layout; 5 GB and 24 GB
 * PublishedSizes run FILE                            # weights of sd35-medium: 512 x 512, 205 text tokens, adapters on the last two blocks
 * PublishedSizes time FILE ROWS                      # the same with so many rows and adapters on the attention layers of all blocks
 * }</pre>
 */
final class PublishedSizes {
    static final Architecture SD35_MEDIUM = new Sd3Architecture(24, IntStream.range(0, 13).boxed().toList(), 24, 64, 2, 16, 16, 4096, 2048, 384, true);
    static final Architecture FLUX_DEV = new FluxArchitecture(19, 38, 24, 128, 64, 4096, 768, true, List.of(16, 56, 56));
    private static final long SHARD = 10_000_000_000L;   // bytes, diffusers' default

    private PublishedSizes() {}

    public static void main(String[] args) throws Exception {
        switch (args[0]) {
            case "write" -> write(args[1].equals("flux-dev") ? FLUX_DEV : SD35_MEDIUM, Path.of(args[2]));
            case "run" -> run(Path.of(args[1]), 22, 1, false);
            case "time" -> run(Path.of(args[1]), 0, Integer.parseInt(args[2]), true);
            default -> throw new IllegalArgumentException(args[0]);
        }
    }

    // ---- weights

    private static void write(Architecture architecture, Path folder) throws IOException {
        Files.createDirectories(folder);
        AtomicFile.write(folder.resolve("config.json"), new JsonMapper().writeValueAsBytes(architecture.config()));
        var shards = new ArrayList<Map<String, List<Long>>>();
        long size = SHARD, total = 0;
        for (var tensor : architecture.tensors(Layout.DIFFUSERS).entrySet()) {
            long bytes = 2 * tensor.getValue().stream().reduce(1L, Math::multiplyExact);
            if (size + bytes > SHARD) {
                shards.add(new LinkedHashMap<>());
                size = 0;
            }
            shards.getLast().put(tensor.getKey(), tensor.getValue());
            size += bytes;
            total += bytes;
        }
        var index = new LinkedHashMap<String, String>();
        for (int i = 0; i < shards.size(); i++) {
            String file = shards.size() == 1 ? "diffusion_pytorch_model.safetensors" : String.format("diffusion_pytorch_model-%05d-of-%05d.safetensors", i + 1, shards.size());
            var writer = new SafetensorsWriter().metadata("format", "pt");
            shards.get(i).forEach((name, shape) -> {
                writer.tensor(name, TensorType.BF16, shape, (offset, into) -> random(name, shape, offset, into));
                index.put(name, file);
            });
            writer.write(folder.resolve(file));
        }
        if (shards.size() > 1)
            AtomicFile.write(folder.resolve("diffusion_pytorch_model.safetensors.index.json"), new JsonMapper().writeValueAsBytes(Map.of("metadata", Map.of("total_size", total), "weight_map", index)));
        System.out.printf("%s: %,d weights in %d files%n", folder, total / 2, shards.size());
    }

    /** Even over plus and minus sqrt(3 / in), so that activations keep their size; scales are 1, biases 0. */
    private static void random(String name, List<Long> shape, long offset, MemorySegment into) {
        boolean vector = shape.size() == 1, norm = vector && name.endsWith(".weight");
        double range = Math.sqrt(3.0 / shape.stream().skip(1).reduce(1L, Math::multiplyExact));
        long seed = name.hashCode() * 0x9e3779b97f4a7c15L;
        for (long i = 0; i < into.byteSize() / 2; i++) {
            long z = (offset / 2 + i) * 0xbf58476d1ce4e5b9L + seed;
            z = (z ^ z >>> 31) * 0x94d049bb133111ebL;
            float v = norm ? 1 : vector ? 0 : (float) (range * ((z ^ z >>> 29) >> 11) * 0x1p-52);
            into.setAtIndex(ValueLayout.JAVA_SHORT_UNALIGNED, i, (short) (Float.floatToRawIntBits(v) >>> 16));
        }
    }

    // ---- the run

    /** @param lowest block with adapters */
    private static void run(Path file, int lowest, int rows, boolean time) throws IOException {
        var architecture = (Sd3Architecture) SD35_MEDIUM;
        var targets = new ArrayList<String>();
        for (int block = lowest; block < 24; block++)
            for (String layer : List.of("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")) targets.add("transformer_blocks." + block + ".attn." + layer);
        int side = 512 / 8, tokens = 205;
        try (Device device = Device.open(); Stream stream = device.newStream(); Arena arena = Arena.ofShared()) {
            tell("device open", device);
            var options = new TransformerModel.Options(architecture, side, side, tokens, 1, DType.BF16, rows, rows, GlyphModel.Trains.ADAPTER, new LoraConfig(32, 64, targets), Set.of(), false);
            try (var model = new TransformerModel(device, options)) {
                tell("model built", device);
                try (Checkpoint checkpoint = Checkpoint.open(file)) {
                    model.load(Recognised.of(checkpoint), stream);
                }
                tell("weights loaded", device);
                var random = new Random(42);
                MemorySegment text = gaussian(arena, random, tokens * architecture.textWidth()), pooled = gaussian(arena, random, architecture.pooledWidth());
                model.setPrompt(0, text, pooled, 0, stream);
                var adapter = new LinkedHashMap<String, float[]>();
                model.trained().layout().slots().values().forEach(slot -> {
                    var values = new float[Math.toIntExact(slot.elements())];
                    for (int i = 0; i < values.length; i++) values[i] = 0.01f * (float) random.nextGaussian();
                    adapter.put(slot.name(), values);
                });
                model.setAdapter(adapter, stream);
                int n = model.latentSize() * rows;
                try (var memory = device.allocate(16L * n + 4096, "latents and velocity")) {
                    long latents = memory.address(), sigma = latents + 4L * n, condition = sigma + 1024, velocity = condition + 1024, gradient = velocity + 4L * n;
                    stream.copyToDevice(latents, gaussian(arena, random, n));
                    MemorySegment sigmas = arena.allocate(4L * rows, 64), g = arena.allocate(2L * n, 64);
                    for (int i = 0; i < rows; i++) sigmas.setAtIndex(ValueLayout.JAVA_FLOAT, i, 0.5f);
                    for (int i = 0; i < n; i++) g.setAtIndex(ValueLayout.JAVA_SHORT, i, (short) (Float.floatToRawIntBits((float) random.nextGaussian() / n) >>> 16));
                    stream.copyToDevice(sigma, sigmas);
                    stream.copyToDevice(condition, arena.allocate(4L * rows, 64));
                    stream.copyToDevice(gradient, g);
                    stream.synchronize();
                    Runnable forward = () -> model.velocity(stream, latents, sigma, condition, velocity, rows), trainForward = () -> model.trainVelocity(stream, latents, sigma, condition, velocity, rows),
                            backward = () -> {
                                model.zeroGradients(stream);
                                model.backward(stream, gradient, rows);
                            };
                    if (time) {
                        double once = millis(stream, forward), trained = millis(stream, () -> {
                            trainForward.run();
                            backward.run();
                        });
                        System.out.printf("%d rows: forward %.1f ms, forward and backward %.1f ms, medians of 7%n", rows, once, trained);
                        return;
                    }
                    for (int round = 0; round < 2; round++) {
                        forward.run();
                        stream.synchronize();
                        tell("forward " + (round + 1), device);
                    }
                    try (HostMemory out = HostMemory.allocate(2L * n)) {
                        stream.copyToHost(out.segment(), velocity);
                        stream.synchronize();
                        double squares = 0;
                        for (int i = 0; i < n; i++) squares += Math.pow(Float.intBitsToFloat(out.segment().getAtIndex(ValueLayout.JAVA_SHORT, i) << 16), 2);
                        System.out.printf("velocity of %d numbers, root mean square %.4f%n", n, Math.sqrt(squares / n));
                    }
                    trainForward.run();
                    stream.synchronize();
                    tell("training forward", device);
                    backward.run();
                    stream.synchronize();
                    tell("backward of the last two blocks", device);
                    double largest = 0;
                    for (float[] values : model.tensors(model.trained().gradients(), stream).values()) for (float v : values) largest = Math.max(largest, Math.abs(v));
                    System.out.printf("largest gradient %.3g%n", largest);
                }
                device.allocatedBy().forEach((purpose, bytes) -> System.out.printf("%,18d  %s%n", bytes, purpose));
                System.out.printf("%,18d  bytes on the device%n", device.allocated());
            }
        }
    }

    private static double millis(Stream stream, Runnable work) {
        var times = new double[7];
        work.run();
        for (int i = 0; i < times.length; i++) {
            stream.synchronize();
            long start = System.nanoTime();
            work.run();
            stream.synchronize();
            times[i] = (System.nanoTime() - start) / 1e6;
        }
        Arrays.sort(times);
        return times[times.length / 2];
    }

    private static MemorySegment gaussian(Arena arena, Random random, int count) {
        MemorySegment s = arena.allocate(4L * count, 64);
        for (int i = 0; i < count; i++) s.setAtIndex(ValueLayout.JAVA_FLOAT, i, (float) random.nextGaussian());
        return s;
    }

    private static long last = System.nanoTime(), lastProcessor = processor();

    private static long processor() { return ((com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean()).getProcessCpuTime(); }

    /** Seconds since the last call, and memory: of the device, resident now and at most. */
    private static void tell(String what, Device device) throws IOException {
        long now = System.nanoTime(), used = processor();
        String status = Files.readString(Path.of("/proc/self/status"));
        System.out.printf("%-32s %7.1f s, %7.1f s of processors, device %6.2f GiB, resident %6.2f GiB, at most %6.2f GiB%n", what, (now - last) / 1e9, (used - lastProcessor) / 1e9,
                device.allocated() / 0x1p30, gib(status, "VmRSS:"), gib(status, "VmHWM:"));
        last = System.nanoTime();
        lastProcessor = processor();
    }

    private static double gib(String status, String key) {
        return Long.parseLong(status.substring(status.indexOf(key) + key.length()).strip().split("\\s+")[0]) / 0x1p20;
    }
}
