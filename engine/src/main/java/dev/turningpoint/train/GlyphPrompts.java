package dev.turningpoint.train;

import dev.turningpoint.data.FilePrompts;
import dev.turningpoint.data.Prompt;
import dev.turningpoint.data.Prompts;
import dev.turningpoint.data.WordPrompts;
import dev.turningpoint.image.GlyphFont;
import dev.turningpoint.image.WordRenderer;
import dev.turningpoint.text.GlyphAlphabet;
import java.nio.file.Path;
import java.util.List;

/** Prompts as the glyph model takes them: of a prompt's line it sees the word in double quotes, one token a letter. */
public final class GlyphPrompts implements PromptSource {
    private final Prompts prompts;
    private final List<String> heldOut;
    private final int tokens;

    private GlyphPrompts(Prompts prompts, long seed, int count, int tokens) {
        this.prompts = prompts;
        this.tokens = tokens;
        heldOut = prompts.heldOut(seed, count).stream().map(Prompt::target).toList();
    }

    /** The prompts that a configuration names. */
    public static GlyphPrompts of(RunConfig config) {
        RunConfig.Model model = config.model();
        int fits = Math.min(model.tokens(), new WordRenderer(GlyphFont.bundled(), model.imageHeight(), model.imageWidth()).maxLetters());
        Prompts prompts = config.data().source() == RunConfig.Source.FILE
                ? new FilePrompts(Path.of(config.data().path()), config.seed(), word -> GlyphAlphabet.encode(word, fits))
                : new WordPrompts(config.seed(), Math.min(3, fits), Math.min(4, fits));
        return new GlyphPrompts(prompts, config.evaluation().seed(), config.evaluation().prompts(), model.tokens());
    }

    @Override
    public String training(long number) {
        return prompts.train(number).target();
    }

    @Override
    public List<String> heldOut() {
        return heldOut;
    }

    @Override
    public int[] tokens(String word) {
        return GlyphAlphabet.encode(word, tokens);
    }
}
