package dev.turningpoint.weights;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Collections;
import java.util.Map;
import java.util.Set;

/**
 * A safetensors file, mapped into memory and read only. Opening checks the whole header and touches no tensor data; a tensor is a slice of the map, valid
 * until {@link #close}. Any thread may read.
 */
public final class SafetensorsFile implements AutoCloseable {
    private final Path path;
    private final Arena arena;
    private final MemorySegment map;
    private final SafetensorsHeader header;
    private final FileChannel channel;

    private SafetensorsFile(Path path, FileChannel channel, Arena arena, MemorySegment map, SafetensorsHeader header) {
        this.path = path;
        this.channel = channel;
        this.arena = arena;
        this.map = map;
        this.header = header;
    }

    /**
     * Maps the file and checks its header.
     *
     * @throws WeightsException if the file is missing, truncated or malformed; the message says what and where
     */
    public static SafetensorsFile open(Path path) {
        String file = path.toString();
        Arena arena = Arena.ofShared();
        FileChannel channel = null;
        boolean opened = false;
        try {
            channel = FileChannel.open(path, StandardOpenOption.READ);
            long size = channel.size();
            if (size < SafetensorsHeader.LENGTH_BYTES)
                throw new WeightsException(file, "has " + size + " bytes, a safetensors file begins with 8 of header length: the file is truncated; download it again");
            MemorySegment map = channel.map(FileChannel.MapMode.READ_ONLY, 0, size, arena);
            int length = SafetensorsHeader.checkLength(file, map.get(TensorType.LONG, 0), size);
            byte[] json = map.asSlice(SafetensorsHeader.LENGTH_BYTES, length).toArray(ValueLayout.JAVA_BYTE);
            var result = new SafetensorsFile(path, channel, arena, map, SafetensorsHeader.parse(file, json, size));
            opened = true;
            return result;
        } catch (NoSuchFileException e) {
            throw new WeightsException(file, "there is no such file", e);
        } catch (IOException e) {
            throw new WeightsException(file, Files.isDirectory(path) ? "is a folder, not a safetensors file" : "cannot be read: " + AtomicFile.reason(e), e);
        } finally {
            if (!opened) {
                arena.close();
                closeQuietly(channel);
            }
        }
    }

    public Path path() {
        return path;
    }

    /** Names of the tensors, in the header's order. */
    public Set<String> names() {
        return Collections.unmodifiableSet(header.tensors().keySet());
    }

    public boolean contains(String name) {
        return header.tensors().containsKey(name);
    }

    /** The string metadata; empty if the file has none. */
    public Map<String, String> metadata() {
        return Collections.unmodifiableMap(header.metadata());
    }

    /** @throws WeightsException if there is no tensor of this name */
    public TensorInfo info(String name) {
        TensorInfo info = header.tensors().get(name);
        if (info == null) throw new WeightsException(path.toString(), "has no tensor " + SafetensorsHeader.quoted(name));
        return info;
    }

    /**
     * The bytes of a tensor, read only; not aligned in general, so read elements by the layouts of {@link TensorType}.
     *
     * @throws WeightsException if there is no tensor of this name
     */
    public MemorySegment data(String name) {
        TensorInfo info = info(name);
        return map.asSlice(header.dataAt() + info.begin(), info.bytes());
    }

    /** As {@link #data}, after checking that the tensor has this type and shape. */
    public MemorySegment data(String name, TensorType type, long... shape) {
        TensorInfo info = info(name);
        var expected = java.util.Arrays.stream(shape).boxed().toList();
        if (info.type() != type || !info.shape().equals(expected))
            throw new WeightsException(path.toString(), "tensor " + SafetensorsHeader.quoted(name) + " is " + info.type() + " " + info.shape() + ", expected " + type + " " + expected);
        return data(name);
    }

    /** A copy of a floating-point tensor (F64, F32, F16, BF16) as f32. */
    public float[] floats(String name) {
        TensorInfo info = info(name);
        MemorySegment data = data(name);
        float[] out = new float[Math.toIntExact(info.elements())];
        for (int i = 0; i < out.length; i++) {
            out[i] = switch (info.type()) {
                case F32 -> data.get(TensorType.FLOAT, 4L * i);
                case F64 -> (float) data.get(TensorType.DOUBLE, 8L * i);
                case BF16 -> Float.intBitsToFloat(data.get(TensorType.SHORT, 2L * i) << 16);
                case F16 -> Float.float16ToFloat(data.get(TensorType.SHORT, 2L * i));
                default -> throw notNumeric(info, "a floating-point tensor");
            };
        }
        return out;
    }

    /** A copy of any tensor as f64, exactly: BOOL gives 0 and 1, an I64 that f64 does not hold is refused. */
    public double[] doubles(String name) {
        TensorInfo info = info(name);
        MemorySegment data = data(name);
        double[] out = new double[Math.toIntExact(info.elements())];
        for (int i = 0; i < out.length; i++) {
            out[i] = switch (info.type()) {
                case F64 -> data.get(TensorType.DOUBLE, 8L * i);
                case F32 -> data.get(TensorType.FLOAT, 4L * i);
                case BF16 -> Float.intBitsToFloat(data.get(TensorType.SHORT, 2L * i) << 16);
                case F16 -> Float.float16ToFloat(data.get(TensorType.SHORT, 2L * i));
                case I64 -> exact(info, data.get(TensorType.LONG, 8L * i));
                case I32 -> data.get(TensorType.INT, 4L * i);
                case I16 -> data.get(TensorType.SHORT, 2L * i);
                case I8 -> data.get(ValueLayout.JAVA_BYTE, i);
                case U8, BOOL -> data.get(ValueLayout.JAVA_BYTE, i) & 0xff;
            };
        }
        return out;
    }

    /** A copy of a whole-number tensor (I64, I32, I16, I8, U8, BOOL). */
    public long[] longs(String name) {
        TensorInfo info = info(name);
        MemorySegment data = data(name);
        long[] out = new long[Math.toIntExact(info.elements())];
        for (int i = 0; i < out.length; i++) {
            out[i] = switch (info.type()) {
                case I64 -> data.get(TensorType.LONG, 8L * i);
                case I32 -> data.get(TensorType.INT, 4L * i);
                case I16 -> data.get(TensorType.SHORT, 2L * i);
                case I8 -> data.get(ValueLayout.JAVA_BYTE, i);
                case U8, BOOL -> data.get(ValueLayout.JAVA_BYTE, i) & 0xff;
                default -> throw notNumeric(info, "a tensor of whole numbers");
            };
        }
        return out;
    }

    private double exact(TensorInfo info, long value) {
        if (value != (long) (double) value) throw notNumeric(info, "a tensor that f64 holds exactly");
        return value;
    }

    private WeightsException notNumeric(TensorInfo info, String wanted) {
        return new WeightsException(path.toString(), "tensor " + SafetensorsHeader.quoted(info.name()) + " is " + info.type() + ", not " + wanted);
    }

    /** Bytes of the file. */
    public long bytes() {
        return map.byteSize();
    }

    /** Byte of the file at which tensor data begins. */
    long dataAt() {
        return header.dataAt();
    }

    /** Reads bytes of a tensor from {@code offset} on by file operations, so that a large file need not stay in memory. */
    void read(String name, long offset, MemorySegment into) {
        TensorInfo info = info(name);
        if (offset < 0 || into.byteSize() > info.bytes() - offset)
            throw new IndexOutOfBoundsException(into.byteSize() + " bytes from " + offset + " of tensor '" + name + "', which has " + info.bytes());
        ByteBuffer buffer = into.asByteBuffer();
        long at = header.dataAt() + info.begin() + offset;
        try {
            while (buffer.hasRemaining()) {
                int n = channel.read(buffer, at);
                if (n < 0) throw new WeightsException(path.toString(), "became shorter while it was read");
                at += n;
            }
        } catch (IOException e) {
            throw new WeightsException(path.toString(), "cannot be read: " + AtomicFile.reason(e), e);
        }
    }

    private static void closeQuietly(FileChannel channel) {
        try {
            if (channel != null) channel.close();
        } catch (IOException ignored) {
            // it was opened to read
        }
    }

    @Override
    public void close() {
        arena.close();
        closeQuietly(channel);
    }
}
