package dev.turningpoint.softgpu.fuzz;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

import java.util.function.UnaryOperator;

class FuzzerTest {
    /** As many as a build has time for; {@link Fuzzer#main} tries more. */
    @Test
    void compiledCodeAndTheInterpreterAgree() {
        for (long seed = 1; seed <= 100; seed++) {
            var fuzzer = new Fuzzer(seed);
            if (fuzzer.difference(UnaryOperator.identity()) != null) fail(fuzzer.shrunkDifference(UnaryOperator.identity()));
        }
    }

    /** Of the first kernels whose translation the mistake changes, one shows it. */
    @ParameterizedTest
    @EnumSource
    void aMistakeOfTheTranslatorIsFound(Mistake mistake) { firstThatShows(mistake, 0); }

    /** @param lines of a kernel at least */
    private static long firstThatShows(Mistake mistake, int lines) {
        int tried = 0;
        for (long seed = 1; tried < 25 && seed < 3000; seed++) {
            var fuzzer = new Fuzzer(seed);
            if (fuzzer.text().lines().count() < lines) continue;
            try {
                if (fuzzer.difference(ir -> changed(mistake, ir)) != null) return seed;
                tried++;
            } catch (Unchanged e) {
                // the mistake cannot be made in this one
            }
        }
        return fail(mistake + " shows in none of " + tried + " kernels");
    }

    private static final class Unchanged extends RuntimeException { }

    private static String changed(Mistake mistake, String ir) {
        String with = mistake.in(ir);
        if (with.equals(ir)) throw new Unchanged();
        return with;
    }

    @Test
    void aDifferenceIsShrunkToWhatShowsIt() {
        long seed = firstThatShows(Mistake.UNSIGNED_DIVISION, 70);
        var fuzzer = new Fuzzer(seed);
        String found = fuzzer.shrunkDifference(Mistake.UNSIGNED_DIVISION::in);
        assertTrue(found.contains("seed " + seed) && found.contains("div.s32"), found);
        assertTrue(found.lines().count() < fuzzer.text().lines().count(), found);
    }

    @Test
    void aSeedGivesTheSameKernel() {
        assertEquals(new Fuzzer(5).text(), new Fuzzer(5).text());
        assertFalse(new Fuzzer(5).text().equals(new Fuzzer(6).text()));
    }

    /** The bounds of the manual's approximate operations, from both sides. */
    @Test
    void estimatesAgreeWithinTheirBounds() {
        assertTrue(Estimates.agree("ex2.approx.f32", 1.5f, 2.828427f, Math.nextUp(2.828427f)));
        assertFalse(Estimates.agree("ex2.approx.f32", 1.5f, 2.828427f, 2.828427f * (1 + 0x1p-20f)));
        assertFalse(Estimates.agree("rcp.approx.f32", 3, 1 / 3f, Math.nextUp(Math.nextUp(Math.nextUp(1 / 3f)))));
        assertTrue(Estimates.agree("sin.approx.f32", 3, 0.14112f, 0.14112f + 0x1p-21f));
        assertFalse(Estimates.agree("sin.approx.f32", 3, 0.14112f, 0.14112f + 0x1p-19f));
        assertTrue(Estimates.agree("lg2.approx.f32", 1.0001f, 1.4426e-4f, 1.4426e-4f + 0x1p-23f));
        assertFalse(Estimates.agree("lg2.approx.f32", 4, 2, 2 + 0x1p-20f));
        assertTrue(Estimates.agree("tanh.approx.f32", 1, 0.7616f, 0.7616f * (1 + 0x1p-12f)));
        assertTrue(Estimates.agree("cos.approx.f32", Float.POSITIVE_INFINITY, Float.NaN, Float.NaN));
        assertFalse(Estimates.agree("cos.approx.f32", Float.POSITIVE_INFINITY, Float.NaN, 1));
    }
}
