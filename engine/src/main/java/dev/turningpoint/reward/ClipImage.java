package dev.turningpoint.reward;

import dev.turningpoint.image.RgbImage;

/**
 * An image as CLIP and BLIP read it, what Hugging Face's {@code CLIPImageProcessor} and torchvision's transforms make of a Pillow image: the shorter edge resized,
 * bicubic; the middle cut out; each channel's mean taken off and divided by its deviation.
 */
final class ClipImage {
    private static final float[] MEAN = {0.48145466f, 0.4578275f, 0.40821073f}, STD = {0.26862954f, 0.26130258f, 0.27577711f};

    private ClipImage() {}

    /** Which pixel the middle begins at when an odd number is left over: the lower one, or the even one. */
    enum Crop { HUGGING_FACE, TORCHVISION }

    /** @return f32 [3, size, size] */
    static float[] pixels(RgbImage image, int size, Crop crop) {
        int shorter = Math.min(image.width(), image.height());
        int width = image.width() == shorter ? size : (int) ((long) size * image.width() / shorter);
        int height = image.height() == shorter ? size : (int) ((long) size * image.height() / shorter);
        RgbImage resized = image.resize(width, height);
        int left = begin(width - size, crop), top = begin(height - size, crop);
        var pixels = new float[3 * size * size];
        for (int c = 0; c < 3; c++)
            for (int y = 0; y < size; y++)
                for (int x = 0; x < size; x++)
                    pixels[(c * size + y) * size + x] = ((float) (resized.get(left + x, top + y, c) * (1 / 255.0)) - MEAN[c]) / STD[c];
        return pixels;
    }

    private static int begin(int over, Crop crop) {
        return crop == Crop.HUGGING_FACE ? over / 2 : (int) Math.rint(over / 2.0);
    }
}
