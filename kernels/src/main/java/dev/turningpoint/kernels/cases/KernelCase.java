package dev.turningpoint.kernels.cases;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.Stream;
import java.lang.reflect.RecordComponent;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.Function;

/** One runnable use of a launcher: the arrays, the launches it makes of them, and what is known of both. Immutable; {@link CaseRun} runs it. */
public final class KernelCase {
    /** Device addresses of a case's arrays. */
    interface Addresses {
        long of(Buffer buffer);
    }

    /** The size of a case's arrays: a record whose integers are its dimensions. */
    interface Shape {
        Size size();
    }

    /** The call of the launcher. */
    interface Call<K> {
        void on(K kernels, Stream stream, Addresses at);
    }

    private final String family;
    private final String name;
    private final Shape shape;
    private final List<Buffer> buffers;
    private final List<KernelLaunch> launches;
    private final Work work;

    private interface Work {
        void launch(Launchers launchers, Stream stream, Addresses at);
    }

    private KernelCase(String family, String name, Shape shape, List<Buffer> buffers, List<KernelLaunch> launches, Work work) {
        this.family = family;
        this.name = name;
        this.shape = shape;
        this.buffers = List.copyOf(buffers);
        this.launches = List.copyOf(launches);
        this.work = work;
    }

    /** The {@code .cu} and {@code .ptx} file of its kernels, without extension. */
    public String family() {
        return family;
    }

    /** Unique among all cases: {@code norm.adaptive_layer_norm_bf16.small}. */
    public String name() {
        return name;
    }

    public Size size() {
        return shape.size();
    }

    /** The dimensions of its shape in their order, by the names that the launcher has for them: {@code batch}, {@code tokens}, {@code d}. */
    public Map<String, Integer> dimensions() {
        var dimensions = new LinkedHashMap<String, Integer>();
        for (RecordComponent c : shape.getClass().getRecordComponents()) {
            if (c.getType() == int.class) {
                try {
                    c.getAccessor().setAccessible(true);
                    dimensions.put(c.getName(), (Integer) c.getAccessor().invoke(shape));
                } catch (ReflectiveOperationException e) {
                    throw new AssertionError(e);
                }
            }
        }
        return dimensions;
    }

    public List<Buffer> buffers() {
        return buffers;
    }

    /** Every launch, in the order in which they are made. */
    public List<KernelLaunch> launches() {
        return launches;
    }

    /** The least that memory has to move for the whole case: each input read once, each result written once, scratch never. */
    public long compulsoryBytes() {
        long bytes = 0;
        for (Buffer b : buffers) {
            bytes += switch (b.role()) {
                case READ, WRITE -> b.compulsoryBytes();
                case READ_WRITE -> 2 * b.compulsoryBytes();
                case SCRATCH -> 0;
            };
        }
        return bytes;
    }

    void launch(Launchers launchers, Stream stream, Addresses at) {
        work.launch(launchers, stream, at);
    }

    @Override
    public String toString() {
        return name;
    }

    /** The kernels of one {@code .cu} file. */
    record Family<K extends AutoCloseable>(String name, Class<K> launcher, Function<Device, K> constructor) {
        Builder<K> of(String what, Shape shape) {
            return new Builder<>(this, what, shape);
        }
    }

    /** Collects a case: first its arrays, then its launches, last the call that makes them. */
    static final class Builder<K extends AutoCloseable> {
        private final Family<K> family;
        private final String what;
        private final Shape shape;
        private final List<Buffer> buffers = new ArrayList<>();
        private final List<KernelLaunch> launches = new ArrayList<>();

        private Builder(Family<K> family, String what, Shape shape) {
            this.family = family;
            this.what = what;
            this.shape = shape;
        }

        Buffer read(String name, DType type, long count, Fill fill) {
            return read(name, type, count, count, fill);
        }

        Buffer read(String name, DType type, long count, long touched, Fill fill) {
            return add(new Buffer(name, type, count, touched, Role.READ, fill, null));
        }

        Buffer write(String name, DType type, long count, Tolerance tolerance) {
            return write(name, type, count, count, tolerance);
        }

        Buffer write(String name, DType type, long count, long touched, Tolerance tolerance) {
            return add(new Buffer(name, type, count, touched, Role.WRITE, null, tolerance));
        }

        Buffer update(String name, DType type, long count, Fill fill, Tolerance tolerance) {
            return add(new Buffer(name, type, count, count, Role.READ_WRITE, fill, tolerance));
        }

        Buffer scratch(String name, DType type, long bytes) {
            long count = bytes / type.bytes();
            return add(new Buffer(name, type, count, count, Role.SCRATCH, null, null));
        }

        Builder<K> launches(String entry, List<Buffer> reads, List<Buffer> writes) {
            launches.add(new KernelLaunch(entry, List.copyOf(reads), List.copyOf(writes)));
            return this;
        }

        KernelCase by(Call<K> call) {
            String name = family.name + "." + what + "." + shape.size().name().toLowerCase(Locale.ROOT);
            return new KernelCase(family.name, name, shape, buffers, launches,
                    (launchers, stream, at) -> call.on(launchers.of(family.launcher, family.constructor), stream, at));
        }

        private Buffer add(Buffer buffer) {
            buffers.add(buffer);
            return buffer;
        }
    }
}
