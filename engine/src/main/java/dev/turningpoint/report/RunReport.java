package dev.turningpoint.report;

import dev.turningpoint.image.ImageBatch;
import dev.turningpoint.image.Picture;
import dev.turningpoint.train.TrainingObserver;
import dev.turningpoint.weights.SafetensorsFile;
import dev.turningpoint.weights.SafetensorsWriter;
import dev.turningpoint.weights.TensorType;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * Writes all that a training run tells into its folder: every update and evaluation to {@code metrics.jsonl} and TensorBoard, the pictures of each
 * evaluation, and the first beside the latest; and shows progress. Used by the training thread.
 */
public final class RunReport implements TrainingObserver, AutoCloseable {
    private static final int COLUMNS = 4, ENLARGED_BELOW = 128;   // pixels of an image's side

    private final RunFolder folder;
    private final ProgressLine progress;
    private final MetricsWriter metrics;
    private EventWriter events;

    /** @param folder of a new run, or of one that goes on */
    public RunReport(RunFolder folder, ProgressLine progress) {
        this.folder = folder;
        this.progress = progress;
        metrics = new MetricsWriter(folder.metrics());
    }

    @Override
    public void resumed(long updates) {
        metrics.keepUpTo(updates);
        events = new EventWriter(folder.tensorboard(), updates + 1);
    }

    @Override
    public void update(long updates, Map<String, Double> values) {
        write(updates, values);
    }

    @Override
    public void evaluated(long updates, Map<String, Double> values, ImageBatch images, List<String> prompts) {
        if (updates == 0) metrics.keepUpTo(-1);   // a run that was killed before its first checkpoint starts anew
        write(updates, values);
        Picture picture = Picture.grid(images, prompts, COLUMNS, scale(images));
        picture.write(folder.pictures().resolve(String.format(Locale.ROOT, "evaluation-%06d.png", updates)));
        events.image(updates, "eval/images", picture.png(), picture.width(), picture.height(), picture.channels());
        double reward = values.getOrDefault("eval/reward_avg", Double.NaN);
        if (updates == 0) writeBefore(images, reward);
        else if (Files.exists(before())) writeBeforeAfter(images, prompts, updates, reward);
        progress.say(String.format(Locale.ROOT, "held-out reward %.3f after %,d updates", reward, updates));
    }

    @Override
    public void iteration(Progress p) {
        progress.update(p.iteration(), p.iterations(), String.format(Locale.ROOT, "reward %.3f, %.1f images/s", p.reward(), p.images() / p.seconds()), p.secondsLeft());
    }

    /** The picture of the held-out prompts before training beside the latest; exists after the second evaluation. */
    public Path beforeAfter() {
        return folder.pictures().resolve("before-after.png");
    }

    private Path before() {
        return folder.pictures().resolve("before.safetensors");
    }

    private void write(long step, Map<String, Double> values) {
        metrics.write(step, values);
        if (events == null) events = new EventWriter(folder.tensorboard(), step);
        events.scalars(step, values);
    }

    /** Keeps the images themselves: a resumed run shows them beside its own. */
    private void writeBefore(ImageBatch images, double reward) {
        new SafetensorsWriter().metadata("reward", Double.toString(reward))
                .tensor("images", TensorType.F32, images.data().asSlice(0, 4L * images.count() * images.floats()), images.count(), images.channels(), images.height(), images.width())
                .write(before());
    }

    private void writeBeforeAfter(ImageBatch after, List<String> words, long updates, double reward) {
        try (var file = SafetensorsFile.open(before()); Arena arena = Arena.ofConfined()) {
            int count = Math.toIntExact(file.info("images").shape().getFirst());
            var data = file.data("images", TensorType.F32, count, after.channels(), after.height(), after.width());
            var aligned = arena.allocate(data.byteSize(), 64).copyFrom(data);
            Picture.beforeAfter(new ImageBatch(aligned, count, after.channels(), after.height(), after.width()), after, words,
                    String.format(Locale.ROOT, "before: reward %.3f", Double.parseDouble(file.metadata().getOrDefault("reward", "NaN"))),
                    String.format(Locale.ROOT, "after %,d updates: reward %.3f", updates, reward), COLUMNS, scale(after)).write(beforeAfter());
        }
    }

    private static int scale(ImageBatch images) {
        return Math.max(images.height(), images.width()) < ENLARGED_BELOW ? 2 : 1;
    }

    @Override
    public void close() {
        progress.close();
        metrics.close();
        if (events != null) events.close();
    }
}
