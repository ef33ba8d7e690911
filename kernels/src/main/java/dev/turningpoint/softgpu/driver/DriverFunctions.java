package dev.turningpoint.softgpu.driver;

import dev.turningpoint.softgpu.ptx.PtxException;
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

    private static void require(boolean ok, String otherwise) {
        if (!ok) throw Code.INVALID_VALUE.error(otherwise);
    }

    private static void requireDevice(int device) {
        Context.requireInitialised();
        if (device != 0) throw Code.INVALID_DEVICE.error("there is one device, 0, not " + device);
    }

    // ---- driver and device

    static int cuInit(int flags) {
        require(flags == 0, "flags must be 0");
        Context.initialised = true;
        return 0;
    }

    static int cuDriverGetVersion(long version) {
        require(version != 0, "null");
        Raw.putInt(version, VERSION);
        return 0;
    }

    static int cuGetErrorName(int code, long out) {
        require(out != 0, "null");
        Code c = Code.of(code);
        Raw.putLong(out, c == null ? 0 : c.cName.address());
        return c == null ? Code.INVALID_VALUE.value : 0;
    }

    static int cuGetErrorString(int code, long out) {
        require(out != 0, "null");
        Code c = Code.of(code);
        Raw.putLong(out, c == null ? 0 : c.cText.address());
        return c == null ? Code.INVALID_VALUE.value : 0;
    }

    static int cuDeviceGetCount(long count) {
        Context.requireInitialised();
        require(count != 0, "null");
        Raw.putInt(count, 1);
        return 0;
    }

    static int cuDeviceGet(long device, int ordinal) {
        requireDevice(ordinal);
        require(device != 0, "null");
        Raw.putInt(device, 0);
        return 0;
    }

    static int cuDeviceGetName(long name, int length, int device) {
        requireDevice(device);
        require(name != 0 && length > 0, "no room for the name");
        Raw.putString(name, length, DeviceProperties.NAME);
        return 0;
    }

    static int cuDeviceGetPCIBusId(long id, int length, int device) {
        requireDevice(device);
        require(id != 0 && length >= 13, "no room for the bus id");
        Raw.putString(id, length, "0000:00:00.0");
        return 0;
    }

    static int cuDeviceTotalMem_v2(long bytes, int device) {
        requireDevice(device);
        require(bytes != 0, "null");
        Raw.putLong(bytes, Memory.DEVICE.limit());
        return 0;
    }

    static int cuDeviceGetAttribute(long value, int attribute, int device) {
        requireDevice(device);
        require(value != 0, "null");
        Raw.putInt(value, DeviceProperties.attribute(attribute));
        return 0;
    }

    static int cuLogsDumpToMemory(long iterator, long buffer, long size, int flags) {
        require(buffer != 0 && size != 0 && flags == 0, "null");
        long capacity = Math.min(Raw.getLong(size), 25600);
        String all = DriverLog.lines();
        String last = all.length() < capacity ? all : all.substring(all.length() - (int) capacity + 1);
        Raw.putLong(size, Raw.putString(buffer, capacity, last));
        return 0;
    }

    // ---- context

    static int cuDevicePrimaryCtxRetain(long out, int device) {
        requireDevice(device);
        require(out != 0, "null");
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
        require(flags != 0 && active != 0, "null");
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
        require(out != 0, "null");
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
        if (c == null) throw Code.INVALID_CONTEXT.error("0x" + Long.toHexString(handle) + " is no living context");
        return c;
    }

    static int cuCtxGetDevice(long device) {
        Context.current();
        require(device != 0, "null");
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
        require(out != 0, "null");
        Capture.refuse("cuMemAlloc");
        Raw.putLong(out, Memory.DEVICE.allocate(bytes));
        return 0;
    }

    static int cuMemFree_v2(long address) {
        Context c = Context.current();
        if (address == 0) return 0;
        Capture.refuse("cuMemFree");
        require(Memory.DEVICE.start(address) == address, "0x" + Long.toHexString(address) + " is not the start of an allocation");
        c.synchronizeAll();
        Memory.DEVICE.free(address);
        return 0;
    }

    static int cuMemAllocAsync(long out, long bytes, long stream) {
        Context c = Context.current();
        require(out != 0, "null");
        if (c.stream(stream).capture != null) throw Code.NOT_SUPPORTED.error("allocation nodes in graphs");
        Raw.putLong(out, Memory.DEVICE.allocate(bytes));
        return 0;
    }

    static int cuMemFreeAsync(long address, long stream) {
        Context c = Context.current();
        StreamQueue s = c.stream(stream);
        if (s.capture != null) throw Code.NOT_SUPPORTED.error("free nodes in graphs");
        require(Memory.DEVICE.start(address) == address && address != 0, "0x" + Long.toHexString(address) + " is not the start of an allocation");
        Command command = s.begin();
        command.free(address);
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
        require(out != 0 && (flags & ~7) == 0, "unknown flags");
        Capture.refuse("cuMemHostAlloc");
        Raw.putLong(out, Memory.PINNED.allocate(bytes));
        return 0;
    }

    static int cuMemFreeHost(long address) {
        Context c = Context.current();
        Capture.refuse("cuMemFreeHost");
        c.synchronizeAll();
        Memory.PINNED.free(address);
        return 0;
    }

    static int cuMemHostRegister_v2(long address, long bytes, int flags) {
        Context.current();
        Memory.PINNED.register(address, bytes);
        return 0;
    }

    static int cuMemHostUnregister(long address) {
        Context.current();
        Memory.PINNED.unregister(address);
        return 0;
    }

    static int cuPointerGetAttribute(long out, int attribute, long address) {
        Context c = Context.current();
        require(out != 0, "null");
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
        if (to == Side.DEVICE) Memory.requireDevice("the target", target, bytes);
        if (from == Side.DEVICE) Memory.requireDevice("the source", source, bytes);
        if (to == Side.HOST) require(target != 0, "the target is null");
        if (from == Side.HOST) require(source != 0, "the source is null");
        if (to == Side.EITHER && Memory.DEVICE.start(target) != 0) Memory.requireDevice("the target", target, bytes);
        if (from == Side.EITHER && Memory.DEVICE.start(source) != 0) Memory.requireDevice("the source", source, bytes);
        require(target != 0 && source != 0, "null");
    }

    private static int copyNow(long target, Side to, long source, Side from, long bytes) {
        Context c = Context.current();
        if (bytes == 0) return 0;
        checkCopy(target, to, source, from, bytes);
        Capture.refuse("a synchronous copy");
        c.synchronizeBlocking();
        if (c.fault() != null) return c.fault().value;
        Raw.copy(target, source, bytes);
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
        require(count >= 0 && count < Long.MAX_VALUE / 4, count + " elements");
        if (target % width != 0) throw Code.INVALID_VALUE.error("the target is not aligned to " + width + " bytes");
        Memory.requireDevice("the target", target, count * width);
    }

    private static int fillNow(long target, int value, int width, long count) {
        Context c = Context.current();
        if (count == 0) return 0;
        checkFill(target, width, count);
        Capture.refuse("a synchronous fill");
        c.synchronizeBlocking();
        if (c.fault() != null) return c.fault().value;
        Raw.fill(target, value, width, count);
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
        require(out != 0 && (flags & ~1) == 0, "unknown flags " + flags);
        Raw.putLong(out, Handles.add(new StreamQueue(c, flags == 0, false)));
        return 0;
    }

    static int cuStreamCreateWithPriority(long out, int flags, int priority) {
        return cuStreamCreate(out, flags);
    }

    static int cuStreamDestroy_v2(long stream) {
        Context.current();
        StreamQueue s = Handles.remove(stream, StreamQueue.class);
        if (s.capture != null) s.capture.invalidate("a stream was destroyed during the capture");
        s.close();
        return 0;
    }

    static int cuStreamSynchronize(long stream) {
        Context c = Context.current();
        StreamQueue s = c.stream(stream);
        s.refuseDuringCapture("cuStreamSynchronize");
        if (s.legacy) c.synchronizeBlocking();
        s.awaitAll();
        return afterWork(c);
    }

    static int cuStreamQuery(long stream) {
        StreamQueue s = Context.current().stream(stream);
        s.refuseDuringCapture("cuStreamQuery");
        return s.idle() ? 0 : Code.NOT_READY.value;
    }

    static int cuStreamWaitEvent(long stream, long event, int flags) {
        Context c = Context.current();
        c.stream(stream).waitFor(Handles.get(event, Event.class));
        return 0;
    }

    static int cuLaunchHostFunc(long stream, long function, long data) {
        StreamQueue s = Context.current().stream(stream);
        require(function != 0, "the function is null");
        Command command = s.begin();
        command.host(function, data);
        s.commit(command);
        return 0;
    }

    static int cuEventCreate(long out, int flags) {
        Context c = Context.current();
        require(out != 0 && (flags & ~7) == 0, "unknown flags " + flags);
        if ((flags & Event.INTERPROCESS) != 0) throw Code.NOT_SUPPORTED.error("events between processes");
        Raw.putLong(out, Handles.add(new Event(c, flags)));
        return 0;
    }

    static int cuEventDestroy_v2(long event) {
        Context.requireInitialised();
        Handles.remove(event, Event.class);
        return 0;
    }

    static int cuEventRecord(long event, long stream) {
        Context c = Context.current();
        c.stream(stream).record(Handles.get(event, Event.class));
        return 0;
    }

    private static Event.Point outsideCapture(Event e) {
        Event.Point p = e.point;
        if (p != null && p.capture != null) throw Code.CAPTURED_EVENT.error("the event was recorded into a capture");
        return p;
    }

    static int cuEventQuery(long event) {
        Context.current();
        Event.Point p = outsideCapture(Handles.get(event, Event.class));
        return p == null || p.passed() ? 0 : Code.NOT_READY.value;
    }

    static int cuEventSynchronize(long event) {
        Context c = Context.current();
        Event.Point p = outsideCapture(Handles.get(event, Event.class));
        if (p != null) p.stream.await(p.sequence);
        return afterWork(c);
    }

    static int cuEventElapsedTime_v2(long milliseconds, long start, long end) {
        Context.current();
        require(milliseconds != 0, "null");
        Event a = Handles.get(start, Event.class), b = Handles.get(end, Event.class);
        Event.Point from = outsideCapture(a), to = outsideCapture(b);
        if (!a.timing || !b.timing || from == null || to == null) throw Code.INVALID_HANDLE.error("an event was never recorded, or without timing");
        if (!from.passed() || !to.passed()) return Code.NOT_READY.value;
        Raw.putFloat(milliseconds, (to.nanos - from.nanos) / 1e6f);
        return 0;
    }

    // ---- modules and functions

    static int cuModuleLoadData(long out, long image) {
        return cuModuleLoadDataEx(out, image, 0, 0, 0);
    }

    static int cuModuleLoadDataEx(long out, long image, int count, long options, long values) {
        Context.current();
        require(out != 0 && image != 0, "null");
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
        String text = Raw.getString(image);
        PtxModule ptx;
        try {
            ptx = PtxParser.parse("module" + MODULES.incrementAndGet(), text);
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
        Raw.putLong(out, Handles.add(new LoadedModule(ptx)));
        return 0;
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
        require(out != 0 && name != 0, "null");
        Raw.putLong(out, Handles.get(module, LoadedModule.class).function(Raw.getString(name)).handle);
        return 0;
    }

    static int cuModuleGetGlobal_v2(long address, long bytes, long module, long name) {
        Context.current();
        require(name != 0, "null");
        LoadedModule m = Handles.get(module, LoadedModule.class);
        var memory = m.ptx.global(Raw.getString(name));
        if (memory == null) throw Code.NOT_FOUND.error("no variable '" + Raw.getString(name) + "'; there are " + m.ptx.variables().keySet().stream().sorted().toList());
        if (address != 0) Raw.putLong(address, memory.address());
        if (bytes != 0) Raw.putLong(bytes, memory.byteSize());
        return 0;
    }

    static int cuFuncGetName(long out, long function) {
        Context.current();
        require(out != 0, "null");
        Raw.putLong(out, Handles.get(function, Function.class).cName.address());
        return 0;
    }

    static int cuFuncGetParamInfo(long function, long index, long offset, long size) {
        Context.current();
        require(offset != 0, "null");
        var params = Handles.get(function, Function.class).kernel.params();
        require(index >= 0 && index < params.size(), "parameter " + index + " of " + params.size());
        Raw.putLong(offset, params.get((int) index).offset());
        if (size != 0) Raw.putLong(size, params.get((int) index).size());
        return 0;
    }

    static int cuFuncGetAttribute(long out, int attribute, long function) {
        Context.current();
        require(out != 0, "null");
        Function f = Handles.get(function, Function.class);
        Raw.putInt(out, switch (attribute) {
            case 0 -> f.kernel.maxThreads();
            case 1 -> (int) f.kernel.staticShared();
            case 2 -> 0;
            case 3 -> (int) f.kernel.localBytes();
            case 4 -> 32;
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
        return 0;
    }

    static int cuOccupancyMaxActiveBlocksPerMultiprocessor(long out, long function, int blockSize, long dynamicShared) {
        Context.current();
        Function f = Handles.get(function, Function.class);
        require(out != 0 && blockSize > 0 && dynamicShared >= 0, "block of " + blockSize + " threads");
        long shared = f.kernel.staticShared() + dynamicShared + 1024;
        boolean fits = blockSize <= f.kernel.maxThreads() && dynamicShared <= f.dynamicShared;
        Raw.putInt(out, !fits ? 0 : (int) Math.min(Math.min(2048 / ((blockSize + 31) / 32 * 32), 32), (Function.MOST_SHARED + 1024) / shared));
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

    private static void checkLaunch(Function f, int gx, int gy, int gz, int bx, int by, int bz, int shared) {
        if (gx < 1 || gy < 1 || gz < 1 || gy > 65535 || gz > 65535) throw Code.INVALID_VALUE.error(f.kernel.name() + ": grid " + Integer.toUnsignedString(gx) + " x " + gy + " x " + gz);
        if (bx < 1 || by < 1 || bz < 1 || bx > 1024 || by > 1024 || bz > 64 || (long) bx * by * bz > 1024)
            throw Code.INVALID_VALUE.error(f.kernel.name() + ": block " + bx + " x " + by + " x " + bz);
        if (bx * by * bz > f.kernel.maxThreads())
            throw Code.INVALID_VALUE.error(f.kernel.name() + ": block of " + bx * by * bz + " threads, compiled for at most " + f.kernel.maxThreads());
        if (shared < 0 || shared > f.dynamicShared)
            throw Code.INVALID_VALUE.error(f.kernel.name() + ": " + shared + " bytes of dynamic shared memory, " + f.dynamicShared + " allowed (cuFuncSetAttribute raises it)");
    }

    static int cuLaunchCooperativeKernel(long function, int gx, int gy, int gz, int bx, int by, int bz, int shared, long stream, long params) {
        throw Code.NOT_SUPPORTED.error("cooperative launches: blocks that wait for each other");
    }

    // ---- capture and graphs

    static int cuStreamBeginCapture_v2(long stream, int mode) {
        Context c = Context.current();
        require(mode >= 0 && mode <= 2, "capture mode " + mode);
        c.stream(stream).beginCapture(mode);
        return 0;
    }

    static int cuStreamEndCapture(long stream, long out) {
        Context c = Context.current();
        require(out != 0, "null");
        Raw.putLong(out, 0);
        Raw.putLong(out, Handles.add(c.stream(stream).endCapture()));
        return 0;
    }

    static int cuStreamIsCapturing(long stream, long out) {
        Context c = Context.current();
        require(out != 0, "null");
        Capture capture = c.stream(stream).capture;
        Raw.putInt(out, capture == null ? 0 : capture.isInvalid() ? 2 : 1);
        return 0;
    }

    static int cuGraphCreate(long out, int flags) {
        Context.requireInitialised();
        require(out != 0 && flags == 0, "flags must be 0");
        Raw.putLong(out, Handles.add(new Graph(java.util.List.of())));
        return 0;
    }

    static int cuGraphDestroy(long graph) {
        Context.requireInitialised();
        Handles.remove(graph, Graph.class).forgetHandles();
        return 0;
    }

    static int cuGraphInstantiateWithFlags(long out, long graph, long flags) {
        Context.requireInitialised();
        require(out != 0, "null");
        Raw.putLong(out, Handles.add(new Graph.Executable(Handles.get(graph, Graph.class))));
        return 0;
    }

    static int cuGraphExecDestroy(long executable) {
        Context.requireInitialised();
        Handles.remove(executable, Graph.Executable.class);
        return 0;
    }

    static int cuGraphUpload(long executable, long stream) {
        Context c = Context.current();
        Handles.get(executable, Graph.Executable.class);
        c.stream(stream);
        return 0;
    }

    static int cuGraphLaunch(long executable, long stream) {
        Context c = Context.current();
        Graph.Executable e = Handles.get(executable, Graph.Executable.class);
        StreamQueue s = c.stream(stream);
        Command command = s.begin();
        command.graph(e);
        s.commit(command);
        return 0;
    }

    static int cuGraphGetNodes(long graph, long nodes, long count) {
        Context.requireInitialised();
        require(count != 0, "null");
        Graph g = Handles.get(graph, Graph.class);
        if (nodes != 0) {
            long room = Raw.getLong(count);
            for (int i = 0; i < room; i++) Raw.putLong(nodes + 8L * i, i < g.nodes.length ? g.handle(i) : 0);
        }
        Raw.putLong(count, nodes == 0 ? g.nodes.length : Math.min(g.nodes.length, Raw.getLong(count)));
        return 0;
    }

    static int cuGraphNodeGetType(long node, long type) {
        Context.requireInitialised();
        require(type != 0, "null");
        Raw.putInt(type, Handles.get(node, Command.class).graphNodeType());
        return 0;
    }
}
