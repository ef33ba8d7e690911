package dev.turningpoint.bench;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.Resources;
import dev.turningpoint.gpu.Stream;
import dev.turningpoint.model.GlyphModel;
import dev.turningpoint.model.LoraConfig;
import dev.turningpoint.model.TransformerModel;
import dev.turningpoint.tensor.ParameterLayout.Slot;
import dev.turningpoint.tensor.Tensor;
import dev.turningpoint.tensor.Workspace;
import dev.turningpoint.weights.Architecture;
import dev.turningpoint.weights.Checkpoint;
import dev.turningpoint.weights.FluxArchitecture;
import dev.turningpoint.weights.Layout;
import dev.turningpoint.weights.Recognised;
import dev.turningpoint.weights.SafetensorsFile;
import dev.turningpoint.weights.SafetensorsWriter;
import dev.turningpoint.weights.Sd3Architecture;
import dev.turningpoint.weights.TensorType;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.bytedeco.pytorch.global.torch;

/**
 * Velocity, and velocity with its backward into a LoRA of the attention layers, of networks with blocks of the real width: two of SD3.5-medium (the first with its second attention, the last
 * without text behind it), and one of each kind of FLUX.1-dev. Weights are random, f32 on both sides.
 */
final class BlockWork implements Work {
    private static final int RANK = 32;
    private static final double SIGMA = 0.5, GUIDANCE = 3.5;

    /** A network and the size of its input: latents of side x side. */
    private record Network(String title, String name, Architecture architecture, int channels, int heads, int side, int textTokens) {
        boolean flux() {
            return architecture instanceof FluxArchitecture;
        }

        int imageTokens() {
            return side / 2 * (side / 2);
        }

        /** Of the products of a row: layers (without those of the condition) and attention. */
        double flops() {
            double ni = imageTokens(), nt = textTokens, n = ni + nt;
            if (architecture instanceof Sd3Architecture a) {
                double d = a.width();       // image: qkv, out, feed-forward, and qkv and out of the second attention; text: all of the first block, qkv of the last
                return 2 * (ni * d * d * (12 + 4 + 12) + nt * d * d * (12 + 3) + nt * d * a.textWidth()) + 4 * d * (n * n + ni * ni + ni * n);
            }
            var a = (FluxArchitecture) architecture;
            double d = a.width();
            return 2 * (n * d * d * (12 + 12) + nt * d * a.textWidth()) + 4 * d * 2 * n * n;
        }
    }

    private static final List<Network> NETWORKS = List.of(
            new Network("SD3.5-medium, two blocks", "sd35_blocks", new Sd3Architecture(2, List.of(0), 24, 64, 2, 16, 16, 4096, 2048, 32, true), 16, 24, 64, 205),
            new Network("FLUX.1-dev, a block of each kind", "flux_blocks", new FluxArchitecture(1, 1, 24, 128, 64, 4096, 768, true, List.of(16, 56, 56)), 16, 24, 32, 128));

    static List<Offer> offers() {
        return NETWORKS.stream().flatMap(n -> java.util.stream.Stream.of(false, true).map(backward -> {
            String shape = "width " + n.heads * (n.flux() ? 128 : 64) + ", tokens " + n.imageTokens() + " + " + n.textTokens;
            // Behind frozen weights only the gradients of the inputs are products: about as many as forward, and 5 for 2 in attention.
            var subject = new Subject(n.title + (backward ? ": velocity and its backward into LoRA" : ": velocity"), n.name + (backward ? ".backward" : ".velocity"), shape, 0, (backward ? 2 : 1) * n.flops(), DType.F32,
                    1, false, "");
            return new Offer(subject, (device, stream) -> new BlockWork(device, stream, n, backward));
        })).toList();
    }

    private final Resources resources = new Resources();
    private final double error;
    private Runnable ours, theirs;

    private BlockWork(Device device, Stream stream, Network network, boolean backward) {
        var lora = new LoraConfig(RANK, RANK * EagerNetwork.LORA_SCALE, network.flux() ? List.of("attn.to_q", "attn.to_k", "attn.to_v") : List.of("attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0"));
        var options = new TransformerModel.Options(network.architecture, network.side, network.side, network.textTokens, 1, DType.F32, 1, 1, GlyphModel.Trains.ADAPTER, lora, Set.of(), false);
        resources.add(stream::synchronize);
        try {
            var model = resources.add(new TransformerModel(device, options));
            var weights = new LinkedHashMap<String, org.bytedeco.pytorch.Tensor>();
            load(network.architecture, model, stream, weights);
            Map<String, Slot> adapted = model.trained().layout().slots();
            adapt(model, stream, weights);

            var x = torch.randn(1, network.channels, network.side, network.side);
            var text = torch.randn(1, network.textTokens, 4096);
            var pooled = torch.randn(1, network.flux() ? 768 : 2048);
            var latents = network.flux() ? packed(x) : x;
            var peer = new PublishedNetwork(weights, network.heads, torch.ScalarType.Float, latents, text, pooled, Torch.column(new double[] {1000 * SIGMA}, 1).flatten(),
                    network.flux() ? Torch.column(new double[] {GUIDANCE}, 1).flatten() : null, network.flux() ? rope((FluxArchitecture) network.architecture, network.side / 2, network.textTokens) : null);
            model.setPrompt(0, Torch.memory(text), Torch.memory(pooled), GUIDANCE, stream);

            int n = model.latentSize();
            var memory = new Workspace("latents and velocity");
            Tensor noisy = memory.tensor("latents", DType.F32, n), sigma = memory.tensor("sigma", DType.F32, 1), condition = memory.tensor("prompt", DType.I32, 1), velocity = memory.tensor("velocity", DType.F32, n),
                    gradient = memory.tensor("gradient", DType.F32, n);
            resources.add(memory.allocate(device));
            var g = Torch.times(torch.randn_like(latents), 1. / n);
            Transfers.upload(noisy, Torch.memory(x), stream);
            Transfers.upload(sigma, MemorySegment.ofArray(new float[] {(float) SIGMA}), stream);
            condition.clear(stream);
            Transfers.upload(gradient, Torch.memory(network.flux() ? unpacked(g, network) : g), stream);
            if (!backward) {
                ours = () -> model.velocity(stream, noisy.address(), sigma.address(), condition.address(), velocity.address(), 1);
                theirs = peer::forward;
                ours.run();
                var found = peer.forward();
                error = Transfers.difference(network.flux() ? unpacked(found, network) : found, Transfers.download(velocity, stream));
            } else {
                ours = () -> {
                    model.zeroGradients(stream);
                    model.trainVelocity(stream, noisy.address(), sigma.address(), condition.address(), velocity.address(), 1);
                    model.backward(stream, gradient.address(), 1);
                };
                var learned = adapted.keySet().stream().map(weights::get).toArray(org.bytedeco.pytorch.Tensor[]::new);
                theirs = () -> Torch.recorded(() -> Torch.gradients(new org.bytedeco.pytorch.Tensor[] {peer.forward()}, learned, g));
                ours.run();
                float[] flat = Transfers.download(model.trained().gradients(), stream);
                org.bytedeco.pytorch.Tensor[] found = Torch.recorded(() -> Torch.gradients(new org.bytedeco.pytorch.Tensor[] {peer.forward()}, learned, g));
                double worst = 0;
                int i = 0;
                for (Slot slot : adapted.values()) {
                    int from = Math.toIntExact(slot.offset());
                    worst = Math.max(worst, Transfers.difference(found[i++], Arrays.copyOfRange(flat, from, from + Math.toIntExact(slot.elements()))));
                }
                error = worst;
            }
            if (!(error <= 1e-3)) throw new IllegalStateException(network.name + ": ours and the peer's results differ by " + error + " of the largest value");
        } catch (RuntimeException | Error e) {
            resources.closeAfter(e);
            throw e;
        }
    }

    /** Random weights through a file, as both sides read them. */
    private static void load(Architecture architecture, TransformerModel model, Stream stream, Map<String, org.bytedeco.pytorch.Tensor> weights) {
        try {
            Path file = Files.createTempFile("blocks", ".safetensors");
            try {
                var writer = new SafetensorsWriter().metadata("format", "pt");
                architecture.tensors(Layout.DIFFUSERS).forEach((name, shape) -> writer.tensor(name, TensorType.BF16, shape, (offset, into) -> random(name, shape, offset, into)));
                writer.write(file);
                try (Checkpoint checkpoint = Checkpoint.open(file)) {
                    model.load(Recognised.of(checkpoint), stream);
                }
                try (var read = SafetensorsFile.open(file)) {
                    for (String name : read.names()) weights.put(name, PublishedNetwork.tensor(read, name));
                }
            } finally {
                Files.delete(file);
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Even over plus and minus sqrt(3 / in), so that activations keep their size; scales are 1, biases 0. */
    private static void random(String name, List<Long> shape, long offset, MemorySegment into) {
        boolean vector = shape.size() == 1, norm = vector && name.endsWith(".weight");
        double range = Math.sqrt(3.0 / shape.stream().skip(1).reduce(1L, Math::multiplyExact));
        long seed = name.hashCode() * 0x9e3779b97f4a7c15L;
        for (long i = 0; i < into.byteSize() / 2; i++) {
            long z = (offset / 2 + i) * 0xbf58476d1ce4e5b9L + seed;
            z = (z ^ z >>> 31) * 0x94d049bb133111ebL;
            float v = norm ? 1 : vector ? 0 : (float) (range * ((z ^ z >>> 29) >> 11) * 0x1p-52);
            into.setAtIndex(ValueLayout.JAVA_SHORT_UNALIGNED, i, (short) (Float.floatToRawIntBits(v) >>> 16));
        }
    }

    /** The same random adapter for both; the peer's can be asked for its gradient. */
    private static void adapt(TransformerModel model, Stream stream, Map<String, org.bytedeco.pytorch.Tensor> weights) {
        var adapter = new LinkedHashMap<String, float[]>();
        model.trained().layout().slots().forEach((name, slot) -> {
            var values = Torch.times(torch.randn(slot.shape()), 1 / Math.sqrt(name.endsWith("lora_A.weight") ? slot.shape()[1] : 16 * RANK));
            adapter.put(name, Torch.memory(values).toArray(ValueLayout.JAVA_FLOAT_UNALIGNED));
            weights.put(name, Torch.leaf(values));
        });
        model.setAdapter(adapter, stream);
    }

    /** FLUX's tokens [1, tokens, (channel, row, column)] of latents [1, channel, row, column], and back. */
    private static org.bytedeco.pytorch.Tensor packed(org.bytedeco.pytorch.Tensor x) {
        long c = x.size(1), h = x.size(2) / 2, w = x.size(3) / 2;
        return x.reshape(1, c, h, 2, w, 2).permute(0, 2, 4, 1, 3, 5).reshape(1, h * w, 4 * c).contiguous();
    }

    private static org.bytedeco.pytorch.Tensor unpacked(org.bytedeco.pytorch.Tensor tokens, Network network) {
        long c = network.channels, h = network.side / 2, w = network.side / 2;
        return tokens.reshape(1, h, w, c, 2, 2).permute(0, 3, 1, 4, 2, 5).reshape(1, c, 2 * h, 2 * w).contiguous();
    }

    /** Cosines and sines as diffusers has them: of every pair twice, text at 0, image tokens at (0, row, column). */
    private static org.bytedeco.pytorch.Tensor[] rope(FluxArchitecture a, int side, int textTokens) {
        int tokens = textTokens + side * side;
        var both = new org.bytedeco.pytorch.Tensor[] {torch.empty(tokens, a.headDim()), torch.empty(tokens, a.headDim())};
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

    @Override
    public void ours() {
        ours.run();
    }

    @Override
    public void peer() {
        theirs.run();
    }

    @Override
    public double error() {
        return error;
    }

    @Override
    public void close() {
        resources.close();
    }
}
