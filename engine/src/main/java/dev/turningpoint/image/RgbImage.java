package dev.turningpoint.image;

import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import javax.imageio.IIOImage;
import javax.imageio.ImageIO;
import javax.imageio.ImageWriteParam;
import javax.imageio.ImageWriter;
import javax.imageio.stream.MemoryCacheImageOutputStream;
import org.lwjgl.stb.STBIWriteCallback;
import org.lwjgl.stb.STBImageWrite;

/**
 * An image of 8 bits a channel, as scoring models were trained on.
 *
 * @param width  pixels
 * @param height pixels
 * @param pixels red, green and blue of each pixel, row by row, [height * width * 3]
 */
public record RgbImage(int width, int height, byte[] pixels) {
    public RgbImage {
        if (pixels.length != width * height * 3) throw new IllegalArgumentException(width + " x " + height + " pixels take " + width * height * 3 + " bytes, not " + pixels.length);
    }

    /** One image of a batch: {@code round(255 (v / 2 + 1/2))}, ties to even, clamped; grey becomes three equal channels. */
    public static RgbImage of(ImageBatch images, int index) {
        int n = images.pixels();
        var pixels = new byte[3 * n];
        MemorySegment floats = images.image(index);
        for (int c = 0; c < 3; c++) {
            long plane = images.channels() == 1 ? 0 : (long) c * n;
            for (int i = 0; i < n; i++) {
                float v = floats.getAtIndex(ValueLayout.JAVA_FLOAT, plane + i);
                pixels[3 * i + c] = (byte) (int) Math.clamp(Math.rint((v * 0.5f + 0.5f) * 255f), 0, 255);
            }
        }
        return new RgbImage(images.width(), images.height(), pixels);
    }

    /** 0 to 255. */
    public int get(int x, int y, int channel) {
        return pixels[(y * width + x) * 3 + channel] & 0xff;
    }

    /** A part of the image; what lies outside is black, as Pillow crops. */
    public RgbImage crop(int left, int top, int right, int bottom) {
        int w = right - left, h = bottom - top;
        var part = new byte[w * h * 3];
        for (int y = Math.max(0, -top); y < h && top + y < height; y++) {
            int from = Math.max(0, -left), to = Math.min(w, width - left);
            if (from < to) System.arraycopy(pixels, ((top + y) * width + left + from) * 3, part, (y * w + from) * 3, (to - from) * 3);
        }
        return new RgbImage(w, h, part);
    }

    /** The image enlarged or reduced, bicubic as Pillow's {@code Image.resize} to the bit. */
    public RgbImage resize(int width, int height) {
        return BicubicResize.resize(this, width, height);
    }

    /** The image as the bytes of a PNG file. */
    public byte[] png() {
        var out = new ByteArrayOutputStream();
        try (Arena arena = Arena.ofConfined(); STBIWriteCallback sink = STBIWriteCallback.create((context, data, size) -> {
            byte[] piece = new byte[size];
            STBIWriteCallback.getData(data, size).get(piece);
            out.writeBytes(piece);
        })) {
            MemorySegment memory = arena.allocate(pixels.length);
            MemorySegment.copy(pixels, 0, memory, ValueLayout.JAVA_BYTE, 0, pixels.length);
            if (!STBImageWrite.stbi_write_png_to_func(sink, 0, width, height, 3, memory.asByteBuffer(), width * 3))
                throw new IllegalStateException("stb_image_write could not compress an image of " + width + " x " + height);
        }
        return out.toByteArray();
    }

    /**
     * The image as the bytes of a JPEG file, the JDK's libjpeg with its standard tables and halved chroma, as Pillow writes it.
     *
     * @param quality 0 to 1
     */
    public byte[] jpeg(double quality) {
        var image = new BufferedImage(width, height, BufferedImage.TYPE_INT_RGB);
        for (int y = 0; y < height; y++)
            for (int x = 0; x < width; x++) image.setRGB(x, y, get(x, y, 0) << 16 | get(x, y, 1) << 8 | get(x, y, 2));
        ImageWriter writer = ImageIO.getImageWritersByFormatName("jpeg").next();
        var out = new ByteArrayOutputStream();
        try (var stream = new MemoryCacheImageOutputStream(out)) {
            writer.setOutput(stream);
            ImageWriteParam parameters = writer.getDefaultWriteParam();
            parameters.setCompressionMode(ImageWriteParam.MODE_EXPLICIT);
            parameters.setCompressionQuality((float) quality);
            writer.write(null, new IIOImage(image, null, null), parameters);
        } catch (IOException e) {
            throw new IllegalStateException("an image of " + width + " x " + height + " could not be written as JPEG: " + e.getMessage(), e);
        } finally {
            writer.dispose();
        }
        return out.toByteArray();
    }
}
