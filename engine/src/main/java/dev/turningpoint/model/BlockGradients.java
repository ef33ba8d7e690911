package dev.turningpoint.model;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.tensor.Tensor;
import dev.turningpoint.tensor.Workspace;

/**
 * Scratch of one backward, shared by all blocks: gradients of the activations, each under the name of what it is the gradient of.
 *
 * @param delta      f32 [batch, H, N]
 * @param modulation     f32 [batch, modulationSize]; null where nobody asks for it
 * @param textModulation the same, for the text stream where both streams read one modulation, to be added to the other; null where none do
 * @param partials   f32 scratch of column sums
 */
record BlockGradients(Stream image, Stream text, Tensor q, Tensor k, Tensor v, Tensor delta, Tensor modulation, Tensor textModulation, Tensor partials) {
    /** One stream: the residual stream's gradient in f32, and T buffers of the widths that occur. */
    record Stream(Tensor residual, Tensor stored, Tensor narrow, Tensor narrow2, Tensor qkv, Tensor wide) {
    }

    static BlockGradients reserve(Workspace w, BlockShape shape, DType type, Tensor modulation, Tensor textModulation, int batch, long partialBytes) {
        long joint = (long) batch * shape.heads() * shape.jointTokens();
        return new BlockGradients(stream(w, shape, type, (long) batch * shape.imageTokens()), stream(w, shape, type, (long) batch * shape.textTokens()),
                w.tensor("dq", type, joint, shape.headDim()), w.tensor("dk", type, joint, shape.headDim()), w.tensor("dv", type, joint, shape.headDim()),
                w.tensor("delta", DType.F32, joint), modulation, textModulation, w.tensor("partials", DType.F32, (partialBytes + 3) / 4));
    }

    private static Stream stream(Workspace w, BlockShape shape, DType type, long rows) {
        int d = shape.width(), narrow = Math.max(d, shape.attended());
        Tensor residual = w.tensor("d stream", DType.F32, rows, d);
        return new Stream(residual, type == DType.F32 ? residual : w.tensor("d stream in storage type", type, rows, d), w.tensor("d narrow", type, rows, narrow),
                w.tensor("d narrow 2", type, rows, narrow), w.tensor("d qkv", type, rows, 3L * shape.attended()), w.tensor("d wide", type, rows, Math.max(shape.hidden(), narrow)));
    }
}
