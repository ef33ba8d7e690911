package dev.turningpoint.bench;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.Stream;
import java.io.IOException;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Locale;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;

/**
 * STREAM's triad {@code a = b + s c}, f32, three arrays of 128 MiB, by three: a kernel of ours, libtorch's {@code torch.add(b, c, alpha=s, out=a)} and a Java loop
 * that the JVM vectorises. GB/s counts 12 bytes an element. The best is what memory gives to these threads.
 *
 * @param cached by the kernel on arrays that stay in the second-level cache, three of 256 KiB for each thread, in its best round: what no kernel on small arrays can exceed
 */
record Triad(double kernel, double libtorch, double java, double cached) {

    private static final int COUNT = 1 << 25, CACHED = 1 << 16, LAUNCHES = 2000;
    private static final float S = 3;

    double best() {
        return Math.max(kernel, Math.max(libtorch, java));
    }

    @Override
    public String toString() {
        return String.format(Locale.ROOT, "%.1f GB/s by a kernel of ours, %.1f by libtorch, %.1f by a Java loop; %.0f in cache", kernel, libtorch, java, cached);
    }

    /** Medians of {@code rounds} interleaved rounds. */
    static Triad measure(Device device, Stream stream, Clock clock, int threads, int rounds) throws Exception {
        try (var scope = new PointerScope(); var workers = Executors.newFixedThreadPool(threads);
             var a = device.allocate(4L * COUNT, "triad a"); var b = device.allocate(4L * COUNT, "triad b"); var c = device.allocate(4L * COUNT, "triad c");
             var module = device.load("triad", ptx())) {
            Tensor ta = Torch.empty(DType.F32, COUNT).fill_(new Scalar(0f)), tb = torch.full(new long[] {COUNT}, new Scalar(1f)), tc = torch.full(new long[] {COUNT}, new Scalar(2f));
            a.clear(stream);
            b.copyFrom(Torch.memory(tb), 0, stream);
            c.copyFrom(Torch.memory(tc), 0, stream);
            var kernel = module.kernel("triad");
            float[] ja = new float[COUNT], jb = new float[COUNT], jc = new float[COUNT];
            Arrays.fill(jb, 1);
            Arrays.fill(jc, 2);
            var s = new Scalar(S);
            Runnable[] ways = {
                () -> kernel.grid(COUNT / 8192, 1, 1).block(256).shared(0).arg(a.address()).arg(b.address()).arg(c.address()).arg(S).launch(stream),
                () -> torch.add_out(ta, tb, tc, s).close(),
                () -> {
                    var parts = new ArrayList<Future<?>>();
                    for (int t = 0; t < threads; t++) {
                        int from = (int) ((long) COUNT * t / threads), to = (int) ((long) COUNT * (t + 1) / threads);
                        parts.add(workers.submit(() -> triad(ja, jb, jc, S, from, to)));
                    }
                    for (var p : parts) join(p);
                }};
            var nanos = new double[ways.length][rounds];
            for (int r = -2; r < rounds; r++) {  // two rounds to warm up
                for (int w = 0; w < ways.length; w++) {
                    double each = clock.each(ways[w], 1, stream::synchronize);
                    if (r >= 0) nanos[w][r] = each;
                }
            }
            check(Torch.memory(ta).get(ValueLayout.JAVA_FLOAT, 4L * (COUNT - 1)), "libtorch");
            check(ja[COUNT - 1], "Java");
            a.copyTo(Torch.memory(tb), 0, stream);
            stream.synchronize();
            check(Torch.memory(tb).get(ValueLayout.JAVA_FLOAT, 4L * (COUNT - 1)), "kernel");
            int cached = CACHED * threads;
            Runnable small = () -> kernel.grid(cached / 8192, 1, 1).block(256).shared(0).arg(a.address()).arg(b.address()).arg(c.address()).arg(S).launch(stream);
            double least = Double.POSITIVE_INFINITY;
            for (int r = -1; r < Math.max(rounds, 5); r++) {
                double each = clock.each(small, LAUNCHES, stream::synchronize);
                if (r >= 0) least = Math.min(least, each);
            }
            return new Triad(bandwidth(nanos[0]), bandwidth(nanos[1]), bandwidth(nanos[2]), 12. * cached / least);
        }
    }

    private static void triad(float[] a, float[] b, float[] c, float s, int from, int to) {
        for (int i = from; i < to; i++) a[i] = b[i] + s * c[i];
    }

    private static void check(float value, String who) {
        if (value != 1 + S * 2) throw new IllegalStateException("the triad by " + who + " gives " + value);
    }

    private static double bandwidth(double[] nanos) {
        Arrays.sort(nanos);
        return 12.0 * COUNT / nanos[nanos.length / 2];
    }

    private static void join(Future<?> part) {
        try {
            part.get();
        } catch (Exception e) {
            throw new IllegalStateException(e);
        }
    }

    private static byte[] ptx() throws IOException {
        try (var in = Triad.class.getResourceAsStream("triad.ptx")) {
            if (in == null) throw new IllegalStateException("triad.ptx is not on the class path; bench/build-ptx.sh makes it");
            return in.readAllBytes();
        }
    }
}
