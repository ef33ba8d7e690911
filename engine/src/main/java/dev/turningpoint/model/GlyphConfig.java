package dev.turningpoint.model;

/**
 * Shape of the glyph model: joint-attention blocks at small width on grey images of words.
 *
 * @param height     image height in pixels
 * @param width      image width in pixels
 * @param patch      side of the square patch that becomes one token
 * @param dim        width D of both streams; heads * headDim
 * @param depth      number of joint blocks; the last has no text output
 * @param heads      attention heads H
 * @param mlpRatio   hidden width of the feed-forward layers over D
 * @param tokens     text tokens of one condition, padded with 0
 * @param vocabulary token kinds, 0 is padding
 */
public record GlyphConfig(int height, int width, int patch, int dim, int depth, int heads, int mlpRatio, int tokens, int vocabulary) {

    /** The shipped model: 24 x 64, patch 4, width 96, 4 blocks of 3 heads x 32, 5 tokens out of 32. */
    public static final GlyphConfig DEFAULT = new GlyphConfig(24, 64, 4, 96, 4, 3, 4, 5, 32);

    /** Width of the timestep sinusoid. */
    public static final int TIMESTEP_FEATURES = 128;

    public GlyphConfig {
        require(height > 0 && width > 0 && patch > 0 && height % patch == 0 && width % patch == 0,
                "the image (" + height + " x " + width + ") must be a multiple of the patch (" + patch + ")");
        require(heads > 0 && dim > 0 && dim % heads == 0, "dim (" + dim + ") must be a multiple of heads (" + heads + ")");
        int head = heads > 0 ? dim / heads : 0;
        require(head == 32 || head == 64 || head == 128, "the attention kernels serve head dims 32, 64 and 128, not " + head);
        require(depth > 0 && mlpRatio > 0 && tokens > 0 && vocabulary > 1, "depth, mlpRatio, tokens and vocabulary must be positive");
    }

    public int headDim() {
        return dim / heads;
    }

    public int hidden() {
        return dim * mlpRatio;
    }

    /** Pixels of one patch. */
    public int patchSize() {
        return patch * patch;
    }

    /** Image tokens Ni. */
    public int imageTokens() {
        return (height / patch) * (width / patch);
    }

    /** Tokens of the joint sequence, image first: N = Ni + Nt. */
    public int jointTokens() {
        return imageTokens() + tokens;
    }

    /** Elements of one latent. */
    public int latentSize() {
        return height * width;
    }

    /** Sizes of its blocks. */
    BlockShape block() {
        return new BlockShape(dim, heads, headDim(), headDim(), hidden(), imageTokens(), tokens);
    }

    private static void require(boolean condition, String message) {
        if (!condition) {
            throw new IllegalArgumentException("glyph model: " + message);
        }
    }
}
