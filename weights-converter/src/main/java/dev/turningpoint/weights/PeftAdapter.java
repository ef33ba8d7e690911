package dev.turningpoint.weights;

import java.io.ByteArrayOutputStream;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import tools.jackson.core.JsonGenerator;
import tools.jackson.core.ObjectWriteContext;
import tools.jackson.core.json.JsonFactory;

/**
 * A LoRA as PEFT keeps it: a folder of {@code adapter_model.safetensors}, keys {@code base_model.model.<module>.lora_{A,B}.weight}, and
 * {@code adapter_config.json}, which holds rank and alpha.
 */
public final class PeftAdapter {
    public static final String WEIGHTS = "adapter_model.safetensors";
    public static final String CONFIG = "adapter_config.json";
    /** Before the name of every module. */
    public static final String PREFIX = "base_model.model.";

    private PeftAdapter() {}

    /**
     * Writes {@code adapter_config.json}.
     *
     * @param rank    r
     * @param alpha   the adapter counts alpha / r; always written, since readers that find none take alpha = r
     * @param targets suffixes of module names
     * @param ranks   of the modules that have another, by name
     */
    public static void writeConfig(Path folder, int rank, double alpha, List<String> targets, Map<String, Integer> ranks) {
        var bytes = new ByteArrayOutputStream();
        try (JsonGenerator json = new JsonFactory().createGenerator(ObjectWriteContext.empty(), bytes)) {
            json.writeStartObject();
            json.writeStringProperty("peft_type", "LORA");
            json.writeNullProperty("base_model_name_or_path");
            json.writeNullProperty("task_type");
            json.writeNumberProperty("r", rank);
            if (alpha == Math.rint(alpha)) json.writeNumberProperty("lora_alpha", (long) alpha);
            else json.writeNumberProperty("lora_alpha", alpha);
            json.writeNumberProperty("lora_dropout", 0.0);
            json.writeStringProperty("bias", "none");
            json.writeBooleanProperty("fan_in_fan_out", false);
            json.writeBooleanProperty("use_rslora", false);
            json.writeBooleanProperty("use_dora", false);
            json.writeBooleanProperty("inference_mode", true);
            json.writeName("rank_pattern");
            json.writeStartObject();
            ranks.forEach(json::writeNumberProperty);
            json.writeEndObject();
            json.writeName("target_modules");
            json.writeStartArray();
            for (String t : targets.stream().sorted().toList()) json.writeString(t);
            json.writeEndArray();
            json.writeEndObject();
        }
        AtomicFile.write(folder.resolve(CONFIG), bytes.toByteArray());
    }
}
