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
                    // IR only, for this processor and a lesser one: that LLVM takes it the kernels' own tests show
                    assertTrue(ir(kernel, target, kernel.maxThreads()).contains("define i32"));
                    assertTrue(ir(kernel, new Target(target.triple(), "x86-64-v3", "+avx2,+fma"), 32).contains("define i32"));
                }));
        }
        return tests.stream();
    }

    private static String ir(dev.turningpoint.softgpu.ptx.PtxKernel kernel, Target target, int threads) {
        return new KernelEmitter(new KernelAnalysis(kernel, new Geometry(threads, 1, 1)), target, kernel.staticShared()).emit();
    }

    private static PtxModule parse(Path f) throws IOException { return PtxParser.parse(f.getFileName().toString().replace(".ptx", ""), Files.readString(f)); }
}
