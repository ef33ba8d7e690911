package dev.turningpoint.softgpu.fuzz;

import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.util.function.UnaryOperator;

class FuzzerTest {
    @Test
    void compiledCodeAndTheInterpreterAgree() {
        for (long seed = 1; seed <= 80; seed++) assertNull(new Fuzzer(seed).shrunkDifference(UnaryOperator.identity()));
    }

    /** Each is a mistake a translator could make: of sign, rounding, flushing, clamping, lanes, order, predicates. */
    @ParameterizedTest
    @CsvSource({"shr.s32,shr.u32", "cvt.rni,cvt.rzi", "mul.ftz.f32,mul.f32", "shf.l.clamp,shf.l.wrap", "vote.sync.any,vote.sync.all", "div.s32,div.u32", "mul.wide.s32,mul.wide.u32", "add.sat.s32,add.s32",
            "ltu.,lt.", "min.s32,min.u32", "@!%p1,@%p1", "fma.rz,fma.rn", "cvt.u32.u8,cvt.s32.s8", "st.shared.b64 [%t5],st.shared.b64 [%t4]"})
    void aPlantedMistakeIsFound(String right, String wrong) {
        int tried = 0;
        for (long seed = 1; tried < 40; seed++) {
            var fuzzer = new Fuzzer(seed);
            if (!fuzzer.text().contains(right)) continue;
            tried++;
            if (fuzzer.difference(text -> text.replace(right, wrong)) != null) return;
        }
        fail(right + " taken for " + wrong + " in none of " + tried + " kernels that have it");
    }

    @Test
    void aDifferenceIsShrunkToWhatShowsIt() {
        for (long seed = 1; ; seed++) {
            var fuzzer = new Fuzzer(seed);
            String found = fuzzer.shrunkDifference(text -> text.replace("xor.b32", "or.b32"));
            if (found == null) continue;
            assertTrue(found.contains("seed " + seed) && found.contains("xor.b32"), found);
            assertTrue(found.lines().count() < fuzzer.text().lines().count(), found);
            return;
        }
    }
}
