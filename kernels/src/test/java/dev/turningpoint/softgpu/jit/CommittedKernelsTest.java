package dev.turningpoint.softgpu.jit;

import dev.turningpoint.softgpu.analysis.Geometry;
import dev.turningpoint.softgpu.analysis.KernelAnalysis;
import dev.turningpoint.softgpu.ptx.PtxModule;
import dev.turningpoint.softgpu.ptx.PtxParser;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

/** Every entry of every committed PTX file becomes LLVM IR: nothing the software GPU does not serve slips in. */
class CommittedKernelsTest {
    private static final String TRAJECTORIES = "a lane is a trajectory or a group, its row as long as the run has steps",
            PATCHES = "planes of an image lie as far apart as its size says, places in a token as the channels say, known at run time only",
            CHUNKS = "one warp or block adds up chunks, whose number is known at run time only",
            RAGGED = "the end of a tensor whose size is no multiple of four";

    @TestFactory
    Stream<DynamicTest> everyEntryIsServed() throws Exception {
        var tests = new ArrayList<DynamicTest>();
        Target target = NativeCompiler.get().target();
        for (Path f : files()) {
            PtxModule module = parse(f);
            for (var kernel : module.kernels().values())
                tests.add(DynamicTest.dynamicTest(module.name() + "." + kernel.name(), () -> {
                    // IR only, for this processor and a lesser one: that LLVM takes it the kernels' own tests show
                    assertTrue(ir(kernel, target, kernel.maxThreads()).contains("define i32"));
                    assertTrue(ir(kernel, new Target(target.triple(), "x86-64-v3", "+avx2,+fma"), 32).contains("define i32"));
                }));
        }
        return tests.stream();
    }

    /** Kernels (expressions for how their names begin) that reach memory by addresses which the analysis cannot follow, and why. */
    private static final Map<String, String> ESCAPES = Map.ofEntries(
            Map.entry("turning_points", TRAJECTORIES), Map.entry("step_rewards", TRAJECTORIES),
            Map.entry("patchify", PATCHES), Map.entry("unpatchify", PATCHES),
            Map.entry("grpo_loss", CHUNKS), Map.entry("log_prob", CHUNKS), Map.entry("row_mean", CHUNKS),
            Map.entry("adamw", RAGGED), Map.entry("grad_norm(?!_partial)", CHUNKS));

    @TestFactory
    Stream<DynamicTest> noAddressEscapesTheAnalysisWithoutAReason() throws Exception {
        Target target = new Target("x86_64-unknown-linux-gnu", "x86-64-v3", "+avx2,+fma");
        var tests = new ArrayList<DynamicTest>();
        for (Path f : files()) {
            PtxModule module = parse(f);
            for (var kernel : module.kernels().values())
                tests.add(DynamicTest.dynamicTest(module.name() + "." + kernel.name(), () -> {
                    var emitter = new KernelEmitter(new KernelAnalysis(kernel, new Geometry(kernel.maxThreads(), 1, 1)), target, kernel.staticShared());
                    emitter.emit();
                    var escapes = emitter.report.stream().filter(line -> line.contains("escapes")).toList();
                    if (ESCAPES.keySet().stream().noneMatch(begins -> kernel.name().matches(begins + ".*"))) assertEquals(List.of(), escapes, kernel.name());
                    else assertFalse(escapes.isEmpty(), kernel.name() + ": a reason for what no longer happens");
                }));
        }
        return tests.stream();
    }

    private static List<Path> files() throws Exception {
        Path folder = Path.of(CommittedKernelsTest.class.getResource("/dev/turningpoint/kernels/sampler.ptx").toURI()).getParent();
        try (var s = Files.list(folder)) {
            List<Path> files = s.filter(p -> p.toString().endsWith(".ptx")).sorted().toList();
            assertFalse(files.isEmpty());
            return files;
        }
    }

    private static String ir(dev.turningpoint.softgpu.ptx.PtxKernel kernel, Target target, int threads) {
        return new KernelEmitter(new KernelAnalysis(kernel, new Geometry(threads, 1, 1)), target, kernel.staticShared()).emit();
    }

    private static PtxModule parse(Path f) throws IOException { return PtxParser.parse(f.getFileName().toString().replace(".ptx", ""), Files.readString(f)); }
}
