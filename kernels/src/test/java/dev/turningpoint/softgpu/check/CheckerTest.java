package dev.turningpoint.softgpu.check;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.turningpoint.softgpu.interpreter.Interpreter;
import dev.turningpoint.softgpu.interpreter.KernelFault;
import dev.turningpoint.softgpu.interpreter.KernelFault.Kind;
import dev.turningpoint.softgpu.interpreter.Launch;
import dev.turningpoint.softgpu.ptx.PtxKernel;
import dev.turningpoint.softgpu.ptx.PtxModule;
import dev.turningpoint.softgpu.ptx.PtxParser;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The kernels of {@code faults.cu}, each reported at the line marked there and for the thread worked out here, and those of {@code sound.cu}, which are right. */
@Timeout(value = 60, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
class CheckerTest {
    private static final int THREADS = 128;

    private final Arena arena = Arena.ofShared();
    private final List<String> log = new ArrayList<>();
    private final Checker checker = new Checker(log::add);

    @AfterEach
    void close() { arena.close(); }

    // ---- memory, as a driver would manage it

    /** Device memory of which nobody wrote a byte, far from any other. */
    private long fresh(long bytes) {
        long address = arena.allocate(bytes + 8192, 4096).address() + 4096;
        checker.allocations().add(address, bytes, Allocation.Kind.DEVICE);
        return address;
    }

    private long ints(int... values) {
        long address = fresh(4L * values.length);
        MemorySegment.copy(values, 0, MemorySegment.ofAddress(address).reinterpret(4L * values.length), ValueLayout.JAVA_INT, 0, values.length);
        checker.allocations().written(address, 4L * values.length);
        return address;
    }

    private long zeros(int count) { return ints(new int[count]); }

    private static String hex(long address) { return "0x" + Long.toHexString(address); }

    // ---- launches

    private static PtxModule module(String name) {
        try (var in = CheckerTest.class.getResourceAsStream(name + ".ptx")) {
            return PtxParser.parse(name, new String(in.readAllBytes()));
        } catch (IOException e) {
            throw new java.io.UncheckedIOException(e);
        }
    }

    /** What ends the launch, or null. */
    private KernelFault launch(String file, String entry, int blocks, int dynamicShared, Object... arguments) {
        PtxModule module = module(file);
        for (String name : module.variables().keySet()) {
            MemorySegment v = module.global(name);
            if (v != null) checker.allocations().add(v.address(), v.byteSize(), Allocation.Kind.VARIABLE);
        }
        PtxKernel kernel = module.kernel(entry);
        MemorySegment params = arena.allocate(Math.max(8, kernel.paramBytes()), 64);
        for (int i = 0; i < arguments.length; i++) {
            int at = kernel.params().get(i).offset();
            if (arguments[i] instanceof Long v) params.set(ValueLayout.JAVA_LONG, at, v);
            else params.set(ValueLayout.JAVA_INT, at, (Integer) arguments[i]);
        }
        var launch = new Launch(module, kernel, blocks, 1, 1, THREADS, 1, 1, dynamicShared, params.address());
        var watched = checker.begins(launch);
        try {
            new Interpreter(module, kernel, (address, bytes) -> true).run(launch, 0, blocks, watched.observer());
        } catch (KernelFault f) {
            watched.ends(f);
            return f;
        }
        try {
            watched.ends(null);
            return null;
        } catch (KernelFault f) {
            return f;
        }
    }

    /** The line of {@code faults.cu} that is marked within a kernel. */
    private static int line(String entry, String mark) {
        try (var in = CheckerTest.class.getResourceAsStream("faults.cu")) {
            List<String> lines = new String(in.readAllBytes()).lines().toList();
            for (int i = 0, inside = 0; i < lines.size(); i++) {
                if (lines.get(i).contains(" " + entry + "(")) inside = 1;
                if (inside == 1 && lines.get(i).matches(".*//.*\\b" + mark + "\\b.*")) return i + 1;
            }
            throw new AssertionError(entry + " has no line marked " + mark);
        } catch (IOException e) {
            throw new java.io.UncheckedIOException(e);
        }
    }

    private KernelFault fault(Kind kind, String what, int block, int thread, String entry, int blocks, int dynamicShared, Object... arguments) {
        KernelFault f = launch("faults", entry, blocks, dynamicShared, arguments);
        assertTrue(f != null, entry + " passed");
        assertEquals(kind, f.kind(), f.getMessage());
        String message = f.getMessage(), wanted = what + ": kernel " + entry + ", faults.ptx:";
        assertTrue(message.startsWith(wanted), message);
        assertTrue(message.contains("(faults.cu:" + line(entry, "FAULT") + "), block (" + block + ", 0, 0), thread (" + thread + ", 0, 0), "), message + "\nwanted line " + line(entry, "FAULT") + ", block " + block + ", thread " + thread);
        return f;
    }

    private static void says(KernelFault f, String... parts) {
        for (String part : parts) assertTrue(f.getMessage().contains(part), f.getMessage() + "\nwanted: " + part);
    }

    private void race(int thread, int otherThread, String did, String entry, Object... arguments) {
        KernelFault f = fault(Kind.LAUNCH_FAILED, "race", 0, thread, entry, 1, 0, arguments);
        says(f, "thread (" + otherThread + ", 0, 0) " + did, "(faults.cu:" + line(entry, "OTHER") + ")", "bytes of shared memory");
        assertEquals(List.of(), log, "one race, one report");
    }

    // ---- addresses

    @Test
    void pastTheEnd() {
        long x = fresh(4 * 300);
        says(fault(Kind.ILLEGAL_ADDRESS, "out of bounds", 2, 44, "past_the_end", 3, 0, x, 300),
                "write of 4 bytes at " + hex(x + 1200) + ", 0 bytes after an allocation of 1200 bytes of device memory at " + hex(x));
    }

    @Test
    void beforeTheStart() {
        long x = zeros(50), y = zeros(50);
        says(fault(Kind.ILLEGAL_ADDRESS, "out of bounds", 0, 0, "before_the_start", 1, 0, x, y, 50), "read of 4 bytes at " + hex(x - 4) + ", 4 bytes before an allocation of 200 bytes", hex(x));
    }

    @Test
    void partlyPastTheEndAndInNoAllocationAtAll() {
        long y = zeros(THREADS), table = fresh(8 * THREADS), x = fresh(10);
        checker.allocations().written(table, 8 * THREADS);
        checker.allocations().written(x, 10);
        var pointers = MemorySegment.ofAddress(table).reinterpret(8 * THREADS);
        for (int i = 0; i < THREADS; i++) pointers.setAtIndex(ValueLayout.JAVA_LONG, i, i < 70 ? x : x + 8);
        says(fault(Kind.ILLEGAL_ADDRESS, "out of bounds", 0, 70, "wild", 1, 0, table, y), "read of 4 bytes", "at offset 8 of an allocation of 10 bytes");
        pointers.setAtIndex(ValueLayout.JAVA_LONG, 33, 16L);
        says(fault(Kind.ILLEGAL_ADDRESS, "out of bounds", 0, 33, "wild", 1, 0, table, y), "at 0x10, ");
    }

    @Test
    void useAfterFree() {
        long y = zeros(THREADS), table = fresh(8 * THREADS), x = zeros(8), living = zeros(8);
        checker.allocations().written(table, 8 * THREADS);
        var pointers = MemorySegment.ofAddress(table).reinterpret(8 * THREADS);
        for (int i = 0; i < THREADS; i++) pointers.setAtIndex(ValueLayout.JAVA_LONG, i, i == 99 ? x + 12 : living);
        checker.allocations().quarantine(x);
        says(fault(Kind.ILLEGAL_ADDRESS, "use after free", 0, 99, "wild", 1, 0, table, y), "read of 4 bytes at " + hex(x + 12), "at offset 12 of an allocation of 32 bytes", "freed");
    }

    @Test
    void misaligned() {
        says(fault(Kind.MISALIGNED_ADDRESS, "misaligned write", 0, 1, "misaligned", 1, 0, fresh(6 * THREADS)), "is no multiple of 4");
        says(fault(Kind.MISALIGNED_ADDRESS, "misaligned read", 0, 1, "misaligned_vector", 1, 0, zeros(3 * THREADS + 1)), "is no multiple of 16");
    }

    @Test
    void sharedLocalConstantAndParameterMemoryEndsToo() {
        says(fault(Kind.ILLEGAL_ADDRESS, "out of bounds", 0, 127, "past_shared", 1, 4 * THREADS, zeros(THREADS)), "write of 4 bytes at offset 512 of the block's 512 bytes of shared memory");
        KernelFault local = launch("faults", "past_local", 1, 0, ints(7, 8, 1, 1, 1, 1, 1, 1), 8);
        assertEquals(Kind.ILLEGAL_ADDRESS, local.kind(), local.getMessage());
        says(local, "kernel past_local", "(faults.cu:" + line("past_local", "FAULT") + ")", "thread (0, 0, 0)", "offset 32 of 32 bytes of local memory");
        says(fault(Kind.ILLEGAL_ADDRESS, "out of bounds", 0, 4, "past_a_variable", 1, 0, zeros(THREADS), 0), "0 bytes after an allocation of 16 bytes of a module variable");
        KernelFault param = launch("faults", "past_the_parameters", 1, 0, zeros(THREADS));
        assertEquals(Kind.ILLEGAL_ADDRESS, param.kind(), param.getMessage());
        says(param, "(faults.cu:" + line("past_the_parameters", "FAULT") + ")", "thread (4, 0, 0)");
    }

    // ---- what nobody wrote

    @Test
    void uninitialisedGlobalMemory() {
        long x = fresh(4 * THREADS), y = fresh(4 * THREADS);
        checker.allocations().written(x, 4 * 100);
        says(fault(Kind.LAUNCH_FAILED, "uninitialised read", 0, 100, "uninitialised_global", 1, 0, x, y), "nobody wrote the byte at offset 400 of an allocation of 512 bytes");
        checker.allocations().written(x + 400, 4 * 28);
        assertEquals(null, launch("faults", "uninitialised_global", 1, 0, x, y));
        assertEquals(null, launch("faults", "uninitialised_global", 1, 0, y, x), "what a kernel writes is written");
    }

    @Test
    void aCopyIsAsUnwrittenAsItsSource() {
        long x = fresh(40_000), y = fresh(40_000), z = zeros(THREADS);
        checker.allocations().written(x, 40_000);
        checker.allocations().copied(x + 20_100, y, 7);
        says(fault(Kind.LAUNCH_FAILED, "uninitialised read", 0, 25, "uninitialised_global", 1, 0, x + 20_000, z), "at offset 20100 of an allocation of 40000 bytes");
        checker.allocations().copied(x + 20_100, x, 7);
        assertEquals(null, launch("faults", "uninitialised_global", 1, 0, x + 20_000, z));
    }

    @Test
    void uninitialisedElementsOfAVectorMatterIfTheyAreUsed() {
        long x = fresh(16 * THREADS), y = zeros(THREADS);
        for (int i = 0; i < THREADS; i++) checker.allocations().written(x + 16 * i, 12);
        says(fault(Kind.LAUNCH_FAILED, "uninitialised read", 0, 0, "uninitialised_vector", 1, 0, x, y), "at offset 12 of");
        assertEquals(null, launch("sound", "padded_vector", 1, 0, x, y));
    }

    @Test
    void uninitialisedSharedMemory() {
        says(fault(Kind.LAUNCH_FAILED, "uninitialised read", 0, 127, "uninitialised_shared", 1, 0, zeros(THREADS)), "offset 512 of the block's 516 bytes of shared memory", "tile + 512");
        assertEquals(List.of(), log);
    }

    // ---- races

    @Test
    void readsAndWritesWithNoBarrierBetween() {
        // Warps run in turn: warp 0 finds nothing at the place of warp 1, which then reads what warp 0 wrote.
        KernelFault f = launch("faults", "read_without_barrier", 1, 0, zeros(THREADS));
        says(f, "uninitialised read", "(faults.cu:" + line("read_without_barrier", "FAULT") + ")");
        assertEquals(1, log.size(), log.toString());
        assertTrue(log.getFirst().startsWith("race: ") && log.getFirst().contains("(faults.cu:" + line("read_without_barrier", "OTHER") + ")"), log.getFirst());
        log.clear();
        // The last warp to come to the barrier goes on first, and is in the next round when the first warp reads.
        race(0, 127, "wrote", "write_without_barrier", zeros(THREADS));
    }

    @Test
    void writersOfDifferentValues() {
        race(32, 0, "wrote", "two_writers", zeros(THREADS));
        race(1, 0, "wrote", "two_lanes", ints(java.util.stream.IntStream.range(0, THREADS).toArray()));
    }

    @Test
    void lanesOfAWarpAreNotInStep() { race(0, 1, "wrote", "warp_without_sync", zeros(THREADS)); }

    @Test
    void anAtomicIsNoExcuseForAPlainRead() { race(0, 96, "read", "plain_beside_atomic", zeros(THREADS)); }

    @Test
    void anAtomicWithoutFencesPassesNothingOn() { race(32, 0, "wrote", "atomic_without_fence", zeros(THREADS)); }

    @Test
    void asynchronousCopiesNeedAWaitAndABarrier() {
        race(96, 96, "began", "copy_not_awaited", zeros(THREADS), zeros(THREADS));
        race(96, 31, "began", "copy_of_the_last_group", zeros(THREADS), zeros(THREADS));
        race(64, 0, "wrote", "copy_without_barrier", zeros(THREADS), zeros(THREADS));
        race(0, 127, "wrote", "copy_over_readers", zeros(THREADS), zeros(THREADS));
    }

    @Test
    void blocksRunInAnyOrder() {
        says(fault(Kind.LAUNCH_FAILED, "race", 1, 0, "blocks_overlap", 3, 0, zeros(400)), "write at offset 400 of an allocation of 1600 bytes", "which block (0, 0, 0) wrote at",
                "(faults.cu:" + line("blocks_overlap", "OTHER") + ")");
        assertEquals(null, launch("faults", "blocks_overlap", 1, 0, zeros(400)), "one block races with nobody");
        // Block 0 reads before block 1 writes, and block 1 reads what block 0 wrote: one pair of lines, one report.
        says(fault(Kind.LAUNCH_FAILED, "race", 1, 0, "blocks_read_each_other", 2, 0, zeros(256), zeros(256)), "write at offset 512 of an allocation of 1024 bytes",
                "which block (0, 0, 0) read at", "(faults.cu:" + line("blocks_read_each_other", "OTHER") + ")");
        assertEquals(List.of(), log);
    }

    @Test
    void blocksThatKeepApartOrMeetByAtomics() {
        assertEquals(null, launch("sound", "blocks_side_by_side", 3, 0, fresh(2 * 3 * THREADS), zeros(1)));
        long sum = zeros(1);
        assertEquals(null, launch("sound", "last_block", 5, 0, ints(1, 2, 3, 4, 5), fresh(20), zeros(1), sum));
        assertEquals(15, MemorySegment.ofAddress(sum).reinterpret(4).get(ValueLayout.JAVA_INT, 0));
    }

    // ---- barriers

    @Test
    void barriersThatPartOfABlockGoesRound() {
        says(launch("faults", "barrier_of_odd_lanes", 1, 0, zeros(THREADS)), "(faults.cu:" + line("barrier_of_odd_lanes", "FAULT") + ")", "thread (1, 0, 0)", "only lanes 0xaaaaaaaa");
        says(fault(Kind.LAUNCH_FAILED, "divergent barrier", 0, 32, "barrier_of_some_warps", 1, 0, zeros(THREADS)), "thread (0, 0, 0) waits at the one of faults.ptx",
                "(faults.cu:" + line("barrier_of_some_warps", "OTHER") + ")");
        says(launch("faults", "barrier_after_some_lanes_ended", 1, 0, zeros(THREADS)), "(faults.cu:" + line("barrier_after_some_lanes_ended", "FAULT") + ")", "thread (96, 0, 0)", "only lanes 0xf");
        says(launch("faults", "barrier_nobody_fills", 1, 0, zeros(THREADS)), "(faults.cu:" + line("barrier_nobody_fills", "FAULT") + ")", "waits forever at barrier 1", "64 threads have come and 128 threads are awaited",
                "warps 2, 3 are not there");
    }

    // ---- and nothing where nothing is wrong

    @ParameterizedTest
    @ValueSource(strings = {"barriers_between", "writers_agree", "warp_with_sync", "histogram", "fence_and_flag", "producer_and_consumers"})
    void inPlace(String entry) {
        KernelFault f = launch("sound", entry, 1, 0, ints(java.util.stream.IntStream.range(0, THREADS).toArray()));
        assertEquals(null, f, () -> f.getMessage() + log);
    }

    @ParameterizedTest
    @ValueSource(strings = {"pipeline", "copy_of_ones_own"})
    void fromOneArrayToAnother(String entry) {
        KernelFault f = launch("sound", entry, 2, 0, zeros(4 * THREADS), fresh(4 * THREADS));
        assertEquals(null, f, () -> f.getMessage() + log);
    }

    @Test
    void upToACount() {
        assertEquals(null, launch("sound", "to_the_end", 3, 0, fresh(4 * 300), 300));
        for (int n : new int[] {32, 96, 128}) assertEquals(null, launch("sound", "barrier_after_some_warps_ended", 1, 0, zeros(THREADS), n));
    }

    // ---- many

    @Test
    void aFaultIsReportedOnceForAllWhoCommitIt() {
        KernelFault f = launch("faults", "uninitialised_global", 5, 0, fresh(4 * THREADS), fresh(4 * THREADS));
        says(f, "block (0, 0, 0), thread (0, 0, 0)");
        assertEquals(List.of(), log);
    }
}
