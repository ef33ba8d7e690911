package dev.turningpoint.image;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * A view of images off the Java heap, f32 [count, channels, height, width], -1 black to 1 white. Whoever allocated the memory keeps it.
 *
 * @param data     at least count * channels * height * width floats
 * @param count    images
 * @param channels 1 grey, 3 red, green and blue
 * @param height   pixels
 * @param width    pixels
 */
public record ImageBatch(MemorySegment data, int count, int channels, int height, int width) {
    public ImageBatch {
        if (count < 0 || channels != 1 && channels != 3 || height < 1 || width < 1)
            throw new IllegalArgumentException("no images of shape [" + count + ", " + channels + ", " + height + ", " + width + "]");
        if (!data.isNative()) throw new IllegalArgumentException("images live off the heap; this segment is a Java array");
        long bytes = 4L * count * channels * height * width;
        if (data.byteSize() < bytes)
            throw new IllegalArgumentException("images [" + count + ", " + channels + ", " + height + ", " + width + "] take " + bytes + " bytes, the segment has "
                    + data.byteSize());
    }

    /** Grey images. */
    public ImageBatch(MemorySegment data, int count, int height, int width) {
        this(data, count, 1, height, width);
    }

    /** New white images, grey, valid as long as the arena. */
    public static ImageBatch allocate(Arena arena, int count, int height, int width) {
        return allocate(arena, count, 1, height, width);
    }

    /** New white images, valid as long as the arena. */
    public static ImageBatch allocate(Arena arena, int count, int channels, int height, int width) {
        long n = (long) count * channels * height * width;
        var images = new ImageBatch(arena.allocate(Math.max(4, 4 * n), 64), count, channels, height, width);
        for (long i = 0; i < n; i++) images.data.setAtIndex(ValueLayout.JAVA_FLOAT, i, 1f);
        return images;
    }

    /** Pixels of one image. */
    public int pixels() {
        return height * width;
    }

    /** Floats of one image: its pixels in each channel. */
    public int floats() {
        return channels * height * width;
    }

    /** One image's floats. */
    public MemorySegment image(int index) {
        java.util.Objects.checkIndex(index, count);
        return data.asSlice(4L * index * floats(), 4L * floats());
    }

    /** Some consecutive images, the same memory. */
    public ImageBatch slice(int from, int count) {
        java.util.Objects.checkFromIndexSize(from, count, this.count);
        return new ImageBatch(data.asSlice(4L * from * floats(), 4L * count * floats()), count, channels, height, width);
    }

    /** A pixel of a grey image, or of the first channel. */
    public float get(int index, int row, int column) {
        return get(index, 0, row, column);
    }

    public float get(int index, int channel, int row, int column) {
        return data.getAtIndex(ValueLayout.JAVA_FLOAT, (((long) index * channels + channel) * height + row) * width + column);
    }

    /** Sets a pixel of a grey image, or of the first channel. */
    public void set(int index, int row, int column, float value) {
        set(index, 0, row, column, value);
    }

    public void set(int index, int channel, int row, int column, float value) {
        data.setAtIndex(ValueLayout.JAVA_FLOAT, (((long) index * channels + channel) * height + row) * width + column, value);
    }
}
