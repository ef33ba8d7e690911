package dev.turningpoint.model;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.HostMemory;
import dev.turningpoint.gpu.Stream;
import dev.turningpoint.tensor.Tensor;
import java.lang.foreign.ValueLayout;

/** Copies activations of a forward of {@code batch} rows to the heap, as f32. */
record ActivationReader(Stream stream, int batch) {
    /** [batch, tokens, width]. */
    float[] rows(Tensor tensor, int tokens, int width) {
        int count = batch * tokens * width;
        try (HostMemory host = HostMemory.allocate(tensor.type().bytes(count))) {
            stream.copyToHost(host.segment(), tensor.address());
            stream.synchronize();
            if (tensor.type() == DType.F32) {
                return host.segment().toArray(ValueLayout.JAVA_FLOAT);
            }
            var out = new float[count];
            for (int i = 0; i < count; i++) {
                out[i] = Float.intBitsToFloat(host.segment().getAtIndex(ValueLayout.JAVA_SHORT, i) << 16);
            }
            return out;
        }
    }

    /** Some columns of [batch, width]. */
    float[] columns(Tensor tensor, int width, int first, int count) {
        float[] all = rows(tensor, 1, width);
        var out = new float[batch * count];
        for (int b = 0; b < batch; b++) {
            System.arraycopy(all, b * width + first, out, b * count, count);
        }
        return out;
    }

    /** Two sequences of each sample one after the other. */
    float[] joint(float[] a, int tokensA, float[] b, int tokensB) {
        var out = new float[a.length + b.length];
        int width = a.length / (batch * tokensA);
        for (int i = 0; i < batch; i++) {
            System.arraycopy(a, i * tokensA * width, out, i * (tokensA + tokensB) * width, tokensA * width);
            System.arraycopy(b, i * tokensB * width, out, (i * (tokensA + tokensB) + tokensA) * width, tokensB * width);
        }
        return out;
    }
}
