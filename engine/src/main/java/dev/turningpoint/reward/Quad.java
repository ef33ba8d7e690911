package dev.turningpoint.reward;

import dev.turningpoint.image.RgbImage;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;

/**
 * A rectangle that may be turned, or what perspective made of one: its corners from the upper left on clockwise.
 *
 * @param x columns of the four corners, pixel centres at whole numbers
 * @param y rows
 */
record Quad(double[] x, double[] y) {

    /** The rectangle of least area around points; of no height where they lie on a line. */
    static Quad around(List<double[]> points) {
        List<double[]> hull = hull(points);
        double least = Double.POSITIVE_INFINITY;
        Quad best = null;
        for (int i = 0; i < hull.size(); i++) {
            double[] a = hull.get(i), b = hull.get((i + 1) % hull.size());
            double length = Math.hypot(b[0] - a[0], b[1] - a[1]);
            double ux = length == 0 ? 1 : (b[0] - a[0]) / length, uy = length == 0 ? 0 : (b[1] - a[1]) / length;
            double lowU = Double.POSITIVE_INFINITY, highU = Double.NEGATIVE_INFINITY, lowV = lowU, highV = highU;
            for (double[] p : hull) {
                double u = p[0] * ux + p[1] * uy, v = p[1] * ux - p[0] * uy;
                lowU = Math.min(lowU, u);
                highU = Math.max(highU, u);
                lowV = Math.min(lowV, v);
                highV = Math.max(highV, v);
            }
            double area = (highU - lowU) * (highV - lowV);
            if (area >= least) continue;
            least = area;
            best = ordered(new double[][] {corner(lowU, lowV, ux, uy), corner(highU, lowV, ux, uy), corner(highU, highV, ux, uy), corner(lowU, highV, ux, uy)});
        }
        return best;
    }

    private static double[] corner(double u, double v, double ux, double uy) {
        return new double[] {u * ux - v * uy, u * uy + v * ux};
    }

    /** The two leftmost corners make the left side, upper first. */
    private static Quad ordered(double[][] corners) {
        Arrays.sort(corners, Comparator.comparingDouble(c -> c[0]));
        double[] leftUp = corners[0][1] <= corners[1][1] ? corners[0] : corners[1], leftDown = leftUp == corners[0] ? corners[1] : corners[0];
        double[] rightUp = corners[2][1] <= corners[3][1] ? corners[2] : corners[3], rightDown = rightUp == corners[2] ? corners[3] : corners[2];
        return new Quad(new double[] {leftUp[0], rightUp[0], rightDown[0], leftDown[0]}, new double[] {leftUp[1], rightUp[1], rightDown[1], leftDown[1]});
    }

    /** Corners of the convex hull, in order; Andrew's monotone chain. */
    private static List<double[]> hull(List<double[]> points) {
        var sorted = new ArrayList<>(points);
        sorted.sort(Comparator.<double[]>comparingDouble(p -> p[0]).thenComparingDouble(p -> p[1]));
        if (sorted.size() < 3) return sorted;
        var hull = new ArrayList<double[]>();
        for (int round = 0; round < 2; round++) {
            int floor = hull.size() + 1;
            for (double[] p : sorted) {
                while (hull.size() > floor && turn(hull.get(hull.size() - 2), hull.getLast(), p) <= 0) hull.removeLast();
                hull.add(p);
            }
            hull.removeLast();
            java.util.Collections.reverse(sorted);
        }
        return hull;
    }

    private static double turn(double[] a, double[] b, double[] c) {
        return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]);
    }

    /** Length of the longer of the upper and the lower side. */
    double width() {
        return Math.max(Math.hypot(x[1] - x[0], y[1] - y[0]), Math.hypot(x[2] - x[3], y[2] - y[3]));
    }

    /** Length of the longer of the left and the right side. */
    double height() {
        return Math.max(Math.hypot(x[3] - x[0], y[3] - y[0]), Math.hypot(x[2] - x[1], y[2] - y[1]));
    }

    /** The rectangle with each side moved outwards. */
    Quad grown(double distance) {
        double width = width(), height = height();
        double ux, uy;
        if (width >= height) {
            ux = (x[1] - x[0]) / width;
            uy = (y[1] - y[0]) / width;
        } else {
            ux = (y[3] - y[0]) / height;
            uy = -(x[3] - x[0]) / height;
        }
        double[] signU = {-1, 1, 1, -1}, signV = {-1, -1, 1, 1};
        var gx = new double[4];
        var gy = new double[4];
        for (int i = 0; i < 4; i++) {
            gx[i] = x[i] + distance * (signU[i] * ux - signV[i] * uy);
            gy[i] = y[i] + distance * (signU[i] * uy + signV[i] * ux);
        }
        return new Quad(gx, gy);
    }

    /** The rectangle in an image of another size, its corners inside. */
    Quad scaled(double byX, double byY, int width, int height) {
        return new Quad(Arrays.stream(x).map(v -> Math.clamp(Math.rint(v * byX), 0, width - 1)).toArray(), Arrays.stream(y).map(v -> Math.clamp(Math.rint(v * byY), 0, height - 1)).toArray());
    }

    /** Whether a point lies inside or on the edge. */
    boolean contains(double px, double py) {
        for (int i = 0; i < 4; i++) {
            int j = (i + 1) % 4;
            if ((x[j] - x[i]) * (py - y[i]) - (y[j] - y[i]) * (px - x[i]) < -1e-9) return false;
        }
        return true;
    }

    /** What lies in it, straightened: bilinear, whole pixels of its width and height; turned to lie where it is half again as high as wide. */
    RgbImage cut(RgbImage image) {
        int w = Math.max(1, (int) width()), h = Math.max(1, (int) height());
        double[] m = fromUnitSquare();
        var pixels = new byte[w * h * 3];
        for (int row = 0; row < h; row++)
            for (int column = 0; column < w; column++) {
                double u = (double) column / w, v = (double) row / h, d = m[6] * u + m[7] * v + 1;
                sample(image, (m[0] * u + m[1] * v + m[2]) / d, (m[3] * u + m[4] * v + m[5]) / d, pixels, (row * w + column) * 3);
            }
        var cut = new RgbImage(w, h, pixels);
        return h >= 1.5 * w ? turned(cut) : cut;
    }

    private static void sample(RgbImage image, double px, double py, byte[] to, int at) {
        px = Math.clamp(px, 0, image.width() - 1);
        py = Math.clamp(py, 0, image.height() - 1);
        int x0 = (int) px, y0 = (int) py, x1 = Math.min(x0 + 1, image.width() - 1), y1 = Math.min(y0 + 1, image.height() - 1);
        double wx = px - x0, wy = py - y0;
        for (int c = 0; c < 3; c++) {
            double upper = image.get(x0, y0, c) * (1 - wx) + image.get(x1, y0, c) * wx, lower = image.get(x0, y1, c) * (1 - wx) + image.get(x1, y1, c) * wx;
            to[at + c] = (byte) Math.round(upper * (1 - wy) + lower * wy);
        }
    }

    /** The projective map of the unit square to the corners: x = (m0 u + m1 v + m2) / (m6 u + m7 v + 1), y likewise with m3 to m5. */
    private double[] fromUnitSquare() {
        double sx = x[0] - x[1] + x[2] - x[3], sy = y[0] - y[1] + y[2] - y[3];
        double dx1 = x[1] - x[2], dx2 = x[3] - x[2], dy1 = y[1] - y[2], dy2 = y[3] - y[2], det = dx1 * dy2 - dx2 * dy1;
        double g = det == 0 ? 0 : (sx * dy2 - dx2 * sy) / det, h = det == 0 ? 0 : (dx1 * sy - sx * dy1) / det;
        return new double[] {x[1] - x[0] + g * x[1], x[3] - x[0] + h * x[3], x[0], y[1] - y[0] + g * y[1], y[3] - y[0] + h * y[3], y[0], g, h};
    }

    /** A quarter turn to the left. */
    private static RgbImage turned(RgbImage image) {
        int w = image.height(), h = image.width();
        var pixels = new byte[w * h * 3];
        for (int row = 0; row < h; row++)
            for (int column = 0; column < w; column++) System.arraycopy(image.pixels(), (column * image.width() + image.width() - 1 - row) * 3, pixels, (row * w + column) * 3, 3);
        return new RgbImage(w, h, pixels);
    }
}
