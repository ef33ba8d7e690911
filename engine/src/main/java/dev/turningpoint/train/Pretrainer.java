package dev.turningpoint.train;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.HostMemory;
import dev.turningpoint.gpu.Resources;
import dev.turningpoint.gpu.Stream;
import dev.turningpoint.kernels.OptimKernels;
import dev.turningpoint.kernels.SamplerKernels;
import dev.turningpoint.model.GlyphConfig;
import dev.turningpoint.model.GlyphModel;
import dev.turningpoint.optim.AdamW;
import dev.turningpoint.tensor.ParameterFile;
import dev.turningpoint.tensor.ParameterLayout;
import dev.turningpoint.tensor.Parameters;
import dev.turningpoint.tensor.Tensor;
import dev.turningpoint.tensor.Workspace;
import dev.turningpoint.weights.SafetensorsFile;
import dev.turningpoint.weights.SafetensorsWriter;
import dev.turningpoint.weights.WeightsException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;

/**
 * Flow-matching training of the glyph model from scratch: {@code x = (1 - sigma) x0 + sigma eps} with {@code sigma = sigmoid(normal)}, loss {@code mean((v - (eps - x0))^2)}, AdamW with
 * warm-up and linear decay, and a running average of the weights, which is the result. Pictures are drawn on a thread of their own, some batches ahead.
 */
public final class Pretrainer implements AutoCloseable {
    /** Batches drawn ahead. */
    private static final int AHEAD = 3;
    private static final String STEP = "pretrain.step";
    private static final List<String> STATE = List.of("values.", "first_moment.", "second_moment.", "average.");

    private final RunConfig config;
    private final RunConfig.Pretrain pretrain;
    private final TrainingImages images;
    private final Resources resources = new Resources();
    private final GlyphModel model;
    private final SamplerKernels sampler;
    private final OptimKernels optimKernels;
    private final AdamW optimizer;
    private final Stream stream;
    private final Workspace memory = new Workspace("batch of pre-training");
    private final int microBatch;
    private final Tensor picture;
    private final Tensor noisy;
    private final Tensor sigma;
    private final Tensor sample;
    private final Tensor tokens;
    private final Tensor velocity;
    private final Tensor gradient;
    private final Tensor loss;
    private final Tensor lossScratch;
    private final HostMemory readBack;
    private int step;
    private double gradNorm;

    /**
     * One step's figures.
     *
     * @param step     steps done
     * @param steps    steps of the whole run
     * @param loss     mean of the batch
     * @param gradNorm before clipping
     * @param seconds  this step took
     */
    public record Progress(int step, int steps, double loss, double gradNorm, double learningRate, double seconds) {
    }

    /** @param microBatch rows of one forward and backward; changes memory and speed, and the last bits of the result */
    public Pretrainer(Device device, RunConfig config, GlyphConfig shape, TrainingImages images, int microBatch) {
        this.config = config;
        this.pretrain = config.pretrain();
        this.images = images;
        this.microBatch = Math.min(microBatch, pretrain.batch());
        DType type = config.storage() == RunConfig.Storage.BF16 ? DType.BF16 : DType.F32;
        try {
            stream = resources.add(device.newStream());
            model = resources.add(new GlyphModel(device, new GlyphModel.Options(shape, type, 1, this.microBatch, GlyphModel.Trains.EVERYTHING, null,
                    EnumSet.of(Parameters.Keep.MOMENTS, Parameters.Keep.AVERAGE))));
            sampler = resources.add(new SamplerKernels(device));
            optimKernels = resources.add(new OptimKernels(device));
            optimizer = resources.add(new AdamW(device, optimKernels, model.trained(), new AdamW.Settings(pretrain.beta1(), pretrain.beta2(), pretrain.eps(), pretrain.weightDecay(),
                    pretrain.maxGradNorm(), pretrain.emaDecay(), 1)));
            int n = shape.latentSize();
            int batch = pretrain.batch();
            picture = memory.tensor("pictures", DType.F32, batch, n);
            tokens = memory.tensor("words", DType.I32, batch, shape.tokens());
            sigma = memory.tensor("sigma", DType.F32, batch);
            sample = memory.tensor("sample numbers", DType.I32, batch);
            noisy = memory.tensor("noisy pictures", DType.F32, batch, n);
            velocity = memory.tensor("velocity", type, this.microBatch, n);
            gradient = memory.tensor("velocity gradient", type, this.microBatch, n);
            loss = memory.tensor("loss", DType.F32, batch);
            lossScratch = memory.tensor("loss partials", DType.F32, SamplerKernels.scratch(batch, n) / 4 + 1);
            readBack = resources.add(HostMemory.allocate(loss.bytes()));
            resources.add(memory.allocate(device));
            resources.add(stream::synchronize);   // first of all: what is still copied needs its memory
            initialise();
        } catch (RuntimeException | Error e) {
            resources.closeAfter(e);
            throw e;
        }
    }

    private void initialise() {
        Parameters parameters = model.trained();
        try (HostMemory flat = HostMemory.allocate(parameters.values().bytes())) {
            model.weights().initialise(flat.segment(), config.seed());
            Parameters.upload(flat.segment(), parameters.values(), stream);
        }
        parameters.average().copyFrom(parameters.values(), stream);
        model.parametersChanged(stream);
        stream.synchronize();
    }

    /**
     * Trains to the configured number of steps, or until {@code stop}.
     *
     * @param progress called after every step
     */
    public void run(Consumer<Progress> progress, BooleanSupplier stop) throws InterruptedException {
        BlockingQueue<Batch> empty = new ArrayBlockingQueue<>(AHEAD);
        BlockingQueue<Batch> full = new ArrayBlockingQueue<>(AHEAD);
        try (var work = new Resources()) {
            for (int i = 0; i < AHEAD; i++) {
                empty.add(work.add(new Batch(pretrain.batch(), model.config())));
            }
            work.add(stream::synchronize);
            Thread painter = Thread.ofPlatform().daemon().name("pictures").start(() -> draw(step, empty, full));
            work.add(() -> {
                painter.interrupt();
                painter.join();
            });
            while (step < pretrain.steps() && !stop.getAsBoolean()) {
                Batch batch = full.take();
                if (batch.failure != null) {
                    throw batch.failure;
                }
                long began = System.nanoTime();
                train(batch);
                stream.synchronize();                 // the batch may be drawn over from here on
                empty.add(batch);
                progress.accept(progress(began));
            }
        }
    }

    /** Host memory of one batch: pictures, words, sigmas, sample numbers. */
    private static final class Batch implements AutoCloseable {
        final HostMemory memory;
        final MemorySegment pictures;
        final MemorySegment words;
        final MemorySegment sigma;
        final MemorySegment sample;
        RuntimeException failure;

        Batch(int batch, GlyphConfig shape) {
            long pictureBytes = 4L * batch * shape.latentSize();
            long wordBytes = 4L * batch * shape.tokens();
            memory = HostMemory.allocate(pictureBytes + wordBytes + 8L * batch);
            MemorySegment all = memory.segment();
            pictures = all.asSlice(0, pictureBytes);
            words = all.asSlice(pictureBytes, wordBytes);
            sigma = all.asSlice(pictureBytes + wordBytes, 4L * batch);
            sample = all.asSlice(pictureBytes + wordBytes + 4L * batch, 4L * batch);
        }

        @Override
        public void close() {
            memory.close();
        }
    }

    private void draw(int from, BlockingQueue<Batch> empty, BlockingQueue<Batch> full) {
        try {
            for (int s = from; s < pretrain.steps(); s++) {
                Batch batch = empty.take();
                try {
                    draw(s, batch);
                } catch (RuntimeException e) {
                    batch.failure = e;
                }
                full.put(batch);
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    private void draw(int s, Batch batch) {
        int n = model.latentSize();
        int t = model.conditionTokens();
        for (int i = 0; i < pretrain.batch(); i++) {
            long number = (long) s * pretrain.batch() + i;
            var random = new SplittableRandom(config.seed() * 0x9E3779B97F4A7C15L + number);
            MemorySegment word = batch.words.asSlice(4L * i * t, 4L * t);
            images.render(number, batch.pictures.asSlice(4L * i * n, 4L * n), word);
            if (random.nextDouble() < pretrain.conditionDropout()) {
                word.fill((byte) 0);
            }
            batch.sigma.setAtIndex(ValueLayout.JAVA_FLOAT, i, (float) (1 / (1 + Math.exp(-random.nextGaussian()))));
            batch.sample.setAtIndex(ValueLayout.JAVA_INT, i, (int) number);
        }
    }

    private void train(Batch batch) {
        int n = model.latentSize();
        DType type = model.storage();
        picture.copyFrom(batch.pictures, stream);
        tokens.copyFrom(batch.words, stream);
        sigma.copyFrom(batch.sigma, stream);
        sample.copyFrom(batch.sample, stream);
        sampler.flowMatchingNoise(stream, picture.address(), sigma.address(), sample.address(), noisy.address(), config.seed(), pretrain.batch(), n);
        model.zeroGradients(stream);
        for (int from = 0; from < pretrain.batch(); from += microBatch) {
            int rows = Math.min(microBatch, pretrain.batch() - from);
            model.trainVelocity(stream, noisy.address((long) from * n), sigma.address(from), tokens.address((long) from * model.conditionTokens()), velocity.address(), rows);
            sampler.flowMatchingLoss(stream, type, velocity.address(), picture.address((long) from * n), sample.address(from), gradient.address(), loss.address(from),
                    lossScratch.address(), config.seed(), 1f / pretrain.batch(), rows, n);
            model.backward(stream, gradient.address(), rows);
        }
        loss.copyTo(readBack.segment(), stream);
        gradNorm = optimizer.step(stream, learningRate());
        step++;
    }

    private double learningRate() {
        double warm = pretrain.warmup() == 0 ? 1 : Math.min(1, (step + 1.0) / pretrain.warmup());
        return pretrain.learningRate() * warm * Math.max(pretrain.finalRate(), 1 - (double) step / pretrain.steps());
    }

    private Progress progress(long began) {
        double sum = 0;
        for (int i = 0; i < pretrain.batch(); i++) {
            sum += readBack.segment().getAtIndex(ValueLayout.JAVA_FLOAT, i);
        }
        double mean = sum / pretrain.batch();
        if (!Double.isFinite(mean) || !Double.isFinite(gradNorm)) {
            throw new IllegalStateException("pre-training diverged at step " + step + ": loss " + mean + ", gradient norm " + gradNorm + "; lower pretrain.learning_rate (now " + pretrain.learningRate() + ")");
        }
        return new Progress(step, pretrain.steps(), mean, gradNorm, learningRate(), (System.nanoTime() - began) / 1e9);
    }

    /** The model in training. */
    public GlyphModel model() {
        return model;
    }

    /** Steps done. */
    public int step() {
        return step;
    }

    /** Writes the result: the averaged weights, f32. */
    public void saveWeights(Path file) {
        ParameterFile.save(file, model.weights().layout(), model.trained().average(), Map.of("format", "pt", "turningpoint.model", "glyph", STEP, Integer.toString(step)), stream);
    }

    /** Writes everything that {@link #loadState} needs to go on to the same bits. */
    public void saveState(Path file) {
        ParameterLayout layout = model.weights().layout();
        List<HostMemory> open = new ArrayList<>();
        try {
            var writer = new SafetensorsWriter().metadata(STEP, Integer.toString(step)).metadata("pretrain.config", pretrain.toString());
            for (int i = 0; i < STATE.size(); i++) {
                HostMemory host = Parameters.download(state().get(i), stream);
                open.add(host);
                ParameterFile.add(writer, STATE.get(i), layout, host.segment());
            }
            writer.write(file);
        } finally {
            open.forEach(HostMemory::close);
        }
    }

    /** Goes on where {@link #saveState} was; the number of steps may be another now. */
    public void loadState(Path file) {
        Map<String, String> metadata;
        try (SafetensorsFile tensors = SafetensorsFile.open(file)) {
            metadata = tensors.metadata();
        }
        if (!metadata.containsKey(STEP)) {
            throw new WeightsException(file.toString(), "is not the state of a pre-training: it has no '" + STEP + "'");
        }
        if (!settings(pretrain.toString()).equals(settings(metadata.getOrDefault("pretrain.config", "none")))) {
            throw new WeightsException(file.toString(), "was written with other settings: " + metadata.get("pretrain.config") + ", now " + pretrain);
        }
        for (int i = 0; i < STATE.size(); i++) {
            ParameterFile.load(file, STATE.get(i), model.weights().layout(), state().get(i), stream);
        }
        step = Integer.parseInt(metadata.get(STEP));
        optimizer.resumeAt(step);
        model.parametersChanged(stream);
        stream.synchronize();
    }

    /** All but the number of steps, which may be raised on the way. */
    private static String settings(String pretrain) {
        return pretrain.replaceFirst("steps=\\d+, ", "");
    }

    private List<Tensor> state() {
        Parameters p = model.trained();
        return List.of(p.values(), p.firstMoment(), p.secondMoment(), p.average());
    }

    @Override
    public void close() {
        resources.close();
    }
}
