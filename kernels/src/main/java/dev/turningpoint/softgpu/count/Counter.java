package dev.turningpoint.softgpu.count;

import dev.turningpoint.softgpu.interpreter.Access;
import dev.turningpoint.softgpu.interpreter.Block;
import dev.turningpoint.softgpu.interpreter.Observer;
import dev.turningpoint.softgpu.interpreter.Warp;
import dev.turningpoint.softgpu.ptx.Instruction;
import dev.turningpoint.softgpu.ptx.PtxKernel;

import java.util.Arrays;
import java.util.IdentityHashMap;
import java.util.Map;

/** Counts what the blocks of one thread of the device do. */
final class Counter implements Observer {
    final Site[] sites;
    final Sectors sectors = new Sectors();
    long barriers;

    private final Map<Instruction, Site> byInstruction = new IdentityHashMap<>();
    /** Distinct sectors of one request, and which of their bytes it asks for. */
    private final long[] sector = new long[512];
    private final int[] bytesOfSector = new int[512];
    /** Of one pass over the banks: per bank the first word asked for, chained by next, and how many. */
    private final int[] head = new int[32], next = new int[256], words = new int[32];
    private final long[] word = new long[256];

    Counter(PtxKernel kernel) {
        sites = kernel.instructions().stream().map(Site::new).toArray(Site[]::new);
        for (Site s : sites) byInstruction.put(s.instruction, s);
    }

    @Override
    public void blockBegins(Block block) { sectors.nextBlock(); }

    @Override
    public void instruction(Warp warp, Instruction i, int active, int lanes) {
        Site s = byInstruction.get(i);
        s.issued++;
        s.lanes += Integer.bitCount(active);
        s.guarded += Integer.bitCount(lanes);
    }

    @Override
    public void branch(Warp warp, Instruction i, int active, int taken) {
        Site s = byInstruction.get(i);
        s.branches++;
        if (taken != 0 && taken != active) s.divergent++;
    }

    @Override
    public void barrierCompletes(Block block, int id, long warps) { barriers++; }

    @Override
    public void access(Warp warp, Access a) {
        Site s = byInstruction.get(a.instruction);
        switch (a.space) {
            case GLOBAL -> global(s, a);
            case SHARED -> shared(s, a);
            case LOCAL -> local(s, a);
            case CONST -> s.constantRequests++;
            default -> { }   // parameters: operands of other instructions on a GPU
        }
    }

    // ---- global memory

    private void global(Site s, Access a) {
        int n = 0, asked = 0;
        for (int rest = a.lanes; rest != 0; rest &= rest - 1) n = touch(n, a.address[Integer.numberOfTrailingZeros(rest)], a.bytes);
        for (int i = 0; i < n; i++) {
            asked += Integer.bitCount(bytesOfSector[i]);
            if (a.kind != Access.Kind.WRITE) sectors.read(sector[i]);
            if (a.kind != Access.Kind.READ) sectors.write(sector[i]);
        }
        s.globalRequests++;
        s.sectors += n;
        int ideal = (asked + 31) / 32;
        s.idealSectors += ideal;
        if (n > ideal + 1) s.uncoalesced++;
    }

    /** Adds these bytes to the first n sectors of the request; gives the new number. */
    private int touch(int n, long address, int bytes) {
        while (bytes > 0) {
            int at = (int) (address & 31), here = Math.min(bytes, 32 - at), mask = (here == 32 ? -1 : (1 << here) - 1) << at;
            long number = address >>> 5;
            int i = n - 1;
            while (i >= 0 && sector[i] != number) i--;
            if (i < 0) {
                i = n++;
                sector[i] = number;
                bytesOfSector[i] = 0;
            }
            bytesOfSector[i] |= mask;
            address += here;
            bytes -= here;
        }
        return n;
    }

    // ---- shared memory

    /** 128 bytes are a pass: all lanes of up to 4 bytes, half a warp of 8, a quarter of 16. */
    private void shared(Site s, Access a) {
        int group = a.bytes <= 4 ? 32 : Math.max(1, 128 / a.bytes), part = group == 32 ? -1 : (1 << group) - 1;
        s.sharedRequests++;
        for (int first = 0; first < 32; first += group) {
            int lanes = a.lanes & part << first;
            if (lanes == 0) continue;
            s.wavefronts += passes(a, lanes);
            s.idealWavefronts++;
        }
    }

    /** The most words that one bank has to give: what several lanes read in one word is given to all at once, atomic operations on it follow one another. */
    private int passes(Access a, int lanes) {
        Arrays.fill(head, -1);
        Arrays.fill(words, 0);
        int n = 0, most = 1;
        for (int rest = lanes; rest != 0; rest &= rest - 1) {
            long from = a.address[Integer.numberOfTrailingZeros(rest)];
            for (long w = from >> 2; w <= from + a.bytes - 1 >> 2; w++) {
                int bank = (int) w & 31, i = a.kind == Access.Kind.READ_WRITE ? -1 : head[bank];
                while (i >= 0 && word[i] != w) i = next[i];
                if (i >= 0) continue;
                word[n] = w;
                next[n] = head[bank];
                head[bank] = n++;
                most = Math.max(most, ++words[bank]);
            }
        }
        return most;
    }

    // ---- local memory

    /** The words of the lanes are interleaved: word w of all 32 lanes is 128 bytes in a row. */
    private void local(Site s, Access a) {
        int n = 0;
        for (int rest = a.lanes; rest != 0; rest &= rest - 1) {
            int l = Integer.numberOfTrailingZeros(rest);
            for (int done = 0; done < a.bytes; done += 4) {
                long at = a.address[l] + done;
                n = touch(n, (at >> 2) * 128 + l * 4 + (at & 3), Math.min(4, a.bytes));
            }
        }
        s.localRequests++;
        s.localSectors += n;
    }

    // ---- threads

    void add(Counter o) {
        for (int i = 0; i < sites.length; i++) sites[i].add(o.sites[i]);
        sectors.add(o.sectors);
        barriers += o.barriers;
    }
}
