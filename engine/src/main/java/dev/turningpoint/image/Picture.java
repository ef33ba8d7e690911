package dev.turningpoint.image;

import dev.turningpoint.weights.AtomicFile;
import java.io.ByteArrayOutputStream;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.List;
import org.lwjgl.stb.STBIWriteCallback;
import org.lwjgl.stb.STBImageWrite;

/** A picture for people to look at, 8 bits a channel, grey or RGB, on which images and captions are laid out; written as PNG by stb_image_write. */
public final class Picture {
    private static final int PAPER = 255, LINE = 190, INK = 40;
    private static final float CAPTION = 14;

    private final int width;
    private final int height;
    private final int channels;
    private final byte[] pixels;

    /** A white picture, grey. */
    public Picture(int width, int height) {
        this(width, height, 1);
    }

    /**
     * A white picture.
     *
     * @param channels 1 grey, 3 red, green and blue
     */
    public Picture(int width, int height, int channels) {
        this.width = width;
        this.height = height;
        this.channels = channels;
        pixels = new byte[Math.multiplyExact(Math.multiplyExact(width, height), channels)];
        java.util.Arrays.fill(pixels, (byte) PAPER);
    }

    public int width() {
        return width;
    }

    public int height() {
        return height;
    }

    /** 1 grey, 3 red, green and blue. */
    public int channels() {
        return channels;
    }

    /** 0 to 255, of a grey picture or of the first channel. */
    public int get(int x, int y) {
        return get(x, y, 0);
    }

    /** 0 to 255. */
    public int get(int x, int y, int channel) {
        return pixels[(y * width + x) * channels + channel] & 0xff;
    }

    /**
     * Images side by side, row after row, each enlarged and with a thin border; in colour if they are.
     *
     * @param captions one an image, set below it, cut to its width; empty for none
     * @param columns  images in a row
     * @param scale    pixels of the picture to one of the image
     */
    public static Picture grid(ImageBatch images, List<String> captions, int columns, int scale) {
        columns = Math.max(1, Math.min(columns, images.count()));
        int rows = (images.count() + columns - 1) / columns;
        int gap = 6, below = captions.isEmpty() ? 0 : 18;
        int w = images.width() * scale + 2, h = images.height() * scale + 2;
        var picture = new Picture(columns * (w + gap) + gap, Math.max(1, rows) * (h + below + gap) + gap, images.channels());
        for (int i = 0; i < images.count(); i++) {
            int x = gap + i % columns * (w + gap), y = gap + i / columns * (h + below + gap);
            picture.draw(images, i, x, y, scale);
            if (i < captions.size()) picture.write(fitting(captions.get(i), w - 2), x + 2, y + h + 13);
        }
        return picture;
    }

    /**
     * What training changed: the same prompts and noise before and after, one picture beside the other under a title each.
     *
     * @param captions one a prompt, set below either image; empty for none
     */
    public static Picture beforeAfter(ImageBatch before, ImageBatch after, List<String> captions, String titleBefore, String titleAfter, int columns, int scale) {
        Picture a = grid(before, captions, columns, scale), b = grid(after, captions, columns, scale);
        int top = 24, gap = 24;
        var both = new Picture(a.width + gap + b.width, top + Math.max(a.height, b.height), a.channels);
        both.paste(a, 0, top);
        both.paste(b, a.width + gap, top);
        both.write(titleBefore, 8, 18);
        both.write(titleAfter, a.width + gap + 8, 18);
        return both;
    }

    /** Draws an enlarged image with a border of one pixel around it; what is not a number is drawn black. */
    public void draw(ImageBatch images, int index, int x, int y, int scale) {
        int w = images.width() * scale, h = images.height() * scale;
        for (int i = 0; i < w + 2; i++) {
            set(x + i, y, LINE);
            set(x + i, y + h + 1, LINE);
        }
        for (int i = 0; i < h + 2; i++) {
            set(x, y + i, LINE);
            set(x + w + 1, y + i, LINE);
        }
        for (int r = 0; r < h; r++)
            for (int c = 0; c < w; c++)
                for (int channel = 0; channel < channels; channel++) set(x + 1 + c, y + 1 + r, channel, grey(images.get(index, channel, r / scale, c / scale)));
    }

    /** Writes one line in the bundled font, its baseline at {@code y}; letters the font lacks become question marks. */
    public void write(String text, int x, int y) {
        GlyphFont font = CaptionFont.FONT;
        float pen = x;
        for (int c : text.codePoints().toArray()) {
            if (c != ' ') {
                GlyphFont.Bitmap b;
                try {
                    b = font.bitmap(c, CAPTION);
                } catch (FontException unknown) {
                    b = font.bitmap('?', CAPTION);
                }
                int left = Math.round(pen) + b.left(), top = y + b.top();
                for (int i = 0; i < b.alpha().length; i++) {
                    int column = left + i % b.width(), row = top + i / b.width(), alpha = b.alpha()[i] & 0xff;
                    if (alpha != 0 && column >= 0 && column < width && row >= 0 && row < height)
                        for (int channel = 0; channel < channels; channel++) set(column, row, channel, (get(column, row, channel) * (255 - alpha) + INK * alpha) / 255);
                }
            }
            pen += font.advance('0', CAPTION);
        }
    }

    /** As much of a caption as has room, with two dots for the rest. */
    private static String fitting(String caption, int width) {
        int room = Math.max(3, (int) (width / CaptionFont.FONT.advance('0', CAPTION)));
        int[] letters = caption.codePoints().toArray();
        return letters.length <= room ? caption : new String(letters, 0, room - 2) + "..";
    }

    private void paste(Picture other, int x, int y) {
        for (int r = 0; r < other.height; r++) System.arraycopy(other.pixels, r * other.width * channels, pixels, ((y + r) * width + x) * channels, other.width * channels);
    }

    private void set(int x, int y, int grey) {
        for (int channel = 0; channel < channels; channel++) set(x, y, channel, grey);
    }

    private void set(int x, int y, int channel, int value) {
        if (x >= 0 && x < width && y >= 0 && y < height) pixels[(y * width + x) * channels + channel] = (byte) value;
    }

    static int grey(float value) {
        return Math.round((Math.clamp(Float.isNaN(value) ? -1 : value, -1f, 1f) + 1) * 127.5f);
    }

    /** The picture as the bytes of a PNG file. */
    public byte[] png() {
        var out = new ByteArrayOutputStream();
        try (Arena arena = Arena.ofConfined(); STBIWriteCallback sink = STBIWriteCallback.create((context, data, size) -> {
            byte[] piece = new byte[size];
            STBIWriteCallback.getData(data, size).get(piece);
            out.writeBytes(piece);
        })) {
            MemorySegment memory = arena.allocate(pixels.length);
            MemorySegment.copy(pixels, 0, memory, ValueLayout.JAVA_BYTE, 0, pixels.length);
            ByteBuffer bytes = memory.asByteBuffer();
            if (!STBImageWrite.stbi_write_png_to_func(sink, 0, width, height, channels, bytes, width * channels))
                throw new IllegalStateException("stb_image_write could not compress a picture of " + width + " x " + height);
        }
        return out.toByteArray();
    }

    /** Writes the PNG file, whole or not at all. */
    public void write(Path path) {
        AtomicFile.write(path, png());
    }

    private static final class CaptionFont {
        static final GlyphFont FONT = GlyphFont.bundled();
    }
}
