package dev.turningpoint.softgpu.check;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;

/**
 * All memory that kernels may touch, and some that was freed, by address. The driver tells it of what appears and goes, and of what copies, fills and matrix products write.
 * Look-ups take no lock.
 */
public final class Allocations {
    /** Freed allocations that are kept: so many later ones may come before a stale pointer finds somebody else's memory. */
    private static final int QUARANTINED = 1000;

    /** Sorted by address; no two overlap. */
    private volatile Allocation[] table = {};
    private final ArrayDeque<Allocation> quarantine = new ArrayDeque<>();

    public synchronized void add(long start, long bytes, Allocation.Kind kind) {
        Allocation[] t = table, more = new Allocation[t.length + 1];
        int at = floor(t, start) + 1;
        System.arraycopy(t, 0, more, 0, at);
        more[at] = new Allocation(start, bytes, kind, caller());
        System.arraycopy(t, at, more, at + 1, t.length - at);
        table = more;
    }

    /** The range is no longer the driver's business, and somebody else may come to have it. */
    public synchronized void remove(long start) {
        Allocation[] t = table;
        int at = floor(t, start);
        if (at < 0 || t[at].start() != start) return;
        t[at].freed("");
        Allocation[] fewer = Arrays.copyOf(t, t.length - 1);
        System.arraycopy(t, at + 1, fewer, at, t.length - at - 1);
        table = fewer;
    }

    /** The allocation may not be touched any more; the caller keeps its memory from others until {@link #release} gives it back. */
    public synchronized void quarantine(long start) {
        Allocation a = find(start);
        a.freed(caller());
        quarantine.add(a);
    }

    /** The oldest freed allocation of too many: its memory may be used again; null if there are not so many. */
    public synchronized Allocation release() {
        if (quarantine.size() <= QUARANTINED) return null;
        Allocation a = quarantine.remove();
        remove(a.start());
        return a;
    }

    /** Device memory that is not freed, in words, in the order of addresses; of the same size and origin in one line. */
    public List<String> leaks() {
        record Alike(long bytes, String origin) {}
        var all = new LinkedHashMap<Alike, Integer>();
        for (Allocation a : table) if (!a.isFreed() && a.kind() == Allocation.Kind.DEVICE) all.merge(new Alike(a.bytes(), a.origin()), 1, Integer::sum);
        var lines = new ArrayList<String>();
        all.forEach((a, count) -> lines.add("leak: " + (count == 1 ? "an allocation" : count + " allocations") + " of " + a.bytes + " bytes of device memory"
                + (a.origin.isEmpty() ? "" : ", made by " + a.origin + ",") + (count == 1 ? " was" : " were") + " not freed before the context ended"));
        return lines;
    }

    // ---- what the driver's own work does

    /** These bytes hold something now. */
    public void written(long address, long bytes) {
        Allocation a = find(address);
        if (a != null && a.encloses(address, bytes)) a.write(address - a.start(), bytes);
    }

    /** These bytes were copied. Copying what nobody wrote is no fault: the copy is as unwritten as the source. */
    public void copied(long target, long source, long bytes) {
        Allocation to = find(target), from = find(source);
        if (to == null || !to.encloses(target, bytes)) return;
        if (from == null || !from.encloses(source, bytes)) to.write(target - to.start(), bytes);
        else to.copy(target - to.start(), from, source - from.start(), bytes);
    }

    /** In words where the first of these bytes lies that nobody ever wrote; null if there is none. */
    public String unwritten(long address, long bytes) {
        Allocation a = find(address);
        long at = a == null || !a.encloses(address, bytes) ? -1 : a.unwritten(address - a.start(), bytes);
        return at < 0 ? null : a.describe(a.start() + at);
    }

    // ---- looking up

    /** The allocation with the greatest start up to this address; null if there is none. */
    Allocation find(long address) {
        Allocation[] t = table;
        int at = floor(t, address);
        return at < 0 ? null : t[at];
    }

    /** In words where bytes lie that are not all in living memory: inside a freed allocation, or beside the nearest living one. */
    String describe(long address, long bytes) {
        Allocation[] t = table;
        int at = floor(t, address);
        Allocation below = null, above = null;
        if (at >= 0 && t[at].encloses(address, 1)) return t[at].describe(address, bytes);
        for (int i = at; i >= 0 && below == null; i--) if (!t[i].isFreed()) below = t[i];
        for (int i = at + 1; i < t.length && above == null; i++) if (!t[i].isFreed()) above = t[i];
        if (below == null && above == null) return "and there are no allocations";
        boolean first = above == null || below != null && address - below.start() - below.bytes() <= above.start() - address;
        return (first ? below : above).describe(address, bytes);
    }

    private static int floor(Allocation[] t, long address) {
        int low = 0, high = t.length - 1;
        while (low <= high) {
            int mid = low + high >>> 1;
            if (t[mid].start() <= address) low = mid + 1;
            else high = mid - 1;
        }
        return high;
    }

    /** The first frame that is neither in the driver nor in the classes that call it. */
    private static String caller() {
        return StackWalker.getInstance().walk(frames -> {
            String found = "";
            boolean called = false;   // below the binding of a driver function: who called it, or one of the classes that do for others
            for (var f : (Iterable<StackWalker.StackFrame>) frames::iterator) {
                String name = f.getClassName();
                if (name.startsWith("dev.turningpoint.bindings.")) called = true;
                else if (called && !name.startsWith("dev.turningpoint.gpu.") && !name.startsWith("java.") && !name.startsWith("jdk.")) {
                    found = name.substring(name.lastIndexOf('.') + 1) + "." + f.getMethodName() + "(" + f.getFileName() + ":" + f.getLineNumber() + ")";
                    break;
                }
            }
            return found;
        });
    }
}
