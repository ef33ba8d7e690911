package dev.turningpoint.credit;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.turningpoint.credit.CreditAssigner.Credit;
import dev.turningpoint.credit.CreditOptions.Balancing;
import dev.turningpoint.credit.CreditOptions.Normalization;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.gpu.Stream;
import dev.turningpoint.kernels.CreditKernels;
import java.util.Arrays;
import java.util.Random;
import java.util.stream.IntStream;
import java.util.stream.Stream.Builder;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** What credit must not depend on, for every mode, balancing and normalization; to the bit. Rewards are multiples of 1/64, so that f32 differences of them are exact. */
class CreditPropertiesTest {
    static final int GROUPS = 5, SIZE = 8, TRAJECTORIES = GROUPS * SIZE, N = 6;
    static Device device;
    static Stream stream;
    static CreditKernels kernels;

    @BeforeAll
    static void open() {
        device = Device.open();
        stream = device.newStream();
        kernels = new CreditKernels(device);
    }

    @AfterAll
    static void close() {
        kernels.close();
        stream.close();
        device.close();
    }

    static java.util.stream.Stream<Arguments> everyOption() {
        Builder<Arguments> all = java.util.stream.Stream.builder();
        int seed = 0;
        for (CreditMode mode : CreditMode.values()) {
            for (Balancing balancing : mode.turns() ? Balancing.values() : new Balancing[] {Balancing.NONE}) {
                for (Normalization normalization : Normalization.values()) {
                    all.add(Arguments.of(new CreditOptions(mode, 1, balancing, normalization, 5, false), ++seed));
                }
            }
        }
        return all.build();
    }

    private static float[] rewards(Random random, int trajectories) {
        var r = new float[trajectories * (N + 1)];
        for (int i = 0; i < r.length; i++) {
            r[i] = random.nextInt(64) / 64f;
        }
        return r;
    }

    private static int[] groups() {
        return IntStream.range(0, TRAJECTORIES).map(b -> b / SIZE).toArray();
    }

    private static Credit assign(CreditOptions options, float[] rewards, int[] groupOf) {
        try (var assigner = new CreditAssigner(device, kernels, options, groupOf.length, N)) {
            return assigner.assign(stream, rewards, groupOf, Arrays.stream(groupOf).max().orElseThrow() + 1);
        }
    }

    @ParameterizedTest
    @MethodSource("everyOption")
    void theOrderOfTrajectoriesDoesNotMatter(CreditOptions options, int seed) {
        var random = new Random(seed);
        float[] rewards = rewards(random, TRAJECTORIES);
        for (int i = 0; i < rewards.length && seed % 2 == 0; i++) {
            rewards[i] = random.nextFloat();           // sums that round
        }
        int[] order = IntStream.range(0, TRAJECTORIES).toArray(), groupOf = groups();
        for (int i = TRAJECTORIES - 1; i > 0; i--) {
            int j = random.nextInt(i + 1), swap = order[i];
            order[i] = order[j];
            order[j] = swap;
        }
        var shuffled = new float[rewards.length];
        for (int i = 0; i < TRAJECTORIES; i++) {
            System.arraycopy(rewards, order[i] * (N + 1), shuffled, i * (N + 1), N + 1);
        }
        Credit plain = assign(options, rewards, groupOf), other = assign(options, shuffled, Arrays.stream(order).map(b -> groupOf[b]).toArray());
        for (int i = 0; i < TRAJECTORIES; i++) {
            for (int t = 0; t < N; t++) {
                int a = order[i] * N + t, b = i * N + t;
                String where = "seed " + seed + ", trajectory " + order[i] + ", step " + t;
                assertEquals(plain.reward()[a], other.reward()[b], where);
                assertEquals(plain.indicator()[a], other.indicator()[b], where);
                assertEquals(bits(plain.advantage()[a]), bits(other.advantage()[b]), where);
            }
        }
    }

    /** Groups that are assigned one by one, where nothing is taken over several. */
    @ParameterizedTest
    @MethodSource("everyOption")
    void splittingTheRolloutDoesNotMatter(CreditOptions options, int seed) {
        if (options.balancing() != Balancing.NONE || options.normalization() != Normalization.GROUP) {
            return;
        }
        float[] rewards = rewards(new Random(seed), TRAJECTORIES);
        Credit whole = assign(options, rewards, groups());
        for (int g = 0; g < GROUPS; g++) {
            Credit alone = assign(options, Arrays.copyOfRange(rewards, g * SIZE * (N + 1), (g + 1) * SIZE * (N + 1)), new int[SIZE]);
            assertArrayEquals(Arrays.copyOfRange(whole.reward(), g * SIZE * N, (g + 1) * SIZE * N), alone.reward(), "seed " + seed);
            assertArrayEquals(Arrays.stream(whole.advantage(), g * SIZE * N, (g + 1) * SIZE * N).mapToLong(CreditPropertiesTest::bits).toArray(),
                    Arrays.stream(alone.advantage()).mapToLong(CreditPropertiesTest::bits).toArray(), "seed " + seed);
        }
    }

    /** In every mode but those that use R_n itself; outcome uses it, but only against its group. The mean of 8 multiples of 1/64 is exact. */
    @ParameterizedTest
    @MethodSource("everyOption")
    void aConstantAddedToAllRewardsOfAGroupChangesNothing(CreditOptions options, int seed) {
        if (options.mode() == CreditMode.OUTCOME_BONUS || options.mode() == CreditMode.OUTCOME && options.normalization() != Normalization.GROUP) {
            return;
        }
        float[] rewards = rewards(new Random(seed), TRAJECTORIES), shifted = rewards.clone();
        int[] groupOf = groups();
        for (int i = 0; i < shifted.length; i++) {
            shifted[i] += new float[] {0, 0.5f, -3, 8, 100}[groupOf[i / (N + 1)]];           // exact: multiples of 1/64 below 2^17
        }
        Credit a = assign(options, rewards, groupOf), b = assign(options, shifted, groupOf);
        assertArrayEquals(a.indicator(), b.indicator(), "seed " + seed);
        for (int i = 0; i < a.advantage().length; i++) {
            assertEquals(bits(a.advantage()[i]), bits(b.advantage()[i]), "seed " + seed);
        }
    }

    @ParameterizedTest
    @MethodSource("everyOption")
    void aGroupOfEqualTrajectoriesGetsExactlyZero(CreditOptions options, int seed) {
        if (options.balancing() != Balancing.NONE || options.normalization() == Normalization.GLOBAL) {
            return;                                    // balancing may keep a turning point of one and not of its equals
        }
        var random = new Random(seed);
        float[] rewards = rewards(random, TRAJECTORIES);
        for (int i = 0; i <= N; i++) {
            float r = random.nextFloat();              // of any value: the sums in double are exact
            for (int b = 2 * SIZE; b < 3 * SIZE; b++) {
                rewards[b * (N + 1) + i] = r;
            }
        }
        Credit credit = assign(options, rewards, groups());
        for (int i = 2 * SIZE * N; i < 3 * SIZE * N; i++) {
            assertEquals(0.0, credit.advantage()[i], "seed " + seed);
        }
        int[] kept = ZeroAdvantages.drop(credit.advantage(), N, IntStream.range(0, TRAJECTORIES).toArray(), 1);
        assertTrue(Arrays.stream(kept).noneMatch(b -> b / SIZE == 2), "seed " + seed);
    }

    @Test
    void zeroAdvantagesFillTheLastPartOnly() {
        var advantages = new double[12 * 2];
        int[] order = {7, 3, 11, 0, 1, 2, 4, 5, 6, 8, 9, 10};
        for (int teaching : new int[] {3, 5, 9, 10, 11}) {
            advantages[teaching * 2 + 1] = -1e-300;
        }
        assertArrayEquals(new int[] {7, 3, 11, 5, 9, 10}, ZeroAdvantages.drop(advantages, 2, order, 3));
        assertArrayEquals(new int[] {3, 11, 5, 9, 10}, ZeroAdvantages.drop(advantages, 2, order, 1));
        assertArrayEquals(new int[] {7, 3, 11, 0}, ZeroAdvantages.drop(new double[24], 2, order, 4), "nothing teaches: one a part");
    }

    private static long bits(double d) {
        return Double.doubleToLongBits(d);
    }
}
