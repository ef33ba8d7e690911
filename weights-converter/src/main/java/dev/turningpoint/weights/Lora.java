package dev.turningpoint.weights;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.SerializationFeature;
import tools.jackson.databind.json.JsonMapper;

/**
 * A LoRA on disk, in the three forms that other tools read: {@code y += (alpha / rank) (x A^T) B^T} on the named modules. The strength is written in every form.
 *
 * @param modules      by diffusers' names, {@code transformer_blocks.0.attn.to_q}
 * @param alphaAssumed whether the file gave no alpha, so that the rank stands for it as everywhere: most likely not what its maker trained with
 */
public record Lora(Map<String, Factors> modules, boolean alphaAssumed) {
    /** The form of a file. */
    public enum Form {
        /** A folder of {@code adapter_model.safetensors} and {@code adapter_config.json}. */
        PEFT,
        /** {@code pytorch_lora_weights.safetensors}, its strength in {@code lora_adapter_metadata}. */
        DIFFUSERS,
        /** One file for ComfyUI, kohya's scripts and others: {@code lora_unet_...lora_down.weight}, the strength a tensor. */
        KOHYA
    }

    /**
     * The branch of one module.
     *
     * @param a     f32 [rank, in]
     * @param b     f32 [out, rank]
     * @param alpha strength before division by the rank
     */
    public record Factors(float[] a, float[] b, int rank, double alpha) {
        public Factors {
            if (rank < 1 || a.length % rank != 0 || b.length % rank != 0) throw new IllegalArgumentException("factors of " + a.length + " and " + b.length + " elements are of no rank " + rank);
        }

        long in() { return a.length / rank; }

        long out() { return b.length / rank; }
    }

    private static final String DIFFUSERS_PREFIX = "transformer.", KOHYA_PREFIX = "lora_unet_", METADATA = "lora_adapter_metadata", DIFFUSERS_FILE = "pytorch_lora_weights.safetensors";
    private static final JsonMapper JSON = JsonMapper.builder().enable(SerializationFeature.INDENT_OUTPUT).build();

    public Lora {
        modules = java.util.Collections.unmodifiableMap(new TreeMap<>(modules));
    }

    // ---- reading

    /**
     * Reads a LoRA of any form.
     *
     * @param path  a file, or a folder with PEFT's or diffusers' file in it
     * @param known modules that it can be for; kohya's names, whose dots are underscores, are found among them
     * @throws WeightsException if it is of no form we know, a factor is missing or of a shape that does not fit the other, or a module is not known
     */
    public static Lora read(Path path, Collection<String> known) {
        Path file = path;
        if (Files.isDirectory(path)) {
            file = path.resolve(PeftAdapter.WEIGHTS);
            if (!Files.exists(file)) file = path.resolve(DIFFUSERS_FILE);
            if (!Files.exists(file)) throw new WeightsException(path.toString(), "holds neither " + PeftAdapter.WEIGHTS + " nor " + DIFFUSERS_FILE);
        }
        try (SafetensorsFile tensors = SafetensorsFile.open(file)) {
            return new Reader(file, tensors, known).read();
        }
    }

    private static final class Reader {
        final Path file;
        final SafetensorsFile tensors;
        final Map<String, String> byUnderscores = new HashMap<>();
        final TreeSet<String> known;

        Reader(Path file, SafetensorsFile tensors, Collection<String> known) {
            this.file = file;
            this.tensors = tensors;
            this.known = new TreeSet<>(known);
            for (String module : known) byUnderscores.put(module.replace('.', '_'), module);
        }

        Lora read() {
            Form form = form();
            JsonNode config = switch (form) {
                case PEFT -> json(PeftAdapter.CONFIG, text(file.resolveSibling(PeftAdapter.CONFIG)));
                case DIFFUSERS -> tensors.metadata().containsKey(METADATA) ? json(METADATA, tensors.metadata().get(METADATA)) : null;
                case KOHYA -> null;
            };
            String prefix = form == Form.DIFFUSERS ? DIFFUSERS_PREFIX : "";
            var modules = new TreeMap<String, Factors>();
            boolean assumed = false;
            for (String name : tensors.names()) {
                if (form == Form.KOHYA && name.endsWith(".alpha")) continue;
                String down = form == Form.KOHYA ? ".lora_down.weight" : ".lora_A.weight", up = form == Form.KOHYA ? ".lora_up.weight" : ".lora_B.weight";
                if (name.endsWith(up) && tensors.contains(name.replace(up, down))) continue;   // read with its partner
                if (!name.endsWith(down)) throw wrong("tensor " + SafetensorsHeader.quoted(name) + " is no factor of a low-rank branch, or its partner is missing");
                String key = name.substring(0, name.length() - down.length()), module = module(form, key);
                if (!tensors.contains(key + up)) throw wrong("has no tensor " + SafetensorsHeader.quoted(key + up) + " beside " + SafetensorsHeader.quoted(name));
                List<Long> a = tensors.info(name).shape(), b = tensors.info(key + up).shape();
                if (a.size() != 2 || b.size() != 2 || !a.get(0).equals(b.get(1)) || a.get(0) < 1)
                    throw wrong("factors of " + SafetensorsHeader.quoted(module) + " are " + a + " and " + b + ", not [rank, in] and [out, rank]");
                int rank = Math.toIntExact(a.get(0));
                Double alpha = form == Form.KOHYA ? tensors.contains(key + ".alpha") ? (Double) tensors.doubles(key + ".alpha")[0] : null : config == null ? null : alpha(config, prefix, module);
                assumed |= alpha == null;
                if (alpha != null && !(alpha > 0)) throw wrong("the strength of " + SafetensorsHeader.quoted(module) + " is " + alpha);
                modules.put(module, new Factors(tensors.floats(name), tensors.floats(key + up), rank, alpha == null ? rank : alpha));
            }
            if (modules.isEmpty()) throw wrong("holds no low-rank branch");
            return new Lora(modules, assumed);
        }

        private Form form() {
            for (String name : tensors.names()) {
                if (name.startsWith(PeftAdapter.PREFIX)) return Form.PEFT;
                if (name.startsWith(DIFFUSERS_PREFIX)) return Form.DIFFUSERS;
                if (name.startsWith(KOHYA_PREFIX)) return Form.KOHYA;
            }
            throw wrong("is no LoRA we know: names begin with " + PeftAdapter.PREFIX + ", " + DIFFUSERS_PREFIX + " or " + KOHYA_PREFIX);
        }

        private String module(Form form, String key) {
            String prefix = switch (form) { case PEFT -> PeftAdapter.PREFIX; case DIFFUSERS -> DIFFUSERS_PREFIX; case KOHYA -> KOHYA_PREFIX; };
            if (!key.startsWith(prefix)) throw wrong(SafetensorsHeader.quoted(key) + " does not begin with " + prefix + " as the others do");
            String rest = key.substring(prefix.length()), module = form == Form.KOHYA ? byUnderscores.get(rest) : rest;
            if (module == null || !known.contains(module)) throw wrong("the model has no layer " + SafetensorsHeader.quoted(rest));
            return module;
        }

        /** A pattern's value for the module, else the common one; null if neither is there. */
        private Double alpha(JsonNode config, String prefix, String module) {
            JsonNode own = config.path(prefix + "alpha_pattern").path(module), common = config.path(prefix + "lora_alpha");
            if (own.isNumber()) return own.asDouble();
            if (common.isNumber()) return common.asDouble();
            if (prefix.isEmpty()) throw new WeightsException(file.resolveSibling(PeftAdapter.CONFIG).toString(), "does not say 'lora_alpha'");
            return null;
        }

        private String text(Path config) {
            try {
                return Files.readString(config);
            } catch (java.io.IOException e) {
                throw new WeightsException(config.toString(), "cannot be read, and it holds the strength of the LoRA: " + AtomicFile.reason(e), e);
            }
        }

        private JsonNode json(String what, String text) {
            try {
                return JSON.readTree(text);
            } catch (JacksonException e) {
                throw wrong(what + " is not valid JSON");
            }
        }

        private WeightsException wrong(String why) { return new WeightsException(file.toString(), why); }
    }

    // ---- writing

    /**
     * Writes the LoRA, f32.
     *
     * @param path for PEFT an existing folder, else a file
     */
    public void write(Form form, Path path) {
        var writer = new SafetensorsWriter().metadata("format", "pt");
        switch (form) {
            case PEFT -> {
                factors(writer, PeftAdapter.PREFIX);
                writer.write(path.resolve(PeftAdapter.WEIGHTS));
                var config = config("");
                config.put("base_model_name_or_path", null);
                config.put("task_type", null);
                config.put("fan_in_fan_out", false);
                config.put("inference_mode", true);
                AtomicFile.write(path.resolve(PeftAdapter.CONFIG), JSON.writeValueAsBytes(config));
            }
            case DIFFUSERS -> {
                factors(writer, DIFFUSERS_PREFIX);
                writer.metadata(METADATA, JSON.writeValueAsString(config(DIFFUSERS_PREFIX))).write(path);
            }
            case KOHYA -> {
                var alphas = new TreeSet<Double>();
                var ranks = new TreeSet<Integer>();
                modules.forEach((module, f) -> {
                    String key = KOHYA_PREFIX + module.replace('.', '_');
                    writer.tensor(key + ".lora_down.weight", f.a, f.rank, f.in()).tensor(key + ".lora_up.weight", f.b, f.out(), f.rank).tensor(key + ".alpha", new float[] {(float) f.alpha});
                    alphas.add(f.alpha);
                    ranks.add(f.rank);
                });
                if (alphas.size() == 1 && ranks.size() == 1)
                    writer.metadata("ss_network_alpha", number(alphas.first()).toString()).metadata("ss_network_dim", ranks.first().toString());
                writer.metadata("ss_network_module", "networks.lora").write(path);
            }
        }
    }

    private void factors(SafetensorsWriter writer, String prefix) {
        modules.forEach((module, f) -> writer.tensor(prefix + module + ".lora_A.weight", f.a, f.rank, f.in()).tensor(prefix + module + ".lora_B.weight", f.b, f.out(), f.rank));
    }

    /** PEFT's fields: the commonest rank and strength, and patterns for the modules that differ. */
    private Map<String, Object> config(String prefix) {
        int rank = commonest(modules.values().stream().map(Factors::rank).toList());
        double alpha = commonest(modules.values().stream().map(Factors::alpha).toList());
        var ranks = new LinkedHashMap<String, Object>();
        var alphas = new LinkedHashMap<String, Object>();
        modules.forEach((module, f) -> {
            if (f.rank != rank) ranks.put(module, f.rank);
            if (f.alpha != alpha) alphas.put(module, number(f.alpha));
        });
        var config = new LinkedHashMap<String, Object>();
        config.put(prefix + "alpha_pattern", alphas);
        config.put(prefix + "bias", "none");
        config.put(prefix + "lora_alpha", number(alpha));
        config.put(prefix + "lora_dropout", 0.0);
        config.put(prefix + "peft_type", "LORA");
        config.put(prefix + "r", rank);
        config.put(prefix + "rank_pattern", ranks);
        config.put(prefix + "target_modules", List.copyOf(modules.keySet()));
        config.put(prefix + "use_dora", false);
        config.put(prefix + "use_rslora", false);
        return config;
    }

    private static Object number(double v) { return v == Math.rint(v) ? (Object) (long) v : (Object) v; }

    private static <T> T commonest(List<T> values) {
        var counts = new LinkedHashMap<T, Integer>();
        for (T v : values) counts.merge(v, 1, Integer::sum);
        var all = new ArrayList<>(counts.entrySet());
        all.sort(Map.Entry.comparingByValue(java.util.Comparator.reverseOrder()));
        return all.getFirst().getKey();
    }
}
