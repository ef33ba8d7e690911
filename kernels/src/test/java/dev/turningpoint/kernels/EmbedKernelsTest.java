package dev.turningpoint.kernels;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;

import dev.turningpoint.gpu.DType;
import java.util.Arrays;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/** Patches, positions, timesteps and token embeddings against plain Java. */
class EmbedKernelsTest {
    static DeviceFixture on;
    static EmbedKernels kernels;

    @BeforeAll
    static void open() {
        on = new DeviceFixture();
        kernels = new EmbedKernels(on.device);
    }

    @AfterAll
    static void close() {
        kernels.close();
        on.close();
    }

    static Stream<Arguments> images() {  // batch, channels, height, width, patch
        return Arrays.stream(new int[][] {{2, 1, 24, 64, 4}, {1, 1, 8, 36, 4}, {2, 3, 6, 10, 2}, {1, 16, 4, 34, 2}, {2, 16, 4, 96, 2}, {1, 48, 6, 64, 2}, {3, 1, 3, 9, 3}, {1, 2, 8, 64, 8}, {2, 2, 5, 7, 1}})
                .flatMap(s -> Stream.of(DType.F32, DType.BF16).flatMap(image -> Stream.of(DType.F32, DType.BF16)
                        .flatMap(token -> Stream.of(Arguments.of(s, image, token, false), Arguments.of(s, image, token, true)))));
    }

    @ParameterizedTest @MethodSource("images")
    void patchesHoldTheirPixels(int[] s, DType image, DType token, boolean channelsLast) {
        int batch = s[0], channels = s[1], height = s[2], width = s[3], p = s[4], n = batch * channels * height * width, features = channels * p * p;
        float[] pixels = DeviceFixture.gaussian(new Random(1), DType.BF16, n, 1), tokens = new float[n];
        for (int i = 0; i < n; i++) {
            int x = i % width, y = i / width % height, c = i / width / height % channels, b = i / width / height / channels;
            int t = (b * (height / p) + y / p) * (width / p) + x / p;
            tokens[t * features + (channelsLast ? (y % p * p + x % p) * channels + c : (c * p + y % p) * p + x % p)] = pixels[i];
        }
        long in = on.store(image, pixels), out = on.store(token, new float[n]), back = on.store(image, new float[n]);
        kernels.patchify(on.stream, image, in, token, out, batch, channels, height, width, p, channelsLast);
        assertArrayEquals(tokens, on.read(token, out, n));
        kernels.unpatchify(on.stream, token, out, image, back, batch, channels, height, width, p, channelsLast);
        assertArrayEquals(pixels, on.read(image, back, n));
    }

    @ParameterizedTest @CsvSource({"F32,1,128", "F32,7,256", "F32,3,34", "BF16,5,128", "F32,2,2"})
    void timestepEmbeddingMatchesFloat64(DType type, int batch, int width) {
        float[] sigma = new float[batch];
        double[] expected = new double[batch * width];
        var random = new Random(2);
        for (int b = 0; b < batch; b++) {
            sigma[b] = b == 0 ? 1 : b == 1 ? 0 : random.nextFloat();
            for (int i = 0; i < width / 2; i++) {
                double angle = 1000.0 * sigma[b] * Math.pow(10000, -i / (width / 2.0));
                expected[b * width + i] = Math.cos(angle);
                expected[b * width + width / 2 + i] = Math.sin(angle);
            }
        }
        long out = on.store(type, new float[batch * width]);
        kernels.timestepEmbedding(on.stream, type, on.f32(sigma), out, batch, width);
        Expect.stored("embedding", type, expected, on.read(type, out, batch * width), 0, 1e-4);
    }

    @ParameterizedTest @CsvSource({"F32,1,5", "F32,3,9216", "BF16,2,1500", "BF16,5,131"})
    void positionsAreAddedAndTheirGradientSummed(DType type, int batch, int n) {
        var random = new Random(3);
        float[] x = DeviceFixture.gaussian(random, type, batch * n, 1), position = DeviceFixture.gaussian(random, DType.F32, n, 1), sum = new float[batch * n];
        float[] dOut = DeviceFixture.gaussian(random, DType.F32, batch * n, 1), before = DeviceFixture.gaussian(random, DType.F32, n, 1);
        double[] gradient = Expect.doubles(before);
        for (int i = 0; i < batch * n; i++) {
            sum[i] = x[i] + position[i % n];
            gradient[i % n] += dOut[i];
        }
        long out = on.f32(new float[batch * n]), g = on.f32(before), dy = on.f32(dOut), again = on.f32(before);
        kernels.addPosition(on.stream, type, on.store(type, x), on.f32(position), out, batch, n);
        assertArrayEquals(sum, on.readF32(out, batch * n));
        kernels.positionGradient(on.stream, dy, g, batch, n);
        kernels.positionGradient(on.stream, dy, again, batch, n);
        Expect.close("dPosition", gradient, on.readF32(g, n), 1e-6, 1e-6);
        assertArrayEquals(on.readF32(g, n), on.readF32(again, n));
    }

    @ParameterizedTest @CsvSource({"1,1,4,3", "5,5,96,32", "3,7,33,5", "2,4,130,40"})
    void tokensTakeTheirRowsAndGradientsGoBackToThem(int batch, int tokens, int width, int vocabulary) {
        var random = new Random(4);
        int rows = batch * tokens;
        int[] ids = random.ints(rows, 0, vocabulary).toArray();
        float[] table = DeviceFixture.gaussian(random, DType.F32, vocabulary * width, 1), position = DeviceFixture.gaussian(random, DType.F32, tokens * width, 1);
        float[] dOut = DeviceFixture.gaussian(random, DType.F32, rows * width, 1), before = DeviceFixture.gaussian(random, DType.F32, vocabulary * width, 1);
        float[] expected = new float[rows * width], bare = new float[rows * width];
        double[] gradient = Expect.doubles(before);
        for (int r = 0; r < rows; r++) {
            for (int c = 0; c < width; c++) {
                bare[r * width + c] = table[ids[r] * width + c];
                expected[r * width + c] = bare[r * width + c] + position[r % tokens * width + c];
                gradient[ids[r] * width + c] += dOut[r * width + c];
            }
        }
        long at = on.i32(ids), t = on.f32(table), out = on.f32(new float[rows * width]), g = on.f32(before);
        kernels.tokenEmbedding(on.stream, at, t, on.f32(position), out, batch, tokens, width, vocabulary);
        assertArrayEquals(expected, on.readF32(out, rows * width));
        kernels.tokenEmbedding(on.stream, at, t, 0, out, batch, tokens, width, vocabulary);
        assertArrayEquals(bare, on.readF32(out, rows * width));
        kernels.tokenEmbeddingGradient(on.stream, at, on.f32(dOut), g, batch, tokens, width, vocabulary);
        Expect.close("dTable", gradient, on.readF32(g, vocabulary * width), 1e-6, 1e-6);
    }

    @ParameterizedTest @EnumSource(value = DType.class, names = {"F32", "BF16"})
    void timestepOfASampleDoesNotDependOnTheBatch(DType type) {
        float[] sigma = {0.9f, 0.123f, 0.5f, 0.77f, 0.01f};
        long at = on.f32(sigma), all = on.store(type, new float[5 * 128]), one = on.store(type, new float[128]);
        kernels.timestepEmbedding(on.stream, type, at, all, 5, 128);
        kernels.timestepEmbedding(on.stream, type, at + 12, one, 1, 128);
        assertArrayEquals(Arrays.copyOfRange(on.read(type, all, 5 * 128), 3 * 128, 4 * 128), on.read(type, one, 128));
    }

    @Test
    void shapesThatDoNotFitAreTold() {
        org.junit.jupiter.api.Assertions.assertThrows(IllegalArgumentException.class,
                () -> kernels.patchify(on.stream, DType.F32, 64, DType.F32, 64, 1, 1, 6, 8, 4, false));
    }
}
