package dev.turningpoint.bench;

import java.util.LinkedHashMap;
import java.util.Map;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;

/** What the networks of the peer have in common: layers by the names of their weights, as {@code torch.nn} and diffusers compute them, eager. */
abstract class EagerNetwork {
    private static final double EPS = 1e-6;

    /** Alpha of an adapter over its rank, as the presets have it. */
    static final double LORA_SCALE = 2;

    /** By diffusers' names; each can be asked for its gradient. */
    final Map<String, Tensor> weights = new LinkedHashMap<>();

    /** {@code nn.Linear}; without a bias where there is none; with its adapter, as peft computes it, where there is one. */
    final Tensor linear(String name, Tensor x) {
        Tensor bias = weights.get(name + ".bias"), a = weights.get(name + ".lora_A.weight");
        Tensor y = torch.linear(x, weights.get(name + ".weight"), bias == null ? new TensorOptional() : Torch.optional(bias));
        return a == null ? y : y.add(Torch.times(torch.linear(torch.linear(x, a), weights.get(name + ".lora_B.weight")), LORA_SCALE));
    }

    /** {@code linear_2(silu(linear_1(x)))}. */
    final Tensor mlp(String name, Tensor x) {
        return linear(name + ".linear_2", torch.silu(linear(name + ".linear_1", x)));
    }

    /** {@code linear(activated)}, [batch, chunks * width], as its chunks [batch, 1, width]. */
    final Tensor[] chunks(String layer, Tensor activated, long width) {
        Tensor all = linear(layer, activated);
        var chunks = new Tensor[(int) (all.size(1) / width)];
        for (int i = 0; i < chunks.length; i++) chunks[i] = all.narrow(1, i * width, width).unsqueeze(1);
        return chunks;
    }

    /** {@code LN(x) (1 + scale) + shift}. */
    static Tensor scaled(Tensor x, Tensor scale, Tensor shift) {
        return torch.layer_norm(x, new long[] {x.size(2)}, new TensorOptional(), new TensorOptional(), EPS, false).mul(Torch.plus(scale, 1)).add(shift);
    }

    /** {@code x / rms(x)} over the last dimension, in x's type. */
    static Tensor normalised(Tensor x) {
        return x.mul(Torch.plus(x.pow(new Scalar(2)).mean(new long[] {-1}, true, new ScalarTypeOptional()), EPS).rsqrt());
    }

    static Tensor cat(int dimension, Tensor... parts) {
        return torch.cat(new TensorVector(parts), dimension);
    }
}
