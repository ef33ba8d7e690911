package dev.turningpoint.softgpu.analysis;

/** The block shape a kernel is compiled for, and what thread indices look like in a warp of it. */
public record Geometry(int x, int y, int z) {
    public int threads() { return x * y * z; }
    public int warps() { return (threads() + 31) / 32; }
    /** Whether every warp has its 32 lanes. */
    public boolean fullWarps() { return threads() % 32 == 0; }

    public Shape tidX() {
        if (threads() <= 32) return knownLanes(0);
        if (y == 1 && z == 1) return Shape.affine(lanes(1), 5);
        if (x % 32 == 0) return Shape.affine(lanes(1), 5);
        if (32 % x == 0) return Shape.known(tabulate(l -> l % x));
        return Shape.VARYING;
    }

    public Shape tidY() {
        if (threads() <= 32) return knownLanes(1);
        if (y == 1) return Shape.constant(0);
        if (x % 32 == 0) return Shape.UNIFORM;
        if (32 % x == 0) {
            int rows = 32 / x;
            if (rows % y == 0) return Shape.known(tabulate(l -> l / x % y));
            if (z == 1 || y % rows == 0) return Shape.affine(tabulate(l -> l / x), Long.numberOfTrailingZeros(rows));
        }
        return Shape.VARYING;
    }

    public Shape tidZ() {
        if (threads() <= 32) return knownLanes(2);
        if (z == 1) return Shape.constant(0);
        int plane = x * y;
        if (plane % 32 == 0) return Shape.UNIFORM;
        if (32 % plane == 0) return Shape.affine(tabulate(l -> l / plane), Long.numberOfTrailingZeros(32 / plane));
        return Shape.VARYING;
    }

    private Shape knownLanes(int axis) {
        return Shape.known(tabulate(l -> axis == 0 ? l % x : axis == 1 ? l / x % y : l / (x * y)));
    }

    static long[] lanes(int step) { return tabulate(l -> (long) l * step); }

    interface OfLane { long at(int lane); }

    static long[] tabulate(OfLane f) {
        long[] p = new long[Shape.LANES];
        for (int l = 0; l < p.length; l++) p[l] = f.at(l);
        return p;
    }
}
