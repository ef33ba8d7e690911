package dev.turningpoint.bench;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.Stream;
import dev.turningpoint.model.GlyphModel;
import dev.turningpoint.model.LoraConfig;
import dev.turningpoint.model.TransformerModel;
import dev.turningpoint.weights.Architecture;
import dev.turningpoint.weights.Checkpoint;
import dev.turningpoint.weights.FluxArchitecture;
import dev.turningpoint.weights.Layout;
import dev.turningpoint.weights.Recognised;
import dev.turningpoint.weights.SafetensorsWriter;
import dev.turningpoint.weights.Sd3Architecture;
import dev.turningpoint.weights.TensorType;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Supplier;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;

/**
 * Velocity, and velocity with its backward into a LoRA of the attention layers, of networks with blocks of the real width: two of SD3.5-medium (the first with its second attention, the last
 * without text behind it), and one of each kind of FLUX.1-dev. Weights are random, f32 on both sides.
 */
final class BlockWork extends NetworkWork {
    private static final int RANK = 32;
    private static final double SIGMA = 0.5, GUIDANCE = 3.5;

    /** A network and the size of its input: latents of side x side. */
    private record Network(String title, String name, Architecture architecture, int side, int textTokens) {
        int imageTokens() {
            return side / 2 * (side / 2);
        }

        /** Of the products of a row: layers (without those of the condition) and attention. */
        double flops() {
            double ni = imageTokens(), nt = textTokens, n = ni + nt, d = architecture.width(), text = nt * d * architecture.textWidth();
            return switch (architecture) {      // SD3, image: qkv, out, feed-forward, and qkv and out of the second attention; text: all of the first block, qkv of the last
                case Sd3Architecture a -> 2 * (ni * d * d * (12 + 4 + 12) + nt * d * d * (12 + 3) + text) + 4 * d * (n * n + ni * ni + ni * n);
                case FluxArchitecture a -> 2 * (n * d * d * (12 + 12) + text) + 4 * d * 2 * n * n;
            };
        }
    }

    private static final List<Network> NETWORKS = List.of(
            new Network("SD3.5-medium, two blocks", "sd35_blocks", new Sd3Architecture(2, List.of(0), 24, 64, 2, 16, 16, 4096, 2048, 32, true), 64, 205),
            new Network("FLUX.1-dev, a block of each kind", "flux_blocks", new FluxArchitecture(1, 1, 24, 128, 64, 4096, 768, true, List.of(16, 56, 56)), 32, 128));

    static List<Offer> offers() {
        return NETWORKS.stream().flatMap(n -> java.util.stream.Stream.of(false, true).map(backward -> {
            String shape = "width " + n.architecture.width() + ", tokens " + n.imageTokens() + " + " + n.textTokens;
            // Behind frozen weights only the gradients of the inputs are products: about as many as forward, and 5 for 2 in attention.
            var subject = new Subject(n.title + (backward ? ": velocity and its backward into LoRA" : ": velocity"), n.name + (backward ? ".backward" : ".velocity"), shape, 0, (backward ? 2 : 1) * n.flops(), DType.F32,
                    1, false, "");
            return new Offer(subject, 1e-3, (device, stream) -> new BlockWork(device, stream, n, backward));
        })).toList();
    }

    private final Network network;
    private final boolean backward;

    private BlockWork(Device device, Stream stream, Network network, boolean backward) {
        super(device, stream);
        this.network = network;
        this.backward = backward;
    }

    @Override
    double arrange() {
        Architecture a = network.architecture;
        int side = network.side;
        var adapted = a instanceof FluxArchitecture ? List.of("attn.to_q", "attn.to_k", "attn.to_v") : List.of("attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0");
        var model = resources.add(new TransformerModel(device, new TransformerModel.Options(a, side, side, network.textTokens, 1, DType.F32, 1, 1, GlyphModel.Trains.ADAPTER,
                new LoraConfig(RANK, RANK * EagerNetwork.LORA_SCALE, adapted), Set.of(), false)));
        Map<String, Tensor> weights = weights(model), adapter = adapter(model);
        weights.putAll(adapter);
        Tensor x = torch.randn(1, model.latentSize() / (side * side), side, side), text = torch.randn(1, network.textTokens, a.textWidth()), pooled = torch.randn(1, a.pooledWidth());
        model.setPrompt(0, Torch.memory(text), Torch.memory(pooled), GUIDANCE, stream);
        Supplier<Tensor> velocity = switch (a) {
            case Sd3Architecture sd3 -> new PublishedNetwork(weights, a.heads(), torch.ScalarType.Float, x, text, pooled, row(1000 * SIGMA), null, null)::forward;
            case FluxArchitecture flux -> {
                var peer = new PublishedNetwork(weights, a.heads(), torch.ScalarType.Float, packed(x), text, pooled, row(1000 * SIGMA), row(GUIDANCE), rope(flux, side / 2, network.textTokens));
                yield () -> unpacked(peer.forward(), side);
            }
        };
        return velocity(model, x, row(SIGMA), torch.zeros(1).to(torch.ScalarType.Int), velocity, backward, adapter);
    }

    private static Tensor row(double value) {
        return Torch.column(new double[] {value}, 1).flatten();
    }

    /** The same random weights for both, by diffusers' names; ours takes them from a file. */
    private Map<String, Tensor> weights(TransformerModel model) {
        var weights = new LinkedHashMap<String, Tensor>();
        var writer = new SafetensorsWriter();
        network.architecture.tensors(Layout.DIFFUSERS).forEach((name, sizes) -> {
            Tensor t = random(name, sizes.stream().mapToLong(Long::longValue).toArray());
            weights.put(name, t);
            writer.tensor(name, TensorType.F32, Torch.memory(t), t.shape());
        });
        try {
            Path file = Files.createTempFile("blocks", ".safetensors");
            try {
                writer.write(file);
                try (Checkpoint checkpoint = Checkpoint.open(file)) {
                    model.load(Recognised.of(checkpoint), stream);
                }
            } finally {
                Files.delete(file);
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return weights;
    }

    /** Even over plus and minus sqrt(3 / in), so that activations keep their size; scales are 1, biases 0. */
    private static Tensor random(String name, long[] shape) {
        if (shape.length == 1) return name.endsWith(".weight") ? torch.ones(shape) : torch.zeros(shape);
        Tensor t = torch.rand(shape);
        double range = Math.sqrt(3. * shape[0] / t.numel());
        return t.mul_(new Scalar(2 * range)).sub_(new Scalar(range));
    }

    /** The same random adapter for both; the peer's can be asked for its gradient. */
    private Map<String, Tensor> adapter(TransformerModel model) {
        var adapter = new LinkedHashMap<String, Tensor>();
        var values = new LinkedHashMap<String, float[]>();
        model.trained().layout().slots().forEach((name, slot) -> {
            Tensor t = Torch.times(torch.randn(slot.shape()), 1 / Math.sqrt(name.endsWith("lora_A.weight") ? slot.shape()[1] : 16 * RANK));
            adapter.put(name, Torch.leaf(t));
            values.put(name, Torch.memory(t).toArray(ValueLayout.JAVA_FLOAT_UNALIGNED));
        });
        model.setAdapter(values, stream);
        return adapter;
    }

    /** FLUX's tokens [1, tokens, (channel, row, column)] of latents [1, channel, row, column], and back. */
    private static Tensor packed(Tensor x) {
        long c = x.size(1), h = x.size(2) / 2, w = x.size(3) / 2;
        return x.reshape(1, c, h, 2, w, 2).permute(0, 2, 4, 1, 3, 5).reshape(1, h * w, 4 * c).contiguous();
    }

    private static Tensor unpacked(Tensor tokens, long side) {
        return tokens.reshape(1, side / 2, side / 2, -1, 2, 2).permute(0, 3, 1, 4, 2, 5).reshape(1, -1, side, side);
    }

    /** Cosines and sines as diffusers has them: of every pair twice, text at 0, image tokens at (0, row, column). */
    private static Tensor[] rope(FluxArchitecture a, int side, int textTokens) {
        int tokens = textTokens + side * side;
        var both = new Tensor[] {torch.empty(tokens, a.headDim()), torch.empty(tokens, a.headDim())};
        for (int t = 0; t < tokens; t++) {
            int image = Math.max(0, t - textTokens), at = 0;
            int[] place = {0, t < textTokens ? 0 : image / side, t < textTokens ? 0 : image % side};
            for (int axis = 0; axis < place.length; axis++) {
                for (int i = 0; i < a.axes().get(axis); i++, at++) {
                    double angle = place[axis] * Math.pow(10000, -(double) (i / 2 * 2) / a.axes().get(axis));
                    Torch.memory(both[0]).setAtIndex(ValueLayout.JAVA_FLOAT, (long) t * a.headDim() + at, (float) Math.cos(angle));
                    Torch.memory(both[1]).setAtIndex(ValueLayout.JAVA_FLOAT, (long) t * a.headDim() + at, (float) Math.sin(angle));
                }
            }
        }
        return both;
    }
}
