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
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.function.Consumer;
import tools.jackson.core.JacksonException;
import tools.jackson.core.type.TypeReference;
import tools.jackson.databind.json.JsonMapper;

/**
 * Prompts of files in flow_grpo's layout: {@code train.txt} with one prompt a line, or {@code train_metadata.jsonl} with one JSON object a line, whose
 * {@code prompt} is the text and which is the prompt's metadata as a whole. Held out is what stands beside it in {@code test.txt} or {@code test_metadata.jsonl};
 * where there is no such file, a tenth of the words (of the prompts, where they have none), at least one, by a hash, whatever the order in the file. Blank lines
 * are skipped, and in a text file those that begin with #.
 */
public final class FilePrompts implements Prompts {
    private static final JsonMapper JSON = new JsonMapper();
    private static final List<String> NAMES = List.of("train.txt", "train_metadata.jsonl");

    private final Path file;
    private final long seed;
    private final List<Prompt> train = new ArrayList<>();
    private final List<Prompt> heldOut = new ArrayList<>();
    private long lastRound = -1;
    private List<Prompt> lastShuffle;

    /**
     * @param path  of the file to train on, or of its folder
     * @param check refuses a prompt that the model cannot draw, by an IllegalArgumentException whose message is shown with the line
     * @throws PromptException if a file is missing or a line is no prompt; the message names file and line
     */
    public FilePrompts(Path path, long seed, Consumer<Prompt> check) {
        this.seed = seed;
        file = Files.isDirectory(path) ? inFolder(path) : path;
        List<Prompt> prompts = read(file, check);
        Path test = file.resolveSibling(file.getFileName().toString().replaceFirst("^train", "test"));
        if (!test.equals(file) && Files.exists(test)) {
            train.addAll(prompts);
            heldOut.addAll(read(test, check));
            if (train.isEmpty() || heldOut.isEmpty()) throw new PromptException((train.isEmpty() ? file : test) + ": has no prompt");
            return;
        }
        List<String> keys = prompts.stream().map(Prompt::caption).distinct()
                .sorted(Comparator.comparingLong(WordPrompts::hash).thenComparing(Comparator.naturalOrder())).toList();
        if (keys.size() < 2)
            throw new PromptException(file + ": has " + keys.size() + " different words; at least 2 are needed, one of which is held out, or a file " + test.getFileName() + " beside it");
        Set<String> out = new HashSet<>(keys.subList(0, (keys.size() + 9) / 10));
        for (Prompt p : prompts) (out.contains(p.caption()) ? heldOut : train).add(p);
    }

    private static Path inFolder(Path folder) {
        List<Path> found = NAMES.stream().map(folder::resolve).filter(Files::exists).toList();
        if (found.size() == 1) return found.getFirst();
        throw new PromptException(folder + ": has " + (found.isEmpty() ? "neither " : "both ") + String.join(found.isEmpty() ? " nor " : " and ", NAMES)
                + (found.isEmpty() ? "" : "; let data.path name the file"));
    }

    private static List<Prompt> read(Path file, Consumer<Prompt> check) {
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
        boolean json = file.getFileName().toString().endsWith(".jsonl");
        var prompts = new ArrayList<Prompt>();
        for (int i = 0; i < lines.size(); i++) {
            String line = lines.get(i).strip();
            if (line.isEmpty() || !json && line.startsWith("#")) continue;
            try {
                Prompt prompt = json ? fromJson(line) : Prompt.of(line, Map.of());
                check.accept(prompt);
                prompts.add(prompt);
            } catch (IllegalArgumentException e) {
                throw new PromptException(file + ":" + (i + 1) + ": " + e.getMessage(), e);
            }
        }
        return prompts;
    }

    private static Prompt fromJson(String line) {
        Map<String, Object> object;
        try {
            object = JSON.readValue(line, new TypeReference<LinkedHashMap<String, Object>>() {});
        } catch (JacksonException e) {
            throw new IllegalArgumentException("is no JSON object: " + e.getOriginalMessage().lines().findFirst().orElse(""), e);
        }
        if (object == null || !(object.get("prompt") instanceof String text) || text.isBlank()) throw new IllegalArgumentException("has no text 'prompt'");
        object.values().removeIf(java.util.Objects::isNull);
        return Prompt.of(text, object);
    }

    /**
     * Walks through the shuffled file, shuffled anew each time round, so that all prompts of an iteration differ; what is left at the end of a round and too
     * little for an iteration waits for the next.
     *
     * @throws PromptException if the file has fewer than {@code count} prompts
     */
    @Override
    public List<Prompt> train(long iteration, int count) {
        int perRound = train.size() / count;
        if (perRound == 0) throw new PromptException(file + ": has " + train.size() + " prompts to train on, and train.prompts_per_iteration is " + count);
        long round = iteration / perRound;
        if (round != lastRound) {
            lastShuffle = shuffled(train, seed, round);
            lastRound = round;
        }
        int from = (int) (iteration % perRound) * count;
        return List.copyOf(lastShuffle.subList(from, from + count));
    }

    /** Repeats prompts where fewer than {@code count} are held out. */
    @Override
    public List<Prompt> heldOut(long seed, int count) {
        var result = new ArrayList<Prompt>(count);
        for (int round = 0; result.size() < count; round++) result.addAll(shuffled(heldOut, seed ^ 0x68656c64L, round));
        return List.copyOf(result.subList(0, count));
    }

    private static List<Prompt> shuffled(List<Prompt> prompts, long seed, long round) {
        var order = new ArrayList<>(prompts);
        Collections.shuffle(order, new Random(WordPrompts.mix(WordPrompts.mix(seed) + round)));
        return order;
    }
}
