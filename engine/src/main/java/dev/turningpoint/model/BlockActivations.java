package dev.turningpoint.model;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.tensor.Tensor;
import dev.turningpoint.tensor.Workspace;

/**
 * What the forward of a joint block writes: the two streams, and the joint sequence where they meet. T is the storage type. Without {@code keeps} the residual
 * streams are updated in place, and tensors whose content nobody reads again share memory.
 *
 * @param second of the second attention over the image alone; null where a block has none
 * @param lse    f32 [batch, H, N], for the backward; null where none follows
 */
record BlockActivations(Stream image, Stream text, Second second, Tensor q, Tensor k, Tensor v, Tensor lse) {
    /** One stream: residual streams are f32 [rows, D], stats f32 [rows, 2], everything else T. */
    record Stream(Tensor input, Tensor stats, Tensor normed, Tensor qkv, Tensor attended, Tensor projected,
                  Tensor middle, Tensor stats2, Tensor normed2, Tensor hidden, Tensor activated, Tensor fed, Tensor output) {
        Stream between(Tensor before, Tensor after) {
            return new Stream(before, stats, normed, qkv, attended, projected, middle, stats2, normed2, hidden, activated, fed, after);
        }
    }

    /** The second attention. */
    record Second(Tensor stats, Tensor normed, Tensor qkv, Tensor q, Tensor k, Tensor v, Tensor lse, Tensor attended, Tensor projected) {
    }

    static BlockActivations reserve(Workspace w, BlockShape shape, DType type, int batch, Tensor image, Tensor text, boolean second, boolean keeps) {
        long joint = (long) batch * shape.heads() * shape.jointTokens(), alone = (long) batch * shape.heads() * shape.imageTokens(), rows = (long) batch * shape.imageTokens();
        int headDim = shape.headDim();
        return new BlockActivations(stream(w, shape, type, image, rows, keeps), stream(w, shape, type, text, (long) batch * shape.textTokens(), keeps),
                second ? new Second(keeps ? w.tensor("stats of the second attention", DType.F32, rows, 2) : null, w.tensor("normed for the second attention", type, rows, shape.width()),
                        w.tensor("second qkv", type, rows, 3L * shape.attended()), w.tensor("second q", type, alone, headDim), w.tensor("second k", type, alone, headDim),
                        w.tensor("second v", type, alone, headDim), keeps ? w.tensor("second lse", DType.F32, alone) : null, w.tensor("second attended", type, rows, shape.attended()),
                        w.tensor("second attention projected", type, rows, shape.width())) : null,
                w.tensor("q", type, joint, headDim), w.tensor("k", type, joint, headDim), w.tensor("v", type, joint, headDim), keeps ? w.tensor("lse", DType.F32, joint) : null);
    }

    private static Stream stream(Workspace w, BlockShape shape, DType type, Tensor input, long rows, boolean keeps) {
        int d = shape.width();
        Tensor normed = w.tensor("normed", type, rows, d);
        Tensor hidden = w.tensor("feed-forward hidden", type, rows, shape.hidden());
        Tensor projected = w.tensor("attention projected", type, rows, d);
        return new Stream(input, keeps ? w.tensor("stats", DType.F32, rows, 2) : null, normed,
                w.tensor("qkv", type, rows, 3L * shape.attended()), w.tensor("attended", type, rows, shape.attended()), projected,
                keeps ? w.tensor("middle", DType.F32, rows, d) : input, keeps ? w.tensor("stats2", DType.F32, rows, 2) : null,
                keeps ? w.tensor("normed2", type, rows, d) : normed, hidden,
                keeps ? w.tensor("feed-forward activated", type, rows, shape.hidden()) : hidden,
                keeps ? w.tensor("fed", type, rows, d) : projected, keeps ? w.tensor("stream output", DType.F32, rows, d) : input);
    }

    /** The same memory between other residual streams: a block whose forward is repeated before its backward needs only those of its own. */
    BlockActivations between(Tensor imageBefore, Tensor imageAfter, Tensor textBefore, Tensor textAfter) {
        return new BlockActivations(image.between(imageBefore, imageAfter), text.between(textBefore, textAfter), second, q, k, v, lse);
    }

    /** Address of a tensor that only training keeps, or 0. */
    static long orZero(Tensor tensor) {
        return tensor == null ? 0 : tensor.address();
    }
}
