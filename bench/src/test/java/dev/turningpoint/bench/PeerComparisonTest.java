package dev.turningpoint.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.turningpoint.kernels.cases.KernelCase;
import dev.turningpoint.kernels.cases.KernelCases;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;

/** Every kernel of the project is compared, and a row says what was missed. */
class PeerComparisonTest {

    @Test
    void everyKernelIsCompared() {
        assertEquals(entries(KernelCases.named("")), entries(PeerComparison.cases().stream().map(Case::kernels).toList()));
    }

    private static Set<String> entries(List<KernelCase> cases) {
        var entries = new TreeSet<String>();
        cases.forEach(c -> c.launches().forEach(l -> entries.add(c.family() + "." + l.entry())));
        return entries;
    }

    @Test
    void noComparisonStandsTwice() {
        var seen = new HashSet<List<String>>();
        for (Case c : PeerComparison.cases()) assertTrue(seen.add(List.of(c.title(), c.kernels().name())), c.title() + " of " + c.kernels());
    }

    /** By hand: each of 256 x 65536 elements is read and written, and 256 row indices are read. */
    @Test
    void aRowMeasuresBothGoals() {
        Case gather = PeerComparison.cases().stream().filter(c -> c.kernels().name().equals("sampler.gather_rows_f32.dram")).findFirst().orElseThrow();
        long bytes = 2 * 4L * 256 * 65536 + 4 * 256;
        assertEquals(bytes, gather.kernels().compulsoryBytes());
        assertTrue(new Row(gather.subject(), new double[] {1e7}, new double[] {3.1e7}, 0, bytes / 1e7 / 0.81, new Peak(100, 200)).met());
        assertFalse(new Row(gather.subject(), new double[] {1e7}, new double[] {2.9e7}, 0, bytes / 1e7 / 0.81, new Peak(100, 200)).met(), "2.9 times as fast");
        assertFalse(new Row(gather.subject(), new double[] {1e7}, new double[] {3.1e7}, 0, bytes / 1e7 / 0.79, new Peak(100, 200)).met(), "79 % of the triad");
        assertTrue(new Row(gather.subject(), new double[] {1e7}, new double[] {2.9e7}, 0, bytes / 1e7 / 0.79, new Peak(100, 200)).toString().contains("2.90 of 3x, 79 of 80 %"));
        assertEquals(3.1, new Row(gather.subject(), new double[] {1e7}, new double[] {3.1e7}, 0, 20, new Peak(100, 200)).ratio(), 1e-12);
    }
}
