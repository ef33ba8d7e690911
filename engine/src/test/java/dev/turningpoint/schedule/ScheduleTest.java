package dev.turningpoint.schedule;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Schedules and step coefficients against the formulas of their papers; the reference data is replayed by the tests of the command check. */
class ScheduleTest {

    @ParameterizedTest
    @CsvSource({"1, 2", "8, 2", "8, 1", "28, 3"})
    void schedulesFallFromOneToZero(int steps, double shift) {
        for (Schedule s : new Schedule[] {Schedule.shifted(steps, shift), Schedule.sd3(steps, shift), Schedule.flux(steps, Schedule.fluxMu(1024))}) {
            assertEquals(steps, s.steps());
            assertEquals(1, s.sigma(0), 1e-12);
            assertEquals(0, s.sigma(steps));
        }
    }

    @Test
    void aScheduleThatRisesIsRefused() {
        assertThrows(IllegalArgumentException.class, () -> new Schedule(new double[] {1, 0.5, 0.6, 0}));
        assertThrows(IllegalArgumentException.class, () -> new Schedule(new double[] {1, 0.5}));
        assertThrows(IllegalArgumentException.class, () -> new StepTable(Schedule.shifted(4, 1), StepType.CPS, 0.5, 2, 5));
    }

    @ParameterizedTest
    @CsvSource({"0.9, 0.7, 0.7", "1, 0.8, 0.4", "0.4, 0.1, 1.3"})
    void sdeIsTheFormulaOfFlowGrpo(double sigma, double next, double a) {
        double below = 0.95, s = a * Math.sqrt(sigma / (1 - (sigma == 1 ? below : sigma))), dt = next - sigma, x = 0.3, v = -0.8;
        StepCoefficients c = StepCoefficients.sde(sigma, next, below, a);
        double mean = x * (1 + s * s / (2 * sigma) * dt) + v * (1 + s * s * (1 - sigma) / (2 * sigma)) * dt, std = s * Math.sqrt(-dt);
        assertEquals(mean, c.keep() * x + c.drift() * v, 1e-14);
        assertEquals(std, c.spread(), 1e-14);
        double at = mean + 0.2;                                                 // the Gaussian density there
        assertEquals(-(at - mean) * (at - mean) / (2 * std * std) - Math.log(std) - Math.log(Math.sqrt(2 * Math.PI)), c.logScale() * 0.04 + c.logOffset(), 1e-12);
        assertEquals(1 / (2 * s * s), c.klScale(), 1e-12);
    }

    @ParameterizedTest
    @CsvSource({"0.9, 0.7, 0.7", "1, 0.8, 0.4", "0.3, 0, 0.7"})
    void cpsKeepsTheNoiseLevelOfTheSchedule(double sigma, double next, double a) {
        StepCoefficients c = StepCoefficients.cps(sigma, next, a);
        double image = 0.4, eps = -1.1, x = (1 - sigma) * image + sigma * eps, v = eps - image;
        double fromNoise = Math.sqrt(next * next - c.spread() * c.spread());
        assertEquals((1 - next) * image + fromNoise * eps, c.keep() * x + c.drift() * v, 1e-14);   // with its noise: (1 - next) image + next * unit noise
        assertEquals(next * Math.sin(a * Math.PI / 2), c.spread(), 1e-14);
    }

    @Test
    void withoutNoiseEveryStepIsTheOdeStep() {
        for (StepCoefficients c : new StepCoefficients[] {StepCoefficients.sde(0.6, 0.4, 0.9, 0), StepCoefficients.cps(0.6, 0.4, 0), StepCoefficients.ode(0.6, 0.4)}) {
            assertEquals(1, c.keep(), 1e-15);
            assertEquals(-0.2, c.drift(), 1e-15);
            assertEquals(0, c.spread());
            assertEquals(Double.POSITIVE_INFINITY, c.klScale());
            assertTrue(Double.isFinite(c.logScale()) && Double.isFinite(c.logOffset()), "a step without spread has a finite log-probability");
        }
    }
}
