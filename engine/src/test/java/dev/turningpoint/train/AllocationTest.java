package dev.turningpoint.train;

import static org.junit.jupiter.api.Assertions.assertEquals;

import com.sun.management.ThreadMXBean;
import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.Stream;
import dev.turningpoint.grpo.PolicyUpdate;
import dev.turningpoint.kernels.GrpoKernels;
import dev.turningpoint.kernels.OptimKernels;
import dev.turningpoint.kernels.SamplerKernels;
import dev.turningpoint.model.GlyphConfig;
import dev.turningpoint.model.GlyphModel;
import dev.turningpoint.optim.AdamW;
import dev.turningpoint.sampler.TrajectoryStore;
import dev.turningpoint.sampler.WavefrontSampler;
import dev.turningpoint.sampler.WavefrontSampler.Completions;
import dev.turningpoint.schedule.Schedule;
import dev.turningpoint.schedule.StepTable;
import dev.turningpoint.schedule.StepType;
import dev.turningpoint.tensor.Parameters;
import java.lang.management.ManagementFactory;
import java.nio.file.Path;
import java.util.EnumSet;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

/** What training in steady state allocates on the Java heap: nothing. Measured in a JVM of its own, where no other test has a say in what the JVM compiles. */
class AllocationTest {
    private static final ThreadMXBean THREADS = (ThreadMXBean) ManagementFactory.getThreadMXBean();

    /** Of a call, once it allocates nothing; until the JVM has compiled the way to the driver, it does. */
    private static long bytes(Runnable work) {
        long least = Long.MAX_VALUE;
        for (int round = 0; round < 300 && least > 0; round++) {
            long before = THREADS.getCurrentThreadAllocatedBytes();
            for (int i = 0; i < 20; i++) work.run();
            least = Math.min(least, THREADS.getCurrentThreadAllocatedBytes() - before);
        }
        return least / 20;
    }

    @Test
    void rolloutsAndUpdatesAllocateNothing() throws Exception {
        Process process = new ProcessBuilder(Path.of(System.getProperty("java.home"), "bin", "java").toString(), "-XX:+UseSerialGC", "--enable-native-access=ALL-UNNAMED", "-Dorg.lwjgl.system.memoryBackend=ffm",
                "-Dturningpoint.device=" + System.getProperty("turningpoint.device", "auto"), "-cp", System.getProperty("java.class.path"), AllocationTest.class.getName()).redirectErrorStream(true).start();
        String said = new String(process.getInputStream().readAllBytes()).strip();
        assertEquals(0, process.waitFor(), said);
        assertEquals("rollout of 8 steps with 8 branches: 0 bytes, update of 28 rows: 0 bytes", said);
    }

    public static void main(String[] args) {
        var shape = new GlyphConfig(8, 8, 4, 32, 1, 1, 2, 3, 32);
        int trajectories = 4;
        try (Device device = Device.open(); Stream stream = device.newStream(); var samplers = new SamplerKernels(device); var grpo = new GrpoKernels(device); var optim = new OptimKernels(device);
             var model = new GlyphModel(device, new GlyphModel.Options(shape, DType.BF16, 16, 8, GlyphModel.Trains.EVERYTHING, null, EnumSet.of(Parameters.Keep.MOMENTS, Parameters.Keep.AVERAGE)))) {
            int window = 7;
            StepTable steps = StepTable.of(Schedule.shifted(window + 1, 2), StepType.CPS, 0.7, 0, window);
            int[] keys = IntStream.range(0, trajectories).toArray(), conditions = IntStream.range(0, trajectories * shape.tokens()).map(i -> i % 32).toArray();
            try (var store = new TrajectoryStore(device, trajectories, window, model.latentSize(), false);
                 var sampler = new WavefrontSampler(device, samplers, model, steps, 1, trajectories, Completions.SHARED_NOISE, DType.F32, 16);
                 var policy = new PolicyUpdate(device, samplers, grpo, model, steps, store, new PolicyUpdate.Settings(1e-4, 5, false, 1), 8, trajectories * window);
                 var optimizer = new AdamW(device, optim, model.trained(), new AdamW.Settings(0.9, 0.999, 1e-8, 1e-4, 1, 0.9, 2))) {
                long rollout = bytes(() -> {
                    sampler.run(stream, conditions, keys, 7, store, 0);
                    stream.synchronize();
                });
                float[] recorded = policy.recordedLogProbs(stream);
                var advantages = new double[trajectories * window];
                for (int i = 0; i < advantages.length; i++) advantages[i] = Math.sin(i);
                long update = bytes(() -> {
                    policy.accumulate(stream, keys, conditions, recorded, advantages, 0);
                    optimizer.step(stream, 1e-4);
                });
                System.out.println("rollout of 8 steps with 8 branches: " + rollout + " bytes, update of 28 rows: " + update + " bytes");
            }
        }
    }
}
