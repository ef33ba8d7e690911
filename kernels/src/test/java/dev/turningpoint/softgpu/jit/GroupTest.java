package dev.turningpoint.softgpu.jit;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.Random;
import java.util.function.IntPredicate;
import java.util.stream.IntStream;
import java.util.stream.Stream;

import static org.junit.jupiter.api.Assertions.assertEquals;

/** Cooperative groups within a block: what each group's lanes compute together, against loops over the group's lanes. */
class GroupTest {
    static Stream<?> ways() { return Way.all(); }

    private static int[] values(int n, long seed) { return new Random(seed).ints(n, 1, 12).toArray(); }

    private static int[] run(Way way, String entry, int threads, int width, int[] in) {
        try (Arena a = Arena.ofConfined()) {
            var out = Launch.ints(a, new int[width * threads]);
            way.run("groups", entry, 1, threads, out, Launch.ints(a, in));
            return out.toArray(ValueLayout.JAVA_INT);
        }
    }

    private static int bits(int from, int to, IntPredicate p) { return IntStream.range(from, to).filter(p).map(j -> 1 << j - from).sum(); }

    @ParameterizedTest @MethodSource("ways")
    void tilesOfEight(Way way) {
        int n = 96;
        int[] v = values(n, 1), o = run(way, "tiles", n, 8, v);
        for (int i = 0; i < n; i++) {
            int first = i & ~7, end = first + 8, at = i;
            assertEquals(IntStream.range(first, end).map(j -> v[j]).sum(), o[8 * i], "sum");
            assertEquals(IntStream.range(first, end).map(j -> v[j]).min().getAsInt(), o[8 * i + 1], "least");
            assertEquals(v[i ^ 1], o[8 * i + 2], "neighbour");
            assertEquals(IntStream.range(first, end).anyMatch(j -> v[j] > 6) ? 1 : 0, o[8 * i + 3], "any");
            assertEquals(1, o[8 * i + 4], "all");
            assertEquals(bits(first, end, j -> v[j] > 2), o[8 * i + 5], "ballot");
            assertEquals(bits(first, end, j -> v[j] == v[at]), o[8 * i + 6], "equal ones");
            boolean same = IntStream.range(first, end).allMatch(j -> v[j] / 8 == v[first] / 8);
            assertEquals(same ? 1255 : 0, o[8 * i + 7], "all equal");
        }
    }

    @ParameterizedTest @MethodSource("ways")
    void lanesThatCameTogether(Way way) {
        int n = 45;   // the last warp is a part of one
        int[] v = values(n, 2), o = run(way, "coalesced", n, 3, v);
        for (int i = 0; i < n; i++) {
            if (v[i] % 2 == 0) { assertEquals(-1, o[3 * i]); continue; }
            int first = i & ~31, end = Math.min(n, first + 32);
            IntPredicate odd = j -> v[j] % 2 == 1;
            assertEquals(IntStream.range(first, end).filter(odd).count(), o[3 * i], "size");
            assertEquals(IntStream.range(first, i).filter(odd).count(), o[3 * i + 1], "rank");
            assertEquals(IntStream.range(first, end).filter(odd).map(j -> v[j]).sum(), o[3 * i + 2], "sum");
        }
    }

    @ParameterizedTest @MethodSource("ways")
    void groupsByLabel(Way way) {
        int n = 64;
        int[] v = values(n, 3), o = run(way, "labelled", n, 3, v);
        for (int i = 0; i < n; i++) {
            int first = i & ~31, label = v[i] % 3;
            int[] group = IntStream.range(first, first + 32).filter(j -> v[j] % 3 == label).toArray();
            assertEquals(IntStream.of(group).map(j -> v[j]).sum(), o[3 * i], "sum");
            assertEquals(IntStream.of(group).map(j -> v[j]).max().getAsInt(), o[3 * i + 1], "greatest");
            int at = i;
            assertEquals(IntStream.of(group).filter(j -> j < at).count(), o[3 * i + 2], "rank");
        }
    }

    @ParameterizedTest @MethodSource("ways")
    void prefixSums(Way way) {
        int n = 128;
        int[] v = values(n, 4), o = run(way, "scans", n, 3, v);
        for (int i = 0; i < n; i++) {
            assertEquals(IntStream.rangeClosed(i & ~31, i).map(j -> v[j]).sum(), o[3 * i], "inclusive");
            assertEquals(IntStream.range(i & ~3, i).map(j -> v[j]).sum(), o[3 * i + 1], "exclusive");
            assertEquals(IntStream.range(i & ~3, (i & ~3) + 4).map(j -> v[j]).sum(), o[3 * i + 2], "of floats");
        }
    }

    @ParameterizedTest @MethodSource("ways")
    void oneLaneOfEachWarp(Way way) {
        try (Arena a = Arena.ofConfined()) {
            var out = Launch.ints(a, new int[1 + 160]);
            way.run("groups", "one_of_each_tile", 1, 160, out);
            for (int i = 0; i <= 160; i++) assertEquals(5, out.getAtIndex(ValueLayout.JAVA_INT, i));
        }
    }
}
