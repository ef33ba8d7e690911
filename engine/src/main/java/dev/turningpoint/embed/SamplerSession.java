package dev.turningpoint.embed;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.Event;
import dev.turningpoint.gpu.HostMemory;
import dev.turningpoint.gpu.Resources;
import dev.turningpoint.gpu.Stream;
import dev.turningpoint.kernels.SamplerKernels;
import dev.turningpoint.model.LoraConfig;
import dev.turningpoint.model.TrainableVelocity;
import dev.turningpoint.tensor.ParameterFile;
import dev.turningpoint.train.AdapterFolder;
import dev.turningpoint.weights.PeftAdapter;
import dev.turningpoint.weights.WeightsException;
import java.nio.file.Path;
import java.util.Set;

/**
 * Images for many threads, on a device, a stream and memory of its own. {@link TurningPoint#sampler} opens one; {@link Session} says how it forms batches.
 *
 * <p>An image depends on its prompt, its seed, its number and the version of the LoRA alone, to the bit; not on what else was in the batch.
 */
public final class SamplerSession extends Session {
    private final Device device;
    private final SamplerOptions options;
    private final long[] seeds;
    private final Object swapping = new Object();
    // Of the worker; what does not change is seen by all once the session is open.
    private ModelSource.Network network;
    private Stream stream;
    private OdeBatch ode;
    private final Event[] passed = new Event[2];
    private boolean adapterOn;
    private volatile long version;

    SamplerSession(Device device, SamplerOptions options) {
        super("sampler", options.maxBatch(), options.queue(), options.maxWait());
        this.device = device;
        this.options = options;
        seeds = new long[options.maxBatch()];
        start();
    }

    @Override
    void open(Resources resources) {
        device.attach();
        stream = resources.add(device.newStream());
        for (int i = 0; i < passed.length; i++) passed[i] = resources.add(device.newEvent());
        var kernels = resources.add(new SamplerKernels(device));
        network = options.model().open(device, stream, maxBatch());
        resources.add(network.velocity());
        ode = resources.add(new OdeBatch(device, stream, kernels, network.velocity(), options.steps(), options.guidance(), maxBatch()));
    }

    // ---- for callers

    /** A call to this session; make one for each thread or connection, and use it again and again. */
    public SamplerCall newCall() {
        return new SamplerCall(this);
    }

    /** Tokens of one prompt, each an i32. */
    public int promptTokens() {
        return network.velocity().conditionTokens();
    }

    /** Kinds of tokens: those of a prompt are 0 to this less 1. */
    public int vocabulary() {
        return network.vocabulary();
    }

    /** Floats of one image. */
    public int imageFloats() {
        return network.velocity().latentSize();
    }

    /** Version of the LoRA that the next batch is served by: 0 is the base model, and every change counts one up. */
    public long loraVersion() {
        return version;
    }

    /**
     * Changes to another LoRA between two batches; the file is read by the calling thread while the session goes on serving. What is submitted after this returns is
     * served by this version or a later one, and every call wholly by one, which {@link Call#await} tells.
     *
     * @param folder of an adapter as PEFT saves it, of the rank, strength and layers that the session was opened for
     * @return its version
     * @throws WeightsException      if the folder holds no such adapter; the session goes on with the one it has
     * @throws IllegalStateException if the session was opened for none
     * @throws ClosedException       if the session is closed
     */
    public long swapLora(Path folder) {
        LoraConfig lora = requireLora(), given = AdapterFolder.config(folder);
        if (given.rank() != lora.rank() || given.alpha() != lora.alpha() || !given.ranks().equals(lora.ranks()) || !given.alphas().equals(lora.alphas()) || !Set.copyOf(given.targets()).equals(Set.copyOf(lora.targets())))
            throw new WeightsException(folder.toString(), "is an adapter of " + given + ", and the session was opened for " + lora);
        var model = (TrainableVelocity) network.velocity();
        synchronized (swapping) {
            try (var read = HostMemory.allocate(DType.F32.bytes(network.adapter().size()))) {
                ParameterFile.read(folder.resolve(PeftAdapter.WEIGHTS), PeftAdapter.PREFIX, network.adapter(), read.segment());
                onWorker(() -> {
                    stream.copyToDevice(model.parameters(), read.segment());
                    model.parametersChanged(stream);
                    stream.synchronize();
                    adapterOn = true;
                    version++;
                });
            }
            return version;
        }
    }

    /** Changes to the base model as {@link #swapLora} does to an adapter. @return its version, a new one */
    public long swapToBase() {
        requireLora();
        synchronized (swapping) {
            onWorker(() -> {
                adapterOn = false;
                version++;
            });
            return version;
        }
    }

    private LoraConfig requireLora() {
        if (network.lora() == null) throw new IllegalStateException("this session was opened without adapters; its ModelSource says for which it is");
        return network.lora();
    }

    // ---- the worker

    @Override
    void read(Call call, int index, int row) {
        var request = (SamplerCall) call;
        ode.take(row, request.rows, request.prompts, request.first, network.vocabulary());
        seeds[index] = request.seed;
    }

    @Override
    void serve() {
        Sampled sampled = Sampled.start();
        ode.upload(rows);
        for (int i = 0, row = 0; i < calls; row += callRows[i++]) ode.noise(row, callRows[i], seeds[i]);
        for (int i = 0; i < options.steps().steps(); i++) {
            if (isAborting() || !isWanted()) {
                abandon();
                return;
            }
            ode.step(i, rows, isReference());
            stream.record(passed[i & 1]);
            if (i > 0) passed[i - 1 & 1].synchronize();   // one step is queued ahead of the device, no more: who gives up is heard soon
        }
        ode.download(rows);
        stream.synchronize();
        Sampled.end(sampled, this, rows, version);
        Decoded decoded = Decoded.start();
        for (int i = 0, row = 0; i < calls; row += callRows[i++]) give((SamplerCall) batch[i], submissions[i], row);
        Decoded.end(decoded, this, rows, version);
    }

    private void give(SamplerCall call, long submission, int row) {
        if (!call.move(submission, Call.RUNNING, Call.TOUCHED)) return;
        try {
            ode.give(row, call.rows, call.pixels);
            call.version = version;
            call.answerTouched(submission, Call.SERVED);
        } catch (RuntimeException e) {
            fail(call, submission, new IllegalStateException(this + ": the memory for a call's pixels was closed while it waited: " + e.getMessage(), e));
        }
    }

    private void abandon() {
        stream.synchronize();
        for (int i = 0; i < calls; i++) batch[i].answer(submissions[i], Call.CLOSED);
    }

    private boolean isReference() {
        return network.lora() != null && !adapterOn;
    }

    @Override
    void runAllSizes() {
        for (int rows = 1; rows <= maxBatch(); rows++) {
            ode.upload(rows);
            ode.noise(0, rows, 0);
            for (int i = 0; i < options.steps().steps(); i++) {
                ode.step(i, rows, false);
                if (network.lora() != null) ode.step(i, rows, true);
            }
            ode.download(rows);
            stream.synchronize();
        }
    }
}
