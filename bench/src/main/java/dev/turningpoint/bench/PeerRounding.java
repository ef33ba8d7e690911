package dev.turningpoint.bench;

import dev.turningpoint.weights.SafetensorsFile;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;

/**
 * What PyTorch itself loses in bf16, on the tiny networks of the goldens: relative errors (norm of the difference over norm of the reference) of output and gradients against
 * the same network in f64. The f32 and f64 networks are held against the goldens first, so that the figures are those of diffusers' network and no other.
 * {@code TransformerModelTest} holds ours to twice these.
 */
public final class PeerRounding {
    private PeerRounding() {}

    /** What one type gave. */
    private record Found(float[] out, float[] latents, float[] text, float[] pooled, List<float[]> parameters) {}

    public static void main(String[] args) {
        if (args.length != 1) throw new IllegalArgumentException("PeerRounding FOLDER: a folder with sd3_tiny and flux_tiny");
        boolean good = true;
        System.out.println("relative error of PyTorch in bf16 against f64: output, gradients of latents, text, pooled text, and of all parameters (the worst of f32 against the goldens in brackets)");
        for (String name : List.of("sd3_tiny", "flux_tiny")) {
            Path folder = Path.of(args[0]).resolve(name);
            try (var io = SafetensorsFile.open(folder.resolve("io.safetensors")); var gradients = SafetensorsFile.open(folder.resolve("param_grads.safetensors")); var scope = new PointerScope()) {
                var names = new ArrayList<String>();
                Found f64 = run(folder, io, torch.ScalarType.Double, names), f32 = run(folder, io, torch.ScalarType.Float, names), bf16 = run(folder, io, torch.ScalarType.BFloat16, names);
                double worst = Math.max(error(io.floats("out"), f32.out), error(io.floats("grad.hidden_states"), f32.latents));
                worst = Math.max(worst, Math.max(error(io.floats("grad.encoder_hidden_states"), f32.text), error(io.floats("grad.pooled_projections"), f32.pooled)));
                for (int i = 0; i < names.size(); i++) worst = Math.max(worst, error(gradients.floats(names.get(i)), f32.parameters.get(i)));
                good &= worst < 1e-4;
                System.out.printf(Locale.ROOT, "%-9s  %.5f  %.5f  %.5f  %.5f  %.5f  [%.1e]%n", name, error(f64.out, bf16.out), error(f64.latents, bf16.latents), error(f64.text, bf16.text), error(f64.pooled, bf16.pooled),
                        error(joined(f64.parameters), joined(bf16.parameters)), worst);
            }
        }
        System.exit(good ? 0 : 1);
    }

    private static Found run(Path folder, SafetensorsFile io, torch.ScalarType type, List<String> names) {
        var network = PublishedNetwork.golden(folder, io, type);
        names.clear();
        names.addAll(network.parameters());
        Tensor out = Torch.recorded(network::forward);
        var of = new ArrayList<>(List.of(network.latents, network.text, network.pooled));
        for (String n : names) of.add(network.parameter(n));
        Tensor[] gradients = Torch.gradients(new Tensor[] {out}, of.toArray(Tensor[]::new), PublishedNetwork.tensor(io, "in.gout").to(type));
        var parameters = new ArrayList<float[]>();
        for (int i = 3; i < gradients.length; i++) parameters.add(floats(gradients[i]));
        return new Found(floats(out), floats(gradients[0]), floats(gradients[1]), floats(gradients[2]), parameters);
    }

    private static float[] floats(Tensor t) {
        return Torch.memory(Torch.f32(t.detach()).contiguous()).toArray(ValueLayout.JAVA_FLOAT_UNALIGNED);
    }

    private static float[] joined(List<float[]> all) {
        var joined = new float[all.stream().mapToInt(a -> a.length).sum()];
        int at = 0;
        for (float[] a : all) {
            System.arraycopy(a, 0, joined, at, a.length);
            at += a.length;
        }
        return joined;
    }

    private static double error(float[] reference, float[] found) {
        if (reference.length != found.length) throw new IllegalStateException(found.length + " numbers, not " + reference.length);
        double difference = 0, norm = 0;
        for (int i = 0; i < found.length; i++) {
            difference += Math.pow((double) found[i] - reference[i], 2);
            norm += Math.pow(reference[i], 2);
        }
        return difference == 0 ? 0 : Math.sqrt(difference / norm);   // a gradient may be nothing at all
    }
}
