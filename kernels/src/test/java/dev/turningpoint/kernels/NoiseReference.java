package dev.turningpoint.kernels;

/** Philox4x32-10 and Box-Muller in Java: in the float operations of {@code philox.cuh} for equal bits, and in double for their error. */
final class NoiseReference {
    static final int INITIAL = -1;

    private NoiseReference() {
    }

    static int[] philox(int c0, int c1, int c2, int c3, int k0, int k1) {
        for (int round = 0; round < 10; round++) {
            long p0 = 0xD2511F53L * Integer.toUnsignedLong(c0), p1 = 0xCD9E8D57L * Integer.toUnsignedLong(c2);
            int n0 = (int) (p1 >>> 32) ^ c1 ^ k0, n2 = (int) (p0 >>> 32) ^ c3 ^ k1;
            c1 = (int) p1;
            c3 = (int) p0;
            c0 = n0;
            c2 = n2;
            k0 += 0x9E3779B9;
            k1 += 0xBB67AE85;
        }
        return new int[] {c0, c1, c2, c3};
    }

    /** n normals of a trajectory at a step, as the kernels draw them. */
    static float[] normals(long seed, int trajectory, int step, int purpose, int n) {
        var out = new float[n];
        for (int block = 0; block < n / 4; block++) {
            int[] r = philox(block, step, trajectory, purpose, (int) seed, (int) (seed >>> 32));
            for (int half = 0; half < 2; half++) {
                float radius = (float) Math.sqrt(2f * negativeLog(r[2 * half]));
                float[] circle = unitCircle(r[2 * half + 1]);
                out[4 * block + 2 * half] = radius * circle[0];
                out[4 * block + 2 * half + 1] = radius * circle[1];
            }
        }
        return out;
    }

    static double[] exactNormals(long seed, int trajectory, int step, int purpose, int n) {
        var out = new double[n];
        for (int block = 0; block < n / 4; block++) {
            int[] r = philox(block, step, trajectory, purpose, (int) seed, (int) (seed >>> 32));
            for (int half = 0; half < 2; half++) {
                double u = Math.fma(r[2 * half] >>> 8, 0x1p-24f, 0x1p-25f), angle = 2 * Math.PI * Integer.toUnsignedLong(r[2 * half + 1]) * 0x1p-32;
                double radius = Math.sqrt(-2 * Math.log(u));
                out[4 * block + 2 * half] = radius * Math.cos(angle);
                out[4 * block + 2 * half + 1] = radius * Math.sin(angle);
            }
        }
        return out;
    }

    private static float negativeLog(int word) {
        float u = Math.fma((float) (word >>> 8), 0x1p-24f, 0x1p-25f);
        int bits = Float.floatToRawIntBits(u), e = (bits - 0x3f3504f3) >> 23;
        float f = Float.intBitsToFloat(bits - (e << 23)) - 1f, z = f * f, p = 7.0376836292e-2f;
        for (float c : new float[] {-1.1514610310e-1f, 1.1676998740e-1f, -1.2420140846e-1f, 1.4249322787e-1f, -1.6668057665e-1f, 2.0000714765e-1f,
                -2.4999993993e-1f, 3.3333331174e-1f}) {
            p = Math.fma(p, f, c);
        }
        p = p * f * z;
        p = Math.fma((float) e, -2.12194440e-4f, p);
        p = Math.fma(z, -0.5f, p);
        return -Math.fma((float) e, 0.693359375f, f + p);
    }

    private static float[] unitCircle(int word) {
        int quadrant = (word + 0x20000000) >>> 30;
        float t = (float) (word - (quadrant << 30)) * 1.46291807926715968e-09f, z = t * t;
        float s = Math.fma(Math.fma(-1.9515295891e-4f, z, 8.3321608736e-3f), z, -1.6666654611e-1f);
        s = Math.fma(s * z, t, t);
        float c = Math.fma(Math.fma(2.443315711809948e-5f, z, -1.388731625493765e-3f), z, 4.166664568298827e-2f);
        c = Math.fma(c * z, z, Math.fma(z, -0.5f, 1f));
        float a = (quadrant & 1) != 0 ? s : c, b = (quadrant & 1) != 0 ? c : s;
        return new float[] {((quadrant + 1) & 2) != 0 ? -a : a, (quadrant & 2) != 0 ? -b : b};
    }
}
