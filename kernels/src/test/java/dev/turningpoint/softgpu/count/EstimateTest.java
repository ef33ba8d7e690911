package dev.turningpoint.softgpu.count;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.turningpoint.softgpu.count.Roofline.Part;
import dev.turningpoint.softgpu.jit.Launch;
import dev.turningpoint.softgpu.ptx.PtxKernel;
import dev.turningpoint.softgpu.ptx.PtxModule;
import dev.turningpoint.softgpu.ptx.PtxParser;
import java.io.File;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Occupancy against NVIDIA's own calculator, the estimate against one by hand, and the table of what ptxas gave the kernels. */
class EstimateTest {
    /** Blocks as cudaOccMaxActiveBlocksPerMultiprocessor of cuda_occupancy.h (CUDA 13.0) gives them for these limits. */
    @ParameterizedTest
    @CsvSource({"80, 128, 256, 8448, 2", "80, 168, 32, 16896, 9", "80, 38, 512, 1000, 3", "80, 40, 256, 8448, 6", "80, 72, 64, 49152, 3", "90, 32, 1024, 100000, 2", "90, 38, 192, 36864, 6", "90, 64, 128, 0, 8", "90, 65, 64, 0, 14", "100, 16, 32, 16896, 13", "100, 40, 32, 49152, 4", "100, 63, 1024, 0, 1", "100, 64, 192, 36864, 5", "100, 65, 32, 8448, 24"})
    void occupancy(int architecture, int registers, int threads, int shared, int blocks) {
        for (Gpu gpu : Gpu.values()) {
            if (gpu.architecture != architecture) continue;
            Occupancy o = Occupancy.of(gpu, threads, registers, shared);
            assertEquals(blocks, o.blocks());
            assertEquals(blocks * ((threads + 31) / 32), o.warps());
        }
    }

    private static final String ADD = ".version 8.0\n.target sm_80\n.address_size 64\n" + """
            .visible .entry add(.param .u64 x)
            {
            .reg .b32 %r<3>;
            .reg .f32 %f<3>;
            .reg .b64 %rd<4>;
            ld.param.u64 %rd1, [x];
            mov.u32 %r1, %tid.x;
            mul.wide.u32 %rd2, %r1, 4;
            add.u64 %rd3, %rd1, %rd2;
            ld.global.f32 %f1, [%rd3];
            add.f32 %f2, %f1, %f1;
            st.global.f32 [%rd3], %f2;
            ret;
            }
            """;

    /**
     * One block of 4 warps keeps one multiprocessor of an H100 in use, 512 bytes read and written: 1024 / 3.35e12 s of the memory; 4 x 6 instructions (the parameter and the move
     * left out) on 4 schedulers are 6 clocks; 4 f32 instructions on 128 lanes 1 clock; 8 requests of 4 sectors 8 clocks of the cache, which is the longest.
     */
    @Test
    void roofline() {
        var module = PtxParser.parse("add", ADD);
        var counts = new LaunchCounts[1];
        try (Arena a = Arena.ofConfined()) {
            MemorySegment x = a.allocate(512, 64);
            Launch.interpret(module, "add", new int[]{1}, new int[]{128}, 0, new Counting(c -> counts[0] = c), x);
        }
        Roofline r = Roofline.of(Gpu.H100, counts[0]);
        double clock = 1 / 1.98e9;
        assertEquals(1024 / 3.35e12, r.seconds().get(Part.DRAM), 1e-18);
        assertEquals(6 * clock, r.seconds().get(Part.ISSUE), 1e-18);
        assertEquals(clock, r.seconds().get(Part.FP32), 1e-18);
        assertEquals(8 * clock, r.seconds().get(Part.L1), 1e-18);
        assertEquals(0, r.seconds().get(Part.MATRIX));
        assertEquals(Part.L1, r.bound());
        assertEquals(8 * clock, r.time(), 1e-18);
    }

    /** Peaks of the table agree with one another: f32 is lanes x 2 x multiprocessors x clock; 19.5, 66.9 and 75 TFLOP/s. */
    @ParameterizedTest
    @CsvSource({"A100, 19.5e12", "H100, 66.9e12", "B200, 75e12"})
    void clocksGiveTheStatedPeak(Gpu gpu, double flops) { assertEquals(flops, 2. * gpu.fp32Lanes * gpu.multiprocessors * gpu.clock, 2e-3 * flops); }

    @Test
    void whatPtxasSays() {
        Map<String, Resources> r = Resources.read("""
                ptxas info    : Compiling entry function 'one' for 'sm_80'
                ptxas info    : Function properties for one
                    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
                ptxas info    : Used 38 registers, used 1 barriers, 8448 bytes smem, 412 bytes cmem[0]
                ptxas info    : Compiling entry function 'two' for 'sm_80'
                ptxas info    : Function properties for two
                    16 bytes stack frame, 8 bytes spill stores, 4 bytes spill loads
                ptxas info    : Used 255 registers, used 0 barriers
                """);
        assertEquals(Map.of("one", new Resources(38, 8448, 0), "two", new Resources(255, 0, 28)), r);
    }

    /** A kernel that is none of the project's is assembled where there is a ptxas, and unknown elsewhere. */
    @Test
    void otherKernelsAreAssembled() {
        var module = PtxParser.parse("add", ADD);
        boolean ptxas = Stream.of(System.getenv("PATH").split(File.pathSeparator)).anyMatch(f -> Files.isExecutable(Path.of(f, "ptxas")));
        Resources r = Resources.of(module, module.kernel("add"), Gpu.H100);
        if (ptxas) assertTrue(r.registers() > 0 && r.registers() < 32 && r.shared() == 0 && r.spills() == 0, r.toString());
        else assertNull(r);
    }

    /** Every kernel of every file has its row on each of the three, its shared memory is what the PTX declares, and none spills. */
    @ParameterizedTest
    @ValueSource(strings = {"attention_bf16", "attention_f32", "credit", "embed", "grpo", "mlp", "norm", "optim", "sampler"})
    void everyKernelHasItsRow(String file) throws IOException {
        PtxModule module;
        try (var in = EstimateTest.class.getResourceAsStream("/dev/turningpoint/kernels/" + file + ".ptx")) {
            module = PtxParser.parse("loaded under any name", new String(in.readAllBytes(), StandardCharsets.UTF_8));
        }
        for (PtxKernel k : module.kernels().values())
            for (Gpu gpu : Gpu.values()) {
                Resources r = Resources.of(module, k, gpu);
                assertTrue(r.registers() > 0 && r.registers() < 256, k.name() + " " + r);
                assertEquals(0, r.spills(), k.name());
                assertTrue(k.staticShared() - r.shared() >= 0 && k.staticShared() - r.shared() < 16, k.name() + " " + r);   // the PTX rounds up for dynamic memory
                assertTrue(Occupancy.of(gpu, k.maxThreads(), r.registers(), r.shared()).blocks() > 0, k.name());
                assertEquals(0, k.mostRegisters(), k.name() + ": a bound on threads, and none on registers");
            }
    }
}
