package dev.turningpoint.softgpu.jit;

import dev.turningpoint.softgpu.ptx.PtxException;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.stream.Stream;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

/** Functions that nvcc did not inline, against the same in Java. */
class CallTest {
    static Stream<?> ways() { return Way.all(); }

    private static int collatz(long n) {
        if (n < 1) return -2;
        int steps = 0;
        for (; n != 1; steps++) {
            if (steps > 100) return -1;
            n = n % 2 != 0 ? 3 * n + 1 : n / 2;
        }
        return steps;
    }

    @ParameterizedTest @MethodSource("ways")
    void argumentsAndResultsOfEveryKind(Way way) {
        int n = 237;   // a part of a warp at the end
        try (Arena a = Arena.ofConfined()) {
            var out = Launch.ints(a, new int[10 * 256]);
            way.run("calls", "values", 2, 128, out, n);
            int[] o = out.toArray(ValueLayout.JAVA_INT);
            for (int i = 0; i < n; i++) {
                int at = 10 * i;
                assertEquals(2 * i, o[at], "twice");
                assertEquals(2 * i + 1, o[at + 1], "first of a pair");
                assertEquals(2 * i, o[at + 2], "second of a pair");
                assertEquals(i + 10 * i - 100 * i + (i & 7), o[at + 3], "a structure");
                assertEquals(i + (i * 3 & 255) & 1, o[at + 4], "narrow arguments");
                assertEquals((int) (i * 3 / 2.0), o[at + 5], "doubles");
                int word = 0;
                for (int k = 0; k < 4; k++) word |= (i + 7 - k & 255) << 8 * k;
                assertEquals(word, o[at + 6], "bytes loaded as a word");
                assertEquals(new int[]{i, 10 * i, -100 * i}[i % 3], o[at + 7], "an element of a structure");
                assertEquals(3 * i * (4 - i % 5), o[at + 8], "local memory of the caller");
                assertEquals(i % 3 == 0 ? collatz(i) : 2 * collatz(i + 1), o[at + 9], "calls in divergent code");
            }
            for (int k = 10 * n; k < o.length; k++) assertEquals(0, o[k]);
        }
    }

    @ParameterizedTest @MethodSource("ways")
    void aBarrierInAFunction(Way way) {
        try (Arena a = Arena.ofConfined()) {
            var out = Launch.ints(a, new int[2 * 100]);
            way.run("calls", "shifted", 2, 100, out);
            for (int i = 0; i < 200; i++) {
                int from = (i % 100 + 2) % 100;
                assertEquals(from * from, out.getAtIndex(ValueLayout.JAVA_INT, i));
            }
        }
    }

    @ParameterizedTest @MethodSource("ways")
    void recursionAndPointersAreRefusedByNameAndLine(Way way) {
        try (Arena a = Arena.ofConfined()) {
            var out = Launch.ints(a, new int[32]);
            var e = assertThrows(PtxException.class, () -> way.run("calls", "recursive", 1, 32, out));
            assertTrue(e.getMessage().matches("features/calls\\.sm_[89]0\\.ptx:\\d+: .*recursion: \\w*even\\w* calls itself.*kernel recursive.*"), e.getMessage());
            e = assertThrows(PtxException.class, () -> way.run("calls", "through_pointers", 1, 32, out, 1));
            assertTrue(e.getMessage().matches("features/calls\\.sm_[89]0\\.ptx:\\d+: .*calls through a pointer.*kernel through_pointers.*"), e.getMessage());
        }
    }

    /** A guarded call, an argument and a result in registers of other widths, one function twice, and an alias. */
    @Test
    void callsWrittenByHand() {
        var module = dev.turningpoint.softgpu.ptx.PtxParser.parse("calls", """
                .version 9.0
                .target sm_80
                .address_size 64
                .func (.param .b32 r) f(.param .b32 x, .param .s8 y);
                .alias g, f;
                .visible .entry k(.param .u64 out)
                {
                .reg .b64 %rd<3>; .reg .b32 %r<8>; .reg .b16 %h<2>; .reg .pred %p;
                ld.param.u64 %rd0, [out];
                mov.u32 %r0, %tid.x;
                mad.wide.u32 %rd1, %r0, 4, %rd0;
                setp.lt.u32 %p, %r0, 7;
                mov.b32 %r3, 1000;
                cvt.u16.u32 %h0, %r0;
                { .param .b32 a; .param .b8 b; .param .b32 c;
                  st.param.b32 [a], %r3; st.param.b8 [b], %h0; st.param.b32 [c], 5;
                  @%p call (c), f, (a, b);
                  ld.param.b32 %r3, [c]; }
                { .param .b32 c;
                  call (c), g, (%r3, -3);
                  ld.param.b32 %r4, [c]; }
                st.global.u32 [%rd1], %r4;
                ret;
                }
                .func (.param .b32 r) f(.param .b32 x, .param .s8 y)
                {
                .reg .b32 %r<4>;
                ld.param.b32 %r1, [x];
                ld.param.s8 %r2, [y];
                add.u32 %r3, %r1, %r2;
                st.param.b32 [r], %r3;
                ret;
                }
                """);
        try (Arena a = Arena.ofConfined()) {
            var out = Launch.ints(a, new int[40]);
            for (boolean compiled : new boolean[]{true, false}) {
                out.fill((byte) 0);
                if (compiled) assertEquals(0, Launch.run(module, "k", new int[]{1}, new int[]{40}, 0, out));
                else Launch.interpret(module, "k", new int[]{1}, new int[]{40}, 0, out);
                for (int i = 0; i < 40; i++) assertEquals(i < 7 ? 1000 + i - 3 : 5 - 3, out.getAtIndex(ValueLayout.JAVA_INT, i));
            }
        }
    }
}
