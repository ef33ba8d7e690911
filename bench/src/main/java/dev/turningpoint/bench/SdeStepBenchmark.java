package dev.turningpoint.bench;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.DeviceMemory;
import dev.turningpoint.gpu.HostMemory;
import dev.turningpoint.gpu.Stream;
import dev.turningpoint.kernels.SamplerKernels;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/**
 * One SDE step of a batch with its log-probabilities: launched, and waited for. Least traffic 12 bytes an element with drawn noise and f32 velocities
 * (x, v, xNext), 16 with given noise.
 */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Warmup(iterations = 3, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(value = 1, jvmArgsAppend = {"--enable-native-access=ALL-UNNAMED", "-Dorg.lwjgl.system.memoryBackend=ffm"})
public class SdeStepBenchmark {

    /** Latents in the batch. */
    @Param({"8", "88"})
    public int batch;

    /** Elements of one: a glyph image, and an SD3.5 latent of 512 x 512. */
    @Param({"1536", "65536"})
    public int n;

    @Param({"F32", "BF16"})
    public DType velocities;

    private final List<DeviceMemory> memory = new ArrayList<>();
    private Device device;
    private Stream stream;
    private SamplerKernels kernels;
    private long x, v, xNext, noise, logProb, partials, steps, rowStep, rowTrajectory;

    @Setup(Level.Trial)
    public void allocate() {
        device = Device.open();
        stream = device.newStream();
        kernels = new SamplerKernels(device);
        x = allocate(4L * batch * n, "x");
        v = allocate(velocities.bytes((long) batch * n), "velocities");
        xNext = allocate(4L * batch * n, "next x");
        noise = allocate(4L * batch * n, "noise");
        logProb = allocate(4L * batch, "log-probabilities");
        partials = allocate(SamplerKernels.scratch(batch, n), "partial sums");
        steps = allocate(4L * SamplerKernels.STEP_FLOATS, "step coefficients");
        rowStep = allocate(4L * batch, "step of each row");
        rowTrajectory = allocate(4L * batch, "trajectory of each row");
        for (var m : memory) m.clear(stream);
        try (var host = HostMemory.allocate(Math.max(4L * batch, 4L * SamplerKernels.STEP_FLOATS))) {
            MemorySegment s = host.segment();
            float[] coefficients = coefficients(0.7, 0.6, 0.8);
            MemorySegment.copy(coefficients, 0, s, ValueLayout.JAVA_FLOAT, 0, coefficients.length);
            stream.copyToDevice(steps, s.asSlice(0, 4L * coefficients.length));
            stream.synchronize();
            for (int i = 0; i < batch; i++) s.setAtIndex(ValueLayout.JAVA_INT, i, i);
            stream.copyToDevice(rowTrajectory, s.asSlice(0, 4L * batch));
            kernels.initialNoise(stream, x, rowTrajectory, 1, batch, n);
            kernels.initialNoise(stream, noise, rowTrajectory, 2, batch, n);
            stream.synchronize();
        }
    }

    /** Coefficients of a Flow-SDE step from sigma to sigmaNext, in the order of {@link SamplerKernels}. */
    static float[] coefficients(double sigma, double sigmaNext, double noiseLevel) {
        double s = noiseLevel * Math.sqrt(sigma / (1 - sigma)), dt = sigmaNext - sigma, spread = s * Math.sqrt(-dt);
        return new float[] {(float) (1 + s * s * dt / (2 * sigma)), (float) ((1 + s * s * (1 - sigma) / (2 * sigma)) * dt), (float) spread,
            (float) (-1 / (2 * spread * spread)), (float) (-Math.log(spread) - Math.log(Math.sqrt(2 * Math.PI))), 0, 0, 0};
    }

    private long allocate(long bytes, String purpose) {
        var m = device.allocate(bytes, purpose);
        memory.add(m);
        return m.address();
    }

    /** Noise drawn in the kernel. */
    @Benchmark
    public void drawn() {
        kernels.step(stream, velocities, x, v, 0, 1f, xNext, 0, logProb, partials, steps, rowStep, 0, rowTrajectory, 42, batch, n);
        stream.synchronize();
    }

    /** Noise read from memory. */
    @Benchmark
    public void given() {
        kernels.step(stream, velocities, x, v, 0, 1f, xNext, 0, logProb, partials, steps, rowStep, noise, 0, 42, batch, n);
        stream.synchronize();
    }

    /** The log-probability of what was stored, as training computes it. */
    @Benchmark
    public void replay() {
        kernels.replay(stream, velocities, x, v, 0, 1f, xNext, 0, logProb, partials, steps, rowStep, batch, n);
        stream.synchronize();
    }

    @TearDown(Level.Trial)
    public void free() {
        memory.forEach(DeviceMemory::close);
        kernels.close();
        stream.close();
        device.close();
    }
}
