package dev.turningpoint.bench;

import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.DeviceMemory;
import dev.turningpoint.gpu.Resources;
import dev.turningpoint.gpu.Stream;
import java.util.function.BiFunction;
import org.bytedeco.pytorch.Tensor;

/** A piece of work larger than a kernel that both sides do, arranged and compared before it is timed. */
abstract class Work implements AutoCloseable {

    /**
     * One that a report may have.
     *
     * @param subject   what it is
     * @param tolerance of the largest difference of the results relative to the largest value
     * @param work      makes it
     */
    record Offer(Subject subject, double tolerance, BiFunction<Device, Stream, Work> work) {

        /** The work, arranged and compared. */
        Work on(Device device, Stream stream) {
            Work w = work.apply(device, stream);
            try {
                w.error = w.arrange();
                if (!(w.error <= tolerance)) throw new IllegalStateException(subject.name() + ": ours and the peer's results differ by " + w.error + " of the largest value");
                return w;
            } catch (RuntimeException | Error e) {
                try (w) {
                    throw e;
                }
            }
        }
    }

    final Device device;
    final Stream stream;
    /** What {@link #arrange} opens. */
    final Resources resources = new Resources();
    /** What is timed, set by {@link #arrange}; the stream is waited for by whoever times ours. */
    Runnable ours, peer;
    /** The difference that {@link #arrange} found. */
    double error;

    Work(Device device, Stream stream) {
        this.device = device;
        this.stream = stream;
    }

    /** Puts both sides on the same inputs, does the work once on each and says how far the results are apart: the largest difference relative to the largest value. */
    abstract double arrange();

    /** Address of a copy on the device. */
    final long put(Tensor t) {
        DeviceMemory memory = resources.add(device.allocate(t.nbytes(), "the tensors of both sides"));
        memory.copyFrom(Torch.memory(t), 0, stream);
        stream.synchronize();
        return memory.address();
    }

    /** Gives a tensor the content of as much memory of the device. */
    final Tensor get(long address, Tensor into) {
        stream.copyToHost(Torch.memory(into), address);
        stream.synchronize();
        return into;
    }

    @Override
    public final void close() {
        resources.add(stream::synchronize);
        resources.close();
    }
}
