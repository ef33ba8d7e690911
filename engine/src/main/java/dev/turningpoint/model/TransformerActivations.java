package dev.turningpoint.model;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.tensor.Tensor;
import dev.turningpoint.tensor.Workspace;

/**
 * What one forward of a {@link TransformerModel} writes; T is the storage type. A rollout updates the residual streams in place. A training forward keeps both
 * residual streams before every block and nothing else of a block: its backward repeats the block's forward, into memory that all blocks share.
 */
final class TransformerActivations {
    final Tensor patches;                                        // T [batch * Ni, patch size]
    final Tensor text, textStored;                               // f32 and T [batch * Nt, text width]
    final Tensor pooled, pooledStored, pooledHidden, pooledActivated;   // f32 and T [batch, pooled width], T [batch, D]
    final Tensor timestep, timeHidden, timeActivated;            // T [batch, 256], T [batch, D]
    final Tensor guidance, guidanceFeatures, guidanceHidden, guidanceActivated;   // f32 [batch], T [batch, 256], T [batch, D]; null where guidance is no input
    final Tensor condition, conditionActivated;                  // T [batch, D]
    final Tensor modulation;                                     // f32 [batch, modulationSize]
    final BlockActivations[] blocks;
    final Tensor image, words;                                   // f32, the streams before the first block
    final Tensor result, resultStats, resultNormed, outPatches;  // f32 [batch * Ni, D], f32 [batch * Ni, 2], T [batch * Ni, D], T [batch * Ni, patch size]

    TransformerActivations(Workspace w, TransformerModel.Sizes s, DType type, int modulationSize, int batch, Pass pass) {
        boolean keeps = pass == Pass.TRAIN;
        BlockShape shape = s.block();
        long d = shape.width(), imageRows = (long) batch * shape.imageTokens(), textRows = (long) batch * shape.textTokens();
        patches = w.tensor("patches", type, imageRows, s.patchIn());
        text = w.tensor("text embeddings", DType.F32, textRows, s.textWidth());
        textStored = stored(w, text, type);
        pooled = w.tensor("pooled text embedding", DType.F32, batch, s.pooledWidth());
        pooledStored = stored(w, pooled, type);
        pooledHidden = w.tensor("pooled hidden", type, batch, d);
        pooledActivated = w.tensor("pooled activated", type, batch, d);
        timestep = w.tensor("timestep features", type, batch, TransformerModel.TIMESTEP_FEATURES);
        timeHidden = w.tensor("timestep hidden", type, batch, d);
        timeActivated = w.tensor("timestep activated", type, batch, d);
        guidance = s.guidance() ? w.tensor("guidance", DType.F32, batch) : null;
        guidanceFeatures = s.guidance() ? w.tensor("guidance features", type, batch, TransformerModel.TIMESTEP_FEATURES) : null;
        guidanceHidden = s.guidance() ? w.tensor("guidance hidden", type, batch, d) : null;
        guidanceActivated = s.guidance() ? w.tensor("guidance activated", type, batch, d) : null;
        condition = w.tensor("condition", type, batch, d);
        conditionActivated = w.tensor("condition activated", type, batch, d);
        modulation = w.tensor("modulation", DType.F32, batch, modulationSize);
        image = w.tensor("image stream", DType.F32, imageRows, d);
        words = w.tensor("text stream", DType.F32, textRows, d);
        blocks = new BlockActivations[s.blocks()];
        BlockActivations shared = BlockActivations.reserve(w, shape, type, batch, image, words, s.secondAttention(), keeps);
        Tensor before = image, textBefore = words;
        for (int i = 0; i < blocks.length; i++) {
            Tensor after = keeps ? w.tensor("image stream after block " + i, DType.F32, imageRows, d) : image, textAfter = keeps ? w.tensor("text stream after block " + i, DType.F32, textRows, d) : words;
            blocks[i] = keeps ? shared.between(before, after, textBefore, textAfter) : shared;
            before = after;
            textBefore = textAfter;
        }
        result = before;
        resultStats = keeps ? w.tensor("result stats", DType.F32, imageRows, 2) : null;
        resultNormed = w.tensor("result normed", type, imageRows, d);
        outPatches = w.tensor("velocity patches", type, imageRows, s.patchOut());
    }

    private static Tensor stored(Workspace w, Tensor f32, DType type) {
        return type == DType.F32 ? f32 : w.tensor(f32.name() + " in storage type", type, f32.shape());
    }
}
