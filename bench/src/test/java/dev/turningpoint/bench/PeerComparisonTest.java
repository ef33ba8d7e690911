package dev.turningpoint.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.turningpoint.gpu.DType;
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
        assertTrue(new Row(gather.subject(), new double[] {1e7}, new double[] {3.1e7}, 0, triad(bytes / 1e7 / 0.81), new Peak(100, 200)).met());
        assertFalse(new Row(gather.subject(), new double[] {1e7}, new double[] {2.9e7}, 0, triad(bytes / 1e7 / 0.81), new Peak(100, 200)).met(), "2.9 times as fast");
        assertFalse(new Row(gather.subject(), new double[] {1e7}, new double[] {3.1e7}, 0, triad(bytes / 1e7 / 0.79), new Peak(100, 200)).met(), "79 % of the triad");
        assertTrue(new Row(gather.subject(), new double[] {1e7}, new double[] {2.9e7}, 0, triad(bytes / 1e7 / 0.79), new Peak(100, 200)).toString().contains("2.90 of 3x, 79 of 80 %"));
        assertEquals(3.1, new Row(gather.subject(), new double[] {1e7}, new double[] {3.1e7}, 0, triad(20), new Peak(100, 200)).ratio(), 1e-12);
    }

    @Test
    void saysWhatTheMachineAllows() {
        var product = new Subject("product", "product", "rows 3", 100, 4000, DType.BF16, 3, false, "");
        var row = new Row(product, new double[] {50}, new double[] {100}, 0, new Triad(10, 0, 0, 40), new Peak(80, 100));
        assertEquals(2.5, row.possible(), 1e-12, "4,000 operations at 100 a nanosecond take 40 ns, 100 bytes at 40 a nanosecond 2.5 ns");
        assertTrue(row.outOfReach());
        assertTrue(row.toString().contains("2.00 of 3x, where the machine allows 2.50"));
        var copy = new Row(new Subject("copy", "copy", "n 3", 400, 0, null, 3, true, ""), new double[] {50}, new double[] {140}, 0, new Triad(10, 0, 0, 40), new Peak(80, 100));
        assertEquals(3.5, copy.possible(), 1e-12, "400 bytes at 10 a nanosecond: its arrays are in memory");
        assertFalse(copy.outOfReach(), "2.8 of 3 could be reached");
    }

    private static Triad triad(double best) {
        return new Triad(best, 0, 0, best);
    }
}
