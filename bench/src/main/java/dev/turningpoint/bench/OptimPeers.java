package dev.turningpoint.bench;

import static dev.turningpoint.bench.Case.Kind.ELEMENTWISE;

import java.util.Arrays;
import java.util.List;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;

/**
 * {@code optim.cu} beside {@code clip_grad_norm_}, the single-tensor {@code AdamW} of torch.optim, a moving average and a bf16 copy, tensor by tensor: each is as
 * large as a matrix of an SD3.5 adapter, so that the peer's passes over it meet the cache.
 */
final class OptimPeers {

    private static final int TENSOR = 1536 * 32;
    static final double BETA1 = 0.9, BETA2 = 0.999, EPS = 1e-8;
    /** Of the registry's case. */
    private static final double RATE = 1e-3, DECAY = 1e-2, AVERAGE_DECAY = 0.99;
    private static final int STEP = 7;

    private OptimPeers() {}

    static void addTo(List<Case> cases) {
        for (String size : List.of("glyph", "dram")) {
            cases.add(Case.of("gradient norm", "optim.grad_norm." + size, ELEMENTWISE, OptimPeers::gradNorm).because(Case.ONE_PASS));
            cases.add(Case.of("AdamW with clipping, moving average, bf16 copy", "optim.adamw_f32." + size, ELEMENTWISE, OptimPeers::adamW)
                    .because("the peer's tensors stay in the cache between its passes"));
            cases.add(Case.of("moving average", "optim.ema_f32." + size, ELEMENTWISE, OptimPeers::ema).because(Case.ONE_PASS));
        }
    }

    private static Tensor[] tensors(Inputs in, String name) {
        return in.tensor(name, -1).split(TENSOR).get();
    }

    private static Eager gradNorm(Inputs in) {
        Tensor[] gradients = tensors(in, "gradients");
        return Eager.of(() -> norm(gradients), "result");
    }

    /** As {@code clip_grad_norm_} has it. */
    static Tensor norm(Tensor[] gradients) {
        return torch.linalg_vector_norm(torch.stack(new TensorVector(Arrays.stream(gradients).map(torch::linalg_vector_norm).toArray(Tensor[]::new))));
    }

    /** The single-tensor AdamW of torch.optim. */
    static void adamW(Tensor g, Tensor p, Tensor m, Tensor v, double rate, double decay, int step) {
        double root = Math.sqrt(1 - Math.pow(BETA2, step)), size = rate / (1 - Math.pow(BETA1, step));
        p.mul_(new Scalar(1 - rate * decay));
        m.lerp_(g, new Scalar(1 - BETA1));
        v.mul_(new Scalar(BETA2)).addcmul_(g, g, new Scalar(1 - BETA2));
        p.addcdiv_(m, v.sqrt().div(new Scalar(root)).add_(new Scalar(EPS)), new Scalar(-size));
    }

    private static Eager adamW(Inputs in) {
        in.write("norm", 0.5);  // nothing is clipped: the factor is 1, and gradients that are scaled in place stay what they are
        Tensor[] g = tensors(in, "gradients"), p = tensors(in, "parameters"), m = tensors(in, "m"), v = tensors(in, "v"), average = tensors(in, "average");
        Tensor[] copy = tensors(in, "copy");
        Tensor factor = torch.ones(1);
        return Eager.of(() -> {
            for (int i = 0; i < g.length; i++) {
                g[i].mul_(factor);
                adamW(g[i], p[i], m[i], v[i], RATE, DECAY, STEP);
                average[i].lerp_(p[i], new Scalar(1 - AVERAGE_DECAY));
                copy[i].copy_(p[i]);
            }
            return new Tensor[] {torch.cat(new TensorVector(p)), torch.cat(new TensorVector(m)), torch.cat(new TensorVector(v))};
        }, "parameters", "m", "v");
    }

    private static Eager ema(Inputs in) {
        Tensor[] average = tensors(in, "average"), p = tensors(in, "parameters");
        return Eager.of(() -> {
            for (int i = 0; i < p.length; i++) average[i].lerp_(p[i], new Scalar(1 - AVERAGE_DECAY));
            return torch.cat(new TensorVector(average));
        }, "average");
    }
}
