package dev.turningpoint.train;

import dev.turningpoint.gpu.Stream;
import dev.turningpoint.model.GlyphModel;
import dev.turningpoint.model.LoraConfig;
import dev.turningpoint.tensor.ParameterFile;
import dev.turningpoint.weights.PeftAdapter;
import dev.turningpoint.weights.WeightsException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.stream.Collectors;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** An adapter as PEFT saves it, read back: rank, strength and targets from its JSON, its matrices from its safetensors file. */
public final class AdapterFolder {
    private AdapterFolder() {}

    /** @throws WeightsException if the folder holds no adapter, or its JSON leaves the strength open */
    public static LoraConfig config(Path folder) {
        Path file = folder.resolve("adapter_config.json");
        try {
            JsonNode json = new JsonMapper().readTree(Files.readString(file));
            for (String needed : List.of("r", "lora_alpha", "target_modules"))
                if (!json.hasNonNull(needed)) throw new WeightsException(file.toString(), "does not say '" + needed + "'");
            return new LoraConfig(json.get("r").asInt(), json.get("lora_alpha").asDouble(), json.get("target_modules").valueStream().map(JsonNode::asString).toList(),
                    pattern(json, "rank_pattern", JsonNode::asInt), pattern(json, "alpha_pattern", JsonNode::asDouble));
        } catch (IOException e) {
            throw new WeightsException(file.toString(), "cannot be read, and an adapter's folder has one");
        } catch (JacksonException e) {
            throw new WeightsException(file.toString(), "is not JSON: " + e.getOriginalMessage().lines().findFirst().orElse(""));
        }
    }

    private static <T> Map<String, T> pattern(JsonNode json, String key, Function<JsonNode, T> value) {
        return json.path(key).propertyStream().collect(Collectors.toMap(Map.Entry::getKey, e -> value.apply(e.getValue())));
    }

    /** Reads the adapter into a model that was built with its {@link #config}. */
    public static void read(Path folder, GlyphModel model, Stream stream) {
        ParameterFile.load(folder.resolve(PeftAdapter.WEIGHTS), PeftAdapter.PREFIX, model.trained().layout(), model.trained().values(), stream);
        model.parametersChanged(stream);
        stream.synchronize();
    }
}
