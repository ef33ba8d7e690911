package dev.turningpoint.model;

import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.GemmWorkspace;
import dev.turningpoint.gpu.Resources;
import dev.turningpoint.kernels.AttentionKernels;
import dev.turningpoint.kernels.EmbedKernels;
import dev.turningpoint.kernels.MlpKernels;
import dev.turningpoint.kernels.NormKernels;

/** The kernel families a network launches, loaded once, and the scratch that its matrix products share. */
record NetKernels(EmbedKernels embed, NormKernels norm, AttentionKernels attention, MlpKernels mlp, GemmWorkspace products, Resources resources) implements AutoCloseable {

    static NetKernels load(Device device) {
        var resources = new Resources();
        try {
            return new NetKernels(resources.add(new EmbedKernels(device)), resources.add(new NormKernels(device)), resources.add(new AttentionKernels(device)),
                    resources.add(new MlpKernels(device)), resources.add(new GemmWorkspace(device)), resources);
        } catch (RuntimeException | Error e) {
            resources.closeAfter(e);
            throw e;
        }
    }

    @Override
    public void close() {
        resources.close();
    }
}
