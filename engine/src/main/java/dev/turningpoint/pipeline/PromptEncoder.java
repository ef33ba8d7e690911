package dev.turningpoint.pipeline;

import dev.turningpoint.gpu.Resources;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * Prompts as the network reads them, as diffusers' pipelines put them together. SD3: the tokens of CLIP-L and CLIP-G side by side, filled up with zeros to T5's width, then
 * T5's tokens; the pooled vectors side by side. FLUX: T5's tokens and CLIP-L's pooled vector. The encoders are opened for the first prompt that the cache does not have.
 */
final class PromptEncoder implements AutoCloseable {
    /** Tokens of CLIP. */
    static final int CLIP_TOKENS = 77;

    private final PipelineFolder folder;
    private final int t5Tokens, textWidth, pooledWidth;
    private final PromptCache cache;
    private final List<TextEncoder> encoders = new ArrayList<>();

    /**
     * @param t5Tokens    of a prompt
     * @param textWidth   numbers of a text token, as the network takes them
     * @param pooledWidth of the vector of a whole prompt, as the network takes it
     */
    PromptEncoder(PipelineFolder folder, int t5Tokens, int textWidth, int pooledWidth) {
        this.folder = folder;
        this.t5Tokens = t5Tokens;
        this.textWidth = textWidth;
        this.pooledWidth = pooledWidth;
        cache = new PromptCache(identity(), tokens(folder.family(), t5Tokens) * textWidth, pooledWidth);
    }

    /** Text tokens of the network. */
    static int tokens(PipelineFolder.Family family, int t5Tokens) {
        return family == PipelineFolder.Family.SD3 ? CLIP_TOKENS + t5Tokens : t5Tokens;
    }

    /** What the embeddings of a prompt depend on beside the prompt. */
    private String identity() {
        var all = new StringBuilder().append(folder.family()).append('\n').append(t5Tokens).append(' ').append(textWidth).append(' ').append(pooledWidth).append('\n');
        for (int i = 0; i < opened(); i++) {
            try {
                Path file = folder.encoder(i).toRealPath();
                all.append(file).append(' ').append(Files.size(file)).append(' ').append(Files.getLastModifiedTime(file)).append('\n');
            } catch (IOException e) {
                throw new PipelineException(folder.encoder(i) + " cannot be read: " + e.getMessage(), e);
            }
        }
        return all.toString();
    }

    private int opened() {
        return folder.family().encoders() - (folder.t5() ? 0 : 1);
    }

    /** @throws PipelineException if the encoders are not those of the network */
    Embeddings encode(String prompt) {
        Embeddings known = cache.read(prompt);
        if (known != null) return known;
        if (encoders.isEmpty()) open();
        Embeddings made = folder.family() == PipelineFolder.Family.SD3 ? sd3(prompt) : flux(prompt);
        cache.write(prompt, made);
        return made;
    }

    private void open() {
        try {
            for (int i = 0; i < opened(); i++) {
                boolean t5 = i == folder.family().encoders() - 1;
                encoders.add(new TextEncoder(folder.encoder(i), folder.tokenizer(i), t5 ? t5Tokens : CLIP_TOKENS, !t5));
            }
        } catch (RuntimeException | Error e) {
            close();
            throw e;
        }
    }

    private Embeddings sd3(String prompt) {
        TextEncoder.Encoded l = encoders.get(0).encode(prompt), g = encoders.get(1).encode(prompt);
        if (l.width() + g.width() > textWidth) throw new PipelineException(folder.path() + ": CLIP's encoders give " + l.width() + " and " + g.width() + " numbers a token, the network takes " + textWidth);
        var text = new float[(CLIP_TOKENS + t5Tokens) * textWidth];
        for (int i = 0; i < CLIP_TOKENS; i++) {
            System.arraycopy(l.hidden(), i * l.width(), text, i * textWidth, l.width());
            System.arraycopy(g.hidden(), i * g.width(), text, i * textWidth + l.width(), g.width());
        }
        if (folder.t5()) put(encoders.get(2).encode(prompt), text, CLIP_TOKENS * textWidth);
        var pooled = new float[l.pooled().length + g.pooled().length];
        System.arraycopy(l.pooled(), 0, pooled, 0, l.pooled().length);
        System.arraycopy(g.pooled(), 0, pooled, l.pooled().length, g.pooled().length);
        return new Embeddings(text, requirePooled(pooled));
    }

    private Embeddings flux(String prompt) {
        var text = new float[t5Tokens * textWidth];
        put(encoders.get(1).encode(prompt), text, 0);
        return new Embeddings(text, requirePooled(encoders.get(0).encode(prompt).pooled()));
    }

    private void put(TextEncoder.Encoded t5, float[] text, int at) {
        if (t5.width() != textWidth) throw new PipelineException(folder.path() + ": T5's encoder gives " + t5.width() + " numbers a token, the network takes " + textWidth);
        System.arraycopy(t5.hidden(), 0, text, at, t5.hidden().length);
    }

    private float[] requirePooled(float[] pooled) {
        if (pooled.length != pooledWidth) throw new PipelineException(folder.path() + ": CLIP's encoders give a vector of " + pooled.length + " numbers for a prompt, the network takes " + pooledWidth);
        return pooled;
    }

    @Override
    public void close() {
        try (var all = new Resources()) {
            encoders.forEach(all::add);
        }
        encoders.clear();
    }
}
