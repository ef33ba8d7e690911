package dev.turningpoint.softgpu.jit;

import java.util.List;

/**
 * Vectors of one, two or four components a lane, between the order of memory, {@code xyzw xyzw ..}, and a vector for each component, {@code x x ..}, {@code y y ..}: as many vectors of
 * {@link #LANES} elements on either side as there are components. Four take two steps, by pairs. Asked for in one, LLVM makes one step more of it.
 */
final class Interleave {
    static final int LANES = 16;

    private Interleave() {}

    /** From the order of memory. */
    static List<String> apart(Ir ir, String type, List<String> rows) {
        return switch (rows.size()) {
            case 1 -> rows;
            case 2 -> List.of(every(ir, type, rows.get(0), rows.get(1), 0), every(ir, type, rows.get(0), rows.get(1), 1));
            case 4 -> {
                var pairs = new String[2][2];   // xy or zw; of the lower or upper 8 lanes
                for (int q = 0; q < 2; q++) for (int c = 0; c < 2; c++) {
                    int first = 2 * c;
                    pairs[c][q] = ir.shuffle(type, LANES, rows.get(2 * q), rows.get(2 * q + 1), LANES, e -> e % 8 * 4 + first + e / 8);
                }
                var r = new String[4];
                for (int c = 0; c < 4; c++) {
                    int from = c % 2 * 8;
                    r[c] = ir.shuffle(type, LANES, pairs[c / 2][0], pairs[c / 2][1], LANES, e -> e < 8 ? from + e : LANES + from + e - 8);
                }
                yield List.of(r);
            }
            default -> throw new IllegalArgumentException(rows.size() + " components");
        };
    }

    /** To the order of memory. */
    static List<String> together(Ir ir, String type, List<String> components) {
        return switch (components.size()) {
            case 1 -> components;
            case 2 -> List.of(zip(ir, type, components.get(0), components.get(1), 0, 1), zip(ir, type, components.get(0), components.get(1), 8, 1));
            case 4 -> {
                var r = new String[4];
                for (int q = 0; q < 2; q++) {   // 8 lanes
                    String xy = zip(ir, type, components.get(0), components.get(1), 8 * q, 1), zw = zip(ir, type, components.get(2), components.get(3), 8 * q, 1);
                    for (int i = 0; i < 2; i++) r[2 * q + i] = zip(ir, type, xy, zw, 8 * i, 2);
                }
                yield List.of(r);
            }
            default -> throw new IllegalArgumentException(components.size() + " components");
        };
    }

    private static String every(Ir ir, String type, String a, String b, int first) { return ir.shuffle(type, LANES, a, b, LANES, e -> 2 * e + first); }

    /** Elements of a and b by turns, n of each, from an element on. */
    private static String zip(Ir ir, String type, String a, String b, int from, int n) {
        return ir.shuffle(type, LANES, a, b, LANES, e -> from + e / (2 * n) * n + e % n + (e / n % 2 == 0 ? 0 : LANES));
    }
}
