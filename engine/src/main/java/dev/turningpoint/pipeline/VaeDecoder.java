package dev.turningpoint.pipeline;

import ai.onnxruntime.OnnxJavaType;
import dev.turningpoint.image.ImageBatch;
import dev.turningpoint.onnx.OnnxModel;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;

/**
 * The frozen decoder of a VAE: {@code latents} f32 [1, channels, h, w] to {@code image} f32 [1, 3, H, W], about -1 to 1. Images are decoded one by one, so that none depends
 * on its batch.
 */
final class VaeDecoder implements AutoCloseable {
    private static final String LATENTS = "latents", IMAGE = "image";

    private final OnnxModel model;
    private final PipelineFolder.Vae vae;
    private final int height, width;
    private final float[] scaled;

    /**
     * @param height of a latent
     * @param width  of a latent
     */
    VaeDecoder(Path file, PipelineFolder.Vae vae, int height, int width) {
        this.vae = vae;
        this.height = height;
        this.width = width;
        scaled = new float[vae.channels() * height * width];
        model = OnnxModel.openLarge(file);
        try {
            model.requireInput(LATENTS, OnnxJavaType.FLOAT, 1, vae.channels(), height, width);
            model.requireNoInputsBut(LATENTS);
            model.requireOutput(IMAGE, OnnxJavaType.FLOAT, 1, 3, (long) height * vae.pixels(), (long) width * vae.pixels());
        } catch (RuntimeException | Error e) {
            model.close();
            throw e;
        }
    }

    /**
     * @param latents f32 [images.count, channels, h, w], scaled as the network has them
     * @param images  receives f32 [count, 3, H, W], clamped to -1..1
     */
    void decode(MemorySegment latents, ImageBatch images) {
        for (int i = 0; i < images.count(); i++) {
            for (int k = 0; k < scaled.length; k++) {
                scaled[k] = (float) (latents.getAtIndex(ValueLayout.JAVA_FLOAT, (long) i * scaled.length + k) / vae.scale() + vae.shift());
            }
            try (var inputs = new OnnxModel.Inputs(model).floats(LATENTS, scaled, 1, vae.channels(), height, width)) {
                float[] made = model.run(inputs, IMAGE).getFirst().floats();
                if (made.length != images.floats()) throw new PipelineException(model.name() + " made an image of " + made.length + " numbers, not 3 x " + images.height() + " x " + images.width());
                MemorySegment image = images.image(i);
                for (int k = 0; k < made.length; k++) {
                    image.setAtIndex(ValueLayout.JAVA_FLOAT, k, made[k] < -1 ? -1 : made[k] > 1 ? 1 : made[k]);   // what is not a number stays so
                }
            }
        }
    }

    @Override
    public void close() {
        model.close();
    }
}
