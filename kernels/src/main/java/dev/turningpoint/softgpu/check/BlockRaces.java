package dev.turningpoint.softgpu.check;

import dev.turningpoint.softgpu.interpreter.Access;
import dev.turningpoint.softgpu.interpreter.Launch;
import dev.turningpoint.softgpu.interpreter.Warp;
import dev.turningpoint.softgpu.ptx.Instruction;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/**
 * Which blocks of one launch touch the same device memory, one of them writing: blocks run in any order, so the result depends on it. What a block does after it has
 * met others by an atomic or strong access is left out, as are accesses of single bytes; so is a store of what is there already. Threads of the device share it without a lock:
 * two that touch the same place at the same moment may overlook each other.
 */
final class BlockRaces {
    private static final int SHIFT = 12, GRANULES = 1 << SHIFT - 1;
    private static final int SEVERAL = 0xffff, MOST = SEVERAL - 1;

    /** Of 4096 bytes of memory for each pair of bytes 0, or instruction << 16 | 1 + block % MOST: blocks that are taken for one another hide a race and make none. */
    private static final class Page {
        final int[] writes = new int[GRANULES], reads = new int[GRANULES];
    }

    private final Launch shape;
    private final CheckedLaunch launch;
    private final Map<Long, Page> pages = new ConcurrentHashMap<>();
    private final List<Instruction> instructions;
    private final Map<Instruction, Integer> numbers = new HashMap<>();

    BlockRaces(Launch shape, CheckedLaunch launch) {
        this.shape = shape;
        this.launch = launch;
        instructions = shape.kernel().instructions();
        for (Instruction i : instructions) numbers.put(i, numbers.size());
    }

    /** One thread's way to it. */
    final class View {
        private long number = -1;
        private Page page;

        void access(Warp w, Access a, int lane) {
            if (a.bytes < 2) return;
            int block = 1 + (int) (w.block().index() % MOST), entry = numbers.get(a.instruction) << 16 | block;
            for (long at = a.address[lane], end = at + a.bytes; at < end; at += 2) {
                if (at >>> SHIFT != number) {
                    number = at >>> SHIFT;
                    page = pages.computeIfAbsent(number, n -> new Page());
                }
                int granule = (int) (at >>> 1) & GRANULES - 1, write = page.writes[granule], read = page.reads[granule];
                boolean others = write != 0 && (write & 0xffff) != block;
                if (a.kind == Access.Kind.READ) {
                    if (others) report(w, a, lane, at, write, "wrote");
                    if (read == 0) page.reads[granule] = entry;
                    else if ((read & 0xffff) != block) page.reads[granule] = read | SEVERAL;
                } else {
                    if (read != 0 && (read & 0xffff) != block) report(w, a, lane, at, read, "read");
                    else if (others && !SharedMemory.stores(w, a, lane, at)) report(w, a, lane, at, write, "wrote");
                    page.writes[granule] = entry;
                }
            }
        }
    }

    private void report(Warp w, Access a, int lane, long at, int other, String did) {
        Instruction by = instructions.get(other >>> 16);
        launch.found("race", w, lane, a.instruction, by, () -> CheckedBlocks.verb(a) + " " + launch.place(at) + ", which " + block(other & 0xffff) + " " + did + " at " + w.line(by)
                + ": blocks run in any order");
    }

    private String block(int entry) {
        if (entry == SEVERAL || shape.blocks() > MOST) return "another block";
        int b = entry - 1;
        return "block (" + b % shape.gridX() + ", " + b / shape.gridX() % shape.gridY() + ", " + b / shape.gridX() / shape.gridY() + ")";
    }
}
