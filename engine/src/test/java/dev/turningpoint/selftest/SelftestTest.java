package dev.turningpoint.selftest;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.turningpoint.kernels.cases.KernelCase;
import dev.turningpoint.kernels.cases.KernelCases;
import dev.turningpoint.softgpu.driver.Stubs;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The comparison with a reference in another process: that it agrees, that it finds what is wrong, and what becomes of a reference that ends, hangs or fails. */
class SelftestTest {
    private static final Selftest.Progress QUIET = (_, _, _, _) -> { };
    private static final List<KernelCase> CASES = List.of(KernelCases.get("mlp.add_f32.small"), KernelCases.get("credit.credit_scan.small"),
            KernelCases.get("mlp.gelu_bf16.small"));

    /** The same engine in both processes: the same bits, whatever the tolerance. */
    @Test
    void anotherProcessFillsAndComputesTheSameBits() throws Exception {
        Report report = new Selftest("").run(Reference.Engine.COMPILED, CASES, CASES, QUIET);
        assertTrue(report.ok(), report.text());
        assertEquals(CASES.size(), report.rows().size());
        for (Row row : report.rows()) {
            assertEquals(0, row.difference().ulps(), row.kernels().name());
            assertTrue(row.micros() > 0 && row.gigabytes() > 0, row.kernels().name());
        }
        assertEquals("verdict: ok, 3 cases agree with the software GPU within their tolerances", report.text().lines().toList().getLast());
    }

    /** One bit of one result is turned before it is compared: the case is named with the element and both values, the others agree. */
    @Test
    void aWrongResultIsFoundAndNamed() throws Exception {
        var selftest = new Selftest("", (c, result, expected, actual) -> {
            if (c.name().equals("mlp.gelu_bf16.small")) actual.setAtIndex(ValueLayout.JAVA_SHORT, 5, (short) (actual.getAtIndex(ValueLayout.JAVA_SHORT, 5) ^ 4));
            return result.tolerance().worst(result.type(), result.count(), expected, actual);
        });
        Report report = selftest.run(Reference.Engine.COMPILED, CASES, List.of(), QUIET);
        assertFalse(report.ok());
        Row wrong = report.rows().stream().filter(r -> !r.ok()).findFirst().orElseThrow();
        assertEquals("mlp.gelu_bf16.small", wrong.kernels().name());
        assertEquals(5, wrong.difference().element());
        assertEquals(4, wrong.difference().ulps());
        List<String> lines = report.text().lines().toList();
        assertEquals("verdict: FAILED, 1 of 3 cases: mlp.gelu_bf16.small", lines.getLast());
        int at = lines.indexOf(lines.stream().filter(l -> l.startsWith("mlp.gelu_bf16.small")).findFirst().orElseThrow());
        assertTrue(lines.get(at).contains("FAILED"), lines.get(at));
        assertEquals("  y[5] is " + wrong.difference().actual() + ", on the reference " + wrong.difference().expected(), lines.get(at + 1));
    }

    /** Code 2, no memory: one case has no result, the others go on. */
    @Test
    void aCaseWithoutMemoryIsToldAndPassedOver() throws Exception {
        var first = new AtomicBoolean(true);
        Stubs.intercept(function -> function.equals("cuMemAlloc_v2") && first.getAndSet(false) ? 2 : 0);
        try {
            Report report = new Selftest("").run(Reference.Engine.COMPILED, CASES, List.of(), QUIET);
            assertEquals("verdict: FAILED, 1 of 3 cases: mlp.add_f32.small", report.verdict());
            assertTrue(report.text().contains("CUDA_ERROR_OUT_OF_MEMORY"), report.text());
            assertEquals(List.of(false, true, true), report.rows().stream().map(Row::compared).toList());
        } finally {
            Stubs.intercept(null);
        }
    }

    /** Code 700, an illegal address, in a process of its own, for a fault there is no way back from: the text is written nevertheless and says what was not run. */
    @Test
    void aFaultEndsTheTestWithAReport(@TempDir Path folder) throws Exception {
        var command = List.of(Path.of(System.getProperty("java.home"), "bin", "java").toString(), "--enable-native-access=ALL-UNNAMED", "-Dorg.lwjgl.system.memoryBackend=ffm",
                "-Dturningpoint.device=software", "-Dturningpoint.software.fail=cuStreamSynchronize:1:700", "-cp", System.getProperty("java.class.path"),
                "dev.turningpoint.cli.TurningPointCommand", "selftest", "--only", "mlp.add_", "--out", "out.txt");
        Path log = folder.resolve("log");
        Process process = new ProcessBuilder(command).directory(folder.toFile()).redirectErrorStream(true).redirectOutput(log.toFile()).start();
        try {
            assertTrue(process.waitFor(4, TimeUnit.MINUTES), "no end: " + Files.readString(log));
        } finally {
            process.destroyForcibly();
        }
        assertEquals(1, process.exitValue(), Files.readString(log));
        String last = Files.readAllLines(folder.resolve("out.txt")).getLast();
        assertTrue(last.startsWith("verdict: FAILED, 1 of 4 cases: mlp.add_f32.small; ended early, 3 not run: ") && last.contains("CUDA_ERROR_ILLEGAL_ADDRESS"), last);
    }

    /** Stands for a reference that is not well: told what to do by its first argument. */
    static final class Ill {
        public static void main(String[] arguments) throws Exception {
            switch (arguments[0]) {
                case "ends" -> {
                    System.err.println("something broke");
                    Runtime.getRuntime().halt(134);
                }
                case "hangs" -> Thread.sleep(Duration.ofHours(1));
                case "talks" -> System.out.println("no results, but words that nobody asked for");
                default -> throw new IllegalArgumentException(arguments[0]);
            }
        }
    }

    private static Reference ill(String how, Duration patience) {
        return new Reference(Reference.Engine.COMPILED, CASES, patience, List.of(Ill.class.getName(), how));
    }

    private static String failure(Reference reference, KernelCase c) {
        try (Arena arena = Arena.ofShared()) {
            return assertThrows(ReferenceException.class, () -> reference.results(c, arena)).getMessage();
        }
    }

    @Test
    void aReferenceThatEndsIsToldInALineAndStartedAgainAFewTimes() {
        try (Reference reference = ill("ends", Duration.ofMinutes(2))) {
            for (int i = 0; i < 4; i++) assertEquals("the software GPU ended with status 134: something broke", failure(reference, CASES.getFirst()));
            assertEquals("the software GPU was not started again after 4 ends before time", failure(reference, CASES.getFirst()));
        }
    }

    @Test
    void aReferenceThatHangsIsGivenUp() {
        try (Reference reference = ill("hangs", Duration.ofSeconds(2))) {
            assertEquals("the software GPU gave no result within 2 s", failure(reference, CASES.getFirst()));
        }
    }

    @Test
    void aReferenceThatSaysSomethingElseIsNotBelieved() {
        try (Reference reference = ill("talks", Duration.ofMinutes(2))) {
            String failure = failure(reference, CASES.getFirst());
            assertTrue(failure.startsWith("the software GPU "), failure);
        }
    }
}
