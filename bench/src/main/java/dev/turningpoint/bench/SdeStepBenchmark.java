package dev.turningpoint.bench;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.DeviceMemory;
import dev.turningpoint.gpu.Resources;
import dev.turningpoint.gpu.Stream;
import dev.turningpoint.kernels.SamplerKernels;
import dev.turningpoint.schedule.StepCoefficients;
import java.lang.foreign.MemorySegment;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
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

    private final Resources resources = new Resources();
    private Device device;
    private Stream stream;
    private SamplerKernels kernels;
    private long x, v, xNext, noise, logProb, partials, steps, rowStep, rowTrajectory;

    @Setup(Level.Trial)
    public void allocate() {
        device = resources.add(Device.open());
        stream = resources.add(device.newStream());
        kernels = resources.add(new SamplerKernels(device));
        x = allocate(4L * batch * n, "x");
        v = allocate(velocities.bytes((long) batch * n), "velocities");
        xNext = allocate(4L * batch * n, "next x");
        noise = allocate(4L * batch * n, "noise");
        logProb = allocate(4L * batch, "log-probabilities");
        partials = allocate(SamplerKernels.scratch(batch, n), "partial sums");
        steps = allocate(4L * SamplerKernels.STEP_FLOATS, "step coefficients");
        rowStep = allocate(4L * batch, "step of each row");
        rowTrajectory = allocate(4L * batch, "trajectory of each row");
        Transfers.upload(steps, MemorySegment.ofArray(StepCoefficients.sde(0.7, 0.6, 1, 0.8).floats()), stream);
        Transfers.upload(rowTrajectory, MemorySegment.ofArray(IntStream.range(0, batch).toArray()), stream);
        kernels.initialNoise(stream, x, rowTrajectory, 1, batch, n);
        kernels.initialNoise(stream, noise, rowTrajectory, 2, batch, n);
        stream.synchronize();
    }

    private long allocate(long bytes, String purpose) {
        DeviceMemory memory = resources.add(device.allocate(bytes, purpose));
        memory.clear(stream);
        return memory.address();
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
        resources.close();
    }
}
