package dev.turningpoint.image;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.util.zip.CRC32;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class RgbImageTest {
    /** Patches of noise and of black and white, where rounding and overshoot show. */
    static RgbImage image(int width, int height) {
        var pixels = new byte[width * height * 3];
        long s = 777;
        for (int y = 0; y < height; y++)
            for (int x = 0; x < width; x++)
                for (int c = 0; c < 3; c++) {
                    s = s * 6364136223846793005L + 1442695040888963407L;
                    int n = (int) (s >>> 56);
                    pixels[(y * width + x) * 3 + c] = (byte) ((x / 3 + y / 3 + c) % 2 == 1 ? n : n > 99 ? 255 : 0);
                }
        return new RgbImage(width, height, pixels);
    }

    /** Checksums of {@code Image.resize((w, h), Image.BICUBIC)} of Pillow 12.3. */
    @ParameterizedTest
    @CsvSource({"23, 17, 8, 6, 1728098022", "9, 7, 14, 11, 1389386103", "40, 12, 12, 12, 3097758588", "16, 16, 16, 5, 1327003349", "31, 29, 7, 29, 1661055511",
        "512, 512, 224, 224, 3626052702", "640, 333, 430, 224, 3155075314"})
    void resizesAsPillow(int width, int height, int toWidth, int toHeight, long crc) {
        var sum = new CRC32();
        sum.update(image(width, height).resize(toWidth, toHeight).pixels());
        assertEquals(crc, sum.getValue());
    }

    @Test
    void aResizeToTheSameSizeIsACopy() {
        RgbImage image = image(5, 4), same = image.resize(5, 4);
        assertArrayEquals(image.pixels(), same.pixels());
        same.pixels()[0]++;
        assertEquals(image(5, 4).get(0, 0, 0), image.get(0, 0, 0));
    }

    @Test
    void floatsBecomeTheNearestByte() {
        try (Arena arena = Arena.ofConfined()) {
            var images = ImageBatch.allocate(arena, 2, 3, 1, 4);
            float[] values = {-1.5f, -1, 0, 1, 1.001f, 0.5f / 127.5f, 1.2f / 127.5f, -1.2f / 127.5f, Float.MIN_VALUE, 0.25f, 0.75f, -0.25f};
            for (int i = 0; i < 12; i++) images.set(1, i / 4, 0, i % 4, values[i]);
            RgbImage image = RgbImage.of(images, 1);
            var expected = new int[12];
            for (int i = 0; i < 12; i++) expected[i] = (int) Math.clamp(Math.rint((values[i] / 2.0 + 0.5) * 255), 0, 255);
            for (int i = 0; i < 12; i++) assertEquals(expected[i], image.get(i % 4, 0, i / 4), "value " + values[i]);
            var grey = ImageBatch.allocate(arena, 1, 1, 2);
            grey.set(0, 0, 1, -1);
            assertArrayEquals(new byte[] {-1, -1, -1, 0, 0, 0}, RgbImage.of(grey, 0).pixels());
        }
    }

    @Test
    void aPngFileReadsBackEqual() throws IOException {
        RgbImage image = image(13, 7);
        var read = ImageIO.read(new ByteArrayInputStream(image.png()));
        for (int y = 0; y < 7; y++)
            for (int x = 0; x < 13; x++) assertEquals(image.get(x, y, 0) << 16 | image.get(x, y, 1) << 8 | image.get(x, y, 2), read.getRGB(x, y) & 0xffffff);
    }

    @Test
    void cropsReachBeyondTheEdgeIntoBlack() {
        RgbImage image = image(6, 5), part = image.crop(-1, 3, 4, 7);
        assertEquals(5, part.width());
        assertEquals(4, part.height());
        for (int y = 0; y < 4; y++)
            for (int x = 0; x < 5; x++)
                for (int c = 0; c < 3; c++) assertEquals(x < 1 || y > 1 ? 0 : image.get(x - 1, y + 3, c), part.get(x, y, c));
        assertThrows(IllegalArgumentException.class, () -> new RgbImage(2, 2, new byte[3]));
    }
}
