package dev.turningpoint.image;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * A view of grey images off the Java heap, f32 [count, height, width], -1 black to 1 white. Whoever allocated the memory keeps it.
 *
 * @param data   at least count * height * width floats
 * @param count  images
 * @param height pixels
 * @param width  pixels
 */
public record ImageBatch(MemorySegment data, int count, int height, int width) {
    public ImageBatch {
        if (count < 0 || height < 1 || width < 1) throw new IllegalArgumentException("no images of shape [" + count + ", " + height + ", " + width + "]");
        if (!data.isNative()) throw new IllegalArgumentException("images live off the heap; this segment is a Java array");
        long bytes = 4L * count * height * width;
        if (data.byteSize() < bytes)
            throw new IllegalArgumentException("images [" + count + ", " + height + ", " + width + "] take " + bytes + " bytes, the segment has " + data.byteSize());
    }

    /** New white images, valid as long as the arena. */
    public static ImageBatch allocate(Arena arena, int count, int height, int width) {
        var images = new ImageBatch(arena.allocate(Math.max(4, 4L * count * height * width), 64), count, height, width);
        for (long i = 0, n = (long) count * images.pixels(); i < n; i++) images.data.setAtIndex(ValueLayout.JAVA_FLOAT, i, 1f);
        return images;
    }

    /** Pixels of one image. */
    public int pixels() {
        return height * width;
    }

    /** One image's floats. */
    public MemorySegment image(int index) {
        java.util.Objects.checkIndex(index, count);
        return data.asSlice(4L * index * pixels(), 4L * pixels());
    }

    /** Some consecutive images, the same memory. */
    public ImageBatch slice(int from, int count) {
        java.util.Objects.checkFromIndexSize(from, count, this.count);
        return new ImageBatch(data.asSlice(4L * from * pixels(), 4L * count * pixels()), count, height, width);
    }

    public float get(int index, int row, int column) {
        return data.getAtIndex(ValueLayout.JAVA_FLOAT, ((long) index * height + row) * width + column);
    }

    public void set(int index, int row, int column, float value) {
        data.setAtIndex(ValueLayout.JAVA_FLOAT, ((long) index * height + row) * width + column, value);
    }
}
