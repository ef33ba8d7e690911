package dev.turningpoint.pipeline;

import dev.turningpoint.onnx.Tokens;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/**
 * The tokenizer of a text encoder as a pipeline's folder has it: a {@code tokenizer.json}, or CLIP's older {@code vocab.json} and {@code merges.txt}, of which the
 * same is made; and the token that fills up what is left of a text.
 *
 * @param tokens  to be closed
 * @param padding its number
 */
record TokenizerFolder(Tokens tokens, long padding) {
    private static final JsonMapper JSON = new JsonMapper();
    private static final String BEGIN = "<|startoftext|>", END = "<|endoftext|>";
    /** How CLIP cuts a text into words. */
    private static final String WORDS = "'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+";

    /**
     * @param length tokens of a text
     * @throws PipelineException if a file is missing or not what it should be
     */
    static TokenizerFolder open(Path folder, int length) {
        Path whole = folder.resolve("tokenizer.json");
        JsonNode json = Files.isRegularFile(whole) ? PipelineFolder.json(whole) : clip(folder);
        long padding = padding(folder, json);
        return new TokenizerFolder(new Tokens(folder.toString(), JSON.writeValueAsBytes(json), length), padding);
    }

    private static long padding(Path folder, JsonNode tokenizer) {
        String token = "";
        for (String file : List.of("special_tokens_map.json", "tokenizer_config.json")) {
            if (!token.isEmpty() || !Files.isRegularFile(folder.resolve(file))) continue;
            JsonNode found = PipelineFolder.json(folder.resolve(file)).path("pad_token");
            token = found.isObject() ? found.path("content").asString("") : found.isString() ? found.asString() : "";
        }
        if (token.isEmpty()) throw new PipelineException(folder + ": neither special_tokens_map.json nor tokenizer_config.json there names a pad_token");
        for (JsonNode added : tokenizer.path("added_tokens")) {
            if (added.path("content").asString("").equals(token)) return added.path("id").asLong();
        }
        JsonNode vocabulary = tokenizer.path("model").path("vocab");
        if (vocabulary.path(token).isNumber()) return vocabulary.path(token).asLong();
        for (int i = 0; vocabulary.isArray() && i < vocabulary.size(); i++) {
            if (vocabulary.path(i).path(0).asString("").equals(token)) return i;
        }
        throw new PipelineException(folder + ": the vocabulary does not have the pad_token " + token);
    }

    /** CLIP's files as the {@code tokenizer.json} that transformers' fast tokenizer makes of them. */
    private static JsonNode clip(Path folder) {
        Path vocabularyFile = folder.resolve("vocab.json"), mergesFile = folder.resolve("merges.txt");
        if (!Files.isRegularFile(vocabularyFile) || !Files.isRegularFile(mergesFile)) {
            throw new PipelineException(folder + " has neither tokenizer.json nor vocab.json with merges.txt; AutoTokenizer.from_pretrained(...).save_pretrained(...) of transformers writes a tokenizer.json");
        }
        JsonNode vocabulary = PipelineFolder.json(vocabularyFile);
        for (String mark : List.of(BEGIN, END)) {
            if (!vocabulary.path(mark).isNumber()) throw new PipelineException(vocabularyFile + " does not have " + mark + ", as CLIP's has");
        }
        List<String> merges = new ArrayList<>();
        try {
            for (String line : Files.readAllLines(mergesFile)) {
                if (!line.startsWith("#version") && !line.isBlank()) merges.add(line);
            }
        } catch (IOException e) {
            throw new PipelineException(mergesFile + " cannot be read: " + e.getMessage(), e);
        }
        ObjectNode json = JSON.createObjectNode();
        json.put("version", "1.0");
        json.putPOJO("added_tokens", List.of(special(vocabulary, BEGIN), special(vocabulary, END)));
        json.putPOJO("normalizer", Map.of("type", "Sequence", "normalizers", List.of(Map.of("type", "NFC"), Map.of("type", "Replace", "pattern", Map.of("Regex", "\\s+"), "content", " "),
                Map.of("type", "Lowercase"))));
        json.putPOJO("pre_tokenizer", Map.of("type", "Sequence", "pretokenizers", List.of(Map.of("type", "Split", "pattern", Map.of("Regex", WORDS), "behavior", "Removed", "invert", true),
                Map.of("type", "ByteLevel", "add_prefix_space", false, "trim_offsets", true))));
        json.putPOJO("post_processor", Map.of("type", "RobertaProcessing", "sep", List.of(END, vocabulary.path(END).asInt()), "cls", List.of(BEGIN, vocabulary.path(BEGIN).asInt()),
                "trim_offsets", false, "add_prefix_space", false));
        json.putPOJO("decoder", Map.of("type", "ByteLevel", "add_prefix_space", true, "trim_offsets", true));
        ObjectNode model = json.putObject("model");
        model.put("type", "BPE").put("unk_token", END).put("continuing_subword_prefix", "").put("end_of_word_suffix", "</w>").put("fuse_unk", false);
        model.set("vocab", vocabulary);
        model.putPOJO("merges", merges);
        return JSON.readTree(JSON.writeValueAsString(json));
    }

    private static Map<String, Object> special(JsonNode vocabulary, String mark) {
        return Map.of("id", vocabulary.path(mark).asInt(), "content", mark, "single_word", false, "lstrip", false, "rstrip", false, "normalized", false, "special", true);
    }
}
