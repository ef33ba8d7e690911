package dev.turningpoint.model;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.tensor.Tensor;
import dev.turningpoint.tensor.Workspace;

/**
 * What one forward writes, for at most {@code batch} images; T is the storage type. A training forward keeps a set per block; a rollout forward uses one set
 * again and again, and updates the residual streams in place.
 */
final class Activations {
    final Pass pass;
    final int batch;
    final Tensor patches;          // T [batch * Ni, patch^2]
    final Tensor embedded;         // T [batch * Ni, D]
    final Tensor timestep;         // T [batch, 128]
    final Tensor timeHidden;       // T [batch, D] before silu
    final Tensor timeActivated;    // T [batch, D]
    final Tensor text;             // T [batch, Nt * D], the text stream's input, for the pooled embedding
    final Tensor condition;        // T [batch, D]
    final Tensor conditionActivated;
    final Tensor modulation;       // f32 [batch, modulationSize]
    final Block[] blocks;
    final Tensor result;           // f32 [batch * Ni, D], the image stream after the last block
    final Tensor resultStats;      // f32 [batch * Ni, 2]
    final Tensor resultNormed;     // T [batch * Ni, D]
    final Tensor outPatches;       // T [batch * Ni, patch^2]

    /** One stream's part of a block. */
    record Stream(Tensor input, Tensor stats, Tensor normed, Tensor qkv, Tensor attended, Tensor projected,
                  Tensor middle, Tensor stats2, Tensor normed2, Tensor hidden, Tensor activated, Tensor fed, Tensor output) {
    }

    /** The joint sequence of a block and its two streams. */
    record Block(Stream image, Stream text, Tensor q, Tensor k, Tensor v, Tensor lse) {
    }

    /** @param workspace where the tensors are reserved */
    Activations(Workspace workspace, GlyphConfig config, DType type, int modulationSize, int batch, Pass pass) {
        this.pass = pass;
        this.batch = batch;
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
        blocks = new Block[config.depth()];
        Tensor image = workspace.tensor("image stream", DType.F32, imageRows, d);
        Tensor words = workspace.tensor("text stream", DType.F32, (long) batch * config.tokens(), d);
        text = type == DType.F32 ? words : workspace.tensor("text stream in storage type", type, (long) batch * config.tokens(), d);
        for (int i = 0; i < blocks.length; i++) {
            if (i > 0 && !keeps) {
                blocks[i] = blocks[0];
                continue;
            }
            long joint = (long) batch * config.heads() * config.jointTokens();
            blocks[i] = new Block(stream(workspace, config, type, image, imageRows, keeps), stream(workspace, config, type, words, (long) batch * config.tokens(), keeps),
                    workspace.tensor("q", type, joint, config.headDim()), workspace.tensor("k", type, joint, config.headDim()),
                    workspace.tensor("v", type, joint, config.headDim()), keeps ? workspace.tensor("lse", DType.F32, joint) : null);
            image = blocks[i].image.output;
            words = blocks[i].text.output;
        }
        result = image;
        resultStats = keeps ? workspace.tensor("result stats", DType.F32, imageRows, 2) : null;
        resultNormed = workspace.tensor("result normed", type, imageRows, d);
        outPatches = workspace.tensor("velocity patches", type, imageRows, config.patchSize());
    }

    private static Stream stream(Workspace w, GlyphConfig config, DType type, Tensor input, long rows, boolean keeps) {
        int d = config.dim();
        Tensor normed = w.tensor("normed", type, rows, d);
        Tensor hidden = w.tensor("feed-forward hidden", type, rows, config.hidden());
        Tensor projected = w.tensor("attention projected", type, rows, d);
        return new Stream(input, keeps ? w.tensor("stats", DType.F32, rows, 2) : null, normed,
                w.tensor("qkv", type, rows, 3L * d), w.tensor("attended", type, rows, d), projected,
                keeps ? w.tensor("middle", DType.F32, rows, d) : input, keeps ? w.tensor("stats2", DType.F32, rows, 2) : null,
                keeps ? w.tensor("normed2", type, rows, d) : normed, hidden,
                keeps ? w.tensor("feed-forward activated", type, rows, config.hidden()) : hidden,
                keeps ? w.tensor("fed", type, rows, d) : projected, keeps ? w.tensor("stream output", DType.F32, rows, d) : input);
    }

    /** Address of a tensor that only training keeps, or 0. */
    static long orZero(Tensor tensor) {
        return tensor == null ? 0 : tensor.address();
    }
}
