package dev.turningpoint.gpu;

import dev.turningpoint.bindings.DeviceKind;
import dev.turningpoint.bindings.NativeLibrary;
import dev.turningpoint.bindings.cublaslt.CublasLt;
import dev.turningpoint.bindings.cuda.Cuda;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.Collectors;

/**
 * A CUDA device and its primary context: everything on it is made here, and closed before it.
 *
 * <p>{@link #open} makes the context current on the calling thread; other threads call {@link #attach} first. Safe for use by several threads.
 */
public final class Device implements AutoCloseable {

    /** System property: {@code true} for a device that only counts what is allocated, see {@link #isPlanning}. Set it before the first device is opened. */
    public static final String PLANNING = "turningpoint.software.plan";

    private static final System.Logger LOG = System.getLogger(Device.class.getName());

    private final int ordinal;
    private final MemorySegment context;
    private final String name;
    private final long totalMemory;
    private final Set<DeviceMemory> allocations = ConcurrentHashMap.newKeySet();
    private MemorySegment cublas;
    private volatile boolean closed;

    private Device(int ordinal, MemorySegment context, String name, long totalMemory) {
        this.ordinal = ordinal;
        this.context = context;
        this.name = name;
        this.totalMemory = totalMemory;
    }

    /** The first device. */
    public static Device open() {
        return open(0);
    }

    /**
     * Opens a device and makes it current on this thread.
     *
     * @param ordinal number of the device, from 0
     * @throws GpuException if there is no such device or the driver does not start
     * @throws dev.turningpoint.bindings.NativeLibraryException if there is neither a driver nor a software GPU
     */
    public static Device open(int ordinal) {
        NativeLibrary.CUDA.load();
        check(Cuda.cuInit(0), "cuInit(0)");
        int count = count();
        if (ordinal < 0 || ordinal >= count) throw new GpuException("there is no device " + ordinal + ": the driver sees " + count + ", numbered from 0.");
        try (var arena = Arena.ofConfined()) {
            MemorySegment number = arena.allocate(ValueLayout.JAVA_INT), pointer = arena.allocate(ValueLayout.ADDRESS), bytes = arena.allocate(ValueLayout.JAVA_LONG), text = arena.allocate(256);
            check(Cuda.cuDeviceGet(number, ordinal), "cuDeviceGet(" + ordinal + ")");
            int device = number.get(ValueLayout.JAVA_INT, 0);
            check(Cuda.cuDeviceGetName(text, 256, device), "cuDeviceGetName");
            check(Cuda.cuDeviceTotalMem_v2(bytes, device), "cuDeviceTotalMem");
            check(Cuda.cuDevicePrimaryCtxRetain(pointer, device), "cuDevicePrimaryCtxRetain(device " + ordinal + ")");
            var opened = new Device(device, pointer.get(ValueLayout.ADDRESS, 0), text.getString(0), bytes.get(ValueLayout.JAVA_LONG, 0));
            try {
                opened.attach();
            } catch (RuntimeException e) {
                Cuda.cuDevicePrimaryCtxRelease_v2(device);
                throw e;
            }
            return opened;
        }
    }

    /** How many devices the driver sees. */
    public static int count() {
        NativeLibrary.CUDA.load();
        check(Cuda.cuInit(0), "cuInit(0)");
        try (var arena = Arena.ofConfined()) {
            MemorySegment number = arena.allocate(ValueLayout.JAVA_INT);
            check(Cuda.cuDeviceGetCount(number), "cuDeviceGetCount");
            return number.get(ValueLayout.JAVA_INT, 0);
        }
    }

    /** Whether the software GPU serves every device of this process. */
    public static boolean isSoftware() {
        return NativeLibrary.device() == DeviceKind.SOFTWARE;
    }

    /** Whether the device only counts what is allocated ({@link #PLANNING}): nothing runs on it, and nothing needs to be read for it. */
    public static boolean isPlanning() {
        return isSoftware() && Boolean.getBoolean(PLANNING);
    }

    /** The CUDA version that the driver serves, as 1000 * major + 10 * minor: 13000. */
    public static int driverVersion() {
        NativeLibrary.CUDA.load();
        try (var arena = Arena.ofConfined()) {
            MemorySegment value = arena.allocate(ValueLayout.JAVA_INT);
            check(Cuda.cuDriverGetVersion(value), "cuDriverGetVersion");
            return value.get(ValueLayout.JAVA_INT, 0);
        }
    }

    /** Why this process has the device that it has, in a few words for people. */
    public static String reason() {
        return NativeLibrary.deviceReason();
    }

    /** Makes this device current on the calling thread. */
    public void attach() {
        open("attach");
        check(Cuda.cuCtxSetCurrent(context), "cuCtxSetCurrent");
    }

    /** The device's name, as the driver gives it. */
    public String name() {
        return name;
    }

    /** Bytes of memory on the device. */
    public long totalMemory() {
        return totalMemory;
    }

    /** Bytes not allocated by anyone. */
    public long freeMemory() {
        open("freeMemory");
        try (var arena = Arena.ofConfined()) {
            MemorySegment free = arena.allocate(ValueLayout.JAVA_LONG), total = arena.allocate(ValueLayout.JAVA_LONG);
            check(Cuda.cuMemGetInfo_v2(free, total), "cuMemGetInfo");
            return free.get(ValueLayout.JAVA_LONG, 0);
        }
    }

    /** Number of multiprocessors; of the software GPU, its worker threads. */
    public int multiprocessors() {
        return attribute(Cuda.CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT());
    }

    /** Compute capability as 10 * major + minor: 90 for an H100. */
    public int computeCapability() {
        return 10 * attribute(Cuda.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR()) + attribute(Cuda.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR());
    }

    private int attribute(int attribute) {
        open("attribute");
        try (var arena = Arena.ofConfined()) {
            MemorySegment value = arena.allocate(ValueLayout.JAVA_INT);
            check(Cuda.cuDeviceGetAttribute(value, attribute, ordinal), "cuDeviceGetAttribute(" + attribute + ")");
            return value.get(ValueLayout.JAVA_INT, 0);
        }
    }

    /**
     * Allocates memory; its content is undefined.
     *
     * @param bytes   how many, more than 0
     * @param purpose what it is for, as it should appear in messages: {@code "the wave of 88 latents"}
     * @throws GpuException if the device has not enough; the message names the purpose, the size and what is free
     */
    public DeviceMemory allocate(long bytes, String purpose) {
        open("allocate");
        if (bytes <= 0) throw new IllegalArgumentException("an allocation of " + bytes + " bytes for " + purpose);
        try (var arena = Arena.ofConfined()) {
            MemorySegment pointer = arena.allocate(ValueLayout.JAVA_LONG);
            int result = Cuda.cuMemAlloc_v2(pointer, bytes);
            if (result != 0)
                throw GpuException.driver(result, "cuMemAlloc(" + Sizes.of(bytes) + " for " + purpose + ")",
                        result == Cuda.CUDA_ERROR_OUT_OF_MEMORY() ? Sizes.of(freeMemory(), totalMemory) + " free" : "");
            var memory = new DeviceMemory(this, pointer.get(ValueLayout.JAVA_LONG, 0), bytes, purpose);
            allocations.add(memory);
            return memory;
        }
    }

    /** A stream that waits for no other. */
    public Stream newStream() {
        open("newStream");
        try (var arena = Arena.ofConfined()) {
            MemorySegment pointer = arena.allocate(ValueLayout.ADDRESS);
            check(Cuda.cuStreamCreate(pointer, Cuda.CU_STREAM_NON_BLOCKING()), "cuStreamCreate");
            return new Stream(pointer.get(ValueLayout.ADDRESS, 0));
        }
    }

    /** An event that keeps the time. */
    public Event newEvent() {
        open("newEvent");
        try (var arena = Arena.ofConfined()) {
            MemorySegment pointer = arena.allocate(ValueLayout.ADDRESS);
            check(Cuda.cuEventCreate(pointer, Cuda.CU_EVENT_DEFAULT()), "cuEventCreate");
            return new Event(pointer.get(ValueLayout.ADDRESS, 0));
        }
    }

    /**
     * Loads PTX.
     *
     * @param name what messages call it: the file's name
     * @param ptx  the text, without a terminating zero
     * @throws GpuException with the log of the compiler if it refuses
     */
    public Module load(String name, byte[] ptx) {
        open("load");
        return Module.load(name, ptx);
    }

    /** Waits until everything launched on the device is done. */
    public void synchronize() {
        open("synchronize");
        check(Cuda.cuCtxSynchronize(), "cuCtxSynchronize");
    }

    /** Bytes of all open allocations. */
    public long allocated() {
        return allocations.stream().mapToLong(DeviceMemory::bytes).sum();
    }

    /** Bytes of all open allocations by purpose, largest first. */
    public Map<String, Long> allocatedBy() {
        return allocations.stream().collect(Collectors.groupingBy(DeviceMemory::purpose, TreeMap::new, Collectors.summingLong(DeviceMemory::bytes))).entrySet().stream()
                .sorted(Map.Entry.<String, Long>comparingByValue().reversed()).collect(Collectors.toMap(Map.Entry::getKey, Map.Entry::getValue, (a, _) -> a, LinkedHashMap::new));
    }

    /** The open allocations by purpose, largest first, one a line; empty if there are none. */
    public String outstanding() {
        return allocatedBy().entrySet().stream().map(e -> {
            long count = allocations.stream().filter(m -> m.purpose().equals(e.getKey())).count();
            return "  " + e.getKey() + ": " + Sizes.of(e.getValue()) + (count > 1 ? " in " + count + " allocations" : "");
        }).collect(Collectors.joining("\n"));
    }

    /** Releases the device. Memory that is still open is freed, and reported by count and purpose: a leak of whoever allocated it. */
    @Override
    public void close() {
        if (closed) return;
        try (var last = new Resources()) {
            last.add(() -> check(Cuda.cuDevicePrimaryCtxRelease_v2(ordinal), "cuDevicePrimaryCtxRelease"));
            last.add(() -> closed = true);
            last.add(this::closeCublas);
            attach();
            closeLeaks(last);
        }
    }

    private void closeLeaks(Resources last) {
        var leaks = Set.copyOf(allocations);
        if (!leaks.isEmpty())
            LOG.log(System.Logger.Level.WARNING, leaks.size() + (leaks.size() == 1 ? " allocation" : " allocations") + " of device memory (" + Sizes.of(allocated())
                    + ") not closed before the device:\n" + outstanding());
        leaks.forEach(last::add);
    }

    private synchronized void closeCublas() {
        if (cublas == null) return;
        int status = CublasLt.cublasLtDestroy(cublas);
        cublas = null;
        if (status != 0) throw GpuException.cublas(status, "cublasLtDestroy");
    }

    /** The cuBLASLt handle of this device, made at the first matrix product. */
    synchronized MemorySegment cublas() {
        open("cublas");
        if (cublas == null) {
            NativeLibrary.CUBLASLT.load();
            try (var arena = Arena.ofConfined()) {
                MemorySegment pointer = arena.allocate(ValueLayout.ADDRESS);
                int status = CublasLt.cublasLtCreate(pointer);
                if (status != 0) throw GpuException.cublas(status, "cublasLtCreate");
                cublas = pointer.get(ValueLayout.ADDRESS, 0);
            }
        }
        return cublas;
    }

    void forget(DeviceMemory memory) {
        allocations.remove(memory);
    }

    private void open(String what) {
        if (closed) throw new IllegalStateException("device " + ordinal + " (" + name + ") is closed: " + what);
    }

    private static void check(int result, String call) {
        if (result != 0) throw GpuException.driver(result, call);
    }

    @Override
    public String toString() {
        return name + " (device " + ordinal + ", " + Sizes.of(totalMemory) + ")";
    }
}
