package dev.turningpoint.bench;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.Resources;
import dev.turningpoint.gpu.Stream;
import dev.turningpoint.kernels.SamplerKernels;
import dev.turningpoint.model.GlyphConfig;
import dev.turningpoint.model.GlyphModel;
import dev.turningpoint.sampler.TrajectoryStore;
import dev.turningpoint.sampler.WavefrontSampler;
import dev.turningpoint.sampler.WavefrontSampler.Completions;
import dev.turningpoint.schedule.Schedule;
import dev.turningpoint.schedule.StepTable;
import dev.turningpoint.schedule.StepType;
import dev.turningpoint.tensor.Tensor;
import dev.turningpoint.tensor.Workspace;
import dev.turningpoint.text.GlyphAlphabet;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OperationsPerInvocation;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/**
 * Images a second of a rollout with all its ODE branches on the bundled glyph model, T = 8, 7 stochastic steps: by the wavefront, and step by step, the
 * trajectories first and then each branch by itself. Both, as is checked first, give the same bits; the wavefront asks the network 8 times for 1 + 2 + ... + 8 = 36 rows
 * a trajectory, the other procedure 8 + 8 + 7 + ... + 2 = 43 times for one.
 */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.Throughput)
@OutputTimeUnit(TimeUnit.SECONDS)
@Warmup(iterations = 2, time = 3)
@Measurement(iterations = 5, time = 3)
@OperationsPerInvocation(RolloutBenchmark.IMAGES)
@Fork(value = 1, jvmArgsAppend = {"--enable-native-access=ALL-UNNAMED", "-Dorg.lwjgl.system.memoryBackend=ffm"})
public class RolloutBenchmark {
    private static final int TRAJECTORIES = 4, STEPS = 8, WINDOW = 7;
    static final int IMAGES = TRAJECTORIES * (1 + WINDOW);
    private static final long SEED = 42;

    private final Resources resources = new Resources();
    private final Workspace memory = new Workspace("branches, one at a time");
    private final int[] keys = IntStream.range(0, TRAJECTORIES).toArray();
    private int[] conditions;
    private Device device;
    private Stream stream;
    private SamplerKernels kernels;
    private GlyphModel model;
    private StepTable steps;
    private TrajectoryStore store;
    private WavefrontSampler wave, alone;
    private Tensor images, velocity, sigma, condition, rowStep;

    @Setup(Level.Trial)
    public void open() {
        device = resources.add(Device.open());
        stream = resources.add(device.newStream());
        kernels = resources.add(new SamplerKernels(device));
        model = resources.add(new GlyphModel(device, GlyphModel.Options.inference(GlyphConfig.DEFAULT, DType.F32, 64)));
        model.loadBundled(stream);
        steps = StepTable.of(Schedule.shifted(STEPS, 2), StepType.CPS, 0.7, 0, WINDOW);
        int n = model.latentSize(), tokens = model.conditionTokens();
        store = resources.add(new TrajectoryStore(device, TRAJECTORIES, WINDOW, n, false));
        wave = resources.add(new WavefrontSampler(device, kernels, model, steps, 1, TRAJECTORIES, Completions.SHARED_NOISE, DType.F32, 0));
        alone = resources.add(new WavefrontSampler(device, kernels, model, steps, 1, TRAJECTORIES, Completions.NONE, DType.F32, 0));
        images = memory.tensor("images", DType.F32, 1 + WINDOW, TRAJECTORIES, n);
        velocity = memory.tensor("velocity", DType.F32, TRAJECTORIES, n);
        sigma = memory.tensor("sigmas", DType.F32, STEPS, TRAJECTORIES);
        condition = memory.tensor("conditions", DType.I32, TRAJECTORIES, tokens);
        rowStep = memory.tensor("step of each row", DType.I32, STEPS, TRAJECTORIES);
        resources.add(memory.allocate(device));
        conditions = new int[TRAJECTORIES * tokens];
        for (int b = 0; b < TRAJECTORIES; b++) System.arraycopy(GlyphAlphabet.encode(new String[] {"CAT", "DRUM"}[b % 2], tokens), 0, conditions, b * tokens, tokens);
        var sigmas = new float[STEPS * TRAJECTORIES];
        var rows = new int[STEPS * TRAJECTORIES];
        for (int i = 0; i < rows.length; i++) {
            sigmas[i] = (float) steps.schedule().sigma(i / TRAJECTORIES);
            rows[i] = steps.odeRow(i / TRAJECTORIES);
        }
        Transfers.upload(sigma.address(), MemorySegment.ofArray(sigmas), stream);
        Transfers.upload(rowStep.address(), MemorySegment.ofArray(rows), stream);
        Transfers.upload(condition.address(), MemorySegment.ofArray(conditions), stream);
        resources.add(stream::synchronize);
        wavefront();
        float[] expected = Transfers.download(wave.images(), images.elements(), stream);
        stepByStep();
        float[] got = Transfers.download(images.address(), images.elements(), stream);
        if (Arrays.mismatch(expected, got) >= 0) throw new IllegalStateException("the wavefront and the step-by-step procedure give different images");
    }

    @Benchmark
    public void wavefront() {
        wave.run(stream, conditions, keys, SEED, store, 0);
        stream.synchronize();
    }

    @Benchmark
    public void stepByStep() {
        alone.run(stream, conditions, keys, SEED, store, 0);
        int n = model.latentSize();
        long latents = DType.F32.bytes((long) TRAJECTORIES * n);
        stream.copyOnDevice(images.address(), alone.images(), latents);
        for (int k = 0; k < WINDOW; k++) {
            long x = images.address((long) (1 + k) * TRAJECTORIES * n);
            stream.copyOnDevice(x, store.latents().address((long) store.row(k, 0) * n), latents);
            for (int i = k; i < STEPS; i++) {
                model.velocity(stream, x, sigma.address((long) i * TRAJECTORIES), condition.address(), velocity.address(), TRAJECTORIES);
                kernels.step(stream, DType.F32, x, velocity.address(), 0, 1, x, 0, 0, 0, wave.stepTable(), rowStep.address((long) i * TRAJECTORIES), 0, rowStep.address(), SEED,
                        TRAJECTORIES, n);
            }
        }
        stream.synchronize();
    }

    @TearDown(Level.Trial)
    public void close() {
        resources.close();
    }
}
