package dev.turningpoint.softgpu.interpreter;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.turningpoint.softgpu.ptx.PtxParser;

import org.junit.jupiter.api.Test;

import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.stream.IntStream;

/** How threads wait for each other, and what ends a kernel: worked out by hand from the PTX manual. */
class InterpreterTest {
    private static final String HEAD = """
            .version 9.0
            .target sm_90
            .address_size 64
            .visible .entry f(.param .u64 out)
            {
            .reg .pred %p<8>;
            .reg .b32 %r<32>;
            .reg .b64 %rd<16>;
            .shared .align 16 .b8 buffer[256];
            ld.param.u64 %rd0, [out];
            mov.u32 %r0, %tid.x;
            mul.wide.u32 %rd1, %r0, 4;
            add.s64 %rd2, %rd0, %rd1;
            and.b32 %r1, %r0, 31;
            shr.u32 %r2, %r0, 5;
            """;   // r0: thread, r1: lane, r2: warp, rd2: its place in out

    private static int[] run(int threads, String body) {
        var module = PtxParser.parse("test", HEAD + body + "\nst.global.u32 [%rd2], %r31;\nret;\n}\n");
        try (Arena a = Arena.ofConfined()) {
            var out = dev.turningpoint.softgpu.jit.Launch.ints(a, new int[threads]);
            dev.turningpoint.softgpu.jit.Launch.interpret(module, "f", new int[]{1}, new int[]{threads}, 0, out);
            return out.toArray(ValueLayout.JAVA_INT);
        }
    }

    private static KernelFault fault(int threads, String body) { return assertThrows(KernelFault.class, () -> run(threads, body)); }

    private static int[] each(int threads, java.util.function.IntUnaryOperator f) { return IntStream.range(0, threads).map(f).toArray(); }

    @Test
    void aShuffleWaitsForLanesThatCameAnotherWay() {
        // odd lanes double their value on the way to the shuffle, and every lane takes its neighbour's
        assertArrayEquals(each(32, l -> (l ^ 1) % 2 == 1 ? 2 * (l ^ 1) : l ^ 1), run(32, """
                and.b32 %r3, %r1, 1;
                setp.eq.u32 %p0, %r3, 0;
                mov.u32 %r4, %r1;
                @%p0 bra MEET;
                shl.b32 %r4, %r1, 1;
                MEET: shfl.sync.bfly.b32 %r31, %r4, 1, 31, -1;
                """));
    }

    @Test
    void lanesThatEndedAreNotAwaited() {
        assertArrayEquals(each(32, l -> l < 8 ? 0 : 0xffffff00), run(32, """
                setp.lt.u32 %p0, %r1, 8;
                @%p0 ret;
                vote.sync.ballot.b32 %r31, %p1, -1;
                setp.eq.u32 %p1, %r31, 0;
                vote.sync.ballot.b32 %r31, %p1, -1;
                """));
    }

    @Test
    void aMaskWithoutTheCallerAndOneNobodyFillsAreFaults() {
        KernelFault self = fault(32, "shfl.sync.idx.b32 %r31, %r1, 0, 31, 0xfffffffe;");
        assertTrue(self.getMessage().contains("test.ptx:16") && self.getMessage().contains("thread (0, 0, 0)") && self.getMessage().contains("does not name the thread itself"), self.getMessage());
        KernelFault absent = fault(32, """
                setp.lt.u32 %p0, %r1, 4;
                @%p0 bra SOME;
                bar.sync 0;
                bra DONE;
                SOME: shfl.sync.idx.b32 %r31, %r1, 0, 31, 0xff;
                DONE:
                """);
        assertEquals(KernelFault.Kind.LAUNCH_FAILED, absent.kind(), absent.getMessage());
    }

    @Test
    void namedBarriersCountArrivalsOfSomeWarps() {
        // warp 0 only arrives, warp 1 waits for both: it reads what warp 0 wrote before, though warp 0 goes on alone
        assertArrayEquals(each(96, t -> t / 32 == 1 ? 7 + t % 32 : 0), run(96, """
                mov.u32 %r3, buffer;
                shl.b32 %r4, %r1, 2;
                add.u32 %r3, %r3, %r4;
                mov.u32 %r31, 0;
                setp.eq.u32 %p0, %r2, 1;
                @%p0 bra CONSUMER;
                setp.eq.u32 %p1, %r2, 2;
                @%p1 bra DONE;
                add.u32 %r5, %r1, 7;
                st.shared.u32 [%r3], %r5;
                bar.arrive 3, 64;
                bra DONE;
                CONSUMER: bar.sync 3, 64;
                ld.shared.u32 %r31, [%r3];
                DONE:
                """));
    }

    @Test
    void barrierReductionsSeeThePredicatesOfAllThreads() {
        assertArrayEquals(each(64, t -> 10 + 100), run(64, """
                setp.lt.u32 %p0, %r0, 10;
                bar.red.popc.u32 %r3, 0, %p0;
                bar.red.or.pred %p1, 1, %p0;
                bar.red.and.pred %p2, 2, %p0;
                selp.u32 %r4, 100, 0, %p1;
                selp.u32 %r5, 1000, 0, %p2;
                add.u32 %r31, %r3, %r4;
                add.u32 %r31, %r31, %r5;
                """));
    }

    @Test
    void aBarrierThatAWarpNeverReachesIsAFaultNotAHang() {
        KernelFault f = fault(64, """
                setp.eq.u32 %p0, %r2, 1;
                @%p0 bra OTHER;
                bar.sync 1;
                bra DONE;
                OTHER: bar.sync 2;
                DONE:
                """);
        assertTrue(f.getMessage().contains("waits forever at barrier 1") && f.getMessage().contains("warps 1 are not there"), f.getMessage());
        KernelFault part = fault(32, "setp.lt.u32 %p0, %r1, 5;\n@%p0 bar.sync 0;");
        assertTrue(part.getMessage().contains("only lanes 0x1f"), part.getMessage());
    }

    @Test
    void anArrivalObjectGoesThroughItsPhases() {
        // warp 0 awaits the phase that the 32 lanes of warp 1 complete; then the parity is 1
        assertArrayEquals(each(64, t -> t < 32 ? 42 : 0), run(64, """
                mov.u32 %r3, buffer;
                mov.u32 %r31, 0;
                setp.eq.u32 %p0, %r0, 0;
                @%p0 mbarrier.init.shared.b64 [%r3], 32;
                bar.sync 0;
                setp.eq.u32 %p1, %r2, 0;
                @%p1 bra WAIT;
                mov.u32 %r4, 42;
                st.shared.u32 [%r3+16], %r4;
                mbarrier.arrive.shared.b64 %rd5, [%r3];
                bra DONE;
                WAIT: mbarrier.try_wait.parity.shared.b64 %p2, [%r3], 0;
                @!%p2 bra WAIT;
                ld.shared.u32 %r31, [%r3+16];
                DONE:
                """));
    }

    @Test
    void aWarpThatSpinsLetsTheOthersRun() {
        assertArrayEquals(each(64, t -> t / 32 == 0 ? 5 : 0), run(64, """
                mov.u32 %r3, buffer;
                mov.u32 %r31, 0;
                setp.eq.u32 %p0, %r0, 0;
                @%p0 st.shared.u32 [%r3], 0;
                bar.sync 0;
                setp.eq.u32 %p1, %r2, 0;
                @%p1 bra SPIN;
                st.volatile.shared.u32 [%r3], 5;
                bra DONE;
                SPIN: ld.volatile.shared.u32 %r31, [%r3];
                setp.eq.u32 %p2, %r31, 0;
                @%p2 bra SPIN;
                DONE:
                """));
    }

    @Test
    void wildAndMisalignedAddressesNameLineThreadAndAddress() {
        KernelFault wild = fault(32, "st.global.u32 [%rd2+4], %r1;");
        assertEquals(KernelFault.Kind.ILLEGAL_ADDRESS, wild.kind());
        assertTrue(wild.getMessage().contains("test.ptx:16") && wild.getMessage().contains("thread (31, 0, 0)"), wild.getMessage());
        KernelFault skew = fault(32, "ld.global.u32 %r31, [%rd2+2];");
        assertEquals(KernelFault.Kind.MISALIGNED_ADDRESS, skew.kind());
        KernelFault shared = fault(32, "mov.u32 %r3, buffer;\nmad.lo.u32 %r3, %r1, 16, %r3;\nst.shared.u32 [%r3], %r1;");
        assertTrue(shared.getMessage().contains("thread (16, 0, 0)") && shared.getMessage().contains("offset 256 of 256"), shared.getMessage());
    }

    @Test
    void carriesChainAndRoundingHasADirection() {
        // 2^32 - 1 + lane: the high word takes the carry of every lane but 0
        assertArrayEquals(each(32, l -> l == 0 ? 0 : 1), run(32, "add.cc.u32 %r3, -1, %r1;\naddc.u32 %r31, 0, 0;"));
        assertArrayEquals(each(32, l -> l == 0 ? 0 : -1), run(32, "sub.cc.u32 %r3, 0, %r1;\nsubc.u32 %r31, 0, 0;"));
        // 1 + 2^-30 rounded down and up
        assertArrayEquals(each(32, l -> 0x3f800001), run(32, "add.rp.f32 %r31, 0f3F800000, 0f30800000;"));
        assertArrayEquals(each(32, l -> 0x3f800000), run(32, "add.rm.f32 %r31, 0f3F800000, 0f30800000;"));
        // a third: down, up
        assertArrayEquals(each(32, l -> 0x3eaaaaaa), run(32, "div.rz.f32 %r31, 0f3F800000, 0f40400000;"));
        assertArrayEquals(each(32, l -> 0x3eaaaaab), run(32, "div.rp.f32 %r31, 0f3F800000, 0f40400000;"));
        // the root of two towards zero and up
        assertArrayEquals(each(32, l -> 0x3fb504f3), run(32, "sqrt.rz.f32 %r31, 0f40000000;"));
        assertArrayEquals(each(32, l -> 0x3fb504f4), run(32, "sqrt.rp.f32 %r31, 0f40000000;"));
    }
}
