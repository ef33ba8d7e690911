package dev.turningpoint.softgpu.jit;

import java.nio.LongBuffer;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;

/**
 * The elements that the lanes of an access touch, as runs of neighbours.
 *
 * @param start    bytes from lane 0's first element to each run
 * @param length   elements of each run
 * @param index    {@code index[lane * width + component]}: which element, counted through the runs
 * @param total    elements of all runs
 * @param oneToOne no element belongs to two lanes
 * @param last     {@code last[element]}: of the values side by side, all lanes of component 0 first, which one a store leaves there: the last lane's
 */
record Runs(long[] start, int[] length, int[] index, int total, boolean oneToOne, int[] last) {
    private static final int MOST = 16;   // more cost more than going lane by lane

    /** Whether each element follows the one before it, lane by lane. */
    boolean inOrder() {
        for (int e = 0; e < index.length; e++) if (index[e] != e) return false;
        return start.length == 1;
    }

    /** Those of the patterns seen so far: a kernel has few, and accesses by the thousand. */
    static final class Of {
        private static final Runs NONE = new Runs(null, null, null, 0, false, null);

        private final Map<LongBuffer, Runs> known = new HashMap<>();

        /**
         * @param pattern bytes to add to the address for each lane
         * @param bytes   of an element
         * @param width   elements of a lane
         * @param gap     bytes between neighbours that a run may bridge
         * @return null if runs do not cover the pattern well
         */
        Runs pattern(long[] pattern, int bytes, int width, int gap) {
            var key = new long[pattern.length + 3];
            for (int l = 0; l < pattern.length; l++) key[l] = pattern[l] - pattern[0];
            key[pattern.length] = bytes;
            key[pattern.length + 1] = width;
            key[pattern.length + 2] = gap;
            Runs runs = known.computeIfAbsent(LongBuffer.wrap(key), k -> {
                Runs r = of(pattern, bytes, width, gap);
                return r == null ? NONE : r;
            });
            return runs == NONE ? null : runs;
        }
    }

    private static Runs of(long[] pattern, int bytes, int width, int gap) {
        var elements = new long[32 * width];
        for (int l = 0; l < 32; l++) {
            long at = pattern[l] - pattern[0];
            if (at % bytes != 0) return null;
            for (int j = 0; j < width; j++) elements[l * width + j] = at / bytes + j;
        }
        var sorted = elements.clone();
        Arrays.sort(sorted);
        var first = new long[elements.length];   // element of each run
        var length = new int[elements.length];
        int runs = 0;
        for (int e = 0; e < sorted.length; e++) {
            if (e == 0 || (sorted[e] - sorted[e - 1] - 1) * bytes > gap) first[runs++] = sorted[e];
            length[runs - 1] = (int) (sorted[e] - first[runs - 1] + 1);
        }
        int total = 0;
        for (int r = 0; r < runs; r++) total += length[r];
        if (runs > MOST || total > 32 * width * 4) return null;
        var index = new int[elements.length];
        for (int e = 0; e < elements.length; e++)
            for (int r = 0, before = 0; r < runs; before += length[r++])
                if (elements[e] >= first[r] && elements[e] < first[r] + length[r]) index[e] = before + (int) (elements[e] - first[r]);
        var last = new int[total];
        for (int l = 0; l < 32; l++) for (int j = 0; j < width; j++) last[index[l * width + j]] = j * 32 + l;
        boolean once = Arrays.stream(index).distinct().count() == index.length;
        return new Runs(Arrays.stream(first, 0, runs).map(e -> e * bytes).toArray(), Arrays.copyOf(length, runs), index, total, once, last);
    }
}
