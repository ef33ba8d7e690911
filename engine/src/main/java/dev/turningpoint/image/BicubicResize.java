package dev.turningpoint.image;

/**
 * Resizes images of 8 bits as Pillow does, to the bit: bicubic with a = -0.5, widened by the reduction so that it does not alias, columns before rows, weights in
 * fixed point of 22 bits, each pass rounded to 8 bits. Scoring models were trained on images made so.
 */
final class BicubicResize {
    private static final double A = -0.5, SUPPORT = 2;
    private static final int PRECISION = 32 - 8 - 2;

    private BicubicResize() {}

    static RgbImage resize(RgbImage image, int width, int height) {
        byte[] pixels = image.pixels();
        if (width != image.width()) pixels = columns(pixels, image.width(), image.height(), new Weights(image.width(), width));
        if (height != image.height()) pixels = rows(pixels, width, new Weights(image.height(), height));
        return new RgbImage(width, height, pixels == image.pixels() ? pixels.clone() : pixels);
    }

    /** Which pixels of an axis make a new one, and how much of each. */
    private static final class Weights {
        final int[] first;
        final int[][] factors;

        Weights(int from, int to) {
            first = new int[to];
            factors = new int[to][];
            double scale = (double) from / to, widened = Math.max(scale, 1), support = SUPPORT * widened;
            for (int i = 0; i < to; i++) {
                double centre = (i + 0.5) * scale;
                int low = Math.max(0, (int) (centre - support + 0.5)), high = Math.min(from, (int) (centre + support + 0.5));
                var weights = new double[high - low];
                double sum = 0;
                for (int k = 0; k < weights.length; k++) sum += weights[k] = cubic((k + low - centre + 0.5) * (1 / widened));
                first[i] = low;
                factors[i] = new int[weights.length];
                for (int k = 0; k < weights.length; k++) {
                    double w = weights[k] / sum * (1 << PRECISION);
                    factors[i][k] = (int) (w < 0 ? w - 0.5 : w + 0.5);
                }
            }
        }
    }

    private static double cubic(double x) {
        x = Math.abs(x);
        if (x < 1) return ((A + 2) * x - (A + 3)) * x * x + 1;
        return x < 2 ? (((x - 5) * x + 8) * x - 4) * A : 0;
    }

    private static byte[] columns(byte[] pixels, int width, int height, Weights w) {
        int to = w.first.length;
        var out = new byte[to * height * 3];
        for (int y = 0; y < height; y++)
            for (int x = 0; x < to; x++)
                for (int c = 0; c < 3; c++) {
                    int sum = 1 << PRECISION - 1;
                    for (int k = 0; k < w.factors[x].length; k++) sum += (pixels[(y * width + w.first[x] + k) * 3 + c] & 0xff) * w.factors[x][k];
                    out[(y * to + x) * 3 + c] = clamp(sum);
                }
        return out;
    }

    private static byte[] rows(byte[] pixels, int width, Weights w) {
        int to = w.first.length;
        var out = new byte[width * to * 3];
        for (int y = 0; y < to; y++)
            for (int x = 0; x < 3 * width; x++) {
                int sum = 1 << PRECISION - 1;
                for (int k = 0; k < w.factors[y].length; k++) sum += (pixels[(w.first[y] + k) * width * 3 + x] & 0xff) * w.factors[y][k];
                out[y * width * 3 + x] = clamp(sum);
            }
        return out;
    }

    private static byte clamp(int sum) {
        return (byte) Math.clamp(sum >> PRECISION, 0, 255);
    }
}
