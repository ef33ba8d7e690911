package dev.turningpoint.model;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.tensor.Tensor;
import dev.turningpoint.tensor.Workspace;

/** Scratch of one backward, shared by all blocks: gradients of the activations, each under the name of what it is the gradient of. */
final class Gradients {
    final Stream image;
    final Stream text;
    final Tensor q;
    final Tensor k;
    final Tensor v;
    final Tensor delta;            // f32 [batch, H, N]
    final Tensor modulation;       // f32 [batch, modulationSize]
    final Tensor modulationStored; // the same in T
    final Tensor condition;        // T [batch, D]
    final Tensor time;             // T [batch, D]
    final Tensor outPatches;       // T [batch * Ni, patch^2]
    final Tensor partials;         // f32 scratch of column sums

    /** One stream: the residual stream's gradient in f32, and T buffers of the widths that occur. */
    record Stream(Tensor residual, Tensor stored, Tensor narrow, Tensor narrow2, Tensor qkv, Tensor wide) {
    }

    Gradients(Workspace w, GlyphConfig config, DType type, int modulationSize, int batch, long partialBytes) {
        long joint = (long) batch * config.heads() * config.jointTokens();
        image = stream(w, config, type, (long) batch * config.imageTokens());
        text = stream(w, config, type, (long) batch * config.tokens());
        q = w.tensor("dq", type, joint, config.headDim());
        k = w.tensor("dk", type, joint, config.headDim());
        v = w.tensor("dv", type, joint, config.headDim());
        delta = w.tensor("delta", DType.F32, joint);
        modulation = w.tensor("d modulation", DType.F32, batch, modulationSize);
        modulationStored = type == DType.F32 ? modulation : w.tensor("d modulation in storage type", type, batch, modulationSize);
        condition = w.tensor("d condition", type, batch, config.dim());
        time = w.tensor("d timestep hidden", type, batch, config.dim());
        outPatches = w.tensor("d velocity patches", type, (long) batch * config.imageTokens(), config.patchSize());
        partials = w.tensor("partials", DType.F32, (partialBytes + 3) / 4);
    }

    private static Stream stream(Workspace w, GlyphConfig config, DType type, long rows) {
        int d = config.dim();
        Tensor residual = w.tensor("d stream", DType.F32, rows, d);
        return new Stream(residual, type == DType.F32 ? residual : w.tensor("d stream in storage type", type, rows, d),
                w.tensor("d narrow", type, rows, d), w.tensor("d narrow 2", type, rows, d), w.tensor("d qkv", type, rows, 3L * d), w.tensor("d wide", type, rows, config.hidden()));
    }
}
