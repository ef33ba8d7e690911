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
import java.util.stream.Stream;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

/** Every entry of every committed PTX file becomes LLVM IR: nothing the software GPU does not serve slips in. */
class CommittedKernelsTest {
    @TestFactory
    Stream<DynamicTest> everyEntryIsServed() throws Exception {
        Path folder = Path.of(CommittedKernelsTest.class.getResource("/dev/turningpoint/kernels/sampler.ptx").toURI()).getParent();
        var tests = new ArrayList<DynamicTest>();
        List<Path> files;
        try (var s = Files.list(folder)) { files = s.filter(p -> p.toString().endsWith(".ptx")).sorted().toList(); }
        assertFalse(files.isEmpty());
        Target target = NativeCompiler.get().target();
        for (Path f : files) {
            PtxModule module = parse(f);
            for (var kernel : module.kernels().values())
                tests.add(DynamicTest.dynamicTest(module.name() + "." + kernel.name(), () -> {
                    // IR only, for two block shapes and two kinds of processor: that LLVM takes it the kernels' own tests show
                    for (Target t : List.of(target, new Target(target.triple(), "x86-64-v3", "+avx2,+fma")))
                        for (int threads : new int[]{32, kernel.maxThreads()})
                            assertTrue(new KernelEmitter(new KernelAnalysis(kernel, new Geometry(threads, 1, 1)), t, kernel.staticShared()).emit().contains("define i32"));
                }));
        }
        return tests.stream();
    }

    private static PtxModule parse(Path f) throws IOException { return PtxParser.parse(f.getFileName().toString().replace(".ptx", ""), Files.readString(f)); }
}
