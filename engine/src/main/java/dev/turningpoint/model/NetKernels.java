package dev.turningpoint.model;

import dev.turningpoint.gpu.Device;
import dev.turningpoint.kernels.AttentionKernels;
import dev.turningpoint.kernels.EmbedKernels;
import dev.turningpoint.kernels.LoraKernels;
import dev.turningpoint.kernels.MlpKernels;
import dev.turningpoint.kernels.NormKernels;

/** The kernel families a network launches, loaded once. */
record NetKernels(EmbedKernels embed, NormKernels norm, AttentionKernels attention, MlpKernels mlp, LoraKernels lora) implements AutoCloseable {

    static NetKernels load(Device device) {
        return new NetKernels(new EmbedKernels(device), new NormKernels(device), new AttentionKernels(device), new MlpKernels(device), new LoraKernels(device));
    }

    @Override
    public void close() {
        embed.close();
        norm.close();
        attention.close();
        mlp.close();
        lora.close();
    }
}
