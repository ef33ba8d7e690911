package dev.turningpoint.softgpu.ptx;

import dev.turningpoint.softgpu.analysis.Geometry;
import dev.turningpoint.softgpu.analysis.KernelAnalysis;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.IOException;
import java.lang.foreign.ValueLayout;
import java.util.List;
import java.util.Random;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

class PtxParserTest {
    private static final String HEAD = ".version 9.0\n.target sm_80\n.address_size 64\n";

    private static String fixture(String name) throws IOException {
        try (var in = PtxParserTest.class.getResourceAsStream("/dev/turningpoint/softgpu/" + name + ".ptx")) {
            return new String(in.readAllBytes());
        }
    }

    @Test
    void parametersLieWhereCudaPutsThem() {
        PtxKernel k = PtxParser.parse("m", HEAD + """
                .visible .entry f(.param .u32 a, .param .align 8 .b8 s[20], .param .u8 c, .param .u64 .ptr .global .align 16 p, .param .align 16 .b8 q[16])
                .maxntid 64, 2, 1
                { ret; }
                """).kernel("f");
        assertEquals(List.of(0, 8, 28, 32, 48), k.params().stream().map(PtxParam::offset).toList());
        assertEquals(64, k.paramBytes());
        assertEquals(128, k.maxThreads());
    }

    @Test
    void aKernelMayDemandItsBlock() {
        PtxKernel k = PtxParser.parse("m", HEAD + ".entry f()\n.reqntid 32, 2\n{ ret; }").kernel("f");
        assertEquals(64, k.maxThreads());
        assertTrue(k.admits(32, 2, 1));
        assertFalse(k.admits(64, 1, 1) || k.admits(32, 2, 2) || k.admits(2, 32, 1));
    }

    @Test
    void launchBoundsMayNameClusters() {
        PtxKernel k = PtxParser.parse("m", HEAD + ".entry f()\n.maxntid 256\n.minnctapersm 2\n.maxclusterrank 4\n{ ret; }").kernel("f");
        assertEquals(256, k.maxThreads());
    }

    @Test
    void whatOneKernelHasOfTheUnservedLeavesItsNeighboursAlone() {
        PtxModule m = PtxParser.parse("m", HEAD + """
                .func (.param .b32 r) f(.param .b32 x);
                .global .align 8 .u64 table[2] = {f, 0};
                .entry clusters()
                .explicitcluster
                .reqnctapercluster 2, 1, 1
                { ret; }
                .entry one() .reqnctapercluster 1, 1, 1 { ret; }
                .entry unknown() .someday 3, 4 .maxntid 64 { ret; }
                .entry plain() { .reg .b64 %rd<2>; mov.u64 %rd0, table; mov.u64 %rd1, f; ret; }
                .func (.param .b32 r) f(.param .b32 x) { ret; }
                """);
        m.kernel("plain").requireServed();
        m.kernel("one").requireServed();
        assertEquals(64, m.kernel("unknown").maxThreads());
        assertTrue(assertThrows(PtxException.class, m.kernel("clusters")::requireServed).getMessage().startsWith("m.ptx:8: "));
        assertTrue(assertThrows(PtxException.class, m.kernel("unknown")::requireServed).getMessage().contains(".someday"));
        assertTrue(m.global("table").get(ValueLayout.JAVA_LONG_UNALIGNED, 0) != 0);
    }

    @Test
    void scopesHaveRegistersAndLabelsOfTheirOwn() {
        PtxKernel k = PtxParser.parse("m", HEAD + """
                .entry f(.param .u64 o)
                {
                    .reg .b32 %r<4>;
                    mov.u32 %r1, 1;
                    { .reg .b32 t; mov.u32 t, 2; add.u32 %r1, %r1, t; }
                    { .reg .b64 t; mov.u64 t, 3; }
                    ret;
                }
                """).kernel("f");
        var names = k.registers().stream().filter(r -> r.name().equals("t")).map(Register::type).toList();
        assertEquals(List.of(PtxType.B32, PtxType.B64), names);
        assertEquals(8, k.instructions().get(1).line());
    }

    @Test
    void instructionsKnowTheirLineOfCuda() {
        PtxKernel k = PtxParser.parse("m", HEAD + """
                .entry f()
                {
                    .reg .b32 %r<4>;
                    mov.u32 %r1, 1;
                    .loc 1 237 5
                    mov.u32 %r1, 2;
                    .loc 2 20 9, function_name $L__info_string0, inlined_at 1 242 5
                    mov.u32 %r1, 3;
                    .loc 1 0 5
                    mov.u32 %r1, 4;
                    .loc 2 21 5, function_name $L__info_string0 + 12, inlined_at 1 243 5
                    mov.u32 %r1, 5;
                    .loc 3 7 1, function_name $L__info_string0, inlined_at 2 21 5
                    mov.u32 %r1, 6;
                    .loc 2 22 5
                    ret;
                }
                .entry g() { ret; }
                .file 1 "/some/where/norm.cu"
                .file 2 "columns.cuh", 1700000000, 4711
                .file 3 "/cuda/include/atomics.h"
                .section .debug_str
                {
                $L__info_string0:
                .b8 95,90,78,53,0
                }
                """).kernel("f");
        var norm = new SourceLine("norm.cu", 237);
        var columns = new SourceLine("columns.cuh", 20, new SourceLine("norm.cu", 242));
        var next = new SourceLine("columns.cuh", 21, new SourceLine("norm.cu", 243));
        var atomic = new SourceLine("atomics.h", 7, next);
        assertEquals("atomics.h:7, inlined at columns.cuh:21, inlined at norm.cu:243", atomic.toString());
        assertEquals(java.util.Arrays.asList(null, norm, columns, columns, next, atomic, new SourceLine("columns.cuh", 22)),
                k.instructions().stream().map(Instruction::source).toList());
    }

    @Test
    void aLineOfAnUnknownFileIsRefused() {
        var e = assertThrows(PtxException.class, () -> PtxParser.parse("m", HEAD + ".entry f()\n{\n.loc 3 1 1\nret;\n}\n.file 1 \"a.cu\"\n"));
        assertTrue(e.getMessage().contains("m.ptx:6: .loc of unknown file '3'"), e.getMessage());
    }

    @Test
    void variablesAreLaidOutAndInitialised() {
        String text = HEAD + """
                .global .align 4 .u32 count = 7;
                .const .align 4 .f32 table[4] = {0f3F800000, 0f40000000, -1.5};
                .global .align 8 .u64 link[2] = {0, generic(count)+4};
                .entry f() { ret; }
                """;
        PtxModule m = PtxParser.parse("m", text), n = PtxParser.parse("m", text);
        assertEquals(7, m.global("count").get(ValueLayout.JAVA_INT, 0));
        assertEquals(2f, m.global("table").getAtIndex(ValueLayout.JAVA_FLOAT, 1));
        assertEquals(-1.5f, m.global("table").getAtIndex(ValueLayout.JAVA_FLOAT, 2));
        assertEquals(0f, m.global("table").getAtIndex(ValueLayout.JAVA_FLOAT, 3));
        assertEquals(m.global("count").address() + 4, m.global("link").getAtIndex(ValueLayout.JAVA_LONG, 1));
        assertNotSame(m.data(), n.data());
        m.global("count").set(ValueLayout.JAVA_INT, 0, 8);
        assertEquals(7, n.global("count").get(ValueLayout.JAVA_INT, 0), "each loaded module has variables of its own");
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
            "mov.u32 %r9, 1;|6|unknown|%r9",
            "add.u32 %r1, %r2;|6||",
            "bra NOWHERE;|6|unknown label|NOWHERE",
            "@%r1 ret;|6|predicate|%r1",
            "ld.global.u32 %r1, [%rd1|7|address|",
            "mov.u32 %r1, 12zz;|6|not a number|12zz",
            ".reg .b33 %x;|6|unknown register type|.b33",
            "mov.u32 %r1, missing;|6|unknown name|missing"})
    void errorsNameTheLine(String statement, int line, String what, String where) {
        String text = HEAD + ".entry f()\n{ .reg .b32 %r<3>; .reg .b64 %rd<3>;\n" + statement + "\n}\n";
        if (what == null) { PtxParser.parse("bad", text); return; }
        PtxException e = assertThrows(PtxException.class, () -> PtxParser.parse("bad", text));
        assertTrue(e.getMessage().startsWith("bad.ptx:" + line + ": ") && e.getMessage().contains(what) && (where == null || e.getMessage().contains(where)), e.getMessage());
    }

    @Test
    void unknownEntryIsNamedWithThoseThereAre() {
        PtxException e = assertThrows(PtxException.class, () -> PtxParser.parse("m", HEAD + ".entry f() { ret; }\n.entry g() { ret; }").kernel("h"));
        assertEquals("m.ptx has no entry 'h'; it has [f, g]", e.getMessage());
    }

    /** Text damaged at random is read or refused, never anything else. */
    @ParameterizedTest
    @ValueSource(longs = {1, 2, 3})
    void damagedTextIsRefusedOrRead(long seed) throws IOException {
        var random = new Random(seed);
        String[] texts = {fixture("flow"), fixture("rows"), fixture("matrix")};
        String marks = ";,{}[]()<>:%.@!-+0f|=\"/* \n";
        for (int round = 0; round < 60; round++) {
            var t = new StringBuilder(texts[round % texts.length]);
            for (int n = random.nextInt(4); n >= 0; n--) {
                int at = random.nextInt(t.length());
                switch (random.nextInt(4)) {
                    case 0 -> t.deleteCharAt(at);
                    case 1 -> t.insert(at, marks.charAt(random.nextInt(marks.length())));
                    case 2 -> t.delete(at, Math.min(t.length(), at + random.nextInt(200)));
                    default -> t.setCharAt(at, marks.charAt(random.nextInt(marks.length())));
                }
            }
            if (random.nextInt(10) == 0) t.setLength(random.nextInt(t.length()));
            try {
                for (PtxKernel k : PtxParser.parse("damaged", t.toString()).kernels().values()) {
                    try {
                        new KernelAnalysis(k, new Geometry(64, 1, 1));
                    } catch (PtxException | NullPointerException | ClassCastException | IndexOutOfBoundsException e) {
                        // the compiler wraps these: an instruction with operands it does not have
                    }
                }
            } catch (PtxException e) {
                assertTrue(e.getMessage().contains("damaged"), e.getMessage());
            }
        }
    }
}
