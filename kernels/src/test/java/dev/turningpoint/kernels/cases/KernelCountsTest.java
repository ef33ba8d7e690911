package dev.turningpoint.kernels.cases;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.turningpoint.gpu.Device;
import dev.turningpoint.softgpu.count.Counting;
import dev.turningpoint.softgpu.count.LaunchCounts;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIfSystemProperty;

/**
 * What every kernel of the project costs, counted on its small cases: memory traffic at most 5 % over compulsory, for the memory and for the second-level cache, no uncoalesced
 * access, no bank conflict. What does not hold stands in the kernel's header with its reason, {@code // Uncoalesced, name, name: reason} (or {@code Over compulsory},
 * {@code Shared by blocks}, {@code Bank conflicts}), and nothing else does.
 */
@EnabledIfSystemProperty(named = Counting.PROPERTY, matches = "true")
class KernelCountsTest {
    private static final Pattern REASON = Pattern.compile("^// (Over compulsory|Shared by blocks|Uncoalesced|Bank conflicts), ([\\w, ]+): \\S.*");

    private record Counted(KernelCase of, KernelLaunch launch, LaunchCounts counts) {
        /** What memory has to move if an array's last bytes cost it a whole sector. */
        long compulsoryBytes() {
            return Stream.concat(launch.reads().stream(), launch.writes().stream()).mapToLong(b -> (b.compulsoryBytes() + 31) / 32 * 32).sum();
        }

        @Override
        public String toString() {
            return of + " " + launch.entry() + ": " + counts.dramBytes() + " bytes of " + compulsoryBytes() + ", " + counts.l2Bytes() + " of blocks, " + counts.uncoalesced() + " requests uncoalesced, "
                    + counts.bankConflicts() + " bank conflicts";
        }
    }

    private static final List<Counted> ALL = new ArrayList<>();

    @BeforeAll
    static void count() throws Exception {
        List<LaunchCounts> counts = Collections.synchronizedList(new ArrayList<>());
        Counting.DEVICE.to(counts::add);
        try (var device = Device.open(); var stream = device.newStream(); var launchers = new Launchers(device)) {
            for (KernelCase c : KernelCases.of(Size.SMALL)) {
                try (var run = new CaseRun(c, launchers, stream)) {
                    run.fill();
                    counts.clear();
                    run.launch();
                    stream.synchronize();
                }
                assertEquals(c.launches().stream().map(KernelLaunch::entry).toList(), counts.stream().map(LaunchCounts::kernel).toList());
                for (int i = 0; i < counts.size(); i++) {
                    ALL.add(new Counted(c, c.launches().get(i), counts.get(i)));
                }
            }
        }
    }

    @Test
    void trafficIsCompulsory() throws IOException {
        assertStated("Over compulsory", ALL.stream().filter(c -> c.counts.dramBytes() > 1.05 * c.compulsoryBytes()));
    }

    /** What several blocks read, the second-level cache has to give several times. */
    @Test
    void blocksDoNotShare() throws IOException {
        assertStated("Shared by blocks", ALL.stream().filter(c -> c.counts.l2Bytes() > 1.05 * Math.max(c.compulsoryBytes(), c.counts.dramBytes())));
    }

    @Test
    void accessesAreCoalesced() throws IOException {
        assertStated("Uncoalesced", ALL.stream().filter(c -> c.counts.uncoalesced() > 0));
    }

    @Test
    void banksDoNotConflict() throws IOException {
        assertStated("Bank conflicts", ALL.stream().filter(c -> c.counts.bankConflicts() > 0));
    }

    /** Nothing goes to local memory, which would be registers that do not suffice or an array that is indexed. */
    @Test
    void nothingIsLocal() {
        assertEquals(List.of(), ALL.stream().filter(c -> c.counts.localRequests() > 0).toList());
    }

    /** The kernels that show something are those whose headers say so. */
    private static void assertStated(String what, Stream<Counted> shown) throws IOException {
        Set<String> stated = stated(what);
        Map<String, String> found = new TreeMap<>();
        for (Counted c : shown.toList()) {
            found.merge(c.launch.entry().replaceFirst("(_(32|64|128))?(_(f32|bf16))*$", ""), c.toString(), (a, b) -> a);   // of all head dimensions and storage types
        }
        assertEquals(stated, found.keySet(), () -> what + ": " + found.entrySet().stream().filter(e -> !stated.contains(e.getKey())).map(Map.Entry::getValue)
                .collect(Collectors.joining("\n", "\n", "\n")));
    }

    private static Set<String> stated(String what) throws IOException {
        var names = new TreeSet<String>();
        try (Stream<Path> files = Files.list(Path.of("src/main/cuda"))) {
            for (Path file : files.toList()) {
                for (String line : Files.readAllLines(file)) {
                    Matcher m = REASON.matcher(line);
                    if (m.matches() && m.group(1).equals(what)) {
                        for (String name : m.group(2).split(", ")) {
                            assertTrue(names.add(name), name + " is named twice");
                        }
                    }
                }
            }
        }
        return names;
    }
}
