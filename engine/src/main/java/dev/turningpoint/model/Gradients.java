package dev.turningpoint.model;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.tensor.Tensor;
import dev.turningpoint.tensor.Workspace;

/** Scratch of one backward of the glyph model: gradients of the activations, each under the name of what it is the gradient of. */
final class Gradients {
    final BlockGradients block;
    final Tensor modulation;       // f32 [batch, modulationSize]
    final Tensor modulationStored; // the same in T
    final Tensor condition;        // T [batch, D]
    final Tensor time;             // T [batch, D]
    final Tensor outPatches;       // T [batch * Ni, patch^2]

    Gradients(Workspace w, GlyphConfig config, DType type, int modulationSize, int batch, long partialBytes) {
        modulation = w.tensor("d modulation", DType.F32, batch, modulationSize);
        block = BlockGradients.reserve(w, config.block(), type, modulation, null, batch, partialBytes);
        modulationStored = type == DType.F32 ? modulation : w.tensor("d modulation in storage type", type, batch, modulationSize);
        condition = w.tensor("d condition", type, batch, config.dim());
        time = w.tensor("d timestep hidden", type, batch, config.dim());
        outPatches = w.tensor("d velocity patches", type, (long) batch * config.imageTokens(), config.patchSize());
    }
}
