package dev.turningpoint.bench;

import dev.turningpoint.gpu.DType;
import java.lang.foreign.MemorySegment;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.global.torch;

/** The eager operations of the peer, as its Python users write them. */
final class Torch {

    private Torch() {}

    static Tensor randn(DType type, long... shape) {
        return torch.randn(shape).to(type == DType.F32 ? torch.ScalarType.Float : torch.ScalarType.BFloat16);
    }

    /** The tensor's memory, for as long as the tensor lives. */
    static MemorySegment memory(Tensor contiguous) {
        return MemorySegment.ofAddress(contiguous.data_ptr().address()).reinterpret(contiguous.nbytes());
    }

    /** What one row has in column {@code i} of a table, as [rows, 1] to be broadcast. */
    static Tensor column(float value, int rows) {
        return torch.full(new long[] {rows, 1}, new Scalar(value));
    }

    /**
     * {@code sde_step_with_logprob} of flow_grpo, line by line; noise is drawn if {@code noise} is null.
     *
     * @return next latents and log-probabilities
     */
    static Tensor[] sdeStep(Tensor x, Tensor v, Tensor noise, Tensor sigma, Tensor sigmaNext, double noiseLevel) {
        Tensor dt = sigmaNext.sub(sigma);
        Tensor std = sigma.div(sigma.neg().add(new Scalar(1f))).sqrt().mul(new Scalar(noiseLevel));
        Tensor variance = std.square();
        Tensor keep = variance.div(sigma.mul(new Scalar(2f))).mul(dt).add(new Scalar(1f));
        Tensor drift = variance.mul(sigma.neg().add(new Scalar(1f))).div(sigma.mul(new Scalar(2f))).add(new Scalar(1f));
        Tensor mean = x.mul(keep).add(v.mul(drift).mul(dt));
        if (noise == null) noise = torch.randn_like(x);
        Tensor spread = std.mul(dt.neg().sqrt());
        Tensor next = mean.add(spread.mul(noise));
        Tensor logProb = next.sub(mean).square().neg().div(spread.square().mul(new Scalar(2f))).sub(spread.log()).sub(new Scalar(Math.log(Math.sqrt(2 * Math.PI))));
        return new Tensor[] {next, logProb.mean(1)};
    }

    /** {@code F.layer_norm(x, (d,), eps=eps) * (1 + scale[:, None]) + shift[:, None]}; x is [batch, tokens, d]. */
    static Tensor adaptiveLayerNorm(Tensor x, Tensor shift, Tensor scale, double eps) {
        return torch.layer_norm(x, new long[] {x.size(2)}, new TensorOptional(), new TensorOptional(), eps, false)
                .mul(scale.unsqueeze(1).add(new Scalar(1f))).add(shift.unsqueeze(1));
    }

    /** {@code x + gate[:, None] * F.gelu(h, approximate="tanh")}. */
    static Tensor geluGate(Tensor x, Tensor gate, Tensor h) {
        return x.add(gate.unsqueeze(1).mul(torch.gelu(h, "tanh")));
    }

    /** Step rewards with consistent turning points (definition 5.1), vectorised over trajectories and steps; R is [batch, n + 1]. */
    static Tensor stepRewards(Tensor rewards) {
        long n = rewards.size(1) - 1;
        Tensor before = rewards.narrow(1, 0, n), after = rewards.narrow(1, 1, n), last = rewards.narrow(1, n, 1);
        Tensor d = after.sub(before), sign = d.sign(), trend = last.sub(rewards.narrow(1, 0, 1)).sign();
        Tensor consistent = sign.mul(last.sub(after).sign()).gt(new Scalar(0f));
        Tensor flip = sign.narrow(1, 0, n - 1).mul(trend).lt(new Scalar(0f)).logical_and(sign.narrow(1, 1, n - 1).mul(trend).gt(new Scalar(0f)));
        Tensor inner = flip.logical_and(consistent.narrow(1, 1, n - 1));
        Tensor turns = torch.cat(new org.bytedeco.pytorch.TensorVector(consistent.narrow(1, 0, 1), inner), 1);
        return torch.where(turns, last.sub(before), d);
    }

    /** Attention without a fused kernel: {@code softmax(q @ k^T * scale) @ v}. */
    static Tensor attention(Tensor q, Tensor k, Tensor v) {
        return torch.matmul(torch.softmax(torch.matmul(q, k.transpose(2, 3)).mul(new Scalar(1 / Math.sqrt(q.size(3)))), 3), v);
    }
}
