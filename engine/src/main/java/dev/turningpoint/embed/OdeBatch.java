package dev.turningpoint.embed;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.Graph;
import dev.turningpoint.gpu.HostMemory;
import dev.turningpoint.gpu.Resources;
import dev.turningpoint.gpu.Stream;
import dev.turningpoint.kernels.SamplerKernels;
import dev.turningpoint.model.VelocityModel;
import dev.turningpoint.schedule.StepTable;
import dev.turningpoint.tensor.Tensor;
import dev.turningpoint.tensor.Workspace;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * A batch from noise to images by ODE steps, in memory that is fixed. A step of so many rows is one graph, captured at its first use: sigma and the row of
 * coefficients are filled in before it, so that all steps share it. Rows have the bits that {@link dev.turningpoint.sampler.WavefrontSampler} gives them.
 */
final class OdeBatch implements AutoCloseable {
    private final StepTable steps;
    private final VelocityModel model;
    private final SamplerKernels kernels;
    private final Stream stream;
    private final float guidance;
    private final int tokens;
    private final int latent;
    private final Resources resources = new Resources();
    private final Workspace memory = new Workspace("the batch of a sampler session");
    private final Tensor table, latents, velocity, unconditional, sigma, rowStep, number, condition, noCondition;
    // Views of every number of rows are made here, so that a batch makes none.
    private final MemorySegment hostConditions, hostNumbers, hostLatents;
    private final MemorySegment[] conditionRows, numberRows, latentRows;
    private final Graph[][] graphs;

    OdeBatch(Device device, Stream stream, SamplerKernels kernels, VelocityModel model, StepTable steps, double guidance, int maxBatch) {
        this.steps = steps;
        this.model = model;
        this.kernels = kernels;
        this.stream = stream;
        this.guidance = (float) guidance;
        tokens = model.conditionTokens();
        latent = model.latentSize();
        boolean guided = this.guidance != 1f;
        table = memory.tensor("step coefficients", DType.F32, steps.rows(), SamplerKernels.STEP_FLOATS);
        latents = memory.tensor("latents", DType.F32, maxBatch, latent);
        velocity = memory.tensor("velocity", model.storage(), maxBatch, latent);
        unconditional = guided ? memory.tensor("unconditional velocity", model.storage(), maxBatch, latent) : null;
        noCondition = guided ? memory.tensor("empty conditions", DType.I32, maxBatch, tokens) : null;
        sigma = memory.tensor("sigma of each row", DType.F32, maxBatch);
        rowStep = memory.tensor("coefficients of each row", DType.I32, maxBatch);
        number = memory.tensor("number of each row", DType.I32, maxBatch);
        condition = memory.tensor("condition of each row", DType.I32, maxBatch, tokens);
        conditionRows = new MemorySegment[maxBatch + 1];
        numberRows = new MemorySegment[maxBatch + 1];
        latentRows = new MemorySegment[maxBatch + 1];
        graphs = new Graph[2][maxBatch + 1];
        try {
            resources.add(memory.allocate(device));
            hostConditions = host(condition.bytes());
            hostNumbers = host(number.bytes());
            hostLatents = host(latents.bytes());
            for (int rows = 1; rows <= maxBatch; rows++) {
                conditionRows[rows] = hostConditions.asSlice(0, DType.I32.bytes((long) rows * tokens));
                numberRows[rows] = hostNumbers.asSlice(0, DType.I32.bytes(rows));
                latentRows[rows] = hostLatents.asSlice(0, DType.F32.bytes((long) rows * latent));
            }
            try (HostMemory coefficients = HostMemory.allocate(table.bytes())) {
                MemorySegment.copy(steps.floats(), 0, coefficients.segment(), ValueLayout.JAVA_FLOAT, 0, steps.rows() * SamplerKernels.STEP_FLOATS);
                table.copyFrom(coefficients.segment(), stream);
                if (guided) noCondition.clear(stream);
                stream.synchronize();
            }
        } catch (RuntimeException | Error e) {
            resources.closeAfter(e);
            throw e;
        }
    }

    private MemorySegment host(long bytes) {
        return resources.add(HostMemory.allocate(bytes)).segment().fill((byte) 0);
    }

    /**
     * Takes {@code count} prompts and the numbers of their noise to rows {@code row} and on.
     *
     * @throws IllegalArgumentException if a token is none of the vocabulary
     */
    void take(int row, int count, MemorySegment prompts, int first, int vocabulary) {
        for (int i = 0; i < count * tokens; i++) {
            int token = prompts.getAtIndex(ValueLayout.JAVA_INT_UNALIGNED, i);
            if (token < 0 || token >= vocabulary) throw new IllegalArgumentException("a token is " + token);   // it was checked when it was submitted
            hostConditions.setAtIndex(ValueLayout.JAVA_INT, row * tokens + i, token);
        }
        for (int i = 0; i < count; i++) hostNumbers.setAtIndex(ValueLayout.JAVA_INT, row + i, first + i);
    }

    /** Queues the copy of what was taken to the device. */
    void upload(int rows) {
        stream.copyToDevice(condition.address(), conditionRows[rows]);
        stream.copyToDevice(number.address(), numberRows[rows]);
    }

    /** Queues x_T of some rows. */
    void noise(int row, int count, long seed) {
        kernels.initialNoise(stream, latents.address((long) row * latent), number.address(row), seed, count, latent);
    }

    /** Queues step {@code i} of all rows. @param reference whether the model's reference is asked: the base model where there is an adapter */
    void step(int i, int rows, boolean reference) {
        Graph[] kind = graphs[reference ? 1 : 0];
        if (kind[rows] == null) kind[rows] = resources.add(stream.capture(() -> launch(rows, reference)));
        stream.fill32(sigma.address(), Float.floatToRawIntBits((float) steps.schedule().sigma(i)), rows);
        stream.fill32(rowStep.address(), steps.odeRow(i), rows);
        kind[rows].launch(stream);
    }

    private void launch(int rows, boolean reference) {
        velocity(condition.address(), velocity.address(), rows, reference);
        if (unconditional != null) velocity(noCondition.address(), unconditional.address(), rows, reference);
        kernels.step(stream, model.storage(), latents.address(), velocity.address(), unconditional == null ? 0 : unconditional.address(), guidance, latents.address(), 0, 0, 0,
                table.address(), rowStep.address(), 0, number.address(), 0, rows, latent);
    }

    private void velocity(long conditions, long result, int rows, boolean reference) {
        if (reference) model.referenceVelocity(stream, latents.address(), sigma.address(), conditions, result, rows);
        else model.velocity(stream, latents.address(), sigma.address(), conditions, result, rows);
    }

    /** Queues the copy of the latents to the host. */
    void download(int rows) {
        stream.copyToHost(latentRows[rows], latents.address());
    }

    /** Copies downloaded latents of some rows. */
    void give(int row, int count, MemorySegment target) {
        MemorySegment.copy(hostLatents, DType.F32.bytes((long) row * latent), target, 0, DType.F32.bytes((long) count * latent));
    }

    @Override
    public void close() {
        resources.close();
    }
}
