package dev.turningpoint.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.turningpoint.gpu.DType;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** The benchmark runs, and measures a step of the schedule it says. */
class SdeStepBenchmarkTest {

    @ParameterizedTest
    @EnumSource(names = {"F32", "BF16"})
    void everyMethodRuns(DType velocities) {
        var benchmark = new SdeStepBenchmark();
        benchmark.batch = 3;
        benchmark.n = 1536;
        benchmark.velocities = velocities;
        benchmark.allocate();
        try {
            benchmark.drawn();
            benchmark.given();
            benchmark.replay();
        } finally {
            benchmark.free();
        }
    }

    /** Without noise the step is the ODE's, and its mean moves by v dt. */
    @org.junit.jupiter.api.Test
    void coefficientsApproachTheOdeAsNoiseVanishes() {
        float[] c = SdeStepBenchmark.coefficients(0.7, 0.6, 1e-6);
        assertEquals(1, c[0], 1e-6);
        assertEquals(-0.1, c[1], 1e-6);
        assertEquals(1e-6 * Math.sqrt(0.7 / 0.3) * Math.sqrt(0.1), c[2], 1e-12);
    }
}
