package dev.turningpoint.bench;

import dev.turningpoint.bindings.cuda.Cuda;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.Graph;
import dev.turningpoint.gpu.Kernel;
import dev.turningpoint.gpu.Module;
import dev.turningpoint.gpu.Resources;
import dev.turningpoint.gpu.Stream;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.TimeUnit;
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
 * What a launch of an empty kernel costs, of 100 that are waited for together: through {@link Kernel}, which sets and checks the arguments; as the bare call of the driver with
 * arguments that stand ready, which is what C has to do too; and replayed as a graph. The first less the second is what Java adds. On the software GPU the driver's own part is
 * Java too. {@code -prof gc} shows that none of them allocates.
 */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
@Warmup(iterations = 3, time = 1)
@Measurement(iterations = 5, time = 1)
@OperationsPerInvocation(LaunchBenchmark.LAUNCHES)
@Fork(value = 1, jvmArgsAppend = {"--enable-native-access=ALL-UNNAMED", "-Dorg.lwjgl.system.memoryBackend=ffm"})
public class LaunchBenchmark {
    static final int LAUNCHES = 100;
    private static final byte[] PTX = """
            .version 8.0
            .target sm_80
            .address_size 64
            .visible .entry empty(.param .u64 a, .param .u64 b, .param .u32 n)
            {
                ret;
            }
            """.getBytes(StandardCharsets.US_ASCII);

    private final Resources resources = new Resources();
    private Arena arena;
    private Stream stream;
    private Kernel kernel;
    private Graph graph;
    private MemorySegment function, arguments, driverStream;

    @Setup(Level.Trial)
    public void open() {
        Device device = resources.add(Device.open());
        stream = resources.add(device.newStream());
        Module module = resources.add(device.load("empty", PTX));
        kernel = module.kernel("empty");
        graph = resources.add(stream.capture(this::hundred));
        arena = resources.add(Arena.ofShared());
        MemorySegment pointer = arena.allocate(ValueLayout.ADDRESS), text = arena.allocate(PTX.length + 1L);
        text.copyFrom(MemorySegment.ofArray(PTX));
        check(Cuda.cuModuleLoadDataEx(pointer, text, 0, MemorySegment.NULL, MemorySegment.NULL));
        check(Cuda.cuModuleGetFunction(pointer, pointer.get(ValueLayout.ADDRESS, 0), arena.allocateFrom("empty")));
        function = pointer.get(ValueLayout.ADDRESS, 0);
        check(Cuda.cuStreamCreate(pointer, Cuda.CU_STREAM_NON_BLOCKING()));
        driverStream = pointer.get(ValueLayout.ADDRESS, 0);
        MemorySegment values = arena.allocate(24, 8);
        arguments = arena.allocate(ValueLayout.ADDRESS, 3);
        for (int i = 0; i < 3; i++) arguments.setAtIndex(ValueLayout.ADDRESS, i, values.asSlice(8L * i));
        resources.add(stream::synchronize);
    }

    private static void check(int result) {
        if (result != 0) throw new IllegalStateException("the driver answered " + result);
    }

    private void hundred() {
        for (int i = 0; i < LAUNCHES; i++) kernel.grid(1, 1, 1).block(32).shared(0).arg(0L).arg(0L).arg(i).launch(stream);
    }

    @Benchmark
    public void launch() {
        hundred();
        stream.synchronize();
    }

    @Benchmark
    public void bareCall() {
        for (int i = 0; i < LAUNCHES; i++) check(Cuda.cuLaunchKernel(function, 1, 1, 1, 32, 1, 1, 0, driverStream, arguments, MemorySegment.NULL));
        check(Cuda.cuStreamSynchronize(driverStream));
    }

    @Benchmark
    public void graph() {
        graph.launch(stream);
        stream.synchronize();
    }

    @TearDown(Level.Trial)
    public void close() {
        resources.close();
    }
}
