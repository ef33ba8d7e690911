package dev.turningpoint.softgpu.jit;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.turningpoint.softgpu.ptx.PtxModule;
import dev.turningpoint.softgpu.ptx.PtxParser;

import org.junit.jupiter.api.Test;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;

/** Compiled code lives as long as the arena of its compiler: no shorter, so that nothing runs in freed memory, and no longer. */
class CodeLifetimeTest {
    private static PtxModule module(String body) {
        return PtxParser.parse("life", ".version 9.0\n.target sm_80\n.address_size 64\n.visible .entry f(.param .u64 p)\n{\n.reg .pred %p<2>;\n.reg .b32 %r<4>;\n.reg .b64 %a<2>;\nld.param.u64 %a0, [p];\n"
                + body + "ret;\n}\n");
    }

    /** Executable mappings of the process that lie in {@code code}'s page. */
    private static boolean isMapped(long code) throws IOException {
        for (String line : Files.readAllLines(Path.of("/proc/self/maps"))) {
            String[] range = line.substring(0, line.indexOf(' ')).split("-");
            if (Long.parseUnsignedLong(range[0], 16) <= code && code < Long.parseUnsignedLong(range[1], 16)) return line.contains("x");
        }
        return false;
    }

    @Test
    void codeIsFreedWhenTheArenaCloses() throws Throwable {
        PtxModule module = module("mov.u32 %r0, 7;\nst.global.u32 [%a0], %r0;\n");
        CompiledKernel k;
        try (Arena life = Arena.ofShared(); Arena a = Arena.ofConfined()) {
            k = new KernelCompiler(life).compile(module, "f", 1, 1, 1, 0);
            assertTrue(isMapped(k.code().address()));
            MemorySegment out = Launch.ints(a, 0);
            assertEquals(0, Launch.call(k, module.kernel("f"), 0, 1, 1, 1, 1, out));
            assertEquals(7, out.get(ValueLayout.JAVA_INT, 0));
        }
        assertTrue(!isMapped(k.code().address()), "the code is still mapped");
        assertThrows(IllegalStateException.class, () -> Launch.call(k, module.kernel("f"), 0, 0, 1, 1, 1, MemorySegment.NULL));
    }

    /** Of 200 kernels one after the other the process holds the memory of one. */
    @Test
    void memoryDoesNotGrowWithTheNumberOfKernels() throws IOException {
        compileAndFree(20);
        long mappings = mappings();
        compileAndFree(200);
        assertTrue(mappings() < mappings + 100, "mappings grew from " + mappings + " to " + mappings());
    }

    private static void compileAndFree(int kernels) {
        for (int n = 0; n < kernels; n++) {
            try (Arena life = Arena.ofShared()) {
                new KernelCompiler(life).compile(module("mov.u32 %r0, 7;\n"), "f", 32, 1, 1, 0);
            }
        }
    }

    private static long mappings() throws IOException { return Files.readAllLines(Path.of("/proc/self/maps")).size(); }

    /** A kernel that waits for a flag of the host: while it does, its code cannot be freed. */
    @Test
    void aRunningKernelKeepsItsCode() throws Exception {
        PtxModule module = module("mov.u32 %r0, 1;\nst.volatile.global.u32 [%a0], %r0;\nWAIT:\nld.volatile.global.u32 %r1, [%a0+4];\nsetp.eq.s32 %p0, %r1, 0;\n@%p0 bra WAIT;\n");
        try (Arena a = Arena.ofShared()) {
            Arena life = Arena.ofShared();
            CompiledKernel k = new KernelCompiler(life).compile(module, "f", 1, 1, 1, 0);
            MemorySegment flags = Launch.ints(a, 0, 0);
            Thread runs = Thread.ofPlatform().start(() -> Launch.call(k, module.kernel("f"), 0, 1, 1, 1, 1, flags));
            while ((int) ValueLayout.JAVA_INT.varHandle().getVolatile(flags, 0L) == 0) Thread.onSpinWait();
            assertThrows(IllegalStateException.class, life::close);
            ValueLayout.JAVA_INT.varHandle().setVolatile(flags, 4L, 1);
            runs.join();
            life.close();
        }
    }
}
