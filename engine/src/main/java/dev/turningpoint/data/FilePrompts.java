package dev.turningpoint.data;

import java.io.IOException;
import java.nio.charset.CharacterCodingException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.function.Consumer;

/**
 * Prompts of a text file, {@code train.txt}: one a line, its word in double quotes; blank lines and lines that begin with # are skipped. A tenth of
 * the targets, at least one, is held out by a hash of the target, whatever their order in the file.
 */
public final class FilePrompts implements Prompts {
    private final long seed;
    private final List<Prompt> train = new ArrayList<>();
    private final List<Prompt> heldOut = new ArrayList<>();
    private long lastRound = -1;
    private List<Prompt> lastShuffle;

    /**
     * @param check refuses a target that the model cannot write, by an IllegalArgumentException whose message is shown with the line
     * @throws PromptException if the file is missing or a line is no prompt; the message names file and line
     */
    public FilePrompts(Path file, long seed, Consumer<String> check) {
        this.seed = seed;
        List<String> lines;
        try {
            lines = Files.readAllLines(file);
        } catch (NoSuchFileException e) {
            throw new PromptException(file + ": there is no such file; data.path names it", e);
        } catch (CharacterCodingException e) {
            throw new PromptException(file + ": is not UTF-8 text", e);
        } catch (IOException e) {
            throw new PromptException(file + ": cannot be read: " + (Files.isDirectory(file) ? "it is a folder" : e.getMessage()), e);
        }
        var prompts = new ArrayList<Prompt>();
        for (int i = 0; i < lines.size(); i++) {
            String line = lines.get(i).strip();
            if (line.isEmpty() || line.startsWith("#")) continue;
            try {
                Prompt prompt = Prompt.parse(line);
                check.accept(prompt.target());
                prompts.add(prompt);
            } catch (IllegalArgumentException e) {
                throw new PromptException(file + ":" + (i + 1) + ": " + e.getMessage(), e);
            }
        }
        List<String> targets = prompts.stream().map(Prompt::target).distinct()
                .sorted(Comparator.comparingLong(WordPrompts::hash).thenComparing(Comparator.naturalOrder())).toList();
        if (targets.size() < 2) throw new PromptException(file + ": has " + targets.size() + " different words; at least 2 are needed, one of which is held out");
        Set<String> out = new HashSet<>(targets.subList(0, (targets.size() + 9) / 10));
        for (Prompt p : prompts) (out.contains(p.target()) ? heldOut : train).add(p);
    }

    /** Walks through the shuffled file, shuffled anew each time round. */
    @Override
    public Prompt train(long number) {
        return shuffled(train, seed, number / train.size()).get((int) (number % train.size()));
    }

    /** Repeats prompts where the file holds out fewer than {@code count}. */
    @Override
    public List<Prompt> heldOut(long seed, int count) {
        var result = new ArrayList<Prompt>(count);
        for (int round = 0; result.size() < count; round++) result.addAll(shuffled(heldOut, seed ^ 0x68656c64L, round));
        return List.copyOf(result.subList(0, count));
    }

    private List<Prompt> shuffled(List<Prompt> prompts, long seed, long round) {
        if (prompts == train && round == lastRound) return lastShuffle;
        var order = new ArrayList<>(prompts);
        Collections.shuffle(order, new Random(WordPrompts.mix(WordPrompts.mix(seed) + round)));
        if (prompts == train) {
            lastRound = round;
            lastShuffle = order;
        }
        return order;
    }
}
