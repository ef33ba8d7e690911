package dev.turningpoint.bench;

import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.Stream;
import dev.turningpoint.model.TrainableVelocity;
import dev.turningpoint.tensor.ParameterLayout.Slot;
import java.util.Map;
import java.util.function.Supplier;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;

/** Work of a model of ours beside a network of the peer's on the same weights. */
abstract class NetworkWork extends Work {

    NetworkWork(Device device, Stream stream) {
        super(device, stream);
    }

    /**
     * Arranges and compares velocities, or velocities with their backward into what the model trains.
     *
     * @param x          latents, [rows, latent]
     * @param sigma      [rows, 1]
     * @param conditions i32 [rows, condition]
     * @param velocity   the peer's of the same, as ours has it
     * @param trained    the peer's weights that the model trains, by its names
     */
    final double velocity(TrainableVelocity model, Tensor x, Tensor sigma, Tensor conditions, Supplier<Tensor> velocity, boolean backward, Map<String, Tensor> trained) {
        int rows = Math.toIntExact(sigma.size(0));
        Tensor g = Torch.times(torch.randn_like(x), 1. / model.latentSize());
        long xs = put(x), sigmas = put(sigma), condition = put(conditions), out = put(x), gradient = put(g);
        if (!backward) {
            ours = () -> model.velocity(stream, xs, sigmas, condition, out, rows);
            peer = velocity::get;
            ours.run();
            return Torch.difference(velocity.get(), get(out, torch.empty_like(x)));
        }
        ours = () -> {
            model.zeroGradients(stream);
            model.trainVelocity(stream, xs, sigmas, condition, out, rows);
            model.backward(stream, gradient, rows);
        };
        var inputs = trained.values().toArray(Tensor[]::new);
        Supplier<Tensor[]> gradients = () -> Torch.recorded(() -> Torch.gradients(new Tensor[] {velocity.get()}, inputs, g));
        peer = gradients::get;
        ours.run();
        return gradientDifference(model, trained, gradients.get());
    }

    /** The largest difference of any gradient, relative to the largest of its tensor's, over tensors that have a gradient to speak of. */
    final double gradientDifference(TrainableVelocity model, Map<String, Tensor> trained, Tensor[] theirs) {
        Tensor flat = get(model.gradients(), torch.empty(model.trainableCount()));
        double worst = 0, largest = 0;
        for (Tensor t : theirs) largest = Math.max(largest, t.abs().max().item_double());
        int i = 0;
        for (String name : trained.keySet()) {
            Slot slot = model.trained().layout().slot(name);
            Tensor t = theirs[i++];
            if (!(t.abs().max().item_double() <= 1e-4 * largest)) worst = Math.max(worst, Torch.difference(t, flat.narrow(0, slot.offset(), slot.elements())));
        }
        return worst;
    }
}
