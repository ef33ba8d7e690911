package dev.turningpoint.tensor;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Stream;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;

/** A dense row-major array in device memory: a part of a {@link Workspace} with a name, a type and a shape. */
public final class Tensor {
    private final Workspace workspace;
    private final long offset;
    private final String name;
    private final DType type;
    private final long[] shape;
    private final long elements;

    Tensor(Workspace workspace, long offset, String name, DType type, long... shape) {
        long count = 1;
        for (long extent : shape) {
            if (extent < 0) {
                throw new ShapeException("tensor '" + name + "' has a negative extent: " + Arrays.toString(shape));
            }
            count = Math.multiplyExact(count, extent);
        }
        this.workspace = workspace;
        this.offset = offset;
        this.name = name;
        this.type = type;
        this.shape = shape.clone();
        this.elements = count;
    }

    /** Device address of the first element; refuses to answer before allocation and after close. */
    public long address() {
        return workspace.address(offset);
    }

    /** Device address of element {@code index}. */
    public long address(long index) {
        if (index < 0 || index > elements) {
            throw new ShapeException("element " + index + " of " + this);
        }
        return workspace.address(offset) + index * type.bytes();
    }

    /** A part of this tensor, from element {@code from}, with its own name and shape. */
    public Tensor view(String viewName, long from, long... viewShape) {
        var view = new Tensor(workspace, offset + from * type.bytes(), viewName, type, viewShape);
        if (from < 0 || from + view.elements > elements) {
            throw new ShapeException(view + " from element " + from + " does not lie within " + this);
        }
        return view;
    }

    /** Queues a copy from host memory of exactly this tensor's size. */
    public void copyFrom(MemorySegment host, Stream stream) {
        requireBytes(host.byteSize());
        stream.copyToDevice(address(), host);
    }

    /** Queues a copy to host memory of exactly this tensor's size. */
    public void copyTo(MemorySegment host, Stream stream) {
        requireBytes(host.byteSize());
        stream.copyToHost(host, address());
    }

    /** Queues a copy of another tensor of the same type and number of elements. */
    public void copyFrom(Tensor source, Stream stream) {
        if (source.type != type || source.elements != elements) {
            throw new ShapeException("cannot copy " + source + " to " + this);
        }
        stream.copyOnDevice(address(), source.address(), bytes());
    }

    /** Queues filling with zeros. */
    public void clear(Stream stream) {
        stream.fill(address(), (byte) 0, bytes());
    }

    public String name() {
        return name;
    }

    public DType type() {
        return type;
    }

    public long[] shape() {
        return shape.clone();
    }

    public long elements() {
        return elements;
    }

    public long bytes() {
        return type.bytes(elements);
    }

    private void requireBytes(long given) {
        if (given != bytes()) {
            throw new ShapeException(this + " has " + bytes() + " bytes, the host memory " + given);
        }
    }

    @Override
    public String toString() {
        return "'" + name + "' " + type.suffix() + Arrays.toString(shape);
    }
}
