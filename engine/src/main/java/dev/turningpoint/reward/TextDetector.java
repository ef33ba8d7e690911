package dev.turningpoint.reward;

import dev.turningpoint.image.RgbImage;
import dev.turningpoint.onnx.OnnxModel;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;

/**
 * Finds the lines of text in a picture: PP-OCRv4 detection in ONNX Runtime and DB's post-processing, with PaddleOCR's settings. Every patch of the probability map
 * above the threshold becomes the rectangle of least area around it, is kept if the map's mean inside is high, and is grown, for the map shrinks text on purpose.
 *
 * @see <a href="https://arxiv.org/abs/1911.08947">Differentiable Binarization</a>
 */
final class TextDetector implements AutoCloseable {
    private static final String MODEL = "/models/ch_PP-OCRv4_det_infer.onnx";
    private static final int LONGEST = 960, MULTIPLE = 32;
    private static final double THRESHOLD = 0.3, BOX_THRESHOLD = 0.6, UNCLIP = 1.5;
    private static final double LEAST_SIDE = 3, LEAST_GROWN_SIDE = 5;
    private static final int MOST_BOXES = 1000;
    private static final double SAME_LINE = 10;   // pixels
    private static final float[] MEAN = {0.485f, 0.456f, 0.406f}, STD = {0.229f, 0.224f, 0.225f};

    private final OnnxModel model = OnnxModel.bundled(MODEL);
    private final String input = model.onlyInput(), output = model.firstOutput();

    /** Rectangles of text in reading order: from top to bottom, and from left to right where they begin within ten rows. */
    List<Quad> find(RgbImage image) {
        double ratio = Math.min(1, (double) LONGEST / Math.max(image.width(), image.height()));
        int width = multiple(image.width() * ratio), height = multiple(image.height() * ratio);
        try (var inputs = new OnnxModel.Inputs(model).floats(input, pixels(image, width, height), 1, 3, height, width)) {
            float[] map = model.run(inputs, output).getFirst().floats();
            var found = new ArrayList<Quad>();
            for (Quad q : boxes(map, width, height)) {
                Quad scaled = q.scaled((double) image.width() / width, (double) image.height() / height, image.width(), image.height());
                if (scaled.width() > 3 && scaled.height() > 3) found.add(scaled);
            }
            return inReadingOrder(found);
        }
    }

    private static int multiple(double size) {
        return Math.max(MULTIPLE, (int) Math.rint(size / MULTIPLE) * MULTIPLE);
    }

    /** The image resized bilinearly, in blue, green and red, each normalised: f32 [3, height, width]. */
    private static float[] pixels(RgbImage image, int width, int height) {
        var pixels = new float[3 * height * width];
        for (int y = 0; y < height; y++) {
            double sy = Math.clamp((y + 0.5) * image.height() / height - 0.5, 0, image.height() - 1);
            int y0 = (int) sy, y1 = Math.min(y0 + 1, image.height() - 1);
            for (int x = 0; x < width; x++) {
                double sx = Math.clamp((x + 0.5) * image.width() / width - 0.5, 0, image.width() - 1);
                int x0 = (int) sx, x1 = Math.min(x0 + 1, image.width() - 1);
                double wx = sx - x0, wy = sy - y0;
                for (int c = 0; c < 3; c++) {
                    double upper = image.get(x0, y0, 2 - c) * (1 - wx) + image.get(x1, y0, 2 - c) * wx;
                    double lower = image.get(x0, y1, 2 - c) * (1 - wx) + image.get(x1, y1, 2 - c) * wx;
                    pixels[(c * height + y) * width + x] = ((float) (Math.rint(upper * (1 - wy) + lower * wy) / 255) - MEAN[c]) / STD[c];
                }
            }
        }
        return pixels;
    }

    /**
     * Rectangles of text in a probability map.
     *
     * @param map f32 [height, width] in 0..1
     */
    static List<Quad> boxes(float[] map, int width, int height) {
        var boxes = new ArrayList<Quad>();
        var seen = new boolean[map.length];
        var stack = new int[map.length];
        for (int start = 0; start < map.length && boxes.size() < MOST_BOXES; start++) {
            if (seen[start] || !(map[start] > THRESHOLD)) continue;
            Quad box = Quad.around(patch(map, width, height, start, seen, stack));
            if (Math.min(box.width(), box.height()) < LEAST_SIDE || mean(map, width, height, box) < BOX_THRESHOLD) continue;
            double w = box.width(), h = box.height();
            Quad grown = box.grown(w * h * UNCLIP / (2 * (w + h)));
            if (Math.min(grown.width(), grown.height()) >= LEAST_GROWN_SIDE) boxes.add(grown);
        }
        return boxes;
    }

    /** The pixels of a patch, corners touching included, of which only the ends of its rows matter. */
    private static List<double[]> patch(float[] map, int width, int height, int start, boolean[] seen, int[] stack) {
        var left = new int[height];
        var right = new int[height];
        java.util.Arrays.fill(left, Integer.MAX_VALUE);
        java.util.Arrays.fill(right, -1);
        int depth = 0;
        stack[depth++] = start;
        seen[start] = true;
        while (depth > 0) {
            int at = stack[--depth], y = at / width, x = at % width;
            left[y] = Math.min(left[y], x);
            right[y] = Math.max(right[y], x);
            for (int ny = Math.max(0, y - 1); ny <= Math.min(height - 1, y + 1); ny++)
                for (int nx = Math.max(0, x - 1); nx <= Math.min(width - 1, x + 1); nx++) {
                    int next = ny * width + nx;
                    if (seen[next] || !(map[next] > THRESHOLD)) continue;
                    seen[next] = true;
                    stack[depth++] = next;
                }
        }
        var points = new ArrayList<double[]>();
        for (int y = 0; y < height; y++) {
            if (right[y] < 0) continue;
            points.add(new double[] {left[y], y});
            points.add(new double[] {right[y], y});
        }
        return points;
    }

    private static double mean(float[] map, int width, int height, Quad box) {
        int left = width, right = 0, top = height, bottom = 0;
        for (int i = 0; i < 4; i++) {
            left = Math.clamp((int) Math.floor(box.x()[i]), 0, left);
            right = Math.clamp((int) Math.ceil(box.x()[i]), right, width - 1);
            top = Math.clamp((int) Math.floor(box.y()[i]), 0, top);
            bottom = Math.clamp((int) Math.ceil(box.y()[i]), bottom, height - 1);
        }
        double sum = 0;
        int count = 0;
        for (int y = top; y <= bottom; y++)
            for (int x = left; x <= right; x++)
                if (box.contains(x, y)) {
                    sum += map[y * width + x];
                    count++;
                }
        return count == 0 ? 0 : sum / count;
    }

    static List<Quad> inReadingOrder(List<Quad> boxes) {
        var sorted = new ArrayList<>(boxes);
        sorted.sort(Comparator.<Quad>comparingDouble(q -> q.y()[0]).thenComparingDouble(q -> q.x()[0]));
        for (int i = 0; i + 1 < sorted.size(); i++)
            for (int j = i; j >= 0 && Math.abs(sorted.get(j + 1).y()[0] - sorted.get(j).y()[0]) < SAME_LINE && sorted.get(j + 1).x()[0] < sorted.get(j).x()[0]; j--)
                java.util.Collections.swap(sorted, j, j + 1);
        return sorted;
    }

    @Override
    public void close() {
        model.close();
    }
}
