package dev.turningpoint.bench;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.DeviceMemory;
import dev.turningpoint.gpu.HostMemory;
import dev.turningpoint.gpu.Stream;
import dev.turningpoint.kernels.AttentionKernels;
import dev.turningpoint.kernels.CreditKernels;
import dev.turningpoint.kernels.MlpKernels;
import dev.turningpoint.kernels.NormKernels;
import dev.turningpoint.kernels.SamplerKernels;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.function.Supplier;
import java.util.function.UnaryOperator;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.InferenceMode;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;

/**
 * Our kernels on the software GPU against PyTorch eager, one thread each, same inputs, same process, rounds interleaved. Outputs are compared before anything is
 * timed. Exits with 1 if a ratio falls below its goal.
 */
public final class PeerComparison {

    private static final int ROUNDS = 9;
    /** Long against the tick in which the system counts the processor time of threads that are running elsewhere. */
    private static final long ROUND_NANOS = 150_000_000;
    private static final float EPS = 1e-6f;

    /** One piece of work done by both. */
    private static final class Case implements AutoCloseable {
        final String name, shape;
        final double goal;
        final List<AutoCloseable> resources = new ArrayList<>();
        long bytes;
        Runnable ours;
        Supplier<Tensor> peer;
        /** Device address of what corresponds to the peer's result, and its type; 0 where noise is drawn and results cannot agree. */
        long result;
        DType resultType;
        double tolerance;
        /** Brings the peer's result into our order, outside the timing. */
        UnaryOperator<Tensor> arrange = UnaryOperator.identity();

        Case(String name, String shape, double goal) {
            this.name = name;
            this.shape = shape;
            this.goal = goal;
        }

        @Override
        public void close() throws Exception {
            for (var r : resources.reversed()) r.close();
        }
    }

    private record Timing(double ours, double peer) {
        double ratio() {
            return peer / ours;
        }
    }

    private final Device device;
    private final Stream stream;

    private PeerComparison(Device device, Stream stream) {
        this.device = device;
        this.stream = stream;
    }

    /**
     * @param args the folder for the results, else {@code bench/results}; then words that select cases by name
     */
    public static void main(String[] args) throws Exception {
        System.setProperty("turningpoint.software.threads", "1");
        System.setProperty("turningpoint.device", "software");
        if (!"1".equals(System.getenv("OPENBLAS_NUM_THREADS"))) System.err.println("set OPENBLAS_NUM_THREADS=1: the peer's BLAS may use more threads than we do");
        var folder = Path.of(args.length > 0 ? args[0] : "bench/results");
        var only = Arrays.asList(args).subList(Math.min(1, args.length), args.length);
        torch.set_num_threads(1);
        torch.manual_seed(7);
        int missed;
        try (var inference = new InferenceMode(); var device = Device.open(); var stream = device.newStream()) {
            missed = new PeerComparison(device, stream).run(folder, only);
        }
        System.exit(missed > 0 ? 1 : 0);
    }

    private int run(Path folder, List<String> only) throws Exception {
        List<Supplier<Case>> cases = List.of(
                () -> sdeStep(88, 1536, DType.F32, true), () -> sdeStep(88, 1536, DType.F32, false),
                () -> sdeStep(32, 65536, DType.F32, true), () -> sdeStep(32, 65536, DType.F32, false), () -> sdeStep(32, 65536, DType.BF16, true),
                () -> adaptiveLayerNorm(88, 101, 96, DType.F32), () -> adaptiveLayerNorm(4, 1024, 1536, DType.F32),
                () -> geluGate(88, 101, 96, DType.F32), () -> geluGate(4, 1024, 1536, DType.F32), () -> geluGate(4, 1024, 1536, DType.BF16),
                () -> gelu(8888, 96, DType.F32), () -> gelu(4096, 1536, DType.F32), () -> gelu(4096, 1536, DType.BF16),
                () -> gate(88, 101, 96, DType.F32), () -> gate(4, 1024, 1536, DType.F32), () -> gate(4, 1024, 1536, DType.BF16),
                () -> creditScan(1152, 10), () -> creditScan(16384, 10),
                () -> attention(88, 3, 101, 32, Peer.SDPA_F32), () -> attention(1, 8, 256, 64, Peer.SDPA_F32), () -> attention(1, 8, 1024, 64, Peer.SDPA_F32),
                () -> attention(88, 3, 101, 32, Peer.COMPOSED), () -> attention(1, 8, 256, 64, Peer.COMPOSED), () -> attention(1, 8, 1024, 64, Peer.COMPOSED),
                () -> attention(88, 3, 101, 32, Peer.SDPA_BF16), () -> attention(1, 8, 256, 64, Peer.SDPA_BF16));
        var table = new StringBuilder();
        int missed = 0;
        for (var make : cases) {
            try (var c = make.get()) {
                if (!only.isEmpty() && only.stream().noneMatch(c.name::contains)) continue;
                double error = agreement(c);
                var timing = time(c);
                boolean met = timing.ratio() >= c.goal;
                if (!met) missed++;
                var row = String.format(Locale.ROOT, "| %s | %s | %.1f | %.1f | **%.1fx** | %.1f | %.1f | %s |%n", c.name, c.shape, timing.ours / 1e3, timing.peer / 1e3, timing.ratio(),
                        c.bytes / 1e6, c.bytes / timing.ours, (met ? "" : "below ") + String.format(Locale.ROOT, "%.0fx", c.goal) + (Double.isNaN(error) ? "" : String.format(Locale.ROOT, ", max difference %.1e", error)));
                table.append(row);
                System.out.print(row);
            }
        }
        if (only.isEmpty()) write(folder, table);
        return missed;
    }

    private void write(Path folder, StringBuilder table) throws IOException {
        Files.createDirectories(folder);
        var file = folder.resolve(device.name().replaceAll("[^A-Za-z0-9]+", "-").replaceAll("^-|-$", "").toLowerCase(Locale.ROOT) + ".md");
        Files.writeString(file, """
                # %s against PyTorch eager, one thread each

                Written by `dev.turningpoint.bench.PeerComparison` (see `bench/README.md`): same inputs, same process, the median of %d interleaved rounds
                of about 150 ms on each side. Time is processor time of the process: with one thread a side that is the time on an idle machine, whatever else runs.
                Bytes are the least that must move (each input read once, each output written once); GB/s is that over our time.
                Peer: libtorch %s; CPU: %s; JDK %s.

                | work | shape | ours, us | peer, us | ratio | MB | GB/s | goal |
                |---|---|---:|---:|---:|---:|---:|---|
                %s""".formatted(device.name(), ROUNDS, torch.class.getPackage().getImplementationVersion() == null ? "of org.bytedeco:pytorch" : torch.class.getPackage().getImplementationVersion(), cpu(), Runtime.version(), table));
        System.out.println("wrote " + file);
    }

    private static String cpu() throws IOException {
        try (var lines = Files.lines(Path.of("/proc/cpuinfo"))) {
            return lines.filter(l -> l.startsWith("model name")).findFirst().map(l -> l.substring(l.indexOf(':') + 1).strip()).orElse("unknown");
        }
    }

    /** Largest difference of the two results relative to the largest value; NaN where they cannot agree. */
    private double agreement(Case c) {
        c.ours.run();
        stream.synchronize();
        if (c.result == 0) return Double.NaN;
        try (var scope = new PointerScope()) {
            Tensor peer = c.arrange.apply(c.peer.get()).to(torch.ScalarType.Float).contiguous();
            int count = Math.toIntExact(peer.numel());
            float[] theirs = Torch.memory(peer).toArray(ValueLayout.JAVA_FLOAT);
            try (var host = HostMemory.allocate(c.resultType.bytes(count))) {
                stream.copyToHost(host.segment(), c.result);
                stream.synchronize();
                double worst = 0, largest = 0;
                for (int i = 0; i < count; i++) {
                    float mine = c.resultType == DType.F32 ? host.segment().getAtIndex(ValueLayout.JAVA_FLOAT, i)
                            : Float.intBitsToFloat(host.segment().getAtIndex(ValueLayout.JAVA_SHORT, i) << 16);
                    worst = Math.max(worst, Math.abs(mine - theirs[i]));
                    largest = Math.max(largest, Math.abs(theirs[i]));
                }
                if (!(worst <= c.tolerance * largest)) throw new IllegalStateException(c.name + " " + c.shape + ": the two sides differ by " + worst + " where values reach " + largest);
                return worst / largest;
            }
        }
    }

    /** Nanoseconds of processor time of one call on each side: the median of rounds that are interleaved, so that both meet the same machine. */
    private Timing time(Case c) {
        Runnable peer = () -> {
            try (var scope = new PointerScope()) {
                c.peer.get();
            }
        };
        Runnable done = stream::synchronize, nothing = () -> {};
        int ourCalls = calls(c.ours, done), peerCalls = calls(peer, nothing);
        double[] ours = new double[ROUNDS], theirs = new double[ROUNDS];
        for (int i = 0; i < ROUNDS; i++) {
            ours[i] = round(c.ours, ourCalls, done);
            theirs[i] = round(peer, peerCalls, nothing);
        }
        Arrays.sort(ours);
        Arrays.sort(theirs);
        return new Timing(ours[ROUNDS / 2], theirs[ROUNDS / 2]);
    }

    /** How many calls make a round; warms up on the way. */
    private static int calls(Runnable work, Runnable done) {
        int calls = 1;
        while (true) {
            double each = round(work, calls, done);
            if (each * calls > ROUND_NANOS) return Math.max(1, (int) (ROUND_NANOS / each));
            calls *= 2;
        }
    }

    private static double round(Runnable work, int calls, Runnable done) {
        long start = CpuClock.nanos();
        for (int i = 0; i < calls; i++) work.run();
        done.run();
        return (CpuClock.nanos() - start) / (double) calls;
    }

    private Case sdeStep(int batch, int n, DType velocities, boolean given) {
        var c = new Case("SDE step, noise " + (given ? "given" : "drawn"), "[" + batch + ", " + n + "] v " + velocities.suffix(), 3);
        float sigma = 0.7f, sigmaNext = 0.6f, noiseLevel = 0.8f;
        Tensor x = keep(c, Torch.randn(DType.F32, batch, n)), v = keep(c, Torch.randn(velocities, batch, n)), noise = keep(c, Torch.randn(DType.F32, batch, n));
        Tensor s = keep(c, Torch.column(sigma, batch)), t = keep(c, Torch.column(sigmaNext, batch));
        var kernels = use(c, new SamplerKernels(device));
        long dx = upload(c, x), dv = upload(c, v), dnoise = upload(c, noise), next = room(c, 4L * batch * n), logProb = room(c, 4L * batch), partials = room(c, SamplerKernels.scratch(batch, n));
        long steps = ints(c, floats(SdeStepBenchmark.coefficients(sigma, sigmaNext, noiseLevel))), rowStep = ints(c, new int[batch]), rowTrajectory = ints(c, range(batch));
        c.ours = () -> kernels.step(stream, velocities, dx, dv, 0, 1f, next, 0, logProb, partials, steps, rowStep, given ? dnoise : 0, given ? 0 : rowTrajectory, 42, batch, n);
        c.peer = () -> Torch.sdeStep(x, v, given ? noise : null, s, t, noiseLevel)[0];
        c.result = given ? next : 0;
        c.resultType = DType.F32;
        c.tolerance = 1e-5;
        c.bytes = ((given ? 12L : 8L) + velocities.bytes()) * batch * n;
        return c;
    }

    private Case adaptiveLayerNorm(int batch, int tokens, int d, DType type) {
        var c = new Case("adaptive LayerNorm", "[" + batch + ", " + tokens + ", " + d + "] " + type.suffix(), 3);
        Tensor x = keep(c, Torch.randn(DType.F32, batch, tokens, d)), shift = keep(c, Torch.randn(DType.F32, batch, d)), scale = keep(c, Torch.randn(DType.F32, batch, d));
        var kernels = use(c, new NormKernels(device));
        long dx = upload(c, x), dshift = upload(c, shift), dscale = upload(c, scale), out = room(c, type.bytes((long) batch * tokens * d));
        c.ours = () -> kernels.adaptiveLayerNorm(stream, type, dx, dshift, dscale, d, out, 0, batch * tokens, d, tokens, EPS);
        c.peer = () -> Torch.adaptiveLayerNorm(x, shift, scale, EPS);
        c.result = out;
        c.resultType = type;
        c.tolerance = 1e-5;
        c.bytes = (4L + type.bytes()) * batch * tokens * d + 8L * batch * d;
        return c;
    }

    private Case geluGate(int batch, int tokens, int d, DType type) {
        var c = new Case("GELU gate", "[" + batch + ", " + tokens + ", " + d + "] " + type.suffix(), 3);
        Tensor x = keep(c, Torch.randn(DType.F32, batch, tokens, d)), h = keep(c, Torch.randn(type, batch, tokens, d)), gate = keep(c, Torch.randn(DType.F32, batch, d));
        var kernels = use(c, new MlpKernels(device));
        long dx = upload(c, x), dh = upload(c, h), dgate = upload(c, gate), activated = room(c, type.bytes((long) batch * tokens * d));
        c.ours = () -> {
            kernels.gelu(stream, type, dh, activated, (long) batch * tokens * d);
            kernels.gateResidual(stream, type, dx, dgate, d, activated, dx, batch * tokens, d, tokens);   // into the residual stream itself, as a rollout does
        };
        c.peer = () -> Torch.geluGate(x, gate, h);
        c.result = dx;
        c.resultType = DType.F32;
        c.tolerance = type == DType.F32 ? 1e-4 : 2e-2;
        c.bytes = (8L + type.bytes()) * batch * tokens * d + 4L * batch * d;
        return c;
    }

    private Case gelu(int rows, int d, DType type) {
        var c = new Case("GELU", "[" + rows + ", " + d + "] " + type.suffix(), 3);
        Tensor h = keep(c, Torch.randn(type, rows, d));
        var kernels = use(c, new MlpKernels(device));
        long dh = upload(c, h), out = room(c, type.bytes((long) rows * d));
        c.ours = () -> kernels.gelu(stream, type, dh, out, (long) rows * d);
        c.peer = () -> torch.gelu(h, "tanh");
        c.result = out;
        c.resultType = type;
        c.tolerance = type == DType.F32 ? 1e-4 : 2e-2;
        c.bytes = 2 * type.bytes((long) rows * d);
        return c;
    }

    private Case gate(int batch, int tokens, int d, DType type) {
        var c = new Case("gate", "[" + batch + ", " + tokens + ", " + d + "] " + type.suffix(), 1);
        Tensor x = keep(c, Torch.randn(DType.F32, batch, tokens, d)), y = keep(c, Torch.randn(type, batch, tokens, d)), gate = keep(c, Torch.randn(DType.F32, batch, d));
        var kernels = use(c, new MlpKernels(device));
        long dx = upload(c, x), dy = upload(c, y), dgate = upload(c, gate), out = room(c, 4L * batch * tokens * d);
        c.ours = () -> kernels.gateResidual(stream, type, dx, dgate, d, dy, out, batch * tokens, d, tokens);
        c.peer = () -> x.add(gate.unsqueeze(1).mul(y));
        c.result = out;
        c.resultType = DType.F32;
        c.tolerance = 1e-5;
        c.bytes = (8L + type.bytes()) * batch * tokens * d + 4L * batch * d;
        return c;
    }

    private Case creditScan(int batch, int n) {
        var c = new Case("credit scan", "[" + batch + ", " + (n + 1) + "] f32", 3);
        Tensor rewards = keep(c, Torch.randn(DType.F32, batch, n + 1));
        var kernels = use(c, new CreditKernels(device));
        long r = upload(c, rewards), reward = room(c, 4L * batch * n);
        int flags = CreditKernels.BONUS | CreditKernels.FIRST | CreditKernels.FIRST_CONSISTENT | CreditKernels.INNER_CONSISTENT | CreditKernels.SUFFIX | CreditKernels.DROP_MAIN;
        c.ours = () -> kernels.stepRewards(stream, r, 0, reward, 0, 0, 0, 0, batch, n, flags, 1f);
        c.peer = () -> Torch.stepRewards(rewards);
        c.result = reward;
        c.resultType = DType.F32;
        c.tolerance = 1e-6;
        c.bytes = 4L * batch * (2 * n + 1);
        return c;
    }

    /** Ours is bf16 throughout. The peer's bf16 SDPA finds no fast product in this build of libtorch, so its other ways count as well. */
    private enum Peer {
        SDPA_F32("SDPA f32"), SDPA_BF16("SDPA bf16"), COMPOSED("bf16 matmul, softmax, matmul");

        final String title;

        Peer(String title) {
            this.title = title;
        }
    }

    private Case attention(int batch, int heads, int tokens, int headDim, Peer peer) {
        var c = new Case("flash attention, peer " + peer.title, "[" + batch + ", " + heads + ", " + tokens + ", " + headDim + "] bf16", 1);
        long[] shape = {batch, heads, tokens, headDim};
        Tensor q = keep(c, Torch.randn(DType.BF16, shape)), k = keep(c, Torch.randn(DType.BF16, shape)), v = keep(c, Torch.randn(DType.BF16, shape));
        var kernels = use(c, new AttentionKernels(device));
        long size = q.nbytes(), dq = upload(c, q), dk = upload(c, k), dv = upload(c, v), out = room(c, size);
        float scale = (float) (1 / Math.sqrt(headDim));
        c.ours = () -> kernels.forward(stream, DType.BF16, dq, dk, dv, out, 0, 0, batch, heads, tokens, headDim, tokens, scale);
        Tensor qf = keep(c, q.to(torch.ScalarType.Float)), kf = keep(c, k.to(torch.ScalarType.Float)), vf = keep(c, v.to(torch.ScalarType.Float));
        c.peer = switch (peer) {
            case SDPA_F32 -> () -> torch.scaled_dot_product_attention(qf, kf, vf);
            case SDPA_BF16 -> () -> torch.scaled_dot_product_attention(q, k, v);
            case COMPOSED -> () -> Torch.attention(q, k, v);
        };
        c.arrange = t -> t.transpose(1, 2);  // ours has the heads side by side, as the next layer wants them
        c.result = out;
        c.resultType = DType.BF16;
        c.tolerance = 3e-2;
        c.bytes = 4 * size;
        return c;
    }

    private static <T extends AutoCloseable> T use(Case c, T resource) {
        c.resources.add(resource);
        return resource;
    }

    /** A tensor that outlives the scope it was made in. */
    private static Tensor keep(Case c, Tensor tensor) {
        tensor.retainReference();
        c.resources.add(tensor::releaseReference);
        return tensor;
    }

    private long room(Case c, long bytes) {
        DeviceMemory memory = use(c, device.allocate(bytes, c.name + " " + c.shape));
        memory.clear(stream);
        return memory.address();
    }

    private long upload(Case c, Tensor tensor) {
        long address = room(c, tensor.nbytes());
        stream.copyToDevice(address, Torch.memory(tensor));
        stream.synchronize();
        return address;
    }

    private long ints(Case c, int[] values) {
        long address = room(c, Math.max(32, 4L * values.length));
        try (var host = HostMemory.allocate(4L * values.length)) {
            MemorySegment.copy(values, 0, host.segment(), ValueLayout.JAVA_INT, 0, values.length);
            stream.copyToDevice(address, host.segment());
            stream.synchronize();
        }
        return address;
    }

    private static int[] floats(float[] values) {
        var bits = new int[values.length];
        for (int i = 0; i < bits.length; i++) bits[i] = Float.floatToRawIntBits(values[i]);
        return bits;
    }

    private static int[] range(int n) {
        var values = new int[n];
        for (int i = 0; i < n; i++) values[i] = i;
        return values;
    }
}
