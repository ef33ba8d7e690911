package dev.turningpoint.embed;

import dev.turningpoint.model.LoraConfig;
import dev.turningpoint.schedule.StepTable;
import dev.turningpoint.train.RunConfig;
import java.nio.file.Path;
import java.time.Duration;

/**
 * What a sampler session holds, fixed while it is open.
 *
 * @param model    the network
 * @param steps    deterministic ones, from noise to image
 * @param guidance classifier-free guidance; 1 for none
 * @param maxBatch most images of one batch, and of one call; memory grows with it
 * @param queue    calls that can wait
 * @param maxWait  how long the first call of a batch may wait for others; 0 for not at all
 */
public record SamplerOptions(ModelSource model, StepTable steps, double guidance, int maxBatch, int queue, Duration maxWait) {
    public SamplerOptions {
        if (steps.window() != 0) throw new IllegalArgumentException("a session samples by ODE steps, and " + steps.window() + " of these are stochastic");
    }

    /** The bundled glyph model with the settings of {@code ./turningpoint sample}; 16 images a batch, 64 calls in the queue, 1 ms of wait. */
    public static SamplerOptions glyph() {
        return of(RunConfig.glyph(), null);
    }

    /** The same on a configuration's model, storage, schedule and guidance. @param lora of the adapters that the session can change to; null for none */
    public static SamplerOptions of(RunConfig config, LoraConfig lora) {
        String weights = config.model().weights();
        var model = new GlyphSource(config.model().glyph(), config.storage().type(), weights.equals("bundled") ? null : Path.of(weights), lora);
        return new SamplerOptions(model, config.evaluationSteps(), config.sampler().guidance(), 16, 64, Duration.ofMillis(1));
    }

    public SamplerOptions withMaxBatch(int maxBatch) {
        return new SamplerOptions(model, steps, guidance, maxBatch, queue, maxWait);
    }

    public SamplerOptions withQueue(int queue) {
        return new SamplerOptions(model, steps, guidance, maxBatch, queue, maxWait);
    }

    public SamplerOptions withMaxWait(Duration maxWait) {
        return new SamplerOptions(model, steps, guidance, maxBatch, queue, maxWait);
    }
}
