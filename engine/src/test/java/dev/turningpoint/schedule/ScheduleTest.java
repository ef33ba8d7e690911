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
        assertThrows(IllegalArgumentException.class, () -> StepTable.of(Schedule.shifted(4, 1), StepType.CPS, 0.5, 2, 5));
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
        assertEquals(1 / (2 * std * std), c.klScale(), 1e-12 / (std * std));    // of two Gaussians with this std
        assertEquals(1 / (2 * s * s), c.withPublishedKl().klScale(), 1e-12);
    }

    /** {@code flux_step} of DanceGRPO's code: an ODE step and half of eta^2 times the score that the velocity implies. */
    @ParameterizedTest
    @CsvSource({"0.9, 0.7, 0.7", "1, 0.8, 0.4", "0.3, 0, 0.3"})
    void danceIsTheFormulaOfDanceGrpo(double sigma, double next, double eta) {
        double x = 0.3, v = -0.8, dsigma = next - sigma, image = x - sigma * v, score = -(x - image * (1 - sigma)) / (sigma * sigma);
        StepCoefficients c = StepCoefficients.dance(sigma, next, eta);
        assertEquals(x + dsigma * v - 0.5 * eta * eta * score * dsigma, c.keep() * x + c.drift() * v, 1e-14);
        assertEquals(eta * Math.sqrt(sigma - next), c.spread(), 1e-14);
        assertEquals(-1 / (2 * eta * eta * (sigma - next)), c.logScale(), 1e-9);
    }

    @Test
    void windowsLieWithinTheirRangeAndMoveAsTheySay() {
        assertEquals(2, Window.fixed(2, 5).start(1000));
        var sliding = new Window(1, 6, 3, Window.Move.SLIDING, 2, 9, 4, 2);            // 8 trajectories an iteration; starts 1, 2, 3
        assertEquals(java.util.List.of(1, 1, 2, 2, 3, 3, 1, 1), java.util.stream.IntStream.range(0, 8).map(iteration -> sliding.start(8 * iteration + 5)).boxed().toList());
        var random = new Window(1, 6, 3, Window.Move.RANDOM, 1, 9, 4, 2);
        var counts = new int[7];
        for (int group = 0; group < 3000; group++) {
            int start = random.start(4 * group);
            counts[start]++;
            for (int i = 1; i < 4; i++) {
                assertEquals(start, random.start(4 * group + i), "a prompt's trajectories share their window");
            }
        }
        for (int start = 0; start < 7; start++) {
            assertEquals(start >= 1 && start <= 3 ? 1000 : 0, counts[start], start >= 1 && start <= 3 ? 130 : 0, "5 standard deviations of windows at " + start);
        }
        assertThrows(IllegalArgumentException.class, () -> new Window(1, 6, 6, Window.Move.RANDOM, 1, 9, 4, 2));
        assertThrows(IllegalArgumentException.class, () -> new Window(1, 6, 3, Window.Move.NONE, 1, 9, 4, 2));
    }

    @Test
    void everyStepHasTheNoiseLevelOfItsPlace() {
        Schedule schedule = Schedule.sd3(4, 3);
        var steps = new StepTable(schedule, StepType.CPS, new double[] {0.1, 0.2, 0.3, 0.4}, Window.fixed(1, 3), 1);
        assertEquals(StepCoefficients.of(StepType.CPS, schedule, 1, 0.2), steps.row(steps.trajectoryRow(1)));
        assertEquals(StepCoefficients.of(StepType.CPS, schedule, 2, 0.3), steps.row(steps.trajectoryRow(2)));
        assertEquals(0, steps.row(steps.trajectoryRow(0)).spread());
        assertEquals(0, steps.row(steps.trajectoryRow(3)).spread());
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
