package dev.turningpoint.softgpu.interpreter;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.turningpoint.softgpu.ptx.Instruction;
import dev.turningpoint.softgpu.ptx.PtxParser;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.stream.IntStream;

/** How threads wait for each other, and what ends a kernel: worked out by hand from the PTX manual. */
@Timeout(value = 60, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)   // a test that spins forever does not hear an interrupt
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

    private static int[] run(int threads, String body) { return run(threads, Observer.NONE, body); }

    private static int[] run(int threads, Observer observer, String body) {
        var module = PtxParser.parse("test", HEAD + body + "\nst.global.u32 [%rd2], %r31;\nret;\n}\n");
        try (Arena a = Arena.ofConfined()) {
            var out = dev.turningpoint.softgpu.jit.Launch.ints(a, new int[threads]);
            dev.turningpoint.softgpu.jit.Launch.interpret(module, "f", new int[]{1}, new int[]{threads}, 0, observer, out);
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
    void aLaneThatSpinsLetsTheOthersOfItsWarpRun() {
        // each lane takes the lock in turn: the holder stands behind the loop in which the others spin
        assertArrayEquals(each(64, t -> 64), run(64, """
                mov.u32 %r3, buffer;
                setp.eq.u32 %p0, %r0, 0;
                @%p0 st.shared.v2.u32 [%r3], {%r1, %r1};
                bar.sync 0;
                SPIN: atom.shared.cas.b32 %r4, [%r3], 0, 1;
                setp.ne.u32 %p1, %r4, 0;
                @%p1 bra SPIN;
                ld.volatile.shared.u32 %r5, [%r3+4];
                add.u32 %r5, %r5, 1;
                st.volatile.shared.u32 [%r3+4], %r5;
                atom.shared.exch.b32 %r4, [%r3], 0;
                bar.sync 0;
                ld.shared.u32 %r31, [%r3+4];
                """));
    }

    @Test
    void lanesThatGoFirstWaitAtABarrierForASlowLane() {
        // lane 0 loops for longer than several turns while the others stand before the barrier
        assertArrayEquals(each(64, t -> 200_000), run(64, """
                mov.u32 %r3, buffer;
                setp.ne.u32 %p0, %r0, 0;
                @%p0 bra MEET;
                mov.u32 %r4, 0;
                LOOP: add.u32 %r4, %r4, 1;
                setp.lt.u32 %p1, %r4, 200000;
                @%p1 bra LOOP;
                st.shared.u32 [%r3], %r4;
                MEET: bar.sync 0;
                ld.shared.u32 %r31, [%r3];
                """));
    }

    @Test
    void whoeverWaitedForEndedLanesGoesOnAndIsSeenOnce() {
        var seen = new int[1];
        var observer = new Observer() {
            @Override public void instruction(Warp w, Instruction i, int active, int lanes) { if (i.is("shfl")) seen[0] += Integer.bitCount(active); }
        };
        // lanes 0 to 3 come first and wait for the others of the mask, of which 4 to 15 end and 16 to 31 come later
        int[] got = run(32, observer, """
                setp.lt.u32 %p0, %r1, 4;
                @%p0 bra MEET;
                setp.lt.u32 %p1, %r1, 16;
                @!%p1 bra LATER;
                ret;
                MEET: shfl.sync.idx.b32 %r31, %r1, 3, 31, 0xffff;
                bra DONE;
                LATER: mov.u32 %r31, 9;
                DONE:
                """);
        assertArrayEquals(each(32, l -> l < 4 ? 3 : l < 16 ? 0 : 9), got);
        assertEquals(4, seen[0]);
    }

    @Test
    void genericAddressesReachEverySpace() {
        // the parameter itself, shared and local memory, each through a 64-bit address; then somebody else's local memory
        String generic = """
                .local .align 4 .b8 own[4];
                mov.u64 %rd3, out;
                cvta.param.u64 %rd3, %rd3;
                ld.u64 %rd4, [%rd3];
                setp.eq.u64 %p0, %rd4, %rd0;
                mov.u64 %rd5, buffer;
                cvta.shared.u64 %rd5, %rd5;
                add.u64 %rd6, %rd5, 128;
                mul.wide.u32 %rd7, %r1, 4;
                add.u64 %rd6, %rd6, %rd7;
                st.u32 [%rd6], %r1;
                ld.shared.u32 %r3, [buffer+128];
                mov.u64 %rd8, own;
                cvta.local.u64 %rd8, %rd8;
                st.u32 [%rd8], %r1;
                ld.local.u32 %r4, [own];
                selp.u32 %r31, %r4, -1, %p0;
                add.u32 %r31, %r31, %r3;
                """;
        assertArrayEquals(each(32, l -> l), run(32, generic));
        assertTrue(fault(32, generic + "setp.eq.u32 %p1, %r1, 7;\n@%p1 ld.u32 %r31, [%rd8+16];").getMessage().contains("local memory of another thread"));
        KernelFault beyond = fault(32, generic + "ld.u32 %r31, [%rd3+8];");
        assertEquals(KernelFault.Kind.ILLEGAL_ADDRESS, beyond.kind());
        assertTrue(fault(32, "mov.u64 %rd3, 0x7ffffffffffffff8;\nld.param.u64 %rd4, [%rd3];").getMessage().contains("are no parameter"));
    }

    /** What 32 lanes of one warp make of a word by one atomic operation each; the old values come in the order of the lanes. */
    private static int afterAtomics(String type, int start, String operation) {
        int[] got = run(32, "mov.u32 %r3, buffer;\nmov.u32 %r4, " + start + ";\nst.shared.u32 [%r3], %r4;\nbar.warp.sync -1;\n" + operation.replace("TYPE", type)
                + "\nbar.warp.sync -1;\nld.shared.u32 %r31, [%r3];");
        return got[0];
    }

    @Test
    void atomicsOfEveryKind() {
        String plain = "atom.shared.%s.TYPE %%r5, [%%r3], %%r1;";
        assertEquals(100 + 496, afterAtomics("u32", 100, plain.formatted("add")));
        assertEquals(0, afterAtomics("u32", 100, plain.formatted("min")));
        assertEquals(-5, afterAtomics("s32", -5, plain.formatted("min")));
        assertEquals(31, afterAtomics("s32", -5, plain.formatted("max")));
        assertEquals(-5, afterAtomics("u32", -5, plain.formatted("max")));
        assertEquals(31, afterAtomics("b32", 0, plain.formatted("or")));
        assertEquals(0, afterAtomics("b32", -1, plain.formatted("and")));
        assertEquals(7, afterAtomics("b32", 7, plain.formatted("xor")));                                // 0 ^ 1 ^ ... ^ 31 is 0
        assertEquals(31, afterAtomics("b32", 7, plain.formatted("exch")));
        assertEquals(32 % 11, afterAtomics("u32", 0, "atom.shared.inc.TYPE %r5, [%r3], 10;"));          // 0, 1, ... 10, 0
        assertEquals(10 - 31 % 11, afterAtomics("u32", 0, "atom.shared.dec.TYPE %r5, [%r3], 10;"));     // 0, 10, 9, ... 0, 10
        assertEquals(32, afterAtomics("b32", 0, "add.u32 %r6, %r1, 1;\natom.shared.cas.TYPE %r5, [%r3], %r1, %r6;"));
        assertEquals(32, afterAtomics("b16", 0xffff0000, ".reg .b16 %h<2>;\nmov.u16 %h0, 32;\natom.shared.cas.TYPE %h1, [%r3], 0, %h0;") & 0xffff);
        assertEquals(0xffff, afterAtomics("b16", 0xffff0000, ".reg .b16 %h<2>;\nmov.u16 %h0, 32;\natom.shared.cas.TYPE %h1, [%r3], 0, %h0;") >>> 16);   // its neighbour stays
        assertEquals(Float.floatToRawIntBits(48), afterAtomics("f32", 0, "red.shared.add.TYPE [%r3], 0f3FC00000;"));
        // 1.5 and -2 in f16, 32 times: 48 and -64; in bf16 2^-9 is lost beside 1, of the halves one takes part in a minimum with NaN
        assertEquals(0xd4005200, afterAtomics("f16x2", 0, "mov.b32 %r6, 0xc0003e00;\nred.shared.add.noftz.TYPE [%r3], %r6;"));
        assertEquals(0x3f803f80, afterAtomics("bf16x2", 0x3f803f80, "mov.b32 %r6, 0x3b003b00;\nred.shared.add.noftz.TYPE [%r3], %r6;"));
        assertEquals(0x8000bc00, afterAtomics("f16x2", 0x00007fff, "mov.b32 %r6, 0x8000bc00;\nred.shared.min.noftz.TYPE [%r3], %r6;"));
    }

    @Test
    void atomicsOfVectorsAndOf128Bits() {
        int[] got = run(32, """
                .reg .f32 %f<4>;
                mov.f32 %f0, 0f3F800000;
                mov.f32 %f1, 0f40000000;
                setp.eq.u32 %p0, %r1, 0;
                @%p0 red.global.add.v2.f32 [%rd0+8], {%f0, %f1};
                @%p0 red.global.add.v2.f32 [%rd0+8], {%f0, %f0};
                bar.warp.sync -1;
                ld.global.u32 %r31, [%rd2];
                """);
        assertEquals(Float.floatToRawIntBits(2), got[2]);
        assertEquals(Float.floatToRawIntBits(3), got[3]);
        // lane l finds {l, l} and puts {l + 1, l + 1}; one whose halves differ changes nothing
        assertArrayEquals(each(32, l -> l), run(32, """
                .reg .b128 %q<4>;
                mov.u64 %rd3, 0;
                mov.u32 %r3, buffer;
                st.shared.v2.u64 [%r3], {%rd3, %rd3};
                bar.warp.sync -1;
                cvt.u64.u32 %rd4, %r1;
                add.u64 %rd5, %rd4, 1;
                mov.b128 %q0, {%rd4, %rd4};
                mov.b128 %q1, {%rd5, %rd5};
                atom.shared.cas.b128 %q2, [%r3], %q0, %q1;
                mov.b128 {%rd6, %rd7}, %q2;
                mov.b128 %q0, {%rd3, %rd5};
                atom.shared.cas.b128 %q3, [%r3], %q0, %q1;
                cvt.u32.u64 %r31, %rd7;
                """));
    }

    @Test
    void whatStaysOutIsRefusedByNameAndLine() {
        for (String refused : new String[]{"vote.ballot.b32 %r31, %p0;", "barrier.cluster.arrive;", "setmaxnreg.inc.sync.aligned.u32 40;", "wgmma.fence.sync.aligned;",
                "cp.async.bulk.commit_group;", "ld.shared::cluster.u32 %r31, [%r1];"}) {
            var e = assertThrows(dev.turningpoint.softgpu.ptx.PtxException.class, () -> run(32, refused), refused);
            assertTrue(e.getMessage().contains(refused.split("[ ;]")[0]) && e.getMessage().contains("test.ptx:16"), e.getMessage());
        }
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
