package dev.turningpoint.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.DeviceMemory;
import dev.turningpoint.gpu.GpuException;
import dev.turningpoint.gpu.HostMemory;
import dev.turningpoint.gpu.Stream;
import dev.turningpoint.tensor.ParameterLayout.Slot;
import dev.turningpoint.tensor.Parameters;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** The glyph network against a float64 reference of its formulas: values, gradients, and the bits that must not depend on the batch. */
class GlyphModelTest {
    /** 6 image tokens, 3 text tokens, two blocks, one head. */
    private static final GlyphConfig TINY = new GlyphConfig(8, 12, 4, 32, 2, 1, 2, 3, 7);
    /** Two heads, one block, which is then the last. */
    private static final GlyphConfig SHALLOW = new GlyphConfig(12, 8, 4, 64, 1, 2, 3, 2, 5);
    private static final LoraConfig LORA = new LoraConfig(4, 6, java.util.stream.Stream.concat(LoraConfig.ATTENTION.stream(), LoraConfig.FEED_FORWARD.stream()).toList());

    enum Storage {
        F32(DType.F32, 2e-4, 1e-3), BF16(DType.BF16, 3e-2, 6e-2);

        final DType type;
        /** Largest error of the velocity over the largest velocity. */
        final double value;
        /** Largest error of a gradient over its tensor's largest gradient. */
        final double gradient;

        Storage(DType type, double value, double gradient) {
            this.type = type;
            this.value = value;
            this.gradient = gradient;
        }
    }

    private static Device device;
    private static Stream stream;

    @BeforeAll
    static void open() {
        device = Device.open();
        stream = device.newStream();
    }

    @AfterAll
    static void close() {
        stream.close();
        device.close();
    }

    @ParameterizedTest @EnumSource
    void velocityMatchesFloat64(Storage storage) {
        for (GlyphConfig config : new GlyphConfig[] {TINY, SHALLOW, GlyphConfig.DEFAULT}) {
            try (var c = new Case(config, storage.type, 3, GlyphModel.Trains.NOTHING, null, 11)) {
                float[] velocity = c.velocity(c.images, c.sigmas, c.words, 3);
                assertClose(c.reference(), velocity, storage.value, "velocity of " + config);
            }
        }
    }

    @ParameterizedTest @EnumSource
    void gradientsMatchFiniteDifferencesOfFloat64(Storage storage) {
        for (GlyphConfig config : new GlyphConfig[] {TINY, SHALLOW}) {
            try (var c = new Case(config, storage.type, 3, GlyphModel.Trains.EVERYTHING, null, 12)) {
                float[] once = c.gradients(1);
                for (Slot slot : c.model.weights().layout().slots().values()) {
                    c.checkGradient(slot, once, c.reference.parameters.get(slot.name()), storage.gradient);
                }
                float[] twice = c.gradients(2);
                double[] expected = new double[once.length];
                Arrays.setAll(expected, i -> 2.0 * once[i]);
                assertClose(expected, twice, 1e-5, "gradients of two backwards");
            }
        }
    }

    @ParameterizedTest @EnumSource
    void adapterGradientsMatchFiniteDifferencesOfFloat64(Storage storage) {
        try (var c = new Case(TINY, storage.type, 3, GlyphModel.Trains.ADAPTER, LORA, 13)) {
            assertClose(c.reference(), c.velocity(c.images, c.sigmas, c.words, 3), storage.value, "velocity with the adapter");
            float[] gradients = c.gradients(1);
            for (Slot slot : c.model.trained().layout().slots().values()) {
                String layer = slot.name().substring(0, slot.name().indexOf(".lora_"));
                c.checkGradient(slot, gradients, c.reference.adapters.get(layer)[slot.name().contains("lora_A") ? 0 : 1], storage.gradient);
            }
        }
    }

    @Test
    void withoutItsAdapterTheModelIsTheBaseModel() {
        try (var base = new Case(TINY, DType.F32, 3, GlyphModel.Trains.NOTHING, null, 13); var adapted = new Case(TINY, DType.F32, 3, GlyphModel.Trains.ADAPTER, LORA, 13)) {
            assertArrayEquals(base.velocity(base.images, base.sigmas, base.words, 3), adapted.run(3, Pass.REFERENCE, base.images, base.sigmas, base.words));
        }
    }

    /** A row alone, in company, beyond the largest batch, in reverse order, and in the training forward: the same bits. */
    @ParameterizedTest @EnumSource
    void velocityOfARowDoesNotDependOnTheBatch(Storage storage) {
        for (GlyphConfig config : new GlyphConfig[] {TINY, GlyphConfig.DEFAULT}) {
            int batch = 7;
            try (var c = new Case(config, storage.type, batch, GlyphModel.Trains.EVERYTHING, null, 14); var chunked = new Case(config, storage.type, batch, 3, GlyphModel.Trains.EVERYTHING, null, 14)) {
                int n = config.latentSize();
                float[] together = c.velocity(c.images, c.sigmas, c.words, batch);
                assertArrayEquals(together, chunked.velocity(c.images, c.sigmas, c.words, batch), "in chunks of 3");
                assertArrayEquals(together, c.run(batch, Pass.TRAIN, c.images, c.sigmas, c.words), "training forward");
                for (int row = 0; row < batch; row++) {
                    float[] alone = c.velocity(Arrays.copyOfRange(c.images, row * n, (row + 1) * n), new float[] {c.sigmas[row]},
                            Arrays.copyOfRange(c.words, row * config.tokens(), (row + 1) * config.tokens()), 1);
                    assertArrayEquals(Arrays.copyOfRange(together, row * n, (row + 1) * n), alone, "row " + row + " alone");
                }
            }
        }
    }

    @Test
    void theReferenceOfFullTrainingStaysWhatItWas() {
        try (var c = new Case(TINY, DType.BF16, 3, GlyphModel.Trains.EVERYTHING, null, 15)) {
            float[] before = c.velocity(c.images, c.sigmas, c.words, 3);
            Parameters parameters = c.model.trained();
            parameters.takeReference(stream);
            try (HostMemory host = Parameters.download(parameters.values(), stream)) {
                MemorySegment flat = host.segment();
                for (long i = 0; i < parameters.size(); i++) {
                    flat.setAtIndex(ValueLayout.JAVA_FLOAT, i, 1.25f * flat.getAtIndex(ValueLayout.JAVA_FLOAT, i));
                }
                Parameters.upload(flat, parameters.values(), stream);
            }
            c.model.parametersChanged(stream);
            float[] after = c.velocity(c.images, c.sigmas, c.words, 3);
            assertTrue(!Arrays.equals(before, after), "changed parameters change the velocity");
            assertArrayEquals(before, c.run(3, Pass.REFERENCE, c.images, c.sigmas, c.words));
            assertArrayEquals(after, c.velocity(c.images, c.sigmas, c.words, 3), "and the reference leaves them alone");
        }
    }

    @Test
    void buildingAndClosingLeavesNothing() {
        new Case(TINY, DType.F32, 2, GlyphModel.Trains.ADAPTER, LORA, 1).close();
        String outstanding = device.outstanding();
        for (int i = 0; i < 3; i++) {
            new Case(TINY, DType.F32, 2, GlyphModel.Trains.ADAPTER, LORA, 1).close();
            new Case(TINY, DType.BF16, 2, GlyphModel.Trains.EVERYTHING, null, 1).close();
        }
        assertEquals(outstanding, device.outstanding());
    }

    @Test
    void aModelThatDoesNotFitSaysSoAndLeavesNothing() {
        new Case(TINY, DType.F32, 2, GlyphModel.Trains.NOTHING, null, 1).close();
        String outstanding = device.outstanding();
        var failure = assertThrows(GpuException.class, () -> new GlyphModel(device, GlyphModel.Options.inference(GlyphConfig.DEFAULT, DType.F32, 100_000_000)));
        assertTrue(failure.getMessage().contains("activations of the rollout"), failure.getMessage());
        assertEquals(outstanding, device.outstanding());
    }

    @Test
    void aStepAllocatesNothingOnTheJavaHeap() {
        var thread = (com.sun.management.ThreadMXBean) java.lang.management.ManagementFactory.getThreadMXBean();
        try (var c = new Case(TINY, DType.BF16, 2, GlyphModel.Trains.EVERYTHING, null, 1)) {
            c.gradients(1);
            long bytes = Long.MAX_VALUE;
            for (int round = 0; round < 30 && bytes >= 4096; round++) {        // until the JVM has compiled the way to the driver
                long before = thread.getCurrentThreadAllocatedBytes();
                for (int i = 0; i < 100; i++) {
                    c.step();
                }
                bytes = (thread.getCurrentThreadAllocatedBytes() - before) / 100;
                stream.synchronize();
            }
            assertTrue(bytes < 4096, "a training step of about 150 launches allocates " + bytes + " bytes");
        }
    }

    private static void assertClose(double[] expected, float[] actual, double relative, String what) {
        assertEquals(expected.length, actual.length, what);
        double max = 0;
        for (double e : expected) {
            max = Math.max(max, Math.abs(e));
        }
        double worst = 0;
        for (int i = 0; i < expected.length; i++) {
            double error = Math.abs(expected[i] - actual[i]);
            assertTrue(error <= relative * max, () -> what + ": error " + error + ", largest value " + Arrays.stream(expected).map(Math::abs).max().getAsDouble());
            worst = Math.max(worst, error);
        }
    }

    /** A model with random parameters on the device, the same in the reference, and random inputs. */
    private static final class Case implements AutoCloseable {
        final GlyphConfig config;
        final GlyphModel model;
        final GlyphReference reference;
        final int batch;
        final float[] images;
        final float[] sigmas;
        final int[] words;
        final float[] weights;
        private final DeviceMemory memory;
        private final HostMemory host;
        private final long latents;
        private final long sigma;
        private final long conditions;
        private final long velocity;
        private final long gradient;

        Case(GlyphConfig config, DType type, int batch, GlyphModel.Trains trains, LoraConfig lora, long seed) {
            this(config, type, batch, batch, trains, lora, seed);
        }

        Case(GlyphConfig config, DType type, int batch, int maxBatch, GlyphModel.Trains trains, LoraConfig lora, long seed) {
            this.config = config;
            this.batch = batch;
            Random random = new Random(seed);
            model = new GlyphModel(device, new GlyphModel.Options(config, type, maxBatch, batch, trains, lora,
                    trains == GlyphModel.Trains.EVERYTHING ? Set.of(Parameters.Keep.REFERENCE) : Set.of()));
            reference = new GlyphReference(config);
            randomise(model.baseParameters(), type, random);
            model.baseChanged(stream);
            if (lora != null) {
                randomise(model.trained(), type, random);
                model.parametersChanged(stream);
                reference.rank = lora.rank();
                reference.scale = lora.scale("");
            }
            int n = config.latentSize();
            images = floats(batch * n, random, 1);
            sigmas = new float[batch];
            words = new int[batch * config.tokens()];
            weights = floats(batch * n, random, 1);
            for (int i = 0; i < batch; i++) {
                sigmas[i] = i == 0 ? 1 : random.nextFloat();
            }
            for (int i = 0; i < words.length; i++) {
                words[i] = random.nextInt(config.vocabulary());
            }
            if (type == DType.BF16) {
                for (float[] array : new float[][] {images, weights}) {
                    for (int i = 0; i < array.length; i++) {
                        array[i] = round(array[i]);
                    }
                }
            }
            long bytes = 4L * batch * n;
            memory = device.allocate(3 * bytes + 4096, "test");
            latents = memory.address();
            velocity = latents + bytes;
            gradient = velocity + bytes;
            sigma = gradient + bytes;
            conditions = sigma + 1024;
            host = HostMemory.allocate(bytes);
        }

        private void randomise(Parameters parameters, DType type, Random random) {
            try (HostMemory flat = HostMemory.allocate(4 * parameters.size())) {
                flat.segment().fill((byte) 0);
                for (Slot slot : parameters.layout().slots().values()) {
                    double[] values = new double[(int) slot.elements()];
                    double deviation = slot.shape().length == 2 ? 0.8 / Math.sqrt(slot.shape()[1]) : 0.2;
                    for (int i = 0; i < values.length; i++) {
                        float value = (float) (deviation * random.nextGaussian() + (slot.name().contains(".norm_") ? 1 : 0));
                        value = type == DType.BF16 ? round(value) : value;
                        values[i] = value;
                        flat.segment().setAtIndex(ValueLayout.JAVA_FLOAT, slot.offset() + i, value);
                    }
                    int lora = slot.name().indexOf(".lora_");
                    if (lora < 0) {
                        reference.parameters.put(slot.name(), values);
                    } else {
                        reference.adapters.computeIfAbsent(slot.name().substring(0, lora), name -> new double[2][])[slot.name().contains("lora_A") ? 0 : 1] = values;
                    }
                }
                Parameters.upload(flat.segment(), parameters.values(), stream);
            }
        }

        static float round(float value) {
            int bits = Float.floatToRawIntBits(value);
            return Float.intBitsToFloat(bits + 0x7fff + (bits >>> 16 & 1) & 0xffff0000);
        }

        private static float[] floats(int count, Random random, double deviation) {
            float[] out = new float[count];
            for (int i = 0; i < count; i++) {
                out[i] = (float) (deviation * random.nextGaussian());
            }
            return out;
        }

        double[] reference() {
            int n = config.latentSize();
            double[] out = new double[batch * n];
            for (int b = 0; b < batch; b++) {
                System.arraycopy(reference.velocity(Arrays.copyOfRange(images, b * n, (b + 1) * n), sigmas[b], Arrays.copyOfRange(words, b * config.tokens(), (b + 1) * config.tokens())), 0, out, b * n, n);
            }
            return out;
        }

        private double loss() {
            double[] v = reference();
            double sum = 0;
            for (int i = 0; i < v.length; i++) {
                sum += v[i] * weights[i];
            }
            return sum;
        }

        float[] velocity(float[] images, float[] sigmas, int[] words, int rows) {
            return run(rows, Pass.ROLLOUT, images, sigmas, words);
        }

        float[] run(int rows, Pass pass, float[] images, float[] sigmas, int[] words) {
            upload(images, sigmas, words);
            switch (pass) {
                case ROLLOUT -> model.velocity(stream, latents, sigma, conditions, velocity, rows);
                case TRAIN -> model.trainVelocity(stream, latents, sigma, conditions, velocity, rows);
                case REFERENCE -> model.referenceVelocity(stream, latents, sigma, conditions, velocity, rows);
            }
            int n = rows * config.latentSize();
            float[] out = new float[n];
            MemorySegment segment = host.segment().asSlice(0, model.storage().bytes(n));
            stream.copyToHost(segment, velocity);
            stream.synchronize();
            for (int i = 0; i < n; i++) {
                out[i] = model.storage() == DType.F32 ? segment.getAtIndex(ValueLayout.JAVA_FLOAT, i) : Float.intBitsToFloat(segment.getAtIndex(ValueLayout.JAVA_SHORT, i) << 16);
            }
            return out;
        }

        private void upload(float[] images, float[] sigmas, int[] words) {
            copy(MemorySegment.ofArray(images), latents);
            copy(MemorySegment.ofArray(sigmas), sigma);
            copy(MemorySegment.ofArray(words), conditions);
        }

        private void copy(MemorySegment heap, long address) {
            MemorySegment part = host.segment().asSlice(0, heap.byteSize());
            part.copyFrom(heap);
            stream.copyToDevice(address, part);
            stream.synchronize();
        }

        /** Parameter gradients of sum(velocity * weights) after some backwards without clearing. */
        float[] gradients(int times) {
            upload(images, sigmas, words);
            if (model.storage() == DType.F32) {
                copy(MemorySegment.ofArray(weights), gradient);
            } else {
                short[] bits = new short[weights.length];
                for (int i = 0; i < bits.length; i++) {
                    bits[i] = (short) (Float.floatToRawIntBits(weights[i]) >>> 16);
                }
                copy(MemorySegment.ofArray(bits), gradient);
            }
            model.zeroGradients(stream);
            for (int i = 0; i < times; i++) {
                step();
            }
            try (HostMemory flat = Parameters.download(model.trained().gradients(), stream)) {
                return flat.segment().toArray(ValueLayout.JAVA_FLOAT);
            }
        }

        void step() {
            model.trainVelocity(stream, latents, sigma, conditions, velocity, batch);
            model.backward(stream, gradient, batch);
        }

        /** Some entries of one parameter, the one of largest gradient among them, against central differences. */
        void checkGradient(Slot slot, float[] gradients, double[] parameter, double tolerance) {
            int count = (int) slot.elements();
            int largest = 0;
            for (int i = 0; i < count; i++) {
                if (Math.abs(gradients[(int) slot.offset() + i]) > Math.abs(gradients[(int) slot.offset() + largest])) {
                    largest = i;
                }
            }
            double max = Math.abs(gradients[(int) slot.offset() + largest]);
            if (slot.name().equals("transformer_blocks." + (config.depth() - 1) + ".attn.norm_added_q.weight")) {
                assertEquals(0, max, "nobody reads the last block's text queries");
            } else {
                assertTrue(max > 0, slot.name() + " has no gradient");
            }
            Random random = new Random(slot.offset());
            for (int trial = 0; trial < 5; trial++) {
                int i = trial == 0 ? largest : random.nextInt(count);
                double h = 1e-4;
                double kept = parameter[i];
                parameter[i] = kept + h;
                double up = loss();
                parameter[i] = kept - h;
                double down = loss();
                parameter[i] = kept;
                double expected = (up - down) / (2 * h);
                double actual = gradients[(int) slot.offset() + i];
                assertTrue(Math.abs(expected - actual) <= tolerance * max,
                        slot.name() + "[" + i + "] of " + config + ": gradient " + actual + ", by differences " + expected + ", largest in the tensor " + max);
            }
        }

        @Override
        public void close() {
            host.close();
            memory.close();
            model.close();
        }
    }
}
