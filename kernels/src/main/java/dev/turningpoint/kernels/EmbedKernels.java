package dev.turningpoint.kernels;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.Kernel;
import dev.turningpoint.gpu.Stream;

/**
 * The ways in and out of the network ({@code embed.cu}): patches, positions, timesteps, tokens. Tables are f32 masters, everything is row-major. Gradients of
 * tables are sums in an order fixed by the shape, without atomics.
 */
public final class EmbedKernels implements AutoCloseable {
    private final PtxModule module;
    private final Kernel[] patchify;
    private final Kernel[] unpatchify;
    private final PtxModule.Storages timestep;
    private final PtxModule.Storages position;
    private final Kernel positionGradient;
    private final Kernel tokens;
    private final Kernel tokenGradient;

    public EmbedKernels(Device device) {
        module = new PtxModule(device, "embed");
        patchify = pairs("patchify");
        unpatchify = pairs("unpatchify");
        timestep = module.storages("timestep_embedding");
        position = module.storages("add_position");
        positionGradient = module.kernel("position_gradient");
        tokens = module.kernel("token_embedding");
        tokenGradient = module.kernel("token_embedding_gradient");
    }

    /**
     * Cuts images into tokens: token (y, x) of sample b holds its patch. It is also the gradient of {@link #unpatchify} with the same arguments.
     *
     * @param images       [batch, channels, height, width] of imageType
     * @param out          receives [batch, (height / patch) * (width / patch), channels * patch * patch] of tokenType
     * @param channelsLast order within a token: false is (channel, row, column), as of a convolution's weights; true is (row, column, channel), as SD3 unpacks
     * @throws IllegalArgumentException if height or width is no multiple of patch, a type is neither f32 nor bf16, or a size is not positive
     */
    public void patchify(Stream stream, DType imageType, long images, DType tokenType, long out,
                         int batch, int channels, int height, int width, int patch, boolean channelsLast) {
        patches(stream, pick(patchify, imageType, tokenType), images, out, batch, channels, height, width, patch, channelsLast);
    }

    /** The inverse of {@link #patchify}: tokens of tokenType into images of imageType. */
    public void unpatchify(Stream stream, DType tokenType, long tokens, DType imageType, long images,
                           int batch, int channels, int height, int width, int patch, boolean channelsLast) {
        patches(stream, pick(unpatchify, imageType, tokenType), images, tokens, batch, channels, height, width, patch, channelsLast);
    }

    /**
     * Sinusoid of the timestep {@code t = 1000 sigma}: {@code out = [cos(t f_i), sin(t f_i)]}, {@code f_i = 10000^(-i / half)}, half = width / 2. Frequencies
     * and products are f32, as frameworks have them: at t = 1000 the angle is exact to 6e-5.
     *
     * @param sigma f32 [batch]
     * @param out   receives T [batch, width], width even
     */
    public void timestepEmbedding(Stream stream, DType type, long sigma, long out, int batch, int width) {
        Check.positive("batch", batch);
        if (!(width > 0 && width % 2 == 0)) {
            throw new IllegalArgumentException("the width of a timestep embedding must be even, not " + width);
        }
        timestep.of(type).grid(Check.blocks(width / 2, 32), Check.blocks(batch, 4), 1).block(128).shared(0).arg(sigma).arg(out).arg(batch).arg(width).launch(stream);
    }

    /**
     * {@code out = x + position}, the position table the same for every sample.
     *
     * @param x        T [batch, n], n = tokens * width
     * @param position f32 [n]
     * @param out      receives f32 [batch, n]; may be x where T is f32
     */
    public void addPosition(Stream stream, DType type, long x, long position, long out, int batch, int n) {
        Check.positive("batch", batch);
        Check.positive("n", n);
        this.position.of(type).grid(Check.blocks(n, 1024), batch, 1).block(256).shared(0).arg(x).arg(position).arg(out).arg(n).launch(stream);
    }

    /**
     * Gradient of {@link #addPosition} with respect to the table: {@code dPosition += sum over samples of dOut}.
     *
     * @param dOut      f32 [batch, n]
     * @param dPosition f32 [n], added to
     */
    public void positionGradient(Stream stream, long dOut, long dPosition, int batch, int n) {
        Check.positive("batch", batch);
        Check.positive("n", n);
        positionGradient.grid(Check.blocks(n, 512), 1, 1).block(128).shared(0).arg(dOut).arg(dPosition).arg(batch).arg(n).launch(stream);
    }

    /**
     * {@code out[b, t] = table[ids[b, t]] + position[t]}. An id outside the vocabulary stops the kernel with a fault.
     *
     * @param ids      i32 [batch, tokens]
     * @param table    f32 [vocabulary, width]
     * @param position f32 [tokens, width], or 0 for none
     * @param out      receives f32 [batch, tokens, width]
     */
    public void tokenEmbedding(Stream stream, long ids, long table, long position, long out, int batch, int tokens, int width, int vocabulary) {
        Check.positive("batch", batch);
        Check.positive("tokens", tokens);
        Check.positive("width", width);
        this.tokens.grid(Check.blocks((long) batch * tokens, 4), 1, 1).block(128).shared(0)
                .arg(ids).arg(table).arg(position).arg(out).arg(batch * tokens).arg(tokens).arg(width).arg(vocabulary).launch(stream);
    }

    /**
     * Gradient of {@link #tokenEmbedding} with respect to the table: every row adds the gradients of its occurrences, in their order. (The position's gradient
     * is {@link #positionGradient} with n = tokens * width.)
     *
     * @param dOut   f32 [batch, tokens, width]
     * @param dTable f32 [vocabulary, width], added to
     */
    public void tokenEmbeddingGradient(Stream stream, long ids, long dOut, long dTable, int batch, int tokens, int width, int vocabulary) {
        Check.positive("batch", batch);
        Check.positive("tokens", tokens);
        Check.positive("width", width);
        tokenGradient.grid(Check.blocks(width, 128), vocabulary, 1).block(128).shared(0)
                .arg(ids).arg(dOut).arg(dTable).arg(batch * tokens).arg(width).launch(stream);
    }

    @Override
    public void close() {
        module.close();
    }

    private Kernel[] pairs(String name) {
        return new Kernel[] {module.kernel(name + "_f32_f32"), module.kernel(name + "_f32_bf16"), module.kernel(name + "_bf16_f32"), module.kernel(name + "_bf16_bf16")};
    }

    private static Kernel pick(Kernel[] pairs, DType image, DType token) {
        if (!((image == DType.F32 || image == DType.BF16) && (token == DType.F32 || token == DType.BF16))) {
            throw new IllegalArgumentException("images and tokens are f32 or bf16, not " + image + " and " + token);
        }
        return pairs[(image == DType.BF16 ? 2 : 0) + (token == DType.BF16 ? 1 : 0)];
    }

    private static void patches(Stream stream, Kernel kernel, long images, long tokens,
                                int batch, int channels, int height, int width, int patch, boolean channelsLast) {
        Check.positive("batch", batch);
        Check.positive("channels", channels);
        if (!(patch > 0 && height > 0 && width > 0 && height % patch == 0 && width % patch == 0)) {
            throw new IllegalArgumentException("an image of " + height + " x " + width + " has no whole patches of " + patch);
        }
        kernel.grid(Check.blocks(width, 64), height / patch, batch).block(128).shared(0).arg(images).arg(tokens)
                .arg(channels).arg(height).arg(width).arg(patch).arg(channelsLast ? 1 : 0).launch(stream);
    }
}
