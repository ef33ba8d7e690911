package dev.turningpoint.softgpu.driver;

import dev.turningpoint.softgpu.check.Allocation;
import dev.turningpoint.softgpu.check.Checker;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.util.Arrays;
import java.util.HashSet;
import java.util.Set;

/**
 * A table of address ranges: device memory, or host memory known to the driver. Look-ups take no lock and allocate nothing; changes copy the table.
 * Device memory is host memory, aligned to 256 bytes (to 2 MB with huge pages from 4 MB on), up to {@link #limit}.
 */
final class Memory {
    static final Memory DEVICE = new Memory(Allocation.Kind.DEVICE, defaultLimit());
    /** Pinned: allocated or registered by the driver, so that asynchronous copies need not stage it. */
    static final Memory PINNED = new Memory(Allocation.Kind.PINNED, Long.MAX_VALUE);
    /** {@code .global} and {@code .const} variables of loaded modules. */
    static final Memory VARIABLES = new Memory(Allocation.Kind.VARIABLE, Long.MAX_VALUE);

    /** {@code -Dturningpoint.software.check=true}: looks on at launches and knows what every byte of these tables is; else null. */
    static final Checker CHECKER = Boolean.getBoolean("turningpoint.software.check") ? new Checker(line -> DriverLog.note(line, true)) : null;
    /** New memory holds NaN of every type rather than what was there, when it is checked: reading before writing shows in the results too. */
    private static final byte FRESH_BYTE = (byte) 0xff;

    private static final long HUGE = 2 << 20, PAGE = 4096;
    private static final int MADV_DONTNEED = 4, MADV_HUGEPAGE = 14;
    private static final Linker LINKER = Linker.nativeLinker();
    private static final MethodHandle POSIX_MEMALIGN = c("posix_memalign", FunctionDescriptor.of(ValueLayout.JAVA_INT, ValueLayout.ADDRESS, ValueLayout.JAVA_LONG, ValueLayout.JAVA_LONG));
    private static final MethodHandle FREE = c("free", FunctionDescriptor.ofVoid(ValueLayout.JAVA_LONG));
    private static final MethodHandle MADVISE = c("madvise", FunctionDescriptor.of(ValueLayout.JAVA_INT, ValueLayout.JAVA_LONG, ValueLayout.JAVA_LONG, ValueLayout.JAVA_INT));

    /** Sorted by start. */
    private record Ranges(long[] starts, long[] sizes) {}

    private volatile Ranges ranges = new Ranges(new long[0], new long[0]);
    /** Ranges that are the caller's own memory, made known by {@link #register}. */
    private final Set<Long> registered = new HashSet<>();
    private final Allocation.Kind kind;
    private long limit;
    private long used;

    private Memory(Allocation.Kind kind, long limit) {
        this.kind = kind;
        this.limit = limit;
    }

    private static long defaultLimit() {
        String set = System.getProperty("turningpoint.software.memory");
        if (set != null) return parseBytes(set);
        var system = (com.sun.management.OperatingSystemMXBean) java.lang.management.ManagementFactory.getOperatingSystemMXBean();
        return system.getTotalMemorySize() / 4 * 3;
    }

    /** {@code 1500000000}, {@code 1500m}, {@code 12g}. */
    static long parseBytes(String text) {
        String t = text.strip().toLowerCase(java.util.Locale.ROOT);
        int shift = t.endsWith("k") ? 10 : t.endsWith("m") ? 20 : t.endsWith("g") ? 30 : 0;
        try {
            return Math.multiplyExact(Long.parseLong(shift == 0 ? t : t.substring(0, t.length() - 1)), 1L << shift);
        } catch (ArithmeticException | NumberFormatException e) {
            throw Code.INVALID_VALUE.error("turningpoint.software.memory=" + text + " is no size (bytes, or with k, m, g)");
        }
    }

    synchronized long limit() { return limit; }

    /** For tests. */
    synchronized void limit(long bytes) { limit = bytes; }

    synchronized long used() { return used; }

    synchronized int count() { return ranges.starts.length; }

    long allocate(long bytes) {
        if (bytes <= 0) throw Code.INVALID_VALUE.error("allocation of " + bytes + " bytes");
        long size = (bytes + 255) / 256 * 256;
        boolean huge = size >= 2 * HUGE;
        long address;
        synchronized (this) {
            if (size < 0 || size > limit - used && !Planning.ON)
                throw Code.OUT_OF_MEMORY.error(bytes + " bytes asked, " + (limit - used) + " of " + limit + " free (limit: -Dturningpoint.software.memory)");
            address = Planning.ON && this == DEVICE ? Planning.addresses(size) : alignedAlloc(CHECKER != null ? PAGE : huge ? HUGE : 256, size + 2 * redZone(bytes));
            if (address == 0) throw Code.OUT_OF_MEMORY.error("the system has no " + bytes + " bytes");
            used += size;
            if (CHECKER != null) {
                address += redZone(bytes);
                Raw.fill(address, FRESH_BYTE, 1, bytes);
            }
            insert(address, bytes);
        }
        if (huge && CHECKER == null && !Planning.ON) advise(address, size, MADV_HUGEPAGE);
        return address;
    }

    void free(long address) {
        long bytes;
        synchronized (this) {
            if (registered.contains(address)) throw Code.INVALID_VALUE.error("0x" + Long.toHexString(address) + " was registered, not allocated");
            bytes = remove(address);
            used -= (bytes + 255) / 256 * 256;
        }
        release(address, bytes);
    }

    /** What lies before and after a checked allocation, so that whoever leaves it finds no other; and leaves it aligned to 256 bytes and no more. */
    private static long redZone(long bytes) { return CHECKER == null ? 0 : Math.clamp((bytes + PAGE - 1) / PAGE * PAGE, 4 * PAGE, HUGE * 8) + 256; }

    /** Memory that is no longer in the table goes back to the system; when it is checked, after many others, so that stale pointers are told from new ones. */
    private void release(long address, long bytes) {
        if (CHECKER == null) {
            if (!Planning.ON || this != DEVICE) free0(address);
            return;
        }
        long first = (address + PAGE - 1) / PAGE * PAGE, end = (address + bytes) / PAGE * PAGE;
        if (first < end) advise(first, end - first, MADV_DONTNEED);
        CHECKER.allocations().quarantine(address);
        for (Allocation old = CHECKER.allocations().release(); old != null; old = CHECKER.allocations().release()) free0(old.start() - redZone(old.bytes()));
    }

    synchronized void register(long address, long bytes) {
        if (bytes <= 0 || address == 0) throw Code.INVALID_VALUE.error("a range of " + bytes + " bytes at 0x" + Long.toHexString(address));
        int i = floor(ranges, address + bytes - 1);
        if (i >= 0 && ranges.starts[i] + ranges.sizes[i] > address) 
            throw Code.HOST_MEMORY_ALREADY_REGISTERED.error(bytes + " bytes at 0x" + Long.toHexString(address) + " overlap " + ranges.sizes[i] + " bytes at 0x" + Long.toHexString(ranges.starts[i]) + ", known already");
        insert(address, bytes);
        registered.add(address);
    }

    synchronized void unregister(long address) {
        if (!registered.remove(address)) throw Code.HOST_MEMORY_NOT_REGISTERED.error("0x" + Long.toHexString(address) + (start(address) == 0 ? " was never registered" : start(address) == address ? " was allocated, not registered" : " is not the start of a registered range"));
        remove(address);
        if (CHECKER != null) CHECKER.allocations().remove(address);
    }

    /** The device's own work wrote these bytes. */
    static void written(long address, long bytes) {
        if (CHECKER != null) CHECKER.allocations().written(address, bytes);
    }

    static void copied(long target, long source, long bytes) {
        if (CHECKER != null) CHECKER.allocations().copied(target, source, bytes);
    }

    /** Frees or forgets what is left; returns how many ranges that were. */
    synchronized int freeAll() {
        Ranges r = ranges;
        ranges = new Ranges(new long[0], new long[0]);
        used = 0;
        for (int i = 0; i < r.starts.length; i++) {
            if (!registered.remove(r.starts[i])) release(r.starts[i], r.sizes[i]);
            else if (CHECKER != null) CHECKER.allocations().remove(r.starts[i]);
        }
        return r.starts.length;
    }

    boolean contains(long address, long bytes) {
        Ranges r = ranges;
        int i = floor(r, address);
        return i >= 0 && bytes >= 0 && address - r.starts[i] <= r.sizes[i] - bytes;
    }

    /** Start of the range that holds the address; 0 if none. */
    long start(long address) {
        Ranges r = ranges;
        int i = floor(r, address);
        return i >= 0 && address - r.starts[i] < r.sizes[i] ? r.starts[i] : 0;
    }

    long size(long start) {
        Ranges r = ranges;
        int i = floor(r, start);
        return i >= 0 && r.starts[i] == start ? r.sizes[i] : 0;
    }

    /** Whether the device may touch these bytes. */
    static boolean onDevice(long address, long bytes) {
        return DEVICE.contains(address, bytes) || PINNED.contains(address, bytes) || VARIABLES.contains(address, bytes);
    }

    static void requireDevice(String what, long address, long bytes) {
        if (!onDevice(address, bytes)) throw Code.INVALID_VALUE.error(what + " " + DEVICE.describe(address, bytes));
    }

    /** What an address is, for messages. */
    String describe(long address, long bytes) {
        long start = start(address);
        return "0x" + Long.toHexString(address) + " + " + bytes + " bytes is "
                + (start == 0 ? "in no allocation" : "outside its allocation of " + size(start) + " bytes, at offset " + (address - start));
    }

    private static int floor(Ranges r, long address) {
        int i = Arrays.binarySearch(r.starts, address);
        return i >= 0 ? i : -i - 2;
    }

    private void insert(long address, long bytes) {
        Ranges r = ranges;
        int at = floor(r, address) + 1, n = r.starts.length;
        long[] starts = new long[n + 1], sizes = new long[n + 1];
        System.arraycopy(r.starts, 0, starts, 0, at);
        System.arraycopy(r.sizes, 0, sizes, 0, at);
        starts[at] = address;
        sizes[at] = bytes;
        System.arraycopy(r.starts, at, starts, at + 1, n - at);
        System.arraycopy(r.sizes, at, sizes, at + 1, n - at);
        ranges = new Ranges(starts, sizes);
        if (CHECKER != null) CHECKER.allocations().add(address, bytes, kind);
    }

    private long remove(long address) {
        Ranges r = ranges;
        int at = Arrays.binarySearch(r.starts, address), n = r.starts.length;
        if (at < 0) throw Code.INVALID_VALUE.error("0x" + Long.toHexString(address) + " is not the start of an allocation");
        long[] starts = new long[n - 1], sizes = new long[n - 1];
        System.arraycopy(r.starts, 0, starts, 0, at);
        System.arraycopy(r.sizes, 0, sizes, 0, at);
        System.arraycopy(r.starts, at + 1, starts, at, n - at - 1);
        System.arraycopy(r.sizes, at + 1, sizes, at, n - at - 1);
        long bytes = r.sizes[at];
        ranges = new Ranges(starts, sizes);
        return bytes;
    }

    // ---- the C library

    private static MethodHandle c(String name, FunctionDescriptor type) {
        return LINKER.downcallHandle(LINKER.defaultLookup().findOrThrow(name), type);
    }

    static long alignedAlloc(long alignment, long bytes) {
        try (var arena = java.lang.foreign.Arena.ofConfined()) {
            MemorySegment out = arena.allocate(ValueLayout.JAVA_LONG);
            return (int) POSIX_MEMALIGN.invokeExact(out, alignment, bytes) == 0 ? out.get(ValueLayout.JAVA_LONG, 0) : 0;
        } catch (Throwable e) {
            throw new IllegalStateException(e);
        }
    }

    static void free0(long address) {
        try {
            FREE.invokeExact(address);
        } catch (Throwable e) {
            throw new IllegalStateException(e);
        }
    }

    private static void advise(long address, long bytes, int advice) {
        try {
            int ignored = (int) MADVISE.invokeExact(address, bytes, advice);
        } catch (Throwable e) {
            throw new IllegalStateException(e);
        }
    }
}
