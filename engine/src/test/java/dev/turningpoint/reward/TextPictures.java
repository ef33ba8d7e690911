package dev.turningpoint.reward;

import dev.turningpoint.image.GlyphFont;
import dev.turningpoint.image.ImageBatch;
import java.util.List;
import java.util.Random;

/** Pictures of text as a camera might see them: in colour, turned, in perspective, unevenly lit, blurred, with noise. */
final class TextPictures {
    private static final GlyphFont FONT = GlyphFont.bundled();

    /**
     * What becomes of a flat page.
     *
     * @param degrees     turned clockwise
     * @param perspective how much narrower the far side is, as a share
     * @param blur        passes of a 3 x 3 binomial filter
     * @param noise       standard deviation, in levels of 255
     * @param shade       how much darker the far corner is, as a share
     */
    record Camera(double degrees, double perspective, int blur, double noise, double shade) {}

    private TextPictures() {}

    /** Lines of text, centred, in dark ink on light paper or the reverse, colours drawn from {@code random}. */
    static void draw(List<String> lines, float size, Camera camera, Random random, ImageBatch images, int index) {
        int height = images.height(), width = images.width();
        double[] page = page(lines, size, height, width);
        boolean dark = random.nextBoolean();
        double[] ink = colour(random, dark ? 0 : 200), paper = colour(random, dark ? 190 : 30);
        double angle = Math.toRadians(camera.degrees), cos = Math.cos(angle), sin = Math.sin(angle);
        var picture = new double[3][height * width];
        for (int y = 0; y < height; y++)
            for (int x = 0; x < width; x++) {
                double dx = x - width / 2.0, dy = y - height / 2.0;
                double px = cos * dx + sin * dy, py = -sin * dx + cos * dy;
                double w = 1 + camera.perspective * px / width;   // the right side is farther
                double a = bilinear(page, height, width, px / w + width / 2.0, py / w + height / 2.0);
                double light = 1 - camera.shade * ((double) x / width + (double) y / height) / 2;
                for (int c = 0; c < 3; c++) picture[c][y * width + x] = light * (paper[c] + (ink[c] - paper[c]) * a);
            }
        for (int c = 0; c < 3; c++) {
            for (int i = 0; i < camera.blur; i++) picture[c] = blurred(picture[c], height, width);
            for (int i = 0; i < height * width; i++)
                images.set(index, c, i / width, i % width, (float) (Math.clamp(Math.rint(picture[c][i] + camera.noise * random.nextGaussian()), 0, 255) / 127.5 - 1));
        }
    }

    private static double[] colour(Random random, int least) {
        return new double[] {least + random.nextInt(50), least + random.nextInt(50), least + random.nextInt(50)};
    }

    /** How much ink lies on each pixel, 0 to 1. */
    private static double[] page(List<String> lines, float size, int height, int width) {
        var page = new double[height * width];
        for (int l = 0; l < lines.size(); l++) {
            String line = lines.get(l);
            float advance = FONT.advance('0', size), pen = (width - advance * line.length()) / 2;
            int baseline = Math.round(height / 2f + size * 0.36f + (l - (lines.size() - 1) / 2f) * size * 1.6f);
            for (int c : line.codePoints().toArray()) {
                if (c != ' ') {
                    GlyphFont.Bitmap b = FONT.bitmap(c, size);
                    for (int i = 0; i < b.alpha().length; i++) {
                        int x = Math.round(pen) + b.left() + i % b.width(), y = baseline + b.top() + i / b.width();
                        if (x >= 0 && y >= 0 && x < width && y < height) page[y * width + x] = Math.max(page[y * width + x], (b.alpha()[i] & 0xff) / 255.0);
                    }
                }
                pen += advance;
            }
        }
        return page;
    }

    private static double bilinear(double[] page, int height, int width, double x, double y) {
        if (!(x >= 0 && y >= 0 && x < width - 1 && y < height - 1)) return 0;
        int x0 = (int) x, y0 = (int) y;
        double wx = x - x0, wy = y - y0;
        return (page[y0 * width + x0] * (1 - wx) + page[y0 * width + x0 + 1] * wx) * (1 - wy) + (page[(y0 + 1) * width + x0] * (1 - wx) + page[(y0 + 1) * width + x0 + 1] * wx) * wy;
    }

    private static double[] blurred(double[] plane, int height, int width) {
        var out = new double[plane.length];
        int[] weight = {1, 2, 1};
        for (int y = 0; y < height; y++)
            for (int x = 0; x < width; x++) {
                double sum = 0;
                for (int j = -1; j <= 1; j++)
                    for (int i = -1; i <= 1; i++)
                        sum += weight[j + 1] * weight[i + 1] * plane[Math.clamp(y + j, 0, height - 1) * width + Math.clamp(x + i, 0, width - 1)];
                out[y * width + x] = sum / 16;
            }
        return out;
    }
}
