package dev.turningpoint.softgpu.driver;

import dev.turningpoint.softgpu.jit.KernelCompiler;
import dev.turningpoint.softgpu.ptx.PtxException;
import dev.turningpoint.softgpu.ptx.PtxHeader;
import dev.turningpoint.softgpu.ptx.PtxKernel;
import dev.turningpoint.softgpu.ptx.PtxModule;
import dev.turningpoint.softgpu.ptx.PtxParser;
import java.lang.foreign.ValueLayout;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * The functions of the CUDA driver API that are served, by their exported names and C types (see {@link Stubs}); each returns a CUresult.
 * What they check follows the driver's documentation: a call that an NVIDIA driver refuses is refused here.
 */
public final class DriverFunctions {
    private static final int VERSION = 13000;
    private static final long STAGED = 64 << 10;
    private static final AtomicInteger MODULES = new AtomicInteger();

    private DriverFunctions() {}

    /** Objects that callers have made and not given back, counted by kind; device memory and host memory known to the driver are kinds too. */
    public static Map<String, Integer> living() {
        var all = Handles.living();
        if (Memory.DEVICE.count() > 0) all.put("device memory", Memory.DEVICE.count());
        if (Memory.PINNED.count() > 0) all.put("host memory", Memory.PINNED.count());
        return all;
    }

    /** Not for calls that a training step makes: the message is made even if it is not needed. */
    private static void require(boolean ok, String otherwise) {
        if (!ok) throw Code.INVALID_VALUE.error(otherwise);
    }

    private static void notNull(long pointer, String parameter) {
        if (pointer == 0) throw Code.INVALID_VALUE.error(parameter + " is null");
    }

    private static void requireDevice(int device) {
        Context.requireInitialised();
        if (device != 0) throw Code.INVALID_DEVICE.error("there is one device, 0, not " + device);
    }

    // ---- driver and device

    static int cuInit(int flags) {
        require(flags == 0, "flags are " + flags + ", not 0");
        Context.initialised = true;
        return 0;
    }

    static int cuDriverGetVersion(long version) {
        notNull(version, "driverVersion");
        Raw.putInt(version, VERSION);
        return 0;
    }

    static int cuGetErrorName(int code, long out) {
        notNull(out, "pStr");
        Code c = Code.of(code);
        Raw.putLong(out, c == null ? 0 : c.cName.address());
        return c == null ? Code.INVALID_VALUE.value : 0;
    }

    static int cuGetErrorString(int code, long out) {
        notNull(out, "pStr");
        Code c = Code.of(code);
        Raw.putLong(out, c == null ? 0 : c.cText.address());
        return c == null ? Code.INVALID_VALUE.value : 0;
    }

    static int cuDeviceGetCount(long count) {
        Context.requireInitialised();
        notNull(count, "count");
        Raw.putInt(count, 1);
        return 0;
    }

    static int cuDeviceGet(long device, int ordinal) {
        requireDevice(ordinal);
        notNull(device, "device");
        Raw.putInt(device, 0);
        return 0;
    }

    static int cuDeviceGetName(long name, int length, int device) {
        requireDevice(device);
        notNull(name, "name");
        require(length > 0, "room for " + length + " characters");
        Raw.putString(name, length, DeviceProperties.NAME);
        return 0;
    }

    static int cuDeviceGetPCIBusId(long id, int length, int device) {
        requireDevice(device);
        notNull(id, "pciBusId");
        require(length >= 13, "room for " + length + " characters, the id has 12 and a zero");
        Raw.putString(id, length, "0000:00:00.0");
        return 0;
    }

    static int cuDeviceTotalMem_v2(long bytes, int device) {
        requireDevice(device);
        notNull(bytes, "bytes");
        Raw.putLong(bytes, Memory.DEVICE.limit());
        return 0;
    }

    static int cuDeviceGetAttribute(long value, int attribute, int device) {
        requireDevice(device);
        notNull(value, "pi");
        Raw.putInt(value, DeviceProperties.attribute(attribute));
        return 0;
    }

    static int cuLogsDumpToMemory(long iterator, long buffer, long size, int flags) {
        notNull(buffer, "buffer");
        notNull(size, "size");
        require(flags == 0, "flags are " + flags + ", not 0");
        long capacity = Math.min(Raw.getLong(size), 25600);
        String all = DriverLog.lines();
        String last = all.length() < capacity ? all : all.substring(all.length() - (int) capacity + 1);
        Raw.putLong(size, Raw.putString(buffer, capacity, last));
        return 0;
    }

    // ---- context

    static int cuDevicePrimaryCtxRetain(long out, int device) {
        requireDevice(device);
        notNull(out, "pctx");
        Raw.putLong(out, Context.retain().handle);
        return 0;
    }

    static int cuDevicePrimaryCtxRelease_v2(int device) {
        requireDevice(device);
        Context.release();
        return 0;
    }

    static int cuDevicePrimaryCtxReset_v2(int device) {
        requireDevice(device);
        Context.reset();
        return 0;
    }

    static int cuDevicePrimaryCtxGetState(int device, long flags, long active) {
        requireDevice(device);
        notNull(flags, "flags");
        notNull(active, "active");
        Raw.putInt(flags, 0);
        Raw.putInt(active, Context.active() ? 1 : 0);
        return 0;
    }

    static int cuCtxSetCurrent(long context) {
        Context.requireInitialised();
        Context.setCurrent(context == 0 ? null : context(context));
        return 0;
    }

    static int cuCtxGetCurrent(long out) {
        Context.requireInitialised();
        notNull(out, "pctx");
        Context c = Context.currentOrNull();
        Raw.putLong(out, c == null ? 0 : c.handle);
        return 0;
    }

    static int cuCtxPushCurrent_v2(long context) {
        Context.requireInitialised();
        Context.push(context(context));
        return 0;
    }

    static int cuCtxPopCurrent_v2(long out) {
        Context.requireInitialised();
        Context c = Context.pop();
        if (out != 0) Raw.putLong(out, c.handle);
        return 0;
    }

    private static Context context(long handle) {
        Context c = Handles.find(handle, Context.class);
        if (c == null) throw Code.INVALID_CONTEXT.error(Handles.describe(handle, Context.class));
        return c;
    }

    static int cuCtxGetDevice(long device) {
        Context.current();
        notNull(device, "device");
        Raw.putInt(device, 0);
        return 0;
    }

    static int cuCtxGetStreamPriorityRange(long least, long greatest) {
        Context.current();
        if (least != 0) Raw.putInt(least, 0);
        if (greatest != 0) Raw.putInt(greatest, 0);
        return 0;
    }

    static int cuCtxSynchronize() {
        Context c = Context.current();
        Capture.refuse("cuCtxSynchronize");
        c.refuseDuringCapture("cuCtxSynchronize");
        c.synchronizeAll();
        return afterWork(c);
    }

    /** The result of a call that waited: a fault that happened meanwhile. */
    private static int afterWork(Context c) {
        return c.fault() == null ? 0 : c.fault().value;
    }

    // ---- memory

    static int cuMemAlloc_v2(long out, long bytes) {
        Context.current();
        notNull(out, "dptr");
        Capture.refuse("cuMemAlloc");
        Raw.putLong(out, Memory.DEVICE.allocate(bytes));
        return 0;
    }

    static int cuMemFree_v2(long address) {
        Context c = Context.current();
        if (address == 0) return 0;
        Capture.refuse("cuMemFree");
        requireAllocation(c, address);
        c.synchronizeAll();
        Memory.DEVICE.free(address);
        return 0;
    }

    private static void requireAllocation(Context c, long address) {
        require(address != 0 && Memory.DEVICE.start(address) == address, Memory.DEVICE.describe(address, 0) + ", not the start of one");
        require(!c.freeing.contains(address), Memory.DEVICE.describe(address, 0) + ", given to cuMemFreeAsync already");
    }

    static int cuMemAllocAsync(long out, long bytes, long stream) {
        Context c = Context.current();
        notNull(out, "dptr");
        if (c.stream(stream).capture != null) throw Code.NOT_SUPPORTED.error("allocation nodes in graphs");
        Raw.putLong(out, Memory.DEVICE.allocate(bytes));
        return 0;
    }

    static int cuMemFreeAsync(long address, long stream) {
        Context c = Context.current();
        StreamQueue s = c.stream(stream);
        if (s.capture != null) throw Code.NOT_SUPPORTED.error("free nodes in graphs");
        requireAllocation(c, address);
        Command command = s.begin();
        command.free(address);
        c.freeing.add(address);
        s.commit(command);
        return 0;
    }

    static int cuMemGetInfo_v2(long free, long total) {
        Context.current();
        long limit = Memory.DEVICE.limit();
        if (free != 0) Raw.putLong(free, limit - Memory.DEVICE.used());
        if (total != 0) Raw.putLong(total, limit);
        return 0;
    }

    static int cuMemGetAddressRange_v2(long base, long size, long address) {
        Context.current();
        long start = Memory.DEVICE.start(address);
        if (start == 0) throw Code.NOT_FOUND.error("0x" + Long.toHexString(address) + " is in no allocation");
        if (base != 0) Raw.putLong(base, start);
        if (size != 0) Raw.putLong(size, Memory.DEVICE.size(start));
        return 0;
    }

    static int cuMemAllocHost_v2(long out, long bytes) {
        return cuMemHostAlloc(out, bytes, 0);
    }

    static int cuMemHostAlloc(long out, long bytes, int flags) {
        Context.current();
        notNull(out, "pp");
        require((flags & ~7) == 0, "unknown flags 0x" + Integer.toHexString(flags));
        Capture.refuse("cuMemHostAlloc");
        Raw.putLong(out, Memory.PINNED.allocate(bytes));
        return 0;
    }

    static int cuMemFreeHost(long address) {
        Context c = Context.current();
        Capture.refuse("cuMemFreeHost");
        require(address != 0 && Memory.PINNED.start(address) == address, "0x" + Long.toHexString(address) + " is not the start of an allocation of cuMemHostAlloc");
        c.synchronizeAll();
        Memory.PINNED.free(address);
        return 0;
    }

    static int cuMemHostRegister_v2(long address, long bytes, int flags) {
        Context.current();
        require((flags & ~15) == 0, "unknown flags 0x" + Integer.toHexString(flags));
        Memory.PINNED.register(address, bytes);
        return 0;
    }

    static int cuMemHostUnregister(long address) {
        Context c = Context.current();
        notNull(address, "p");
        c.synchronizeAll();
        Memory.PINNED.unregister(address);
        return 0;
    }

    static int cuPointerGetAttribute(long out, int attribute, long address) {
        Context c = Context.current();
        notNull(out, "data");
        boolean pinned = Memory.PINNED.start(address) != 0;
        Memory table = pinned ? Memory.PINNED : Memory.DEVICE;
        long start = table.start(address);
        require(start != 0, "0x" + Long.toHexString(address) + " is in no allocation");
        switch (attribute) {
            case 1 -> Raw.putLong(out, c.handle);
            case 2 -> Raw.putInt(out, pinned ? 1 : 2);
            case 3, 4 -> Raw.putLong(out, address);
            case 8 -> Raw.ALL.set(ValueLayout.JAVA_BYTE, out, (byte) 0);
            case 9 -> Raw.putInt(out, 0);
            case 11, 19 -> Raw.putLong(out, start);
            case 12, 18 -> Raw.putLong(out, table.size(start));
            case 13 -> Raw.ALL.set(ValueLayout.JAVA_BYTE, out, (byte) 1);
            default -> throw Code.NOT_SUPPORTED.error("pointer attribute " + attribute);
        }
        return 0;
    }

    // ---- copies

    private enum Side { DEVICE, HOST, EITHER }

    private static void checkCopy(long target, Side to, long source, Side from, long bytes) {
        notNull(target, "the target");
        notNull(source, "the source");
        if (bytes < 0) throw Code.INVALID_VALUE.error(Long.toUnsignedString(bytes) + " bytes");
        if (to == Side.DEVICE || to == Side.EITHER && Memory.DEVICE.start(target) != 0) requireDevice("the target", target, bytes);
        if (from == Side.DEVICE || from == Side.EITHER && Memory.DEVICE.start(source) != 0) requireDevice("the source", source, bytes);
    }

    /** Bytes of the device that nobody has freed, not even in the order of a stream. */
    private static void requireDevice(String what, long address, long bytes) {
        Memory.requireDevice(what, address, bytes);
        Context c = Context.current();
        if (!c.freeing.isEmpty() && c.freeing.contains(Memory.DEVICE.start(address)))
            throw Code.INVALID_VALUE.error(what + " " + Memory.DEVICE.describe(address, bytes) + ", given to cuMemFreeAsync");
    }

    private static int copyNow(long target, Side to, long source, Side from, long bytes) {
        Context c = Context.current();
        if (bytes == 0) return 0;
        checkCopy(target, to, source, from, bytes);
        Capture.refuse("a synchronous copy");
        c.synchronizeBlocking("a synchronous copy");
        if (c.fault() != null) return c.fault().value;
        Raw.copy(target, source, bytes);
        Memory.copied(target, source, bytes);
        return 0;
    }

    /** Pageable memory: what is read has been read, and what is written has been written, when the call returns; as with a driver. */
    private static int copyLater(long target, Side to, long source, Side from, long bytes, long stream) {
        Context c = Context.current();
        StreamQueue s = c.stream(stream);
        if (bytes == 0) return 0;
        checkCopy(target, to, source, from, bytes);
        boolean capturing = s.capture != null;
        boolean reads = !capturing && !Memory.onDevice(source, bytes);
        boolean writes = !capturing && !Memory.onDevice(target, bytes);
        boolean stage = reads && bytes <= STAGED;
        Command command = s.begin();
        boolean done = false;
        long sequence;
        try {
            command.copy(target, source, bytes, stage);
            done = true;
        } finally {
            if (!done) s.abort();
        }
        sequence = s.commit(command);
        if (writes || reads && !stage) {
            s.await(sequence);
            return afterWork(c);
        }
        return 0;
    }

    static int cuMemcpy(long target, long source, long bytes) { return copyNow(target, Side.EITHER, source, Side.EITHER, bytes); }
    static int cuMemcpyHtoD_v2(long target, long source, long bytes) { return copyNow(target, Side.DEVICE, source, Side.HOST, bytes); }
    static int cuMemcpyDtoH_v2(long target, long source, long bytes) { return copyNow(target, Side.HOST, source, Side.DEVICE, bytes); }
    static int cuMemcpyDtoD_v2(long target, long source, long bytes) { return copyNow(target, Side.DEVICE, source, Side.DEVICE, bytes); }
    static int cuMemcpyAsync(long target, long source, long bytes, long stream) { return copyLater(target, Side.EITHER, source, Side.EITHER, bytes, stream); }
    static int cuMemcpyHtoDAsync_v2(long target, long source, long bytes, long stream) { return copyLater(target, Side.DEVICE, source, Side.HOST, bytes, stream); }
    static int cuMemcpyDtoHAsync_v2(long target, long source, long bytes, long stream) { return copyLater(target, Side.HOST, source, Side.DEVICE, bytes, stream); }
    static int cuMemcpyDtoDAsync_v2(long target, long source, long bytes, long stream) { return copyLater(target, Side.DEVICE, source, Side.DEVICE, bytes, stream); }

    private static void checkFill(long target, int width, long count) {
        notNull(target, "the target");
        if (count < 0 || count >= Long.MAX_VALUE / 4) throw Code.INVALID_VALUE.error(Long.toUnsignedString(count) + " elements");
        if (target % width != 0) throw Code.INVALID_VALUE.error("the target 0x" + Long.toHexString(target) + " is " + target % width + " bytes past a multiple of " + width);
        requireDevice("the target", target, count * width);
    }

    private static int fillNow(long target, int value, int width, long count) {
        Context c = Context.current();
        if (count == 0) return 0;
        checkFill(target, width, count);
        Capture.refuse("a synchronous fill");
        c.synchronizeBlocking("a synchronous fill");
        if (c.fault() != null) return c.fault().value;
        Raw.fill(target, value, width, count);
        Memory.written(target, width * count);
        return 0;
    }

    private static int fillLater(long target, int value, int width, long count, long stream) {
        StreamQueue s = Context.current().stream(stream);
        if (count == 0) return 0;
        checkFill(target, width, count);
        Command command = s.begin();
        command.fill(target, value, width, count);
        s.commit(command);
        return 0;
    }

    static int cuMemsetD8_v2(long target, byte value, long count) { return fillNow(target, value, 1, count); }
    static int cuMemsetD16_v2(long target, short value, long count) { return fillNow(target, value, 2, count); }
    static int cuMemsetD32_v2(long target, int value, long count) { return fillNow(target, value, 4, count); }
    static int cuMemsetD8Async(long target, byte value, long count, long stream) { return fillLater(target, value, 1, count, stream); }
    static int cuMemsetD16Async(long target, short value, long count, long stream) { return fillLater(target, value, 2, count, stream); }
    static int cuMemsetD32Async(long target, int value, long count, long stream) { return fillLater(target, value, 4, count, stream); }

    // ---- streams and events

    static int cuStreamCreate(long out, int flags) {
        Context c = Context.current();
        notNull(out, "phStream");
        require((flags & ~1) == 0, "unknown flags 0x" + Integer.toHexString(flags));
        Raw.putLong(out, Handles.add(new StreamQueue(c, flags == 0, false)));
        return 0;
    }

    static int cuStreamCreateWithPriority(long out, int flags, int priority) {
        return cuStreamCreate(out, flags);
    }

    static int cuStreamDestroy_v2(long stream) {
        Context.current();
        StreamQueue s = Handles.remove(stream, StreamQueue.class);
        if (s.capture != null) s.capture.abandon(s);
        s.close();
        return 0;
    }

    static int cuStreamSynchronize(long stream) {
        Context c = Context.current();
        StreamQueue s = c.stream(stream);
        s.refuseDuringCapture("cuStreamSynchronize");
        if (s.legacy) c.synchronizeBlocking("cuStreamSynchronize of the legacy stream");
        s.awaitAll();
        return afterWork(c);
    }

    static int cuStreamQuery(long stream) {
        Context c = Context.current();
        StreamQueue s = c.stream(stream);
        s.refuseDuringCapture("cuStreamQuery");
        if (s.legacy) c.refuseLegacyDuringCapture("cuStreamQuery of the legacy stream");
        return s.idle() ? 0 : Code.NOT_READY.value;
    }

    static int cuStreamWaitEvent(long stream, long event, int flags) {
        Context c = Context.current();
        StreamQueue s = c.stream(stream);
        Event e = Handles.get(event, Event.class);
        if ((flags & ~1) != 0) throw Code.INVALID_VALUE.error("unknown flags 0x" + Integer.toHexString(flags));
        s.waitFor(e);
        return 0;
    }

    static int cuLaunchHostFunc(long stream, long function, long data) {
        StreamQueue s = Context.current().stream(stream);
        notNull(function, "fn");
        Command command = s.begin();
        command.host(function, data);
        s.commit(command);
        return 0;
    }

    static int cuEventCreate(long out, int flags) {
        Context c = Context.current();
        notNull(out, "phEvent");
        require((flags & ~7) == 0, "unknown flags 0x" + Integer.toHexString(flags));
        require((flags & (Event.INTERPROCESS | Event.DISABLE_TIMING)) != Event.INTERPROCESS, "an event between processes keeps no time: flags 0x" + Integer.toHexString(flags));
        if ((flags & Event.INTERPROCESS) != 0) throw Code.NOT_SUPPORTED.error("events between processes");
        Raw.putLong(out, Handles.add(new Event(c, flags)));
        return 0;
    }

    static int cuEventDestroy_v2(long event) {
        Context.requireSound();
        Handles.remove(event, Event.class);
        return 0;
    }

    static int cuEventRecord(long event, long stream) {
        Context c = Context.current();
        StreamQueue s = c.stream(stream);
        s.record(Handles.get(event, Event.class));
        return 0;
    }

    static int cuEventQuery(long event) {
        Context.current();
        Event e = Handles.get(event, Event.class);
        e.requireOutsideCapture();
        Capture.refuse("cuEventQuery");
        return e.passed() ? 0 : Code.NOT_READY.value;
    }

    static int cuEventSynchronize(long event) {
        Context c = Context.current();
        Event e = Handles.get(event, Event.class);
        e.requireOutsideCapture();
        e.await();
        return afterWork(c);
    }

    static int cuEventElapsedTime_v2(long milliseconds, long start, long end) {
        Context.current();
        notNull(milliseconds, "pMilliseconds");
        Event a = Handles.get(start, Event.class), b = Handles.get(end, Event.class);
        a.requireOutsideCapture();
        b.requireOutsideCapture();
        if (!a.timing || !b.timing) throw Code.INVALID_HANDLE.error("the " + (a.timing ? "second" : "first") + " event was created without timing");
        if (!a.isRecorded() || !b.isRecorded()) throw Code.INVALID_HANDLE.error("the " + (a.isRecorded() ? "second" : "first") + " event was never recorded");
        if (!a.passed() || !b.passed()) return Code.NOT_READY.value;
        long from = a.nanos(), to = b.nanos();
        if (from == 0 || to == 0) return Code.NOT_READY.value;   // another thread has recorded one of them again
        Raw.putFloat(milliseconds, (to - from) / 1e6f);
        return 0;
    }

    // ---- modules and functions

    static int cuModuleLoadData(long out, long image) {
        return cuModuleLoadDataEx(out, image, 0, 0, 0);
    }

    static int cuModuleLoadDataEx(long out, long image, int count, long options, long values) {
        Context.current();
        notNull(out, "module");
        notNull(image, "image");
        require(count == 0 || options != 0 && values != 0, count + " options, but options or optionValues is null");
        long infoLog = 0, infoSize = 0, errorLog = 0, errorSize = 0;
        int infoSizeAt = -1, errorSizeAt = -1;
        for (int i = 0; i < count; i++) {
            long value = Raw.getLong(values + 8L * i);
            switch (Raw.getInt(options + 4L * i)) {
                case 3 -> infoLog = value;
                case 4 -> { infoSize = value & 0xffffffffL; infoSizeAt = i; }
                case 5 -> errorLog = value;
                case 6 -> { errorSize = value & 0xffffffffL; errorSizeAt = i; }
                default -> { }
            }
        }
        int magic = Raw.getInt(image);
        if (magic == 0x464c457f || magic == 0xba55ed50) throw Code.NO_BINARY_FOR_GPU.error("a cubin or fatbin: the software GPU reads PTX text");
        if (Function.COMPILES) KernelCompiler.prepare();
        String text = Raw.getString(image);
        LoadedModule module;
        try {
            module = LoadedModule.load(text, () -> parse("module" + MODULES.incrementAndGet(), text));
        } catch (PtxException e) {
            if (errorLog != 0) {
                int written = Raw.putString(errorLog, errorSize, e.getMessage());
                if (errorSizeAt >= 0) Raw.putLong(values + 8L * errorSizeAt, written);
            }
            throw Code.INVALID_PTX.error(e.getMessage());
        }
        if (infoLog != 0 && infoSize > 0) Raw.putString(infoLog, infoSize, "");
        if (infoSizeAt >= 0) Raw.putLong(values + 8L * infoSizeAt, 0);
        if (errorLog != 0 && errorSize > 0) Raw.putString(errorLog, errorSize, "");
        if (errorSizeAt >= 0) Raw.putLong(values + 8L * errorSizeAt, 0);
        Raw.putLong(out, Handles.add(module));
        return 0;
    }

    /** @throws PtxException if this device cannot run it, or ptxas would refuse it */
    private static PtxModule parse(String name, String text) {
        PtxHeader header = PtxHeader.of(name, text);
        if (header.version() > DeviceProperties.PTX_VERSION)
            throw Code.UNSUPPORTED_PTX_VERSION.error("PTX version " + header.version() / 10 + "." + header.version() % 10 + ", this driver reads up to " + DeviceProperties.PTX_VERSION / 10 + "." + DeviceProperties.PTX_VERSION % 10);
        if (header.architecture() == 0 || header.architecture() > DeviceProperties.ARCHITECTURE)
            throw new PtxException(name, 1, "compiled for " + header.target() + ", the device is sm_" + DeviceProperties.ARCHITECTURE);
        PtxModule ptx = PtxParser.parse(name, text);
        for (var kernel : ptx.kernels().values()) requireAssembles(name, kernel);
        return ptx;
    }

    /** What ptxas refuses although it can be read. */
    private static void requireAssembles(String module, PtxKernel k) {
        if (k.staticShared() > Function.DEFAULT_SHARED)
            throw new PtxException(module + ".ptx: kernel " + k.name() + " has " + k.staticShared() + " bytes of static shared memory, " + Function.DEFAULT_SHARED + " at most");
        if (k.paramBytes() > Function.MOST_PARAMETERS)
            throw new PtxException(module + ".ptx: kernel " + k.name() + " has " + k.paramBytes() + " bytes of parameters, " + Function.MOST_PARAMETERS + " at most");
    }

    static int cuModuleUnload(long module) {
        Context c = Context.current();
        LoadedModule m = Handles.remove(module, LoadedModule.class);
        c.synchronizeAll();
        m.unload();
        return 0;
    }

    static int cuModuleGetFunction(long out, long module, long name) {
        Context.current();
        notNull(out, "hfunc");
        notNull(name, "name");
        Raw.putLong(out, Handles.get(module, LoadedModule.class).function(Raw.getString(name)).handle);
        return 0;
    }

    static int cuModuleGetGlobal_v2(long address, long bytes, long module, long name) {
        Context.current();
        notNull(name, "name");
        LoadedModule m = Handles.get(module, LoadedModule.class);
        var memory = m.ptx.global(Raw.getString(name));
        if (memory == null) throw Code.NOT_FOUND.error("no variable '" + Raw.getString(name) + "'; there are " + m.ptx.variables().keySet().stream().sorted().toList());
        if (address != 0) Raw.putLong(address, memory.address());
        if (bytes != 0) Raw.putLong(bytes, memory.byteSize());
        return 0;
    }

    static int cuFuncGetName(long out, long function) {
        Context.current();
        notNull(out, "name");
        Raw.putLong(out, Handles.get(function, Function.class).cName.address());
        return 0;
    }

    static int cuFuncGetParamInfo(long function, long index, long offset, long size) {
        Context.current();
        notNull(offset, "paramOffset");
        var params = Handles.get(function, Function.class).kernel.params();
        require(index >= 0 && index < params.size(), "parameter " + index + " of " + params.size());
        Raw.putLong(offset, params.get((int) index).offset());
        if (size != 0) Raw.putLong(size, params.get((int) index).size());
        return 0;
    }

    static int cuFuncGetAttribute(long out, int attribute, long function) {
        Context.current();
        notNull(out, "pi");
        Function f = Handles.get(function, Function.class);
        Raw.putInt(out, switch (attribute) {
            case 0 -> Math.min(f.kernel.maxThreads(), f.threadsWithRegisters);
            case 1 -> (int) f.kernel.staticShared();
            case 2 -> 0;
            case 3 -> (int) f.kernel.localBytes();
            case 4 -> f.registers() == 0 ? 32 : f.registers();
            case 5, 6 -> 80;
            case 7 -> 0;
            case 8 -> f.dynamicShared;
            case 9 -> -1;
            case 10, 11, 12, 13, 14, 15 -> 0;
            default -> throw Code.INVALID_VALUE.error("function attribute " + attribute);
        });
        return 0;
    }

    static int cuFuncSetAttribute(long function, int attribute, int value) {
        Context.current();
        Function f = Handles.get(function, Function.class);
        switch (attribute) {
            case 8 -> {
                require(value >= 0 && value + f.kernel.staticShared() <= Function.MOST_SHARED,
                        value + " bytes of dynamic and " + f.kernel.staticShared() + " of static shared memory; the device has " + Function.MOST_SHARED);
                f.dynamicShared = value;
            }
            case 9 -> require(value >= -1 && value <= 100, "carve-out " + value);
            default -> throw Code.INVALID_VALUE.error("function attribute " + attribute + " cannot be set");
        }
        return 0;
    }

    static int cuFuncSetCacheConfig(long function, int config) {
        Context.current();
        Handles.get(function, Function.class);
        require(config >= 0 && config <= 3, "cache configuration " + config);
        return 0;
    }

    static int cuOccupancyMaxActiveBlocksPerMultiprocessor(long out, long function, int blockSize, long dynamicShared) {
        Context.current();
        Function f = Handles.get(function, Function.class);
        require(out != 0 && blockSize > 0 && dynamicShared >= 0, "block of " + blockSize + " threads");
        Raw.putInt(out, f.blocksAtOnce(blockSize, dynamicShared));
        return 0;
    }

    // ---- launches

    static int cuLaunchKernel(long function, int gx, int gy, int gz, int bx, int by, int bz, int shared, long stream, long params, long extra) {
        Context c = Context.current();
        Function f = Handles.get(function, Function.class);
        StreamQueue s = c.stream(stream);
        checkLaunch(f, gx, gy, gz, bx, by, bz, shared);
        long packed = 0, packedBytes = 0;
        if (extra != 0) {
            require(params == 0, "both kernelParams and extra are given");
            for (int i = 0; i < 64; i += 2) {
                long key = Raw.getLong(extra + 8L * i);
                if (key == 0) break;
                if (key == 1) packed = Raw.getLong(extra + 8L * i + 8);
                else if (key == 2) packedBytes = Raw.getLong(Raw.getLong(extra + 8L * i + 8));
                else throw Code.INVALID_VALUE.error("launch option " + key);
            }
            require(packed != 0 && packedBytes >= f.kernel.paramBytes(), "the parameter buffer has " + packedBytes + " bytes, the kernel takes " + f.kernel.paramBytes());
        } else {
            if (params == 0 && !f.kernel.params().isEmpty()) throw Code.INVALID_VALUE.error("no parameters given, the kernel has " + f.kernel.params().size());
        }
        Function.Variant code = f.variant(bx, by, bz, shared);
        Command command = s.begin();
        boolean done = false;
        try {
            command.kernel(code, gx, gy, gz, params, packed, packedBytes);
            done = true;
        } finally {
            if (!done) s.abort();
        }
        s.commit(command);
        return 0;
    }

    /** A launch with attributes, which are checked; those that ask for an order or a place that we keep anyway change nothing. */
    static int cuLaunchKernelEx(long config, long function, long params, long extra) {
        Context.current();
        notNull(config, "config");
        int attributes = Raw.getInt(config + 48);
        long list = Raw.getLong(config + 40);
        require(attributes == 0 || list != 0, attributes + " attributes, but attrs is null");
        boolean cooperative = false;
        for (int i = 0; i < attributes; i++) {
            long at = list + 72L * i;
            int id = Raw.getInt(at), value = Raw.getInt(at + 8);
            switch (id) {
                case 0, 1, 3, 5, 6, 8, 9, 10 -> { }  // nothing, access policy, waiting policy, cluster scheduling, overlap with the launch before, priority, domains
                case 2 -> cooperative = value != 0;
                case 4 -> {
                    if (value != 1 || Raw.getInt(at + 12) != 1 || Raw.getInt(at + 16) != 1)
                        throw Code.NOT_SUPPORTED.error("clusters of " + value + " x " + Raw.getInt(at + 12) + " x " + Raw.getInt(at + 16) + " blocks");
                }
                case 7, 12, 13 -> throw Code.NOT_SUPPORTED.error("launch attribute " + id + " (events and updates from within a launch)");
                default -> throw Code.INVALID_VALUE.error("launch attribute " + id);
            }
        }
        int gx = Raw.getInt(config), gy = Raw.getInt(config + 4), gz = Raw.getInt(config + 8), bx = Raw.getInt(config + 12), by = Raw.getInt(config + 16), bz = Raw.getInt(config + 20);
        int shared = Raw.getInt(config + 24);
        long stream = Raw.getLong(config + 32);
        require(!cooperative || extra == 0, "a cooperative launch takes kernelParams only");
        return cooperative ? cuLaunchCooperativeKernel(function, gx, gy, gz, bx, by, bz, shared, stream, params) : cuLaunchKernel(function, gx, gy, gz, bx, by, bz, shared, stream, params, extra);
    }

    private static void checkLaunch(Function f, int gx, int gy, int gz, int bx, int by, int bz, int shared) {
        if (gx < 1 || gy < 1 || gz < 1 || gy > 65535 || gz > 65535) throw Code.INVALID_VALUE.error(f.kernel.name() + ": grid " + Integer.toUnsignedString(gx) + " x " + gy + " x " + gz);
        if (bx < 1 || by < 1 || bz < 1 || bx > 1024 || by > 1024 || bz > 64 || (long) bx * by * bz > 1024)
            throw Code.INVALID_VALUE.error(f.kernel.name() + ": block " + bx + " x " + by + " x " + bz);
        if (bx * by * bz > f.kernel.maxThreads())
            throw Code.INVALID_VALUE.error(f.kernel.name() + ": block of " + bx * by * bz + " threads, compiled for at most " + f.kernel.maxThreads());
        if (bx * by * bz > f.threadsWithRegisters)
            throw Code.LAUNCH_OUT_OF_RESOURCES.error(f.kernel.name() + ": block of " + bx * by * bz + " threads of up to " + f.kernel.mostRegisters() + " registers (.maxnreg); " + f.threadsWithRegisters
                    + " such threads fit in the 65536 registers of a multiprocessor");
        if (!f.kernel.admits(bx, by, bz))
            throw Code.INVALID_VALUE.error(f.kernel.name() + ": block " + bx + " x " + by + " x " + bz + ", compiled for " + f.kernel.required(0) + " x " + f.kernel.required(1) + " x " + f.kernel.required(2) + " alone");
        if (shared < 0 || shared > f.dynamicShared)
            throw Code.INVALID_VALUE.error(f.kernel.name() + ": " + shared + " bytes of dynamic shared memory, " + f.dynamicShared + " allowed (cuFuncSetAttribute raises it)");
    }

    static int cuLaunchCooperativeKernel(long function, int gx, int gy, int gz, int bx, int by, int bz, int shared, long stream, long params) {
        Context c = Context.current();
        Function f = Handles.get(function, Function.class);
        StreamQueue s = c.stream(stream);
        checkLaunch(f, gx, gy, gz, bx, by, bz, shared);
        if (params == 0 && !f.kernel.params().isEmpty()) throw Code.INVALID_VALUE.error("no parameters given, the kernel has " + f.kernel.params().size());
        long most = (long) f.blocksAtOnce(bx * by * bz, shared) * Workers.THREADS, blocks = (long) gx * gy * gz;
        if (blocks > most) throw Code.COOPERATIVE_LAUNCH_TOO_LARGE.error(f.kernel.name() + ": " + blocks + " blocks that wait for each other; " + most + " can be on the device at once");
        Function.Variant code = f.variant(bx, by, bz, shared);
        Command command = s.begin();
        boolean done = false;
        try {
            command.kernel(code, gx, gy, gz, params, 0, 0);
            command.cooperative();
            done = true;
        } finally {
            if (!done) s.abort();
        }
        s.commit(command);
        return 0;
    }

    // ---- capture and graphs

    static int cuStreamBeginCapture_v2(long stream, int mode) {
        Context c = Context.current();
        StreamQueue s = c.stream(stream);
        require(mode >= 0 && mode <= 2, "capture mode " + mode);
        s.beginCapture(mode);
        return 0;
    }

    static int cuStreamEndCapture(long stream, long out) {
        Context c = Context.current();
        notNull(out, "phGraph");
        Raw.putLong(out, 0);
        Raw.putLong(out, Handles.add(c.stream(stream).endCapture()));
        return 0;
    }

    static int cuStreamIsCapturing(long stream, long out) {
        Context c = Context.current();
        notNull(out, "captureStatus");
        StreamQueue s = c.stream(stream);
        if (s.legacy && c.blockingCapture() != null) throw Code.STREAM_CAPTURE_IMPLICIT.error("the legacy stream, while a stream that it waits for captures");
        Capture capture = s.capture;
        Raw.putInt(out, capture == null ? 0 : capture.isInvalid() ? 2 : 1);
        return 0;
    }

    /** Calls on graphs name a bad handle an invalid value. */
    private static <T> T graph(long handle, Class<T> type) {
        T found = Handles.find(handle, type);
        if (found == null) throw Code.INVALID_VALUE.error(Handles.describe(handle, type));
        return found;
    }

    static int cuGraphCreate(long out, int flags) {
        Context.requireSound();
        notNull(out, "phGraph");
        require(flags == 0, "flags are " + flags + ", not 0");
        Raw.putLong(out, Handles.add(new Graph(java.util.List.of(), java.util.List.of())));
        return 0;
    }

    static int cuGraphDestroy(long graph) {
        Context.requireSound();
        graph(graph, Graph.class);
        Handles.remove(graph, Graph.class).forgetHandles();
        return 0;
    }

    static int cuGraphInstantiateWithFlags(long out, long graph, long flags) {
        Context.requireSound();
        notNull(out, "phGraphExec");
        require(flags >= 0 && flags < 16, "unknown flags 0x" + Long.toHexString(flags));
        Raw.putLong(out, Handles.add(new Graph.Executable(graph(graph, Graph.class))));
        return 0;
    }

    static int cuGraphExecDestroy(long executable) {
        Context.requireSound();
        graph(executable, Graph.Executable.class);
        Handles.remove(executable, Graph.Executable.class);
        return 0;
    }

    static int cuGraphUpload(long executable, long stream) {
        Context c = Context.current();
        graph(executable, Graph.Executable.class);
        c.stream(stream);
        return 0;
    }

    static int cuGraphLaunch(long executable, long stream) {
        Context c = Context.current();
        Graph.Executable e = graph(executable, Graph.Executable.class);
        StreamQueue s = c.stream(stream);
        Command command = s.begin();
        command.graph(e);
        s.commit(command);
        return 0;
    }

    static int cuGraphGetNodes(long graph, long nodes, long count) {
        Context.requireSound();
        notNull(count, "numNodes");
        Graph g = graph(graph, Graph.class);
        if (nodes != 0) {
            long room = Raw.getLong(count);
            for (int i = 0; i < room; i++) Raw.putLong(nodes + 8L * i, i < g.nodes.length ? g.handle(i) : 0);
        }
        Raw.putLong(count, nodes == 0 ? g.nodes.length : Math.min(g.nodes.length, Raw.getLong(count)));
        return 0;
    }

    static int cuGraphNodeGetType(long node, long type) {
        Context.requireSound();
        notNull(type, "type");
        Raw.putInt(type, graph(node, Command.class).graphNodeType());
        return 0;
    }
}
