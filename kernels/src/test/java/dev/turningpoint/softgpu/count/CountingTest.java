package dev.turningpoint.softgpu.count;

import static dev.turningpoint.softgpu.count.InstructionClass.ATOMIC;
import static dev.turningpoint.softgpu.count.InstructionClass.CONTROL;
import static dev.turningpoint.softgpu.count.InstructionClass.INTEGER;
import static dev.turningpoint.softgpu.count.InstructionClass.MATRIX;
import static dev.turningpoint.softgpu.count.InstructionClass.MEMORY;
import static dev.turningpoint.softgpu.count.InstructionClass.MOVE;
import static dev.turningpoint.softgpu.count.InstructionClass.SHUFFLE;
import static dev.turningpoint.softgpu.count.InstructionClass.SPECIAL;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.turningpoint.softgpu.jit.Launch;
import dev.turningpoint.softgpu.ptx.PtxModule;
import dev.turningpoint.softgpu.ptx.PtxParser;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Counters against counts done by hand, which stand in the comments. Memory is 64-byte aligned, so that arrays begin with a sector. */
class CountingTest {
    private static final String HEAD = ".version 8.0\n.target sm_80\n.address_size 64\n";

    private static PtxModule module(String file) {
        try (var in = CountingTest.class.getResourceAsStream("/dev/turningpoint/kernels/" + file + ".ptx")) {
            return PtxParser.parse(file, new String(in.readAllBytes()));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static LaunchCounts count(PtxModule module, String entry, int[] grid, int[] block, int dynamicShared, Object... arguments) {
        var counts = new LaunchCounts[1];
        Launch.interpret(module, entry, grid, block, dynamicShared, new Counting(c -> counts[0] = c), arguments);
        return counts[0];
    }

    private static MemorySegment floats(Arena arena, int count) {
        MemorySegment s = arena.allocate(4L * count, 64);
        for (int i = 0; i < count; i++) s.setAtIndex(ValueLayout.JAVA_FLOAT, i, (i % 7 - 3) * 0.25f);
        return s;
    }

    /**
     * flow_step of 2 rows of 640 values with noise given and no guidance: grid (1, 2), 4 warps a block, chunks of 512 values.
     *
     * A row: warp 0 does chunk 0, 512 values in 4 groups of 32 lanes x 4; warp 1 chunk 1, 128 values in 1 group; warps 2 and 3 have no chunk.
     * Each of the 5 groups loads x, v and noise and stores x_next: 4 requests of 16 bytes a lane, 512 bytes, 16 sectors.
     * Each of the 2 warps also loads row_step (all lanes the same 4 bytes: 1 sector) and keep, drift, spread of its step (the same 16 bytes: 1 sector),
     * and one lane stores the chunk's sum (1 sector).
     *   loads  5 x 3 + 2 x 2 = 19 a row, stores 5 x 1 + 2 x 1 = 7 a row
     *   sectors (5 x 4) x 16 + 2 x 3 = 326 a row, none more than the bytes need
     * DRAM, both rows: x, v, noise are 2 x 640 x 4 bytes = 160 sectors each; row_step 8 bytes, 1; the two steps of 32 bytes, 1 each: 480 + 1 + 2 = 483 read;
     * x_next 160, the 4 sums 16 bytes, 1: 161 written. Blocks by themselves read row_step's sector each (484) and write to the sums' sector each (162).
     * f32 operations: mean 3 (keep x + drift v: a product, a fused product), x_next 2, their difference 1, its square added 2: 8 a value, 8 x 1280 = 10240; the sum
     * over a warp adds 5 times in 32 lanes: 4 warps x 160 = 640. Together 10880. Exchanges: 4 warps x 5.
     * Lane 0 alone stores the sum: the 4 warps with a chunk part there, and nowhere else.
     */
    @Test
    void flowStep() {
        int batch = 2, n = 640, chunks = 2;
        try (Arena a = Arena.ofConfined()) {
            MemorySegment x = floats(a, batch * n), v = floats(a, batch * n), noise = floats(a, batch * n), next = floats(a, batch * n), partial = floats(a, batch * chunks);
            MemorySegment steps = floats(a, 2 * 8), rowStep = Launch.ints(a, 0, 1);
            steps.setAtIndex(ValueLayout.JAVA_FLOAT, 2, 0.5f);
            steps.setAtIndex(ValueLayout.JAVA_FLOAT, 10, 0.25f);
            LaunchCounts c = count(module("sampler"), "flow_step_f32", new int[]{1, batch}, new int[]{128}, 0,
                    x, v, 0L, 1f, next, 0L, partial, steps, rowStep, noise, 0L, 7L, n / 4, chunks);
            assertEquals(2 * 19, c.globalLoadRequests());
            assertEquals(2 * 7, c.globalStoreRequests());
            assertEquals(2 * 326, c.sectors());
            assertEquals(2 * 326, c.idealSectors());
            assertEquals(32 * 483, c.dramReadBytes());
            assertEquals(32 * 161, c.dramWrittenBytes());
            assertEquals(32 * 484, c.l2ReadBytes());
            assertEquals(32 * 162, c.l2WrittenBytes());
            assertEquals(10880, c.fp32Flops());
            assertEquals(20, c.issued(SHUFFLE));
            assertEquals(4, c.divergentBranches());
            assertEquals(0, c.sharedRequests());
            assertEquals(0, c.barriers());
        }
    }

    /**
     * Adaptive LayerNorm of 5 rows of 96 values of one sample: 2 blocks of 4 warps, a row a warp; the last three warps have none.
     *
     * A row of 96 values is 3 requests of 32 lanes x 4 bytes, 4 sectors each. It is read three times (sum, squares, result), then scale and shift once, the result
     * stored once: 3 x 3 + 3 + 3 = 15 loads, 3 stores; mean and rstd are stored by all lanes to the same 4 bytes: 2 stores of 1 sector.
     *   5 rows: 75 loads, 25 stores, (18 x 4 + 2) x 5 = 370 sectors
     * DRAM: x 5 x 384 bytes = 60 sectors, scale and shift 12 each: 84 read; out 60, statistics 5 x 8 = 40 bytes, 2 sectors: 62 written.
     * L2: block 0 reads 48 + 24, block 1 reads 12 + 24: 108; block 0 writes 48 and the statistics of 4 rows, 1 sector, block 1 writes 12 + 1: 62.
     * f32 operations: first pass 1 (add), second 3 (difference, fused square), third 5 (difference, product, 1 + scale, fused): 9 x 480 = 4320; a row's two sums over the
     * warp 2 x 5 x 32, the mean a product in 32 lanes, the variance plus eps a fused one in 32: 416 x 5 = 2080. Together 6400.
     * Reciprocals: 1 / d and 1 / sqrt: 2 a row. Exchanges: 10 a row. Every warp takes one way at every branch.
     */
    @Test
    void adaptiveLayerNorm() {
        int rows = 5, d = 96;
        try (Arena a = Arena.ofConfined()) {
            MemorySegment x = floats(a, rows * d), shift = floats(a, d), scale = floats(a, d), out = floats(a, rows * d), stats = floats(a, 2 * rows);
            LaunchCounts c = count(module("norm"), "adaptive_layer_norm_f32", new int[]{2}, new int[]{128}, 0, x, shift, scale, out, stats, d, rows, d, rows, 1e-6f);
            assertEquals(75, c.globalLoadRequests());
            assertEquals(25, c.globalStoreRequests());
            assertEquals(370, c.sectors());
            assertEquals(370, c.idealSectors());
            assertEquals(32 * 84, c.dramReadBytes());
            assertEquals(32 * 62, c.dramWrittenBytes());
            assertEquals(32 * 108, c.l2ReadBytes());
            assertEquals(32 * 62, c.l2WrittenBytes());
            assertEquals(6400, c.fp32Flops());
            assertEquals(10, c.issued(SPECIAL));
            assertEquals(50, c.issued(SHUFFLE));
            assertEquals(0, c.divergentBranches());
        }
    }

    /** One warp: 32 rows of 32 values in, by way of shared memory with rows `pitch` bytes apart, transposed out; and once more without shared memory. */
    private static final String TRANSPOSE = HEAD + """
            .visible .entry transpose(.param .u64 in, .param .u64 out, .param .u64 direct, .param .u32 pitch)
            {
            .reg .pred %p<2>;
            .reg .b32 %r<12>;
            .reg .b64 %rd<12>;
            .shared .align 16 .b8 tile[4224];
            ld.param.u64 %rd1, [in];
            ld.param.u64 %rd2, [out];
            ld.param.u64 %rd3, [direct];
            ld.param.u32 %r1, [pitch];
            mov.u32 %r2, %tid.x;
            mul.wide.u32 %rd4, %r2, 4;
            add.u64 %rd5, %rd1, %rd4;
            mov.u32 %r3, tile;
            mad.lo.u32 %r4, %r2, %r1, %r3;
            mul.wide.u32 %rd6, %r2, 128;
            add.u64 %rd7, %rd3, %rd6;
            mov.u32 %r5, 0;
            IN:
            ld.global.b32 %r6, [%rd5];
            st.shared.b32 [%r4], %r6;
            st.global.b32 [%rd7], %r6;
            add.u64 %rd5, %rd5, 128;
            add.u32 %r4, %r4, 4;
            add.u64 %rd7, %rd7, 4;
            add.u32 %r5, %r5, 1;
            setp.lt.u32 %p1, %r5, 32;
            @%p1 bra IN;
            bar.sync 0;
            add.u64 %rd8, %rd2, %rd4;
            shl.b32 %r7, %r2, 2;
            add.u32 %r8, %r3, %r7;
            mov.u32 %r5, 0;
            OUT:
            ld.shared.b32 %r9, [%r8];
            st.global.b32 [%rd8], %r9;
            add.u64 %rd8, %rd8, 128;
            add.u32 %r8, %r8, %r1;
            add.u32 %r5, %r5, 1;
            setp.lt.u32 %p1, %r5, 32;
            @%p1 bra OUT;
            ret;
            }
            """;

    /**
     * Transposing 32 x 32 values. Lane l puts value i at row l of the tile, column i: rows 128 bytes apart put all lanes into one bank, 32 passes; 132 bytes apart into 32
     * banks, 1 pass. Out of the tile it reads 32 neighbours, 1 pass.
     *   128: 32 x 32 + 32 = 1056 passes, of which 32 x 31 = 992 are conflicts;  132: 64 passes
     * Global memory: a load of a row is 4 sectors, a store of a row 4. Straight to direct[32 l + i] lanes are 128 bytes apart, a sector each: 32 for 128 bytes, which 4 hold.
     *   32 loads, 64 stores, 32 x (4 + 4 + 32) = 1280 sectors where 32 x 12 = 384 would do
     * DRAM does not see that: 4096 bytes read, 2 x 4096 written.
     * Instructions: 4 parameters and 4 moves (tid, tile, 0, 0); integer 5 before IN, 3 before OUT, 5 and 4 in them; memory 3 and 2 in them; control: a branch in each,
     * the barrier, ret.
     */
    @ParameterizedTest
    @CsvSource({"128, 992", "132, 0"})
    void transposition(int pitch, int conflicts) {
        try (Arena a = Arena.ofConfined()) {
            MemorySegment in = floats(a, 1024), out = floats(a, 1024), direct = floats(a, 1024);
            LaunchCounts c = count(PtxParser.parse("transpose", TRANSPOSE), "transpose", new int[]{1}, new int[]{32}, 0, in, out, direct, pitch);
            for (int i = 0; i < 1024; i++) {
                float expected = in.getAtIndex(ValueLayout.JAVA_FLOAT, i % 32 * 32 + i / 32);
                assertEquals(expected, out.getAtIndex(ValueLayout.JAVA_FLOAT, i));
                assertEquals(expected, direct.getAtIndex(ValueLayout.JAVA_FLOAT, i));
            }
            assertEquals(64, c.sharedRequests());
            assertEquals(64 + conflicts, c.wavefronts());
            assertEquals(conflicts, c.bankConflicts());
            assertEquals(32, c.globalLoadRequests());
            assertEquals(64, c.globalStoreRequests());
            assertEquals(1280, c.sectors());
            assertEquals(384, c.idealSectors());
            assertEquals(32, c.uncoalesced());
            assertEquals(4096, c.dramReadBytes());
            assertEquals(8192, c.dramWrittenBytes());
            assertEquals(8, c.issued(MOVE));
            assertEquals(8 + 32 * 5 + 32 * 4, c.issued(INTEGER));
            assertEquals(32 * 5, c.issued(MEMORY));
            assertEquals(64 + 2, c.issued(CONTROL));
            assertEquals(1, c.barriers());
            assertEquals(64, c.branches());
            assertEquals(0, c.divergentBranches());
            assertEquals(32 * c.issued(), c.threadInstructions());
        }
    }

    /** One warp multiplies a 16 x 16 tile of bf16, rows `pitch` bytes apart in shared memory, by 8 columns of itself. */
    private static final String PRODUCT = HEAD + """
            .visible .entry product(.param .u64 out, .param .u32 pitch)
            {
            .reg .pred %p<2>;
            .reg .b32 %r<16>;
            .reg .f32 %f<5>;
            .reg .b64 %rd<4>;
            .shared .align 16 .b8 tile[1024];
            ld.param.u64 %rd1, [out];
            ld.param.u32 %r1, [pitch];
            mov.u32 %r2, %tid.x;
            mov.u32 %r3, tile;
            and.b32 %r4, %r2, 15;
            shr.u32 %r5, %r2, 4;
            mad.lo.u32 %r6, %r4, %r1, %r3;
            shl.b32 %r7, %r5, 4;
            add.u32 %r8, %r6, %r7;
            mov.u32 %r9, 0x3f803f80;
            st.shared.v4.b32 [%r8], {%r9, %r9, %r9, %r9};
            bar.warp.sync -1;
            ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r10, %r11, %r12, %r13}, [%r8];
            mov.f32 %f1, 0f00000000;
            mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%f1, %f2, %f3, %f4}, {%r10, %r11, %r12, %r13}, {%r10, %r12}, {%f1, %f1, %f1, %f1};
            mul.wide.u32 %rd2, %r2, 4;
            add.u64 %rd3, %rd1, %rd2;
            st.global.f32 [%rd3], %f1;
            ret;
            }
            """;

    /**
     * Lane l names row l % 16, 16 bytes from l / 16: the eight lanes of a quarter warp have eight consecutive rows and 16 bytes of each, 128 bytes, one pass if they lie
     * in different banks. Both the 16-byte store and ldmatrix.x4, whose four matrices are those quarters, are 4 passes without conflicts.
     *   rows 32 bytes apart: row r begins in bank 8 r mod 32, so that rows r and r + 4 share theirs: 2 passes a quarter, 2 x 4 conflicts
     *   rows 48 bytes apart: banks 0 12 24 4 16 28 8 20, four each: none
     *   rows 128 bytes apart would all begin in bank 0; 64 bytes: banks 0 and 16 alone, 4 passes a quarter, 2 x 12 conflicts
     * One product of m16n8k16 is 2 x 16 x 8 x 16 = 4096 operations; a row of ones times a column of ones is 16.
     */
    @ParameterizedTest
    @CsvSource({"32, 8", "48, 0", "64, 24"})
    void matrices(int pitch, int conflicts) {
        try (Arena a = Arena.ofConfined()) {
            MemorySegment out = floats(a, 32);
            LaunchCounts c = count(PtxParser.parse("product", PRODUCT), "product", new int[]{1}, new int[]{32}, 0, out, pitch);
            assertEquals(16f, out.getAtIndex(ValueLayout.JAVA_FLOAT, 5));
            assertEquals(2, c.sharedRequests());
            assertEquals(8 + conflicts, c.wavefronts());
            assertEquals(conflicts, c.bankConflicts());
            assertEquals(1, c.issued(MATRIX));
            assertEquals(1, c.matrixProducts());
            assertEquals(4096, c.bf16MatrixFlops());
            assertEquals(0, c.f16MatrixFlops() + c.tf32MatrixFlops() + c.otherMatrixFlops() + c.fp32Flops());
            assertEquals(3, c.issued(MEMORY));
            assertEquals(0, c.barriers());
            assertEquals(4, c.sectors());
        }
    }

    /** Each lane counts down from lane % 4 in a local variable; odd lanes then add to one word of shared memory, and lane 3 puts it out. */
    private static final String DIVERGENT = HEAD + """
            .visible .entry divergent(.param .u64 out)
            {
            .reg .pred %p<4>;
            .reg .b32 %r<8>;
            .reg .b64 %rd<2>;
            .local .align 4 .b8 left[4];
            .shared .align 4 .b8 sum[4];
            mov.u32 %r1, %tid.x;
            and.b32 %r2, %r1, 3;
            st.local.u32 [left], %r2;
            st.shared.u32 [sum], 0;
            DOWN:
            ld.local.u32 %r3, [left];
            setp.eq.u32 %p1, %r3, 0;
            @%p1 bra DONE;
            sub.u32 %r4, %r3, 1;
            st.local.u32 [left], %r4;
            bra DOWN;
            DONE:
            bar.warp.sync -1;
            and.b32 %r5, %r1, 1;
            setp.ne.u32 %p2, %r5, 0;
            @%p2 red.shared.add.u32 [sum], 1;
            bar.warp.sync -1;
            setp.eq.u32 %p3, %r1, 3;
            ld.param.u64 %rd1, [out];
            @%p3 ld.shared.u32 %r6, [sum];
            @%p3 st.global.u32 [%rd1], %r6;
            ret;
            }
            """;

    /**
     * One warp of 32 lanes, 8 of each remainder 0, 1, 2, 3. The test at DOWN is passed by 32 lanes, then the 24 that stayed, then 16, then 8: 4 branches; the first three part
     * lanes, the last does not: 3 divergent.
     *   before DOWN: 4 instructions x 32 lanes
     *   ld, setp, bra: 4 times, 32 + 24 + 16 + 8 = 80 lanes;  sub, st, bra: 3 times, 24 + 16 + 8 = 48 lanes
     *   from DONE on, where those who left wait for the others: 10 instructions x 32 lanes; of these the red has 16 lanes with their guard, ld.shared and st.global one each
     *   issued 4 + 12 + 9 + 10 = 35, thread instructions 128 + 3 x 80 + 3 x 48 + 320 = 832, with their guard 832 - (80 - 32) - 16 - 31 - 31
     *   (of the conditional branch the guard holds for the 32 lanes that leave, 8 at a time)
     * Local memory: word 0 of the lanes is interleaved, 32 lanes are 4 sectors. Lanes that count are those with remainder >= 1, 2, 3: of 4 lanes side by side at least one, so that
     * a sector of 8 lanes is touched in every round: 1 + 4 + 3 requests, 8 x 4 sectors.
     * Shared memory: the store by all lanes to one word is 1 pass; 16 lanes add to one word one after the other, 16 passes, 15 conflicts; the load 1 pass.
     */
    @Test
    void divergence() {
        try (Arena a = Arena.ofConfined()) {
            MemorySegment out = floats(a, 1);
            LaunchCounts c = count(PtxParser.parse("divergent", DIVERGENT), "divergent", new int[]{1}, new int[]{32}, 0, out);
            assertEquals(16, out.get(ValueLayout.JAVA_INT, 0));
            assertEquals(4, c.branches());
            assertEquals(3, c.divergentBranches());
            assertEquals(35, c.issued());
            assertEquals(832, c.threadInstructions());
            assertEquals(832 - 48 - 16 - 31 - 31, c.guardedThreadInstructions());
            assertEquals(8, c.localRequests());
            assertEquals(32, c.localSectors());
            assertEquals(3, c.sharedRequests());
            assertEquals(1 + 16 + 1, c.wavefronts());
            assertEquals(15, c.bankConflicts());
            assertEquals(1, c.issued(ATOMIC));
            assertEquals(1, c.atomicRequests());
            assertEquals(16, c.atomicLanes());
            assertEquals(1, c.sectors());
        }
    }

    /** What the threads of a device count apart is one launch: sectors that both touched are one in DRAM, and two blocks' in L2. */
    @Test
    void threadsAddUp() {
        var one = new Sectors();
        var other = new Sectors();
        one.nextBlock();
        other.nextBlock();
        for (int s = 0; s < 1000; s++) one.read(s);
        for (int s = 500; s < 2000; s++) other.read(s);
        for (int s = 0; s < 10; s++) other.write(s);
        one.add(other);
        assertEquals(2000, one.distinctRead());
        assertEquals(10, one.distinctWritten());
        assertEquals(2500, one.readByBlocks);
        one.nextBlock();
        one.read(3);
        one.read(3);
        assertEquals(2501, one.readByBlocks);
    }
}
