package dev.turningpoint.bench;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Stream;
import dev.turningpoint.kernels.cases.Buffer;
import dev.turningpoint.kernels.cases.CaseRun;
import dev.turningpoint.kernels.cases.KernelCase;
import dev.turningpoint.kernels.cases.KernelCases;
import dev.turningpoint.kernels.cases.Launchers;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import java.util.Map;
import org.bytedeco.pytorch.Tensor;

/** The arrays of a kernel case on our device, and tensors with the same content for the peer, which the surrounding scope frees. */
final class Inputs implements AutoCloseable {

    private final KernelCase kernels;
    private final Launchers launchers;
    private final Stream stream;
    private final CaseRun run;

    Inputs(KernelCase kernels, Launchers launchers, Stream stream) {
        this.kernels = kernels;
        this.launchers = launchers;
        this.stream = stream;
        run = new CaseRun(kernels, launchers, stream);
        run.fill();
        run.mark();
    }

    /** Does our side's work once. */
    void launch() {
        run.launch();
    }

    /** A dimension of the case's shape. */
    int dimension(String name) {
        Integer d = kernels.dimensions().get(name);
        if (d == null) throw new IllegalArgumentException(kernels + " has no dimension " + name + ", only " + kernels.dimensions().keySet());
        return d;
    }

    boolean has(String buffer) {
        return kernels.buffers().stream().anyMatch(b -> b.name().equals(buffer));
    }

    DType type(String buffer) {
        return buffer(buffer).type();
    }

    /** What the array holds now, in a tensor of its own; a shape of -1 alone is flat. */
    Tensor tensor(String buffer, long... shape) {
        Buffer b = buffer(buffer);
        Tensor tensor = Torch.empty(b.type(), b.count());
        try (var arena = Arena.ofConfined()) {
            Torch.memory(tensor).copyFrom(run.read(b, arena));
        }
        return tensor.view(shape);
    }

    /** Gives the array the content of a tensor. */
    void write(String buffer, Tensor content) {
        Buffer b = buffer(buffer);
        Tensor converted = content.to(Torch.scalarType(b.type())).contiguous();
        if (converted.numel() != b.count()) throw new IllegalArgumentException(kernels + ": " + buffer + " has " + b.count() + " elements, not " + converted.numel());
        run.write(b, Torch.memory(converted));
    }

    /** Gives the f32 array these values, again and again to its end. */
    void write(String buffer, double... values) {
        Buffer b = buffer(buffer);
        try (var arena = Arena.ofConfined()) {
            MemorySegment content = arena.allocate(b.bytes(), 64);
            for (long i = 0; i < b.count(); i++) {
                double value = values[(int) (i % values.length)];
                if (b.type() == DType.F64) content.setAtIndex(ValueLayout.JAVA_DOUBLE, i, value);
                else content.setAtIndex(ValueLayout.JAVA_FLOAT, i, (float) value);
            }
            run.write(b, content);
        }
    }

    /**
     * Runs another case and takes its results as inputs of this one: a backward needs what the forward left.
     *
     * @param other  name of the case
     * @param inputs arrays of the other case that get the content of this case's array of the same name
     * @param taken  this case's arrays that get the content of the other's array: by this name, the other's name
     */
    void take(String other, List<String> inputs, Map<String, String> taken) {
        try (var from = new Inputs(KernelCases.get(other), launchers, stream)) {
            for (String i : inputs) from.write(i, tensor(i, -1));
            from.launch();
            taken.forEach((mine, others) -> write(mine, from.tensor(others, -1)));
        }
    }

    /** A tensor of another case's result, computed from this case's arrays of the same names as its inputs. */
    Tensor result(String other, List<String> inputs, Map<String, double[]> constants, String result) {
        try (var from = new Inputs(KernelCases.get(other), launchers, stream)) {
            for (String i : inputs) from.write(i, tensor(i, -1));
            constants.forEach(from::write);
            from.launch();
            return from.tensor(result, -1);
        }
    }

    private Buffer buffer(String name) {
        return kernels.buffers().stream().filter(b -> b.name().equals(name)).findFirst().orElseThrow(() -> new IllegalArgumentException(kernels + " has no array " + name));
    }

    @Override
    public void close() {
        run.close();
    }
}
