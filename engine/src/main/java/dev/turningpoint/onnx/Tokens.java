package dev.turningpoint.onnx;

import ai.djl.huggingface.tokenizers.Encoding;
import ai.djl.huggingface.tokenizers.HuggingFaceTokenizer;
import dev.turningpoint.bindings.NativeCache;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;

/** A tokenizer of Hugging Face's, read from its {@code tokenizer.json}: text to exactly so many tokens. Any thread may use it; it never asks the network. */
public final class Tokens implements AutoCloseable {
    static {
        // Before DJL loads: its native library goes where ours are, nothing is fetched, nothing is reported, nothing is said of a missing logger.
        defaultProperty("DJL_CACHE_DIR", NativeCache.folder().resolve("djl").toString());
        defaultProperty("ai.djl.offline", "true");
        defaultProperty("OPT_OUT_TRACKING", "true");
        defaultProperty("slf4j.internal.verbosity", "ERROR");
    }

    private final HuggingFaceTokenizer tokenizer;
    private final int length;

    private static void defaultProperty(String name, String value) {
        if (System.getProperty(name) == null && System.getenv(name) == null) System.setProperty(name, value);
    }

    /**
     * @param ids  [length]; after the text's own, the first that follows is repeated to the end
     * @param mask [length], 1 for the text's own tokens, 0 after them
     */
    public record Encoded(long[] ids, long[] mask) {}

    /**
     * @param file   a {@code tokenizer.json}
     * @param length tokens of a text: longer ones are cut, keeping the tokens that mark their end
     * @throws OnnxException if it is missing or no tokenizer
     */
    public Tokens(Path file, int length) {
        this(file.toString(), read(file), length);
    }

    /**
     * @param name what messages call it
     * @param json what stands in a {@code tokenizer.json}
     */
    public Tokens(String name, byte[] json, int length) {
        this.length = length;
        try {
            tokenizer = HuggingFaceTokenizer.newInstance(new ByteArrayInputStream(json),
                    Map.of("addSpecialTokens", "true", "truncation", "true", "maxLength", Integer.toString(length), "padding", "false"));
        } catch (IOException | RuntimeException e) {
            throw new OnnxException(name + " is no tokenizer: " + String.valueOf(e.getMessage()).lines().findFirst().orElse(""), e);
        }
    }

    private static byte[] read(Path file) {
        try {
            return Files.readAllBytes(file);
        } catch (NoSuchFileException e) {
            throw new OnnxException(file + ": there is no such file", e);
        } catch (IOException e) {
            throw new OnnxException(file + " cannot be read: " + e.getMessage(), e);
        }
    }

    /** @param padding what follows the text; -1 repeats the last token, the mark of the end, as CLIP does */
    public Encoded encode(String text, long padding) {
        Encoding encoding = tokenizer.encode(text);
        long[] found = encoding.getIds(), attended = encoding.getAttentionMask();
        int n = 0;
        while (n < found.length && attended[n] != 0) n++;   // a file may ask for padding of its own
        if (n == 0 || n > length) throw new OnnxException("the tokenizer makes " + n + " tokens of <" + text + ">; expected 1 to " + length);
        var ids = Arrays.copyOf(found, length);
        var mask = new long[length];
        Arrays.fill(ids, n, length, padding < 0 ? found[n - 1] : padding);
        Arrays.fill(mask, 0, n, 1);
        return new Encoded(ids, mask);
    }

    @Override
    public void close() {
        tokenizer.close();
    }
}
