package dev.turningpoint.kernels.cases;

import static org.junit.jupiter.api.Assertions.assertAll;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.gpu.Device;
import dev.turningpoint.kernels.NormKernels;
import dev.turningpoint.softgpu.ptx.Instruction;
import dev.turningpoint.softgpu.ptx.Operand;
import dev.turningpoint.softgpu.ptx.PtxKernel;
import dev.turningpoint.softgpu.ptx.PtxParser;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/** The cases cover every kernel, do what they declare, and claim equal bits only where the PTX leaves a device no choice. */
class KernelCasesTest {
    static Map<String, PtxKernel> kernels;
    static Device device;
    static dev.turningpoint.gpu.Stream stream;
    static Launchers launchers;

    @BeforeAll
    static void open() throws Exception {
        kernels = committed();
        device = Device.open();
        stream = device.newStream();
        launchers = new Launchers(device);
        KernelCases.compile(device, 2);
    }

    @AfterAll
    static void close() throws Exception {
        launchers.close();
        stream.close();
        device.close();
    }

    /** Every entry of the committed PTX, as {@code family.entry}; a family may have a file for each storage type. */
    static Map<String, PtxKernel> committed() throws Exception {
        var found = new TreeMap<String, PtxKernel>();
        Path folder = Path.of(NormKernels.class.getResource("norm.ptx").toURI()).getParent();
        try (Stream<Path> files = Files.list(folder)) {
            for (Path file : files.filter(f -> f.toString().endsWith(".ptx")).toList()) {
                String family = file.getFileName().toString().replaceFirst("(_f32|_bf16)?\\.ptx$", "");
                PtxParser.parse(family, text(file)).kernels().values().forEach(k -> found.put(family + "." + k.name(), k));
            }
        }
        return found;
    }

    private static String text(Path file) throws IOException {
        return Files.readString(file);
    }

    static List<KernelCase> small() {
        return KernelCases.of(Size.SMALL);
    }

    @ParameterizedTest @EnumSource(names = {"SMALL", "GLYPH"})
    void everyEntryIsLaunchedBySomeCase(Size size) {
        var launched = new TreeSet<String>();
        KernelCases.of(size).forEach(c -> c.launches().forEach(l -> launched.add(c.family() + "." + l.entry())));
        var all = new TreeSet<>(kernels.keySet());
        if (size == Size.GLYPH) {  // its heads are 32 wide
            all.removeIf(k -> k.matches("attention\\.\\w+_(64|128)_\\w+|attention\\.attention_(64|128)_\\w+"));
        }
        assertEquals(all, launched);
    }

    @Test
    void namesAreUniqueAndLaunchesUseTheArraysByTheirRoles() {
        var names = new HashSet<String>();
        for (KernelCase c : KernelCases.named("")) {
            assertTrue(names.add(c.name()), c.name());
            assertEquals(c.buffers().size(), c.buffers().stream().map(Buffer::name).distinct().count(), c + " has two arrays of one name");
            Set<Buffer> read = new HashSet<>(), written = new HashSet<>();
            for (KernelLaunch l : c.launches()) {
                for (Buffer b : l.reads()) {
                    assertTrue(b.role() == Role.READ || b.role() == Role.READ_WRITE || written.contains(b) || l.writes().contains(b), c + " reads " + b.name() + " before it has a content");
                    read.add(b);
                }
                for (Buffer b : l.writes()) {
                    assertTrue(b.role() != Role.READ, c + " writes its input " + b.name());
                    written.add(b);
                }
            }
            for (Buffer b : c.buffers()) {
                assertTrue(b.role() == Role.WRITE || read.contains(b), c + " never reads " + b.name());
                assertTrue(b.role() == Role.READ || written.contains(b), c + " never writes " + b.name());
                assertTrue(b.touched() > 0 && b.touched() <= b.count(), c + ": " + b.name());
            }
        }
    }

    /** By hand: x, shift and scale are read, out and statistics written; 14 rows of 100, two samples. */
    @Test
    void compulsoryBytesOfAdaptiveLayerNorm() {
        var c = KernelCases.named("norm.adaptive_layer_norm_bf16.small").getFirst();
        assertEquals(4 * 1400 + 2 * 4 * 2 * 100 + 2 * 1400 + 2 * 4 * 14, c.compulsoryBytes());
        assertEquals(c.compulsoryBytes(), c.launches().getFirst().compulsoryBytes());
    }

    /** By hand: 9001 gradients are read and one double written in all; the first launch leaves two sums, one for every 8192 gradients, that the second reads. */
    @Test
    void compulsoryBytesOfTheGradientNorm() {
        var c = KernelCases.named("optim.grad_norm.small").getFirst();
        assertEquals(4 * 9001 + 8, c.compulsoryBytes());
        assertEquals(4 * 9001 + 2 * 8, c.launches().get(0).compulsoryBytes());
        assertEquals(2 * 8 + 8, c.launches().get(1).compulsoryBytes());
    }

    @Test
    void dimensionsAreThoseOfTheShape() {
        assertEquals(Map.of("batch", 2, "tokens", 7, "d", 100), KernelCases.get("norm.adaptive_layer_norm_bf16.small").dimensions());
        assertThrows(IllegalArgumentException.class, () -> KernelCases.get("norm.adaptive_layer_norm.small"));
    }

    @ParameterizedTest @MethodSource("small")
    void runsWritesItsResultsAndGivesTheSameBitsAgain(KernelCase c) {
        try (var run = new CaseRun(c, launchers, stream); Arena arena = Arena.ofConfined()) {
            run.fill();
            run.mark();
            Map<Buffer, MemorySegment> before = read(c, run, arena);
            try (var graph = stream.capture(run::launch)) {
                assertEquals(c.launches().size(), graph.nodes(), "launches");
                graph.launch(stream);
            }
            Map<Buffer, MemorySegment> first = read(c, run, arena);
            run.fill();
            run.mark();
            run.launch();
            Map<Buffer, MemorySegment> second = read(c, run, arena);
            assertAll(c.buffers().stream().map(b -> () -> {
                assertEquals(-1, first.get(b).mismatch(second.get(b)), b.name() + " has other bits the second time");
                switch (b.role()) {
                    case READ -> assertEquals(-1, before.get(b).mismatch(first.get(b)), "the input " + b.name() + " has changed");
                    case WRITE -> assertEquals(b.count() - b.touched(), CaseRun.untouched(b, first.get(b)), "elements of " + b.name() + " that were not written");
                    case READ_WRITE -> assertTrue(before.get(b).mismatch(first.get(b)) >= 0, b.name() + " is as before");
                    case SCRATCH -> { }
                }
                if (b.isResult() && b.role() == Role.READ_WRITE | b.touched() == b.count()) {
                    assertFinite(b, first.get(b));
                }
            }));
        }
    }

    /** What follows from given inputs is ordinary: a NaN would compare equal to whatever NaN another device gives. */
    private static void assertFinite(Buffer b, MemorySegment content) {
        for (long i = 0; i < b.count(); i++) {
            assertTrue(Double.isFinite(Tolerance.value(b.type(), content, i)), b.name() + "[" + i + "] is " + Tolerance.value(b.type(), content, i));
        }
    }

    private static Map<Buffer, MemorySegment> read(KernelCase c, CaseRun run, Arena arena) {
        var content = new LinkedHashMap<Buffer, MemorySegment>();
        c.buffers().forEach(b -> content.put(b, run.read(b, arena)));
        return content;
    }

    /** A result may differ between devices exactly if something on the way to it is left to the device. */
    @ParameterizedTest @MethodSource("small")
    void toleranceIsZeroExactlyWhereThePtxFixesEveryBit(KernelCase c) {
        var free = new HashSet<Buffer>();
        for (KernelLaunch l : c.launches()) {
            if (leavesRoom(kernels.get(c.family() + "." + l.entry())) || l.reads().stream().anyMatch(free::contains)) {
                free.addAll(l.writes());
            }
        }
        for (Buffer b : c.buffers()) {
            boolean copied = c.name().startsWith("norm.qk_norm_split_") && b.name().equals("v");
            if (b.isResult() && !copied) {
                assertEquals(free.contains(b), b.tolerance().ulps() > 0, c + ": " + b.name());
            }
            assertFalse(b.isResult() && b.tolerance().ulps() > 0 && b.tolerance().reason().isEmpty(), c + ": " + b.name() + " has a tolerance without a reason");
        }
    }

    /** Approximate instructions, tensor cores, and products without a rounding mode in sums without one, which an assembler may fuse. */
    private static boolean leavesRoom(PtxKernel kernel) {
        Set<Object> products = new HashSet<>();
        var sums = new ArrayList<Instruction>();
        for (Instruction i : kernel.instructions()) {
            if (i.has("approx") || i.has("full") || i.is("mma")) {
                return true;
            }
            if ((i.has("f32") || i.has("f64")) && !i.has("rn")) {
                if (i.is("mul")) {
                    products.add(i.operand(0));
                } else if (i.is("add") || i.is("sub")) {
                    sums.add(i);
                }
            }
        }
        return sums.stream().anyMatch(s -> s.operands().subList(1, 3).stream().anyMatch((Operand o) -> products.contains(o)));
    }

    @Test
    void differencesAreCountedInUnitsInTheLastPlace() {
        try (Arena arena = Arena.ofConfined()) {
            float up = Math.nextUp(Math.nextUp(3f));
            MemorySegment a = arena.allocateFrom(ValueLayout.JAVA_FLOAT, 1e-20f, 3, Float.NaN, 4), b = arena.allocateFrom(ValueLayout.JAVA_FLOAT, 2e-20f, up, Float.NaN, 4);
            var relative = Tolerance.ulps(1, "a test").worst(DType.F32, 4, a, b);
            assertEquals(0, relative.element());  // half of 2e-20 is 2^22.4 units of its own
            assertEquals(1e-20 / Math.ulp(2e-20f), relative.ulps(), 1);
            a.setAtIndex(ValueLayout.JAVA_FLOAT, 2, 4);
            var broken = Tolerance.ulpsOfRms(1, "a test").worst(DType.F32, 4, a, b);
            assertEquals(2, broken.element());
            assertEquals(Double.POSITIVE_INFINITY, broken.ulps());
            b.setAtIndex(ValueLayout.JAVA_FLOAT, 2, 4);
            var ofRms = Tolerance.ulpsOfRms(1, "a test").worst(DType.F32, 4, a, b);  // rms of 0, 3, 4, 4 is 3.2, in the binade of 3
            assertEquals(1, ofRms.element());
            assertEquals(2, ofRms.ulps());
            MemorySegment c = arena.allocateFrom(ValueLayout.JAVA_SHORT, (short) 0x3f80, (short) 0x4000), d = arena.allocateFrom(ValueLayout.JAVA_SHORT, (short) 0x3f80, (short) 0x4003);
            assertEquals(3, Tolerance.ulps(1, "a test").worst(DType.BF16, 2, c, d).ulps());
        }
    }
}
