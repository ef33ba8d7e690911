package dev.turningpoint.image;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import java.util.zip.CRC32;
import java.util.zip.Inflater;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ImageTest {
    @TempDir Path folder;

    /** Decodes an 8-bit grey PNG by the specification, checksums included, with none of the code that wrote it. */
    static int[][] decode(byte[] png) throws Exception {
        assertArrayEquals(new byte[] {(byte) 0x89, 'P', 'N', 'G', 13, 10, 26, 10}, Arrays.copyOf(png, 8));
        ByteBuffer in = ByteBuffer.wrap(png, 8, png.length - 8);
        int width = 0, height = 0;
        var data = new java.io.ByteArrayOutputStream();
        while (in.hasRemaining()) {
            int length = in.getInt();
            byte[] chunk = new byte[length + 4];
            in.get(chunk);
            var crc = new CRC32();
            crc.update(chunk);
            assertEquals((int) crc.getValue(), in.getInt());
            String type = new String(chunk, 0, 4, java.nio.charset.StandardCharsets.US_ASCII);
            if (type.equals("IHDR")) {
                ByteBuffer h = ByteBuffer.wrap(chunk, 4, length);
                width = h.getInt();
                height = h.getInt();
                assertEquals(8, h.get());
                assertEquals(0, h.get());
            } else if (type.equals("IDAT")) data.write(chunk, 4, length);
        }
        var inflater = new Inflater();
        inflater.setInput(data.toByteArray());
        byte[] raw = new byte[height * (width + 1)];
        assertEquals(raw.length, inflater.inflate(raw));
        int[][] out = new int[height][width];
        for (int y = 0; y < height; y++) {
            int filter = raw[y * (width + 1)];
            for (int x = 0; x < width; x++) {
                int a = x > 0 ? out[y][x - 1] : 0, b = y > 0 ? out[y - 1][x] : 0, c = x > 0 && y > 0 ? out[y - 1][x - 1] : 0, p = a + b - c;
                int paeth = Math.abs(p - a) <= Math.abs(p - b) && Math.abs(p - a) <= Math.abs(p - c) ? a : Math.abs(p - b) <= Math.abs(p - c) ? b : c;
                int predicted = switch (filter) {
                    case 0 -> 0;
                    case 1 -> a;
                    case 2 -> b;
                    case 3 -> (a + b) / 2;
                    default -> paeth;
                };
                out[y][x] = raw[y * (width + 1) + 1 + x] + predicted & 0xff;
            }
        }
        return out;
    }

    @Test
    void gridIsEnlargedBorderedAndReadableAsPng() throws Exception {
        try (Arena arena = Arena.ofConfined()) {
            var images = ImageBatch.allocate(arena, 5, 4, 6);
            var random = new SplittableRandom(1);
            for (int i = 0; i < 5; i++) for (int y = 0; y < 4; y++) for (int x = 0; x < 6; x++) images.set(i, y, x, (float) random.nextDouble(-1.5, 1.5));
            images.set(0, 0, 0, Float.NaN);
            Path path = folder.resolve("grid.png");
            Picture.grid(images, List.of(), 3, 2).write(path);
            int[][] png = decode(Files.readAllBytes(path));
            assertEquals(2 * (4 * 2 + 2 + 6) + 6, png.length);
            assertEquals(3 * (6 * 2 + 2 + 6) + 6, png[0].length);
            for (int i = 0; i < 5; i++) {
                int x0 = 6 + i % 3 * 20, y0 = 6 + i / 3 * 16;
                assertEquals(190, png[y0][x0]);
                for (int y = 0; y < 8; y++)
                    for (int x = 0; x < 12; x++) {
                        float v = images.get(i, y / 2, x / 2);
                        int expected = Float.isNaN(v) ? 0 : Math.round((Math.max(-1, Math.min(1, v)) + 1) * 127.5f);
                        assertEquals(expected, png[y0 + 1 + y][x0 + 1 + x]);
                    }
            }
            assertEquals(255, png[24][50]);   // no sixth image
            assertEquals(List.of("grid.png"), List.of(folder.toFile().list()));
            var both = Picture.beforeAfter(images, images, List.of("A", "B", "C", "ü", "✓"), "before .52", "after .81", 3, 2);
            assertEquals(2 * 66 + 24, decode(both.png())[0].length);
        }
    }

    @Test
    void colouredImagesMakeColouredPictures() throws Exception {
        try (Arena arena = Arena.ofConfined()) {
            var images = ImageBatch.allocate(arena, 3, 3, 40, 50);
            var random = new SplittableRandom(2);
            for (int i = 0; i < 3; i++)
                for (int c = 0; c < 3; c++) for (int y = 0; y < 40; y++) for (int x = 0; x < 50; x++) images.set(i, c, y, x, (float) random.nextDouble(-1.2, 1.2));
            Picture picture = Picture.grid(images, List.of("a caption far too long for its image", "", ""), 2, 1);
            var png = javax.imageio.ImageIO.read(new java.io.ByteArrayInputStream(picture.png()));
            for (int i = 0; i < 3; i++) {
                int x0 = 6 + i % 2 * 58 + 1, y0 = 6 + i / 2 * 66 + 1;
                for (int y = 0; y < 40; y++)
                    for (int x = 0; x < 50; x++) {
                        int expected = 0;
                        for (int c = 0; c < 3; c++) expected = expected << 8 | Math.round((Math.clamp(images.get(i, c, y, x), -1, 1) + 1) * 127.5f);
                        assertEquals(expected, png.getRGB(x0 + x, y0 + y) & 0xffffff, "image " + i + " at " + x + ", " + y);
                    }
            }
            for (int y = 50; y < 66; y++) assertEquals(0xffffff, png.getRGB(62, y) & 0xffffff, "the caption ends with its image");
        }
    }

    @Test
    void aWordIsTheSameForTheSameStateAndMovesWithItsJitter() {
        try (Arena arena = Arena.ofConfined()) {
            var images = ImageBatch.allocate(arena, 4, 24, 64);
            var renderer = new WordRenderer(GlyphFont.bundled(), 24, 64);
            assertEquals(4, renderer.maxLetters());
            renderer.render("H7U", new SplittableRandom(9), images, 0);
            renderer.render("H7U", new SplittableRandom(9), images, 1);
            assertEquals(-1, images.image(0).mismatch(images.image(1)));
            renderer.render("H7U", 1, -1, images, 2);
            renderer.render("H7U", 3, 1, images, 3);
            double ink = 0;
            for (int y = 0; y < 22; y++)
                for (int x = 0; x < 62; x++) {
                    assertEquals(images.get(2, y, x), images.get(3, y + 2, x + 2));
                    ink += 1 - images.get(2, y, x);
                }
            assertTrue(ink > 100 && ink < 1000, "ink " + ink);
            for (int x = 0; x < 64; x++) assertTrue(images.get(3, 23, x) > 0.9 && images.get(2, 0, x) > 0.9, "letters touch neither edge");
            assertThrows(IllegalArgumentException.class, () -> renderer.render("ABCDE", 1, 0, images, 0));
            assertThrows(IndexOutOfBoundsException.class, () -> renderer.render("A", 1, 0, images, 4));
            assertThrows(FontException.class, () -> renderer.render("一", 1, 0, images, 0));
        }
    }

    @Test
    void aBadFontIsOneLine() throws IOException {
        Path none = folder.resolve("none.ttf");
        String message = assertThrows(FontException.class, () -> GlyphFont.open(none)).getMessage();
        assertEquals("font " + none + ": there is no such file; name a .ttf file, or leave the font out to take the bundled one", message);
        byte[] font;
        try (var in = GlyphFont.class.getResourceAsStream("JetBrainsMono-Regular.ttf")) {
            font = in.readAllBytes();
        }
        Path cut = Files.write(folder.resolve("cut.ttf"), Arrays.copyOf(font, font.length / 2));
        message = assertThrows(FontException.class, () -> GlyphFont.open(cut)).getMessage();
        assertTrue(message.startsWith("font " + cut + ": is truncated: table '"), message);
        Path text = Files.writeString(folder.resolve("text.ttf"), "no font at all, just text");
        assertTrue(assertThrows(FontException.class, () -> GlyphFont.open(text)).getMessage().contains("is no TrueType font"));
        Path whole = Files.write(folder.resolve("whole.ttf"), font);
        assertArrayEquals(GlyphFont.bundled().bitmap('Q', 20).alpha(), GlyphFont.open(whole).bitmap('Q', 20).alpha());
    }

    @Test
    void batchesCheckTheirMemory() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment memory = arena.allocate(4 * 2 * 3 * 5);
            var batch = new ImageBatch(memory, 2, 3, 5);
            batch.set(1, 2, 4, 7);
            assertEquals(7, memory.getAtIndex(ValueLayout.JAVA_FLOAT, 29));
            assertEquals(7, batch.slice(1, 1).get(0, 2, 4));
            assertThrows(IllegalArgumentException.class, () -> new ImageBatch(memory, 3, 3, 5));
            assertThrows(IllegalArgumentException.class, () -> new ImageBatch(MemorySegment.ofArray(new float[30]), 2, 3, 5));
            assertThrows(IndexOutOfBoundsException.class, () -> batch.slice(1, 2));
        }
    }
}
