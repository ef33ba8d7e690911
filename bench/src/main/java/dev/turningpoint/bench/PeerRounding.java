package dev.turningpoint.bench;

import dev.turningpoint.weights.SafetensorsFile;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;

/**
 * What PyTorch itself loses in bf16, on the tiny networks of the goldens: relative errors (norm of the difference over norm of the reference) of output and gradients against
 * the same network in f64. The f32 and f64 networks are held against the goldens first, so that the figures are those of diffusers' network and no other.
 * {@code TransformerModelTest} holds ours to twice these.
 */
public final class PeerRounding {
    /** Of the goldens: output, and gradients of latents, text and pooled text. Those of the parameters have the parameters' names. */
    private static final List<String> RESULTS = List.of("out", "grad.hidden_states", "grad.encoder_hidden_states", "grad.pooled_projections");

    private PeerRounding() {}

    public static void main(String[] args) {
        if (args.length != 1) throw new IllegalArgumentException("PeerRounding FOLDER: a folder with sd3_tiny and flux_tiny");
        boolean good = true;
        System.out.println("relative error of PyTorch in bf16 against f64: output, gradients of latents, text, pooled text, and of all parameters (the worst of f32 against the goldens in brackets)");
        for (String name : List.of("sd3_tiny", "flux_tiny")) {
            Path folder = Path.of(args[0]).resolve(name);
            try (var io = SafetensorsFile.open(folder.resolve("io.safetensors")); var gradients = SafetensorsFile.open(folder.resolve("param_grads.safetensors")); var scope = new PointerScope()) {
                Map<String, Tensor> f64 = run(folder, io, torch.ScalarType.Double), f32 = run(folder, io, torch.ScalarType.Float), bf16 = run(folder, io, torch.ScalarType.BFloat16);
                double worst = 0;
                for (String n : f32.keySet()) worst = Math.max(worst, error(Map.of(n, PublishedNetwork.tensor(io.contains(n) ? io : gradients, n)), f32, List.of(n)));
                good &= worst < 1e-4;
                System.out.printf("%-9s", name);
                for (String n : RESULTS) System.out.printf(Locale.ROOT, "  %.5f", error(f64, bf16, List.of(n)));
                System.out.printf(Locale.ROOT, "  %.5f  [%.1e]%n", error(f64, bf16, f64.keySet().stream().filter(n -> !RESULTS.contains(n)).toList()), worst);
            }
        }
        System.exit(good ? 0 : 1);
    }

    /** Results by the goldens' names. */
    private static Map<String, Tensor> run(Path folder, SafetensorsFile io, torch.ScalarType type) {
        var network = PublishedNetwork.golden(folder, io, type);
        Tensor out = Torch.recorded(network::forward);
        var names = new ArrayList<>(RESULTS.subList(1, RESULTS.size()));
        var inputs = new ArrayList<>(List.of(network.latents, network.text, network.pooled));
        network.parameters().forEach((n, parameter) -> {
            names.add(n);
            inputs.add(parameter);
        });
        Tensor[] gradients = Torch.gradients(new Tensor[] {out}, inputs.toArray(Tensor[]::new), PublishedNetwork.tensor(io, "in.gout").to(type));
        var results = new LinkedHashMap<>(Map.of(RESULTS.getFirst(), out));
        for (int i = 0; i < gradients.length; i++) results.put(names.get(i), gradients[i]);
        return results;
    }

    /** Norm of the difference over norm of the reference, of all these together. */
    private static double error(Map<String, Tensor> reference, Map<String, Tensor> found, List<String> names) {
        double difference = 0, norm = 0;
        for (String n : names) {
            Tensor expected = reference.get(n).to(torch.ScalarType.Double);
            difference += found.get(n).to(torch.ScalarType.Double).sub(expected).square().sum().item_double();
            norm += expected.square().sum().item_double();
        }
        return difference == 0 ? 0 : Math.sqrt(difference / norm);   // a gradient may be nothing at all
    }
}
