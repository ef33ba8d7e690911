package dev.turningpoint.bench;

import dev.turningpoint.gpu.DType;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.function.Supplier;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.AutoGradMode;
import org.bytedeco.pytorch.BoolOptional;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;

/** libtorch as Python spells it: what the binding makes long. */
final class Torch {

    private Torch() {}

    static torch.ScalarType scalarType(DType type) {
        return switch (type) {
            case F32 -> torch.ScalarType.Float;
            case BF16 -> torch.ScalarType.BFloat16;
            case F64 -> torch.ScalarType.Double;
            case I32 -> torch.ScalarType.Int;
            case I64 -> torch.ScalarType.Long;
            case U8 -> torch.ScalarType.Byte;
        };
    }

    /** A tensor whose content is undefined. */
    static Tensor empty(DType type, long... shape) {
        return torch.empty(shape).to(scalarType(type));
    }

    /** The tensor's memory, for as long as the tensor lives. */
    static MemorySegment memory(Tensor contiguous) {
        return MemorySegment.ofAddress(contiguous.data_ptr().address()).reinterpret(contiguous.nbytes());
    }

    /** {@code t * factor}. */
    static Tensor times(Tensor t, double factor) {
        return t.mul(new Scalar(factor));
    }

    /** {@code t + summand}. */
    static Tensor plus(Tensor t, double summand) {
        return t.add(new Scalar(summand));
    }

    /** {@code minuend - t}. */
    static Tensor from(double minuend, Tensor t) {
        return plus(t.neg(), minuend);
    }

    static Tensor f32(Tensor t) {
        return t.to(torch.ScalarType.Float);
    }

    /** Values as a column, [rows, 1], to be broadcast over rows: row i has value i modulo their number. */
    static Tensor column(double[] values, long rows) {
        Tensor column = torch.empty(rows, 1);
        for (int i = 0; i < rows; i++) memory(column).setAtIndex(ValueLayout.JAVA_FLOAT, i, (float) values[i % values.length]);
        return column;
    }

    static TensorOptional optional(Tensor t) {
        return new TensorOptional(t);
    }

    /** {@code torch.autograd.grad(outputs, inputs, gradients, retain_graph=True)}. */
    static Tensor[] gradients(Tensor[] outputs, Tensor[] inputs, Tensor... gradients) {
        TensorVector found = torch.grad(new TensorVector(outputs), new TensorVector(inputs), new TensorVector(gradients), new BoolOptional(true), false, false);
        var result = new Tensor[inputs.length];
        for (int i = 0; i < result.length; i++) result[i] = found.get(i);
        return result;
    }

    /** Runs {@code forward} with autograd on: what it makes can be asked for gradients. */
    static <T> T recorded(Supplier<T> forward) {
        try (var on = new AutoGradMode(true)) {
            return forward.get();
        }
    }

    static Tensor clamp(Tensor t, double low, double high) {
        return t.clamp(new ScalarOptional(new Scalar(low)), new ScalarOptional(new Scalar(high)));
    }

    /** The largest difference relative to the largest of the expected values, in f64. */
    static double difference(Tensor expected, Tensor actual) {
        if (actual.numel() != expected.numel()) throw new IllegalStateException(actual.numel() + " elements, expected are " + expected.numel());
        try (var scope = new PointerScope()) {
            Tensor e = expected.detach().to(torch.ScalarType.Double).flatten(), a = actual.detach().to(torch.ScalarType.Double).flatten();
            return a.sub(e).abs().max().item_double() / e.abs().max().item_double();
        }
    }

    /** A copy that gradients are asked of. */
    static Tensor leaf(Tensor t) {
        return t.clone().detach().set_requires_grad(true);
    }

    /** Frees whatever tensors {@code work} makes. */
    static void scoped(Runnable work) {
        try (var scope = new PointerScope()) {
            work.run();
        }
    }
}
