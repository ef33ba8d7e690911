package dev.turningpoint.softgpu.jit;

import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.Random;
import java.util.stream.IntStream;
import java.util.stream.Stream;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

/** Warps that wait for each other by other means than __syncthreads: everything is told by what they leave in memory. */
@Timeout(value = 120, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
class WaitingTest {
    static Stream<?> ways() { return Way.all(); }

    private static int[] run(Way way, String entry, int grid, int block, int results, Object... more) {
        try (Arena a = Arena.ofConfined()) {
            var out = Launch.ints(a, new int[results]);
            Object[] arguments = Stream.concat(Stream.of(out), Stream.of(more).map(x -> x instanceof int[] v ? Launch.ints(a, v) : x)).toArray();
            way.run("waiting", entry, grid, block, arguments);
            return out.toArray(ValueLayout.JAVA_INT);
        }
    }

    @ParameterizedTest @MethodSource("ways")
    void reductionsAtTheBarrier(Way way) {
        int[] v = new Random(1).ints(100, 0, 90).toArray();   // a part of a warp at the end
        v[3] = 17;
        int odd = (int) IntStream.of(v).filter(x -> x % 2 == 1).count();
        for (int x : run(way, "reductions", 1, 100, 100, v)) assertEquals(odd + 3000, x);
        v[70] = 90;
        v[3] = 16;
        for (int i = 0; i < 100; i++) if (v[i] == 17) v[i] = 16;
        odd = (int) IntStream.of(v).filter(x -> x % 2 == 1).count();
        for (int x : run(way, "reductions", 1, 100, 100, v)) assertEquals(odd, x);
    }

    @ParameterizedTest @MethodSource("ways")
    void namedBarriersBetweenHalvesOfABlock(Way way) {
        int rounds = 7;
        int[] sum = run(way, "producers_and_consumers", 1, 128, 64, rounds);
        for (int i = 0; i < 64; i++) assertEquals(100 * rounds * (rounds - 1) / 2 + rounds * (63 - i), sum[i]);
    }

    @ParameterizedTest @MethodSource("ways")
    void barrierObjects(Way way) {
        int n = 96;
        int[] o = run(way, "objects", 2, n, 2 * n);
        for (int i = 0; i < 2 * n; i++) assertEquals(3 * (n - 1 - i % n) + 3 + 3, o[i]);
    }

    @ParameterizedTest @MethodSource("ways")
    void copiesThatArriveAtBarrierObjects(Way way) {
        int[] in = new Random(2).ints(256).toArray();
        int[] o = run(way, "copied", 1, 256, 256, in);
        for (int i = 0; i < 256; i++) assertEquals(in[255 - i], o[i]);
    }

    @ParameterizedTest @MethodSource("ways")
    void pipelines(Way way) {
        int n = 5, m = 128;
        int[] in = new Random(3).ints(n * m, 0, 1000).toArray();
        int[] o = run(way, "piped", 1, m, m, in, n);
        for (int i = 0; i < m; i++) {
            int at = m - 1 - i;
            assertEquals(IntStream.range(0, n).map(k -> in[k * m + at]).sum(), o[i]);
        }
    }

    @ParameterizedTest @MethodSource("ways")
    void aLockAndASignal(Way way) {
        try (Arena a = Arena.ofConfined()) {
            var mutex = Launch.ints(a, 0);
            var out = Launch.ints(a, 0);
            way.run("waiting", "locked", 3, 256, mutex, out);
            assertEquals(3 * 36, out.get(ValueLayout.JAVA_INT, 0));
            assertArrayEquals(new int[]{0}, mutex.toArray(ValueLayout.JAVA_INT));
            way.run("waiting", "signalled", 1, 160, mutex, out);
            assertEquals(42, out.get(ValueLayout.JAVA_INT, 0));
        }
    }

    @ParameterizedTest @MethodSource("ways")
    void lanesElsewhereKeepTheirRegistersWhileOthersWait(Way way) {
        int[] in = new Random(5).ints(192, -1000, 1000).toArray();
        int[] o;
        try (Arena a = Arena.ofConfined()) {
            var out = Launch.ints(a, new int[96]);
            way.run("waiting", "waits_divided", 1, 96, Launch.ints(a, 0, 0), Launch.ints(a, in), out);
            o = out.toArray(ValueLayout.JAVA_INT);
        }
        for (int i = 0; i < 96; i++)
            assertEquals(i >= 64 ? in[i] - in[96 + i] : i % 2 == 0 ? in[i] + 42 + 3 * in[i] : 5 * in[96 + i] + in[96 + i] - 43, o[i], "thread " + i);
    }
}
