package dev.turningpoint.embed;

import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.Stream;
import dev.turningpoint.model.LoraConfig;
import dev.turningpoint.model.TrainableVelocity;
import dev.turningpoint.model.VelocityModel;
import dev.turningpoint.tensor.ParameterLayout;

/** Where a sampler session gets its network from. */
@FunctionalInterface
public interface ModelSource {

    /**
     * Opens the network, with its weights; called once, on the session's worker, which has the device current. The session closes it.
     *
     * @param maxBatch most rows of one forward
     */
    Network open(Device device, Stream stream, int maxBatch);

    /**
     * A network to sample with.
     *
     * @param velocity   what the steps ask; its forward must be one that {@link Stream#capture} can record
     * @param vocabulary kinds of tokens: a prompt's are 0 to {@code vocabulary - 1}
     * @param lora       rank, strength and layers of the adapters that the session can change to; null for none. The model is then a {@link TrainableVelocity}
     *                   whose parameters are the adapter and whose reference is the model without it
     * @param adapter    where the adapter's matrices lie among those parameters; null without
     */
    record Network(VelocityModel velocity, int vocabulary, LoraConfig lora, ParameterLayout adapter) {
        public Network {
            if (lora == null != (adapter == null) || lora != null && !(velocity instanceof TrainableVelocity))
                throw new IllegalArgumentException("adapters need their configuration, their layout, and a model that reads one");
        }

        /** A network that takes no adapters. */
        public Network(VelocityModel velocity, int vocabulary) {
            this(velocity, vocabulary, null, null);
        }
    }
}
