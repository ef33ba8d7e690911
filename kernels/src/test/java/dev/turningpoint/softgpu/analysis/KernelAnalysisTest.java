package dev.turningpoint.softgpu.analysis;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.turningpoint.softgpu.ptx.Instruction;
import dev.turningpoint.softgpu.ptx.Operand;
import dev.turningpoint.softgpu.ptx.PtxKernel;
import dev.turningpoint.softgpu.ptx.PtxModule;
import dev.turningpoint.softgpu.ptx.PtxParser;
import dev.turningpoint.softgpu.ptx.PtxType;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

class KernelAnalysisTest {
    /** Threads of a block: as launched, one warp, three warps, warps that are not full. */
    private static List<Integer> blocks(PtxKernel kernel) { return List.of(kernel.maxThreads(), 32, 96, 100); }

    /** The rounds skip what reads nothing new; done once more in full, they would change nothing. */
    @TestFactory
    Stream<DynamicTest> shapesAreAFixedPoint() throws Exception {
        Path folder = Path.of(KernelAnalysisTest.class.getResource("/dev/turningpoint/kernels/sampler.ptx").toURI()).getParent();
        List<Path> files;
        try (Stream<Path> all = Files.list(folder)) {
            files = all.filter(p -> p.toString().endsWith(".ptx")).sorted().toList();
        }
        return files.stream().map(file -> DynamicTest.dynamicTest(file.getFileName().toString(), () -> {
            PtxModule module = PtxParser.parse(file.getFileName().toString(), Files.readString(file));
            int checked = 0;
            for (PtxKernel kernel : module.kernels().values()) for (int threads : blocks(kernel)) {
                var analysis = new KernelAnalysis(kernel, new Geometry(threads, 1, 1));
                for (Instruction i : kernel.instructions()) {
                    if (!Effects.hasResult(i)) continue;
                    Shape result = analysis.result(i);
                    boolean shuffle = i.is("shfl") && i.operand(0) instanceof Operand.Pair;
                    Effects.writes(i, r -> {
                        Shape shape = analysis.shape(r);
                        assertEquals(shape, Shape.meet(shape, shuffle && r.type() == PtxType.PRED ? Shape.VARYING : result), () -> kernel.name() + ", " + threads + " threads, line " + i.line() + ", " + r.name());
                    });
                    checked++;
                }
            }
            assertTrue(checked > 0);
        }));
    }
}
