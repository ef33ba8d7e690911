package dev.turningpoint.model;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.tensor.Tensor;
import dev.turningpoint.tensor.Workspace;

/**
 * What one forward of the glyph model writes, for at most {@code batch} images; T is the storage type. A training forward keeps a set per block; a rollout forward
 * uses one set again and again, and updates the residual streams in place.
 */
final class Activations {
    final Tensor patches;          // T [batch * Ni, patch^2]
    final Tensor embedded;         // T [batch * Ni, D]
    final Tensor timestep;         // T [batch, 128]
    final Tensor timeHidden;       // T [batch, D] before silu
    final Tensor timeActivated;    // T [batch, D]
    final Tensor text;             // T [batch, Nt * D], the text stream's input, for the pooled embedding
    final Tensor condition;        // T [batch, D]
    final Tensor conditionActivated;
    final Tensor modulation;       // f32 [batch, modulationSize]
    final BlockActivations[] blocks;
    final Tensor result;           // f32 [batch * Ni, D], the image stream after the last block
    final Tensor resultStats;      // f32 [batch * Ni, 2]
    final Tensor resultNormed;     // T [batch * Ni, D]
    final Tensor outPatches;       // T [batch * Ni, patch^2]

    /** @param workspace where the tensors are reserved */
    Activations(Workspace workspace, GlyphConfig config, DType type, int modulationSize, int batch, Pass pass) {
        boolean keeps = pass == Pass.TRAIN;
        int d = config.dim();
        long imageRows = (long) batch * config.imageTokens();
        patches = workspace.tensor("patches", type, imageRows, config.patchSize());
        embedded = workspace.tensor("embedded patches", type, imageRows, d);
        timestep = workspace.tensor("timestep features", type, batch, GlyphConfig.TIMESTEP_FEATURES);
        timeHidden = workspace.tensor("timestep hidden", type, batch, d);
        timeActivated = workspace.tensor("timestep activated", type, batch, d);
        condition = workspace.tensor("condition", type, batch, d);
        conditionActivated = workspace.tensor("condition activated", type, batch, d);
        modulation = workspace.tensor("modulation", DType.F32, batch, modulationSize);
        blocks = new BlockActivations[config.depth()];
        Tensor image = workspace.tensor("image stream", DType.F32, imageRows, d);
        Tensor words = workspace.tensor("text stream", DType.F32, (long) batch * config.tokens(), d);
        text = type == DType.F32 ? words : workspace.tensor("text stream in storage type", type, (long) batch * config.tokens(), d);
        for (int i = 0; i < blocks.length; i++) {
            if (i > 0 && !keeps) {
                blocks[i] = blocks[0];
                continue;
            }
            blocks[i] = BlockActivations.reserve(workspace, config.block(), type, batch, image, words, false, keeps);
            image = blocks[i].image().output();
            words = blocks[i].text().output();
        }
        result = image;
        resultStats = keeps ? workspace.tensor("result stats", DType.F32, imageRows, 2) : null;
        resultNormed = workspace.tensor("result normed", type, imageRows, d);
        outPatches = workspace.tensor("velocity patches", type, imageRows, config.patchSize());
    }
}
