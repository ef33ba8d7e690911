package dev.turningpoint.bench;

import dev.turningpoint.gpu.DType;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** The benchmark runs. */
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
}
