package dev.turningpoint.train;

import dev.turningpoint.gpu.Device;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;

/** A pre-training from rendered words to a weights file, in a folder that it can be resumed from. */
public final class PretrainRun {
    /** The result: averaged weights, as the engine ships them. */
    public static final String WEIGHTS = "glyph.safetensors";
    /** What a resumed run starts from. */
    public static final String STATE = "state.safetensors";
    private static final int STATE_EVERY = 100;
    private static final int WEIGHTS_EVERY = 250;
    /** Images of one forward and backward: activations of about 3 MB each in f32. */
    private static final int MICRO_BATCH = 16;

    private PretrainRun() {
    }

    /**
     * Trains until the configured number of steps or until {@code stop}, which leaves a state to resume from.
     *
     * @param folder   exists; receives state, intermediate weights and the result
     * @param resume   whether to go on from the folder's state
     * @param progress called after every step
     * @return whether it came to its end
     */
    public static boolean run(Device device, RunConfig config, Path folder, boolean resume, Consumer<Pretrainer.Progress> progress, BooleanSupplier stop) throws IOException, InterruptedException {
        RunConfig.Model m = config.model();
        var images = new WordImages(config.seed(), m.words(), m.imageHeight(), m.imageWidth());
        Files.createDirectories(folder);
        try (var pretrainer = new Pretrainer(device, config, m.glyph(), images, MICRO_BATCH)) {
            if (resume) {
                pretrainer.loadState(folder.resolve(STATE));
            }
            pretrainer.run(p -> {
                if (p.step() % STATE_EVERY == 0 || p.step() == p.steps()) {
                    pretrainer.saveState(folder.resolve(STATE));
                }
                if (p.step() % WEIGHTS_EVERY == 0) {
                    pretrainer.saveWeights(folder.resolve(String.format(Locale.ROOT, "weights-%06d.safetensors", p.step())));
                }
                progress.accept(p);
            }, stop);
            if (pretrainer.step() < config.pretrain().steps()) {
                pretrainer.saveState(folder.resolve(STATE));
                return false;
            }
            pretrainer.saveWeights(folder.resolve(WEIGHTS));
            return true;
        }
    }
}
