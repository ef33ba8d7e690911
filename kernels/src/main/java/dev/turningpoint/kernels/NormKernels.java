package dev.turningpoint.kernels;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.Kernel;
import dev.turningpoint.gpu.Stream;

/**
 * Normalisations of the joint-attention blocks ({@code norm.cu}): adaptive LayerNorm with modulation, and RMSNorm of queries and keys with the split into
 * heads, each forward and backward. T is the storage type, f32 or bf16; everything is row-major; sums are f32 in an order fixed by the shape of one sample.
 */
public final class NormKernels implements AutoCloseable {
    private static final int WARPS = 4;
    /** Tokens and heads whose q/k weight gradients a block adds before they become one row of {@code partials}. */
    private static final int TOKENS_PER_PARTIAL = 16, HEADS_PER_PARTIAL = 4;

    private final PtxModule module;
    private final PtxModule.Storages layerNorm;
    private final PtxModule.Storages layerNormBackward;
    private final PtxModule.Storages modulationGradient;
    private final PtxModule.Storages qkNorm;
    private final PtxModule.Storages qkNormBackward;
    private final Kernel qkWeightGradient;

    public NormKernels(Device device) {
        module = new PtxModule(device, "norm");
        layerNorm = module.storages("adaptive_layer_norm");
        layerNormBackward = module.storages("adaptive_layer_norm_backward");
        modulationGradient = module.storages("modulation_gradient");
        qkNorm = module.storages("qk_norm_split");
        qkNormBackward = module.storages("qk_norm_split_backward");
        qkWeightGradient = module.kernel("qk_weight_gradient");
    }

    /**
     * {@code out = (x - mean) * rstd * (1 + scale) + shift}, mean and variance over the row, {@code rstd = 1 / sqrt(variance + eps)}.
     *
     * @param x             f32 [rows, d], the residual stream
     * @param shift         f32, row b at {@code shift + b * modStride}: d values for sample b
     * @param scale         likewise
     * @param modStride     elements from one sample's modulation to the next
     * @param out           receives T [rows, d]
     * @param stats         receives f32 [rows, 2] = mean, rstd for the backward; 0 where none follows
     * @param rowsPerSample tokens of one sample; rows is a multiple of it
     */
    public void adaptiveLayerNorm(Stream stream, DType type, long x, long shift, long scale, int modStride, long out, long stats,
                                  int rows, int d, int rowsPerSample, float eps) {
        rowShape(rows, d, rowsPerSample);
        layerNorm.of(type).grid(Check.blocks(rows, WARPS), 1, 1).block(32 * WARPS).shared(0)
                .arg(x).arg(shift).arg(scale).arg(out).arg(stats).arg(modStride).arg(rows).arg(d).arg(rowsPerSample).arg(eps).launch(stream);
    }

    /**
     * Backward of {@link #adaptiveLayerNorm}: with {@code g = dOut * (1 + scale)} and {@code h = (x - mean) * rstd},
     * {@code dx += rstd * (g - mean(g) - h * mean(g * h))}, {@code dShift = sum over tokens of dOut}, {@code dScale = sum over tokens of dOut * h}.
     *
     * @param x       the forward's input, unchanged
     * @param scale   the forward's scale
     * @param stats   what the forward stored
     * @param dOut    T [rows, d]
     * @param dx      f32 [rows, d], added to
     * @param dShift  f32, row b at {@code dShift + b * modStride}, overwritten; 0 where nobody asks for it and dScale
     * @param dScale  likewise
     */
    public void adaptiveLayerNormBackward(Stream stream, DType type, long x, long scale, int modStride, long stats, long dOut,
                                          long dx, long dShift, long dScale, int rows, int d, int rowsPerSample) {
        rowShape(rows, d, rowsPerSample);
        layerNormBackward.of(type).grid(Check.blocks(rows, WARPS), 1, 1).block(32 * WARPS).shared(0)
                .arg(x).arg(scale).arg(stats).arg(dOut).arg(dx).arg(modStride).arg(rows).arg(d).arg(rowsPerSample).launch(stream);
        bothOrNone(dShift, dScale);
        if (dShift == 0) {
            return;
        }
        modulationGradient.of(type).grid(Check.blocks(d, 32), rows / rowsPerSample, 1).block(32 * MODULATION_WARPS).shared(0)
                .arg(x).arg(stats).arg(dOut).arg(dShift).arg(dScale).arg(modStride).arg(d).arg(rowsPerSample).launch(stream);
    }

    private static final int MODULATION_WARPS = 8;

    /**
     * How one stream's projection becomes heads of the joint sequence.
     *
     * @param streamTokens tokens of the stream in one sample
     * @param headDim      numbers of a head as they lie in memory: 32, 64 or 128
     * @param meanOf       how many of them count in the mean of its squares; the others are zeros that fill up a narrower head
     * @param tokenOffset  where the stream's tokens begin in the joint sequence
     * @param tokens       tokens N of the joint sequence
     * @param eps          added to the mean
     */
    public record HeadSplit(int streamTokens, int heads, int headDim, int meanOf, int tokenOffset, int tokens, float eps) {
        public HeadSplit {
            headShape(streamTokens, heads, headDim, tokenOffset, tokens);
            if (meanOf < 1 || meanOf > headDim) {
                throw new IllegalArgumentException("the mean is over 1 to " + headDim + " numbers of a head, not " + meanOf);
            }
        }

        /** Heads without filling. */
        public HeadSplit(int streamTokens, int heads, int headDim, int tokenOffset, int tokens, float eps) {
            this(streamTokens, heads, headDim, headDim, tokenOffset, tokens, eps);
        }
    }

    /**
     * Splits a fused projection into heads, normalises queries and keys, {@code q = x / sqrt(mean(x^2) + eps) * weight} over each head, and rotates their pairs of
     * neighbours, (a, b) to (a cos - b sin, b cos + a sin); v is copied. Token t of the stream becomes token {@code tokenOffset + t} of the joint sequence.
     *
     * @param qkv     T [batch, streamTokens, 3, heads, headDim]
     * @param qWeight f32 [headDim]; likewise kWeight; both 0: queries and keys are not normalised
     * @param rope    f32 [tokens, headDim / 2, 2], cos and sin of each pair at each place of the joint sequence; 0: nothing is rotated
     * @param q       receives T [batch, heads, tokens, headDim], the tokens of this stream only; likewise k, v
     */
    public void qkNormSplit(Stream stream, DType type, long qkv, long qWeight, long kWeight, long rope, long q, long k, long v, int batch, HeadSplit s) {
        Check.positive("batch", batch);
        bothOrNone(qWeight, kWeight);
        qkNorm.of(type).grid(Check.blocks((long) batch * s.streamTokens, WARPS), 1, 1).block(32 * WARPS).shared(0)
                .arg(qkv).arg(qWeight).arg(kWeight).arg(rope).arg(q).arg(k).arg(v)
                .arg(batch).arg(s.streamTokens).arg(s.heads).arg(s.headDim).arg(s.tokenOffset).arg(s.tokens).arg(s.meanOf).arg(s.eps).launch(stream);
    }

    /**
     * Backward of {@link #qkNormSplit}; the root mean squares are computed again from qkv.
     *
     * @param dq       T [batch, heads, tokens, headDim]; likewise dk, dv
     * @param dqkv     receives T [batch, streamTokens, 3, heads, headDim]; may be qkv itself
     * @param dqWeight f32 [headDim], added to; likewise dkWeight; both 0: nobody asks for them
     * @param partials scratch of {@link #qkNormScratch} bytes
     */
    public void qkNormSplitBackward(Stream stream, DType type, long qkv, long qWeight, long kWeight, long rope, long dq, long dk, long dv,
                                    long dqkv, long dqWeight, long dkWeight, long partials, int batch, HeadSplit s) {
        Check.positive("batch", batch);
        bothOrNone(qWeight, kWeight);
        bothOrNone(dqWeight, dkWeight);
        Check.address("partials of the q/k weight gradients", partials);
        int chunks = Check.blocks(s.streamTokens, TOKENS_PER_PARTIAL) * batch, headGroups = Check.blocks(s.heads, HEADS_PER_PARTIAL);
        qkNormBackward.of(type).grid(chunks, headGroups, 1).block(32 * WARPS).shared(0)
                .arg(qkv).arg(qWeight).arg(kWeight).arg(rope).arg(dq).arg(dk).arg(dv).arg(dqkv).arg(partials)
                .arg(s.streamTokens).arg(s.heads).arg(s.headDim).arg(s.tokenOffset).arg(s.tokens).arg(s.meanOf).arg(s.eps).launch(stream);
        if (dqWeight != 0) {
            qkWeightGradient.grid(2 * s.headDim / 32, 1, 1).block(256).shared(0)
                    .arg(partials).arg(dqWeight).arg(dkWeight).arg(chunks * headGroups).arg(s.headDim).launch(stream);
        }
    }

    private static void bothOrNone(long a, long b) {
        Check.that((a == 0) == (b == 0), "two of a kind, weights of queries and keys or gradients of shift and scale, must both be given or both be 0");
    }

    /** Bytes of scratch that {@link #qkNormSplitBackward} needs. */
    public static long qkNormScratch(int batch, int streamTokens, int heads, int headDim) {
        return 2L * headDim * Check.blocks(streamTokens, TOKENS_PER_PARTIAL) * batch * Check.blocks(heads, HEADS_PER_PARTIAL) * Float.BYTES;
    }

    @Override
    public void close() {
        module.close();
    }

    private static void rowShape(int rows, int d, int rowsPerSample) {
        Check.positive("rows", rows);
        Check.positive("d", d);
        if (!(rowsPerSample > 0 && rows % rowsPerSample == 0)) {
            throw new IllegalArgumentException("rows (" + rows + ") must be a multiple of rowsPerSample (" + rowsPerSample + ")");
        }
    }

    private static void headShape(int streamTokens, int heads, int headDim, int tokenOffset, int tokens) {
        Check.positive("streamTokens", streamTokens);
        Check.positive("heads", heads);
        if (!(headDim == 32 || headDim == 64 || headDim == 128)) {
            throw new IllegalArgumentException("head dims are 32, 64 and 128, not " + headDim);
        }
        if (!(tokenOffset >= 0 && tokenOffset + streamTokens <= tokens)) {
            throw new IllegalArgumentException("tokens " + tokenOffset + ".." + (tokenOffset + streamTokens) + " do not lie in a sequence of " + tokens);
        }
    }
}
