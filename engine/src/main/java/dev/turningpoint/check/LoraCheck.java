package dev.turningpoint.check;

import dev.turningpoint.weights.Lora;
import dev.turningpoint.weights.SafetensorsFile;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.TreeSet;
import java.util.stream.Stream;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** {@code peft_lora}: the files of PEFT and diffusers as we read them, and ours, in every form, by the names and at the strength that theirs have, bit for bit. */
final class LoraCheck {
    private static final String FAMILY = "peft_lora", PEFT = "base_model.model.";

    private LoraCheck() {}

    static void run(Path folder, Results results) throws IOException {
        Path scratch = Files.createTempDirectory("turningpoint");
        try (Stream<Path> models = Files.list(folder)) {
            for (Path model : models.filter(Files::isDirectory).sorted().toList()) model(model, scratch, results);
        } finally {
            try (Stream<Path> files = Files.walk(scratch)) {
                for (Path f : files.sorted(java.util.Comparator.reverseOrder()).toList()) Files.delete(f);
            }
        }
    }

    private static void model(Path model, Path scratch, Results results) throws IOException {
        var known = new TreeSet<String>();
        var names = List.of(new TreeSet<String>(), new TreeSet<String>());
        for (JsonNode key : JsonMapper.shared().readTree(Files.readString(model.resolve("keys.json")))) {
            names.get(0).add(key.get("peft").asString());
            names.get(1).add(key.get("diffusers").asString());
            known.add(key.get("peft").asString().substring(PEFT.length()).replaceAll("\\.lora_[AB]\\.weight$", ""));
        }
        Lora reference = Lora.read(model.resolve("peft"), known);
        same(model.getFileName() + " diffusers", "read", reference, Lora.read(model.resolve("diffusers_with_metadata"), known), results);
        if (!Lora.read(model.resolve("diffusers"), known).alphaAssumed()) results.defect(model + ": a file without alpha was read as one with alpha");
        Path peft = Files.createDirectory(scratch.resolve(model.getFileName() + "-peft")), diffusers = scratch.resolve(model.getFileName() + "-diffusers.safetensors"),
                kohya = scratch.resolve(model.getFileName() + "-kohya.safetensors");
        reference.write(Lora.Form.PEFT, peft);
        reference.write(Lora.Form.DIFFUSERS, diffusers);
        reference.write(Lora.Form.KOHYA, kohya);
        for (Path written : List.of(peft, diffusers, kohya)) same(model.getFileName() + " " + written.getFileName(), "written and read back", reference, Lora.read(written, known), results);
        named(peft.resolve("adapter_model.safetensors"), names.get(0), results);
        named(diffusers, names.get(1), results);
    }

    private static void same(String name, String group, Lora reference, Lora found, Results results) {
        if (!reference.modules().keySet().equals(found.modules().keySet())) results.defect(name + ": other modules than the reference's");
        reference.modules().forEach((module, f) -> {
            Lora.Factors g = found.modules().get(module);
            if (g == null) return;
            results.compare(FAMILY, group, name + ": " + module + " A", Golden.widen(f.a()), Golden.widen(g.a()), Tolerance.EXACT, false);
            results.compare(FAMILY, group, name + ": " + module + " B", Golden.widen(f.b()), Golden.widen(g.b()), Tolerance.EXACT, false);
            results.compare(FAMILY, "strength", name + ": " + module + " alpha", new double[] {f.alpha()}, new double[] {g.alpha()}, Tolerance.EXACT, false);
        });
    }

    private static void named(Path file, TreeSet<String> expected, Results results) {
        try (SafetensorsFile tensors = SafetensorsFile.open(file)) {
            if (!expected.equals(new TreeSet<>(tensors.names()))) results.defect(file.getFileName() + ": names are not those of keys.json");
        }
    }
}
