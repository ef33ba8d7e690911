package dev.turningpoint.softgpu.driver;

import static dev.turningpoint.softgpu.driver.Code.*;
import static java.lang.foreign.ValueLayout.*;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.turningpoint.bindings.NativeLibrary;
import dev.turningpoint.softgpu.SoftwareDriver;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.concurrent.CountDownLatch;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/**
 * Wrong uses of the driver API, each with the code that NVIDIA documents for it and what the driver's log must say of it. Every call is made as C makes it.
 * A code is taken from the function's page of the driver API where that names the case, else from the description of the codes.
 */
@Timeout(120)
class MisuseTest {
    static {
        System.setProperty("turningpoint.device", "software");
    }

    private static final Map<String, MethodHandle> CALLS = new HashMap<>();
    private static final Map<String, FunctionDescriptor> TYPES = new HashMap<>();

    private final Arena arena = Arena.ofShared();
    private final long out = arena.allocate(256).address(), text = arena.allocateFrom("absent").address();
    private final List<String> wrong = new ArrayList<>();
    private long module, increment, small, stream, event, memory;

    private static Stubs library(String name) {
        return (Stubs) new SoftwareDriver().symbols(name.startsWith("cublasLt") ? NativeLibrary.CUBLASLT : NativeLibrary.CUDA);
    }

    /** Calls by name; integers become the C type of their parameter. */
    private static int call(String name, Object... arguments) {
        FunctionDescriptor type = TYPES.computeIfAbsent(name, n -> library(n).functions().get(n));
        MethodHandle handle = CALLS.computeIfAbsent(name, n -> Linker.nativeLinker().downcallHandle(library(n).find(n).orElseThrow(), type));
        var converted = new Object[arguments.length];
        for (int i = 0; i < arguments.length; i++) {
            Class<?> carrier = ((java.lang.foreign.ValueLayout) type.argumentLayouts().get(i)).carrier();
            var value = (Number) arguments[i];
            if (carrier == long.class) converted[i] = value.longValue();
            else if (carrier == int.class) converted[i] = value.intValue();
            else if (carrier == short.class) converted[i] = value.shortValue();
            else converted[i] = value.byteValue();
        }
        try {
            return (int) handle.invokeWithArguments(converted);
        } catch (Throwable e) {
            throw new AssertionError(name, e);
        }
    }

    private static void ok(String name, Object... arguments) {
        assertEquals(0, call(name, arguments), () -> name + ": " + DriverLog.lines());
    }

    /** What a successful call puts into its first parameter. */
    private long made(String name, Object... more) {
        var arguments = new Object[more.length + 1];
        arguments[0] = out;
        System.arraycopy(more, 0, arguments, 1, more.length);
        ok(name, arguments);
        return Raw.getLong(out);
    }

    /** One row of the table: the call must fail with the code, and the last line of the log must say why. */
    private void refused(Code code, String says, String name, Object... arguments) {
        refused(code.value, code.name(), says, name, arguments);
    }

    private void refused(int code, String codeName, String says, String name, Object... arguments) {
        int got = call(name, arguments);
        String log = DriverLog.lines(), last = log.substring(log.lastIndexOf('\n') + 1);
        if (got != code) wrong.add(name + " (" + says + "): " + got + " instead of " + codeName + " (" + code + "); " + last);
        else if (!last.startsWith(name + ": ") || !last.contains(says)) wrong.add(name + ": the log says '" + last + "', not '" + says + "'");
    }

    @BeforeEach
    void begin() throws IOException {
        ok("cuInit", 0);
        current();
        try (var in = MisuseTest.class.getResourceAsStream("launch.ptx")) {
            module = made("cuModuleLoadData", ptx(new String(in.readAllBytes())));
        }
        increment = made("cuModuleGetFunction", module, arena.allocateFrom("increment").address());
        small = made("cuModuleGetFunction", module, arena.allocateFrom("small").address());
        stream = made("cuStreamCreate", 1);
        event = made("cuEventCreate", 0);
        memory = made("cuMemAlloc_v2", 1000);
    }

    private void current() {
        ok("cuCtxSetCurrent", made("cuDevicePrimaryCtxRetain", 0));
    }

    private long ptx(String source) { return arena.allocateFrom(source).address(); }

    @AfterEach
    void end() {
        ok("cuCtxSetCurrent", 0);
        ok("cuDevicePrimaryCtxRelease_v2", 0);
        assertEquals("", String.join("\n", wrong));
        arena.close();
    }

    @Test
    void driverAndDevice() {
        refused(INVALID_VALUE, "flags are 1", "cuInit", 1);
        refused(INVALID_VALUE, "driverVersion is null", "cuDriverGetVersion", 0);
        refused(INVALID_VALUE, "pStr is null", "cuGetErrorName", 1, 0);
        refused(INVALID_VALUE, "pStr is null", "cuGetErrorString", 1, 0);
        assertEquals(INVALID_VALUE.value, call("cuGetErrorName", 12345, out));
        assertEquals(0, Raw.getLong(out), "an unknown code has no name");
        refused(INVALID_VALUE, "count is null", "cuDeviceGetCount", 0);
        refused(INVALID_DEVICE, "not 1", "cuDeviceGet", out, 1);
        refused(INVALID_DEVICE, "not -1", "cuDeviceGet", out, -1);
        refused(INVALID_VALUE, "device is null", "cuDeviceGet", 0, 0);
        refused(INVALID_DEVICE, "not 7", "cuDeviceGetName", out, 64, 7);
        refused(INVALID_VALUE, "room for 0", "cuDeviceGetName", out, 0, 0);
        refused(INVALID_VALUE, "name is null", "cuDeviceGetName", 0, 64, 0);
        refused(INVALID_VALUE, "room for 12", "cuDeviceGetPCIBusId", out, 12, 0);
        refused(INVALID_DEVICE, "not 1", "cuDeviceTotalMem_v2", out, 1);
        refused(INVALID_VALUE, "attribute 0", "cuDeviceGetAttribute", out, 0, 0);
        refused(INVALID_VALUE, "attribute 9999", "cuDeviceGetAttribute", out, 9999, 0);
        refused(INVALID_DEVICE, "not 2", "cuDeviceGetAttribute", out, 1, 2);
        refused(INVALID_DEVICE, "not 1", "cuDevicePrimaryCtxRetain", out, 1);
        refused(INVALID_VALUE, "pctx is null", "cuDevicePrimaryCtxRetain", 0, 0);
        refused(INVALID_DEVICE, "not 1", "cuDevicePrimaryCtxRelease_v2", 1);
        Context.initialised = false;
        try {
            refused(NOT_INITIALIZED, "cuInit comes first", "cuDeviceGetCount", out);
            refused(NOT_INITIALIZED, "cuInit comes first", "cuMemAlloc_v2", out, 64);
        } finally {
            Context.initialised = true;
        }
    }

    @Test
    void contexts() {
        long context = made("cuCtxGetCurrent");
        refused(INVALID_CONTEXT, "no context but a stream", "cuCtxSetCurrent", stream);
        refused(INVALID_CONTEXT, "never was a handle", "cuCtxPushCurrent_v2", 0x1230);
        ok("cuCtxSetCurrent", 0);
        refused(INVALID_CONTEXT, "no context is current", "cuCtxPopCurrent_v2", out);
        refused(INVALID_CONTEXT, "no context is current", "cuMemAlloc_v2", out, 64);
        refused(INVALID_CONTEXT, "no context is current", "cuStreamSynchronize", stream);
        ok("cuCtxSetCurrent", context);
        ok("cuDevicePrimaryCtxReset_v2", 0);
        refused(CONTEXT_IS_DESTROYED, "the current context was destroyed", "cuMemAlloc_v2", out, 64);
        refused(CONTEXT_IS_DESTROYED, "the current context was destroyed", "cuStreamCreate", out, 0);
        refused(INVALID_CONTEXT, "was given back", "cuCtxSetCurrent", context);
        current();
        refused(INVALID_HANDLE, "no stream: it was given back", "cuStreamSynchronize", stream);
        refused(INVALID_HANDLE, "no event: it was given back", "cuEventQuery", event);
        refused(INVALID_HANDLE, "no function: it was given back", "cuLaunchKernel", increment, 1, 1, 1, 32, 1, 1, 0, 0, 0, 0);
        refused(INVALID_HANDLE, "no module: it was given back", "cuModuleUnload", module);
        refused(INVALID_VALUE, "in no allocation", "cuMemFree_v2", memory);
        ok("cuDevicePrimaryCtxRelease_v2", 0);
    }

    @Test
    void aContextIsReleasedOnceForEachTimeItIsRetained() {
        ok("cuCtxSetCurrent", 0);
        ok("cuDevicePrimaryCtxRelease_v2", 0);
        refused(INVALID_CONTEXT, "not retained", "cuDevicePrimaryCtxRelease_v2", 0);
        current();
    }

    @Test
    void memory() {
        refused(INVALID_VALUE, "0 bytes", "cuMemAlloc_v2", out, 0);
        refused(INVALID_VALUE, "dptr is null", "cuMemAlloc_v2", 0, 64);
        refused(OUT_OF_MEMORY, "1152921504606846976 bytes asked", "cuMemAlloc_v2", out, 1L << 60);
        refused(INVALID_VALUE, "at offset 8", "cuMemFree_v2", memory + 8);
        refused(INVALID_VALUE, "in no allocation", "cuMemFree_v2", out);
        ok("cuMemFree_v2", 0);
        long gone = made("cuMemAlloc_v2", 512);
        ok("cuMemFree_v2", gone);
        refused(INVALID_VALUE, "in no allocation", "cuMemFree_v2", gone);
        refused(INVALID_VALUE, "in no allocation", "cuMemcpyHtoD_v2", gone, out, 8);
        refused(INVALID_VALUE, "in no allocation", "cuMemcpyDtoDAsync_v2", memory, gone, 8, stream);
        refused(INVALID_VALUE, "in no allocation", "cuMemsetD8Async", gone, 0, 8, stream);
        refused(NOT_FOUND, "in no allocation", "cuMemGetAddressRange_v2", out, 0, gone);
        refused(INVALID_VALUE, "in no allocation", "cuPointerGetAttribute", out, 2, gone);
        refused(INVALID_VALUE, "outside its allocation of 1000 bytes, at offset 999", "cuMemsetD8_v2", memory + 999, 0, 2);
        refused(INVALID_VALUE, "outside its allocation of 1000 bytes, at offset 0", "cuMemcpyDtoH_v2", out, memory, 1001);
        refused(INVALID_VALUE, "the target is null", "cuMemcpyDtoH_v2", 0, memory, 8);
        refused(INVALID_VALUE, "the source is null", "cuMemcpyHtoDAsync_v2", memory, 0, 8, stream);
        refused(INVALID_VALUE, "1 bytes past a multiple of 2", "cuMemsetD16_v2", memory + 1, 0, 1);
        refused(INVALID_VALUE, "2 bytes past a multiple of 4", "cuMemsetD32Async", memory + 2, 0, 1, stream);
        refused(INVALID_VALUE, "the target is null", "cuMemsetD32_v2", 0, 0, 1);
        refused(INVALID_HANDLE, "no stream but an event", "cuMemcpyDtoDAsync_v2", memory, memory + 64, 8, event);
        ok("cuMemcpyDtoD_v2", 0, 0, 0);
    }

    @Test
    void memoryInTheOrderOfAStream() {
        var gate = new CountDownLatch(1);
        long a = made("cuMemAllocAsync", 1000, stream);
        ok("cuLaunchHostFunc", stream, host(() -> await(gate)), 0);
        ok("cuMemFreeAsync", a, stream);
        refused(INVALID_VALUE, "given to cuMemFreeAsync", "cuMemFreeAsync", a, stream);
        refused(INVALID_VALUE, "given to cuMemFreeAsync", "cuMemFree_v2", a);
        refused(INVALID_VALUE, "given to cuMemFreeAsync", "cuMemsetD8Async", a, 0, 8, stream);
        refused(INVALID_VALUE, "at offset 16", "cuMemFreeAsync", memory + 16, stream);
        refused(INVALID_VALUE, "in no allocation", "cuMemFreeAsync", 0, stream);
        gate.countDown();
        ok("cuStreamSynchronize", stream);
        refused(INVALID_VALUE, "in no allocation", "cuMemFreeAsync", a, stream);
    }

    @Test
    void hostMemory() {
        refused(INVALID_VALUE, "unknown flags 0x40", "cuMemHostAlloc", out, 64, 64);
        refused(INVALID_VALUE, "0 bytes", "cuMemAllocHost_v2", out, 0);
        refused(INVALID_VALUE, "pp is null", "cuMemAllocHost_v2", 0, 64);
        refused(INVALID_VALUE, "not the start of an allocation", "cuMemFreeHost", 0);
        refused(INVALID_VALUE, "not the start of an allocation", "cuMemFreeHost", out);
        long pinned = made("cuMemHostAlloc", 4096, 0), own = arena.allocate(8192, 64).address();
        refused(INVALID_VALUE, "not the start of an allocation", "cuMemFreeHost", pinned + 64);
        refused(HOST_MEMORY_NOT_REGISTERED, "was allocated, not registered", "cuMemHostUnregister", pinned);
        refused(HOST_MEMORY_ALREADY_REGISTERED, "overlap 4096 bytes", "cuMemHostRegister_v2", pinned + 4095, 1, 0);
        ok("cuMemHostRegister_v2", own, 8192, 0);
        refused(HOST_MEMORY_ALREADY_REGISTERED, "overlap 8192 bytes", "cuMemHostRegister_v2", own, 8192, 0);
        refused(INVALID_VALUE, "was registered, not allocated", "cuMemFreeHost", own);
        refused(HOST_MEMORY_NOT_REGISTERED, "not the start", "cuMemHostUnregister", own + 64);
        ok("cuMemHostUnregister", own);
        refused(HOST_MEMORY_NOT_REGISTERED, "was never registered", "cuMemHostUnregister", own);
        refused(INVALID_VALUE, "0 bytes", "cuMemHostRegister_v2", own, 0, 0);
        refused(INVALID_VALUE, "unknown flags 0x100", "cuMemHostRegister_v2", own, 64, 256);
        ok("cuMemFreeHost", pinned);
        refused(INVALID_VALUE, "not the start of an allocation", "cuMemFreeHost", pinned);
    }

    @Test
    void streamsAndEvents() {
        refused(INVALID_VALUE, "unknown flags 0x10", "cuStreamCreate", out, 16);
        refused(INVALID_VALUE, "phStream is null", "cuStreamCreate", 0, 0);
        refused(INVALID_HANDLE, "0x0 is no stream", "cuStreamDestroy_v2", 0);
        long gone = made("cuStreamCreate", 0);
        ok("cuStreamDestroy_v2", gone);
        refused(INVALID_HANDLE, "it was given back", "cuStreamDestroy_v2", gone);
        for (String call : List.of("cuStreamSynchronize", "cuStreamQuery")) refused(INVALID_HANDLE, "it was given back", call, gone);
        refused(INVALID_HANDLE, "no stream but an event", "cuStreamSynchronize", event);
        refused(INVALID_HANDLE, "no event but a stream", "cuStreamWaitEvent", stream, stream, 0);
        refused(INVALID_VALUE, "unknown flags 0x2", "cuStreamWaitEvent", stream, event, 2);
        refused(INVALID_VALUE, "fn is null", "cuLaunchHostFunc", stream, 0, 0);
        refused(INVALID_VALUE, "unknown flags 0x8", "cuEventCreate", out, 8);
        refused(INVALID_VALUE, "keeps no time", "cuEventCreate", out, 4);
        refused(INVALID_VALUE, "phEvent is null", "cuEventCreate", 0, 0);
        refused(INVALID_HANDLE, "no event but a stream", "cuEventRecord", stream, stream);
        refused(INVALID_HANDLE, "it was given back", "cuEventRecord", event, gone);
        long other = made("cuEventCreate", 0), untimed = made("cuEventCreate", 2);
        refused(INVALID_HANDLE, "the first event was never recorded", "cuEventElapsedTime_v2", out, event, other);
        ok("cuEventRecord", event, stream);
        refused(INVALID_HANDLE, "the second event was never recorded", "cuEventElapsedTime_v2", out, event, other);
        ok("cuEventRecord", untimed, stream);
        refused(INVALID_HANDLE, "the second event was created without timing", "cuEventElapsedTime_v2", out, event, untimed);
        refused(INVALID_VALUE, "pMilliseconds is null", "cuEventElapsedTime_v2", 0, event, event);
        var gate = new CountDownLatch(1);
        ok("cuLaunchHostFunc", stream, host(() -> await(gate)), 0);
        ok("cuEventRecord", other, stream);
        assertEquals(NOT_READY.value, call("cuEventElapsedTime_v2", out, event, other), "no error, and no line in the log");
        assertEquals(NOT_READY.value, call("cuEventQuery", other));
        gate.countDown();
        ok("cuEventSynchronize", other);
        ok("cuEventDestroy_v2", other);
        for (String call : List.of("cuEventDestroy_v2", "cuEventQuery", "cuEventSynchronize")) refused(INVALID_HANDLE, "it was given back", call, other);
    }

    @Test
    void modules() {
        String head = ".version 9.0\n.target sm_80\n.address_size 64\n";
        refused(INVALID_VALUE, "image is null", "cuModuleLoadData", out, 0);
        refused(INVALID_VALUE, "module is null", "cuModuleLoadData", 0, ptx(head));
        refused(INVALID_VALUE, "2 options", "cuModuleLoadDataEx", out, ptx(head), 2, 0, 0);
        refused(INVALID_PTX, "begins with .version", "cuModuleLoadData", out, ptx("this is no PTX"));
        refused(NO_BINARY_FOR_GPU, "cubin", "cuModuleLoadData", out, ptx("\u007fELF....."));
        refused(UNSUPPORTED_PTX_VERSION, "PTX version 9.9, this driver reads up to 9.0", "cuModuleLoadData", out, ptx("// made by a newer compiler\n.version 9.9\n.target sm_80\n.address_size 64\n"));
        refused(INVALID_PTX, "compiled for sm_120, the device is sm_90", "cuModuleLoadData", out, ptx(".version 9.0\n/* newer */ .target sm_120\n.address_size 64\n"));
        refused(INVALID_PTX, "49168 bytes of static shared memory, 49152 at most", "cuModuleLoadData", out,
                ptx(head + ".visible .entry f()\n{\n.shared .align 16 .b8 s[49168];\nret;\n}\n"));
        refused(INVALID_PTX, "32768 bytes of parameters, 32764 at most", "cuModuleLoadData", out, ptx(head + ".visible .entry f(.param .align 4 .b8 p[32768])\n{\nret;\n}\n"));
        refused(NOT_FOUND, "no entry 'absent'", "cuModuleGetFunction", out, module, text);
        refused(INVALID_VALUE, "name is null", "cuModuleGetFunction", out, module, 0);
        refused(INVALID_VALUE, "hfunc is null", "cuModuleGetFunction", 0, module, text);
        refused(INVALID_HANDLE, "no module but a stream", "cuModuleGetFunction", out, stream, text);
        refused(NOT_FOUND, "no variable 'absent'", "cuModuleGetGlobal_v2", out, 0, module, text);
        refused(INVALID_VALUE, "name is null", "cuModuleGetGlobal_v2", out, 0, module, 0);
        refused(INVALID_VALUE, "parameter 3 of 3", "cuFuncGetParamInfo", increment, 3, out, 0);
        refused(INVALID_VALUE, "function attribute 99", "cuFuncGetAttribute", out, 99, increment);
        refused(INVALID_VALUE, "function attribute 0 cannot be set", "cuFuncSetAttribute", increment, 0, 1);
        refused(INVALID_VALUE, "232449 bytes of dynamic", "cuFuncSetAttribute", increment, 8, 232449);
        refused(INVALID_VALUE, "-1 bytes of dynamic", "cuFuncSetAttribute", increment, 8, -1);
        refused(INVALID_VALUE, "carve-out 101", "cuFuncSetAttribute", increment, 9, 101);
        refused(INVALID_VALUE, "cache configuration 4", "cuFuncSetCacheConfig", increment, 4);
        ok("cuModuleUnload", module);
        refused(INVALID_HANDLE, "no module: it was given back", "cuModuleUnload", module);
        refused(INVALID_HANDLE, "no function: it was given back", "cuFuncGetAttribute", out, 0, increment);
        refused(INVALID_HANDLE, "no function: it was given back", "cuLaunchKernel", increment, 1, 1, 1, 32, 1, 1, 0, stream, 0, 0);
    }

    private long arguments() {
        var values = arena.allocate(JAVA_LONG, 3);
        values.setAtIndex(JAVA_LONG, 0, memory);
        values.setAtIndex(JAVA_INT, 2, 1);
        var pointers = arena.allocate(ADDRESS, 3);
        for (int i = 0; i < 3; i++) pointers.setAtIndex(ADDRESS, i, values.asSlice(8 * i));
        return pointers.address();
    }

    @Test
    void launches() {
        long p = arguments();
        refused(INVALID_VALUE, "grid 0 x 1 x 1", "cuLaunchKernel", increment, 0, 1, 1, 32, 1, 1, 0, stream, p, 0);
        refused(INVALID_VALUE, "grid 2147483648 x 1 x 1", "cuLaunchKernel", increment, 1 << 31, 1, 1, 32, 1, 1, 0, stream, p, 0);
        refused(INVALID_VALUE, "grid 1 x 65536 x 1", "cuLaunchKernel", increment, 1, 65536, 1, 32, 1, 1, 0, stream, p, 0);
        refused(INVALID_VALUE, "grid 1 x 1 x 65536", "cuLaunchKernel", increment, 1, 1, 65536, 32, 1, 1, 0, stream, p, 0);
        refused(INVALID_VALUE, "block 1025 x 1 x 1", "cuLaunchKernel", increment, 1, 1, 1, 1025, 1, 1, 0, stream, p, 0);
        refused(INVALID_VALUE, "block 0 x 1 x 1", "cuLaunchKernel", increment, 1, 1, 1, 0, 1, 1, 0, stream, p, 0);
        refused(INVALID_VALUE, "block 1 x 1 x 65", "cuLaunchKernel", increment, 1, 1, 1, 1, 1, 65, 0, stream, p, 0);
        refused(INVALID_VALUE, "block 32 x 33 x 1", "cuLaunchKernel", increment, 1, 1, 1, 32, 33, 1, 0, stream, p, 0);
        refused(INVALID_VALUE, "block of 65 threads, compiled for at most 64", "cuLaunchKernel", small, 1, 1, 1, 65, 1, 1, 0, stream, p, 0);
        long exact = made("cuModuleGetFunction", made("cuModuleLoadData", ptx(".version 9.0\n.target sm_80\n.address_size 64\n.entry exact() .reqntid 32, 2 { ret; }")), arena.allocateFrom("exact").address());
        refused(INVALID_VALUE, "block 64 x 1 x 1, compiled for 32 x 2 x 1 alone", "cuLaunchKernel", exact, 1, 1, 1, 64, 1, 1, 0, stream, 0, 0);
        refused(INVALID_VALUE, "block 32 x 1 x 1, compiled for 32 x 2 x 1 alone", "cuLaunchKernel", exact, 1, 1, 1, 32, 1, 1, 0, stream, 0, 0);
        ok("cuLaunchKernel", exact, 1, 1, 1, 32, 2, 1, 0, stream, 0, 0);
        refused(INVALID_VALUE, "49153 bytes of dynamic shared memory, 49152 allowed", "cuLaunchKernel", increment, 1, 1, 1, 32, 1, 1, 49153, stream, p, 0);
        refused(INVALID_VALUE, "no parameters given, the kernel has 3", "cuLaunchKernel", increment, 1, 1, 1, 32, 1, 1, 0, stream, 0, 0);
        Raw.putLong(p + 8, 0);
        refused(INVALID_VALUE, "parameter 1 of increment has a null pointer", "cuLaunchKernel", increment, 1, 1, 1, 32, 1, 1, 0, stream, p, 0);
        refused(INVALID_HANDLE, "no function but a module", "cuLaunchKernel", module, 1, 1, 1, 32, 1, 1, 0, stream, p, 0);
        refused(INVALID_HANDLE, "no stream but an event", "cuLaunchKernel", increment, 1, 1, 1, 32, 1, 1, 0, event, p, 0);
        refused(INVALID_HANDLE, "0x0 is no function", "cuLaunchKernel", 0, 1, 1, 1, 32, 1, 1, 0, stream, p, 0);
        var extra = arena.allocate(ADDRESS, 5);
        extra.setAtIndex(JAVA_LONG, 0, 9);
        refused(INVALID_VALUE, "launch option 9", "cuLaunchKernel", increment, 1, 1, 1, 32, 1, 1, 0, stream, 0, extra.address());
        refused(INVALID_VALUE, "both kernelParams and extra", "cuLaunchKernel", increment, 1, 1, 1, 32, 1, 1, 0, stream, p, extra.address());
        ok("cuStreamSynchronize", stream);
    }

    /** {@code .maxnreg} 168 rounds to 5376 registers a warp, of which 12 warps fit into 65536; 255 are 8192, 8 warps; 64 are 2048, 32. With a bound on threads ptxas keeps to both. */
    @Test
    void registersOfABlock() {
        long loaded = made("cuModuleLoadData", ptx(".version 9.0\n.target sm_80\n.address_size 64\n"
                + ".entry most() .maxnreg 255 { ret; }\n.entry many() .maxnreg 168 { ret; }\n.entry few() .maxnreg 64 { ret; }\n.entry bounded() .maxntid 512 .maxnreg 255 { ret; }"));
        Object[][] kernels = {{"most", 256}, {"many", 384}, {"few", 1024}, {"bounded", 512}};
        for (Object[] k : kernels) {
            long f = made("cuModuleGetFunction", loaded, arena.allocateFrom((String) k[0]).address());
            int fit = (int) k[1];
            assertEquals(fit, (int) made("cuFuncGetAttribute", 0, f), k[0] + ": threads of a block");
            ok("cuLaunchKernel", f, 1, 1, 1, fit, 1, 1, 0, stream, 0, 0);
            ok("cuOccupancyMaxActiveBlocksPerMultiprocessor", out, f, fit, 0);
            assertTrue(Raw.getInt(out) > 0, k[0] + ": blocks at once");
        }
        long most = made("cuModuleGetFunction", loaded, arena.allocateFrom("most").address()), many = made("cuModuleGetFunction", loaded, arena.allocateFrom("many").address());
        refused(LAUNCH_OUT_OF_RESOURCES, "most: block of 257 threads of up to 255 registers (.maxnreg); 256 such threads fit", "cuLaunchKernel", most, 1, 1, 1, 257, 1, 1, 0, stream, 0, 0);
        refused(LAUNCH_OUT_OF_RESOURCES, "many: block of 385 threads of up to 168 registers (.maxnreg); 384 such threads fit", "cuLaunchCooperativeKernel", many, 1, 1, 1, 55, 7, 1, 0, stream, 0);
        assertEquals(0, (int) made("cuOccupancyMaxActiveBlocksPerMultiprocessor", most, 257, 0));
        ok("cuStreamSynchronize", stream);
    }

    @Test
    void launchesWithAttributes() {
        var config = arena.allocate(56, 8);
        for (int i = 0; i < 6; i++) config.setAtIndex(JAVA_INT, i, i == 3 ? 32 : 1);
        config.set(JAVA_LONG, 32, stream);
        long c = config.address(), p = arguments();
        ok("cuLaunchKernelEx", c, increment, p, 0);
        refused(INVALID_VALUE, "config is null", "cuLaunchKernelEx", 0, increment, p, 0);
        config.set(JAVA_INT, 48, 1);
        refused(INVALID_VALUE, "1 attributes, but attrs is null", "cuLaunchKernelEx", c, increment, p, 0);
        var attribute = arena.allocate(72, 8);
        config.set(ADDRESS, 40, attribute);
        attribute.set(JAVA_INT, 0, 99);
        refused(INVALID_VALUE, "launch attribute 99", "cuLaunchKernelEx", c, increment, p, 0);
        attribute.set(JAVA_INT, 0, 4);
        attribute.set(JAVA_INT, 8, 2);
        attribute.set(JAVA_INT, 12, 1);
        attribute.set(JAVA_INT, 16, 1);
        refused(NOT_SUPPORTED, "clusters of 2 x 1 x 1 blocks", "cuLaunchKernelEx", c, increment, p, 0);
        attribute.set(JAVA_INT, 8, 1);
        ok("cuLaunchKernelEx", c, increment, p, 0);
        config.set(JAVA_INT, 12, 2000);
        refused(INVALID_VALUE, "block 2000 x 1 x 1", "cuLaunchKernelEx", c, increment, p, 0);
        ok("cuStreamSynchronize", stream);
    }

    @Test
    void captures() throws Exception {
        long blocking = made("cuStreamCreate", 0), side = made("cuStreamCreate", 1);
        refused(STREAM_CAPTURE_UNSUPPORTED, "the legacy stream cannot capture", "cuStreamBeginCapture_v2", 0, 0);
        refused(INVALID_VALUE, "capture mode 3", "cuStreamBeginCapture_v2", stream, 3);
        refused(ILLEGAL_STATE, "does not capture", "cuStreamEndCapture", stream, out);

        // What may not be called while a stream captures invalidates the capture: everything after it, the end included, says so.
        record Forbidden(Code code, String says, int mode, boolean blocking, String call, Object... arguments) {}
        for (var f : List.of(
                new Forbidden(STREAM_CAPTURE_UNSUPPORTED, "on a stream that captures", 2, false, "cuStreamSynchronize", stream),
                new Forbidden(STREAM_CAPTURE_UNSUPPORTED, "on a stream that captures", 2, false, "cuStreamQuery", stream),
                new Forbidden(STREAM_CAPTURE_UNSUPPORTED, "on a stream that captures", 2, false, "cuCtxSynchronize"),
                new Forbidden(STREAM_CAPTURE_UNSUPPORTED, "while a stream captures", 0, false, "cuCtxSynchronize"),
                new Forbidden(STREAM_CAPTURE_UNSUPPORTED, "while a stream captures", 1, false, "cuMemAlloc_v2", out, 64),
                new Forbidden(STREAM_CAPTURE_UNSUPPORTED, "while a stream captures", 1, false, "cuMemFree_v2", memory),
                new Forbidden(STREAM_CAPTURE_UNSUPPORTED, "while a stream captures", 0, false, "cuMemHostAlloc", out, 64, 0),
                new Forbidden(STREAM_CAPTURE_UNSUPPORTED, "while a stream captures", 0, false, "cuMemcpyHtoD_v2", memory, out, 8),
                new Forbidden(STREAM_CAPTURE_UNSUPPORTED, "while a stream captures", 0, false, "cuMemsetD8_v2", memory, 0, 8),
                new Forbidden(STREAM_CAPTURE_UNSUPPORTED, "while a stream captures", 0, false, "cuEventQuery", event),
                new Forbidden(STREAM_CAPTURE_IMPLICIT, "would wait for a stream that captures", 2, true, "cuMemcpyHtoD_v2", memory, out, 8),
                new Forbidden(STREAM_CAPTURE_IMPLICIT, "would wait for a stream that captures", 2, true, "cuMemsetD8Async", memory, 0, 8, 0),
                new Forbidden(STREAM_CAPTURE_IMPLICIT, "would wait for a stream that captures", 2, true, "cuStreamSynchronize", 0))) {
            long s = f.blocking ? blocking : stream;
            ok("cuStreamBeginCapture_v2", s, f.mode);
            refused(f.code, f.says, f.call, f.arguments);
            refused(STREAM_CAPTURE_INVALIDATED, "", "cuMemsetD8Async", memory, 0, 8, s);
            refused(STREAM_CAPTURE_INVALIDATED, "", "cuStreamEndCapture", s, out);
            assertEquals(0, Raw.getLong(out), "no graph");
            ok("cuStreamSynchronize", s);
        }

        ok("cuStreamBeginCapture_v2", blocking, 2);
        refused(STREAM_CAPTURE_IMPLICIT, "the legacy stream", "cuStreamIsCapturing", 0, out);
        ok("cuStreamEndCapture", blocking, out);

        ok("cuStreamBeginCapture_v2", stream, 2);
        refused(ILLEGAL_STATE, "captures already", "cuStreamBeginCapture_v2", stream, 2);
        ok("cuStreamEndCapture", stream, out);

        ok("cuStreamBeginCapture_v2", stream, 1);
        var elsewhere = new int[1];
        long context = made("cuCtxGetCurrent"), result = arena.allocate(8).address();
        var thread = new Thread(() -> {
            ok("cuCtxSetCurrent", context);
            ok("cuMemFree_v2", 0);
            elsewhere[0] = call("cuStreamEndCapture", stream, result);
        }, "another");
        thread.start();
        thread.join();
        assertEquals(STREAM_CAPTURE_WRONG_THREAD.value, elsewhere[0]);
        ok("cuStreamEndCapture", stream, out);

        long fork = made("cuEventCreate", 2), outside = made("cuEventCreate", 2);
        ok("cuEventRecord", outside, side);
        ok("cuStreamSynchronize", side);
        ok("cuStreamBeginCapture_v2", stream, 1);
        refused(STREAM_CAPTURE_ISOLATION, "recorded outside the capture", "cuStreamWaitEvent", stream, outside, 0);
        refused(STREAM_CAPTURE_INVALIDATED, "recorded outside", "cuStreamEndCapture", stream, out);

        ok("cuStreamBeginCapture_v2", stream, 1);
        ok("cuEventRecord", fork, stream);
        refused(CAPTURED_EVENT, "recorded into a capture", "cuEventSynchronize", fork);
        refused(CAPTURED_EVENT, "recorded into a capture", "cuEventQuery", fork);
        ok("cuStreamWaitEvent", side, fork, 0);
        refused(STREAM_CAPTURE_UNMATCHED, "began on another stream", "cuStreamEndCapture", side, out);
        refused(STREAM_CAPTURE_INVALIDATED, "ended on another stream", "cuStreamEndCapture", stream, out);

        ok("cuStreamBeginCapture_v2", stream, 1);
        ok("cuEventRecord", fork, stream);
        ok("cuStreamWaitEvent", side, fork, 0);
        ok("cuMemsetD8Async", memory, 0, 8, side);
        refused(STREAM_CAPTURE_UNJOINED, "not awaited", "cuStreamEndCapture", stream, out);

        ok("cuStreamBeginCapture_v2", stream, 1);
        ok("cuStreamBeginCapture_v2", side, 1);
        ok("cuEventRecord", fork, stream);
        refused(STREAM_CAPTURE_MERGE, "another capture", "cuStreamWaitEvent", side, fork, 0);
        refused(STREAM_CAPTURE_INVALIDATED, "another capture", "cuStreamEndCapture", side, out);
        ok("cuStreamEndCapture", stream, out);
        refused(CAPTURED_EVENT, "a capture that has ended", "cuStreamWaitEvent", side, fork, 0);

        ok("cuStreamBeginCapture_v2", stream, 0);
        ok("cuStreamDestroy_v2", stream);
        ok("cuMemFree_v2", made("cuMemAlloc_v2", 64));   // the capture is over
    }

    @Test
    void graphs() {
        ok("cuStreamBeginCapture_v2", stream, 1);
        ok("cuMemsetD8Async", memory, 0, 8, stream);
        ok("cuStreamEndCapture", stream, out);
        long graph = Raw.getLong(out);
        refused(INVALID_VALUE, "phGraphExec is null", "cuGraphInstantiateWithFlags", 0, graph, 0);
        refused(INVALID_VALUE, "unknown flags 0x10", "cuGraphInstantiateWithFlags", out, graph, 16);
        refused(INVALID_VALUE, "no graph but a stream", "cuGraphInstantiateWithFlags", out, stream, 0);
        long executable = made("cuGraphInstantiateWithFlags", graph, 0);
        refused(INVALID_VALUE, "numNodes is null", "cuGraphGetNodes", graph, 0, 0);
        refused(INVALID_VALUE, "flags are 1", "cuGraphCreate", out, 1);
        refused(INVALID_HANDLE, "no stream but an event", "cuGraphLaunch", executable, event);
        refused(INVALID_VALUE, "no executable graph but a graph", "cuGraphLaunch", graph, stream);
        ok("cuGraphDestroy", graph);
        refused(INVALID_VALUE, "no graph: it was given back", "cuGraphDestroy", graph);
        refused(INVALID_VALUE, "no graph: it was given back", "cuGraphGetNodes", graph, 0, out);
        ok("cuGraphExecDestroy", executable);
        refused(INVALID_VALUE, "no executable graph: it was given back", "cuGraphLaunch", executable, stream);
        refused(INVALID_VALUE, "no executable graph: it was given back", "cuGraphExecDestroy", executable);
    }

    @Test
    void hostFunctionsThatCallTheDriver() {
        for (var row : List.<Object[]>of(new Object[] {"cuStreamSynchronize", stream}, new Object[] {"cuMemAlloc_v2", out, 64}, new Object[] {"cuEventQuery", event},
                new Object[] {"cuCtxSynchronize"}, new Object[] {"cuGraphCreate", out, 0}, new Object[] {"cuDeviceGetCount", out})) {
            ok("cuLaunchHostFunc", stream, host(() -> refused(NOT_PERMITTED, "a host function may not call the driver", (String) row[0], java.util.Arrays.copyOfRange(row, 1, row.length))), 0);
            ok("cuStreamSynchronize", stream);
        }
    }

    /** After a fault every call returns it, but those that ask nothing of the context. */
    @Test
    void everyCallReturnsTheFaultOfAKernel() {
        var allowed = new TreeSet<>(List.of("cuInit", "cuDriverGetVersion", "cuGetErrorName", "cuGetErrorString", "cuDeviceGetCount", "cuDeviceGet", "cuDeviceGetName",
                "cuDeviceGetPCIBusId", "cuDeviceTotalMem_v2", "cuDeviceGetAttribute", "cuLogsDumpToMemory", "cuDevicePrimaryCtxRetain", "cuDevicePrimaryCtxRelease_v2",
                "cuDevicePrimaryCtxReset_v2", "cuDevicePrimaryCtxGetState", "cuCtxSetCurrent", "cuCtxGetCurrent", "cuCtxPushCurrent_v2", "cuCtxPopCurrent_v2"));
        long trap = made("cuModuleGetFunction", module, arena.allocateFrom("trap_if").address());
        ok("cuMemsetD32_v2", memory, 1, 1);
        ok("cuLaunchKernel", trap, 1, 1, 1, 32, 1, 1, 0, stream, arguments(), 0);
        assertEquals(LAUNCH_FAILED.value, call("cuStreamSynchronize", stream));
        for (String name : library("cuInit").functions().keySet()) {
            if (allowed.contains(name)) continue;
            int parameters = library(name).functions().get(name).argumentLayouts().size();
            var arguments = new Object[parameters];
            java.util.Arrays.fill(arguments, 0);
            refused(LAUNCH_FAILED, "an earlier kernel failed; the context can only be reset", name, arguments);
        }
        refused(CublasLtFunctions.NOT_INITIALIZED, "NOT_INITIALIZED", "an earlier kernel failed", "cublasLtCreate", out);
        ok("cuDevicePrimaryCtxReset_v2", 0);
        ok("cuDevicePrimaryCtxRelease_v2", 0);
        current();
        ok("cuMemFree_v2", made("cuMemAlloc_v2", 64));
    }

    @Test
    void products() {
        int invalid = CublasLtFunctions.INVALID_VALUE, unsupported = CublasLtFunctions.NOT_SUPPORTED, uninitialised = CublasLtFunctions.NOT_INITIALIZED;
        long lt = made("cublasLtCreate"), operation = made("cublasLtMatmulDescCreate", 68, 0), preference = made("cublasLtMatmulPreferenceCreate");
        long square = made("cublasLtMatrixLayoutCreate", 0, 8, 8, 8), wide = made("cublasLtMatrixLayoutCreate", 0, 8, 9, 8), thin = made("cublasLtMatrixLayoutCreate", 0, 8, 8, 7);
        long a = memory, b = memory + 256, d = memory + 512;
        long one = arena.allocateFrom(JAVA_FLOAT, 1).address(), zero = arena.allocateFrom(JAVA_FLOAT, 0).address(), number = arena.allocate(8).address();
        record Product(long lt, long operation, long alpha, long a, long la, long b, long lb, long beta, long c, long lc, long d, long ld, long workspace, long bytes, long stream) {}
        record Row(int code, String says, Product p) {}
        for (var row : List.of(
                new Row(uninitialised, "no cuBLASLt library but a stream", new Product(stream, operation, one, a, square, b, square, zero, d, square, d, square, 0, 0, stream)),
                new Row(invalid, "no product description but a matrix layout", new Product(lt, square, one, a, square, b, square, zero, d, square, d, square, 0, 0, stream)),
                new Row(invalid, "no matrix layout but a product description", new Product(lt, operation, one, a, operation, b, square, zero, d, square, d, square, 0, 0, stream)),
                new Row(invalid, "alpha is null", new Product(lt, operation, 0, a, square, b, square, zero, d, square, d, square, 0, 0, stream)),
                new Row(invalid, "a is null", new Product(lt, operation, one, 0, square, b, square, zero, d, square, d, square, 0, 0, stream)),
                new Row(invalid, "beta is 1.0 and c null", new Product(lt, operation, one, a, square, b, square, one, 0, square, d, square, 0, 0, stream)),
                new Row(invalid, "op(a) 8 x 9, op(b) 8 x 8", new Product(lt, operation, one, a, wide, b, square, zero, d, square, d, square, 0, 0, stream)),
                new Row(invalid, "leading dimension 7 of a matrix 8 x 8", new Product(lt, operation, one, a, thin, b, square, zero, d, square, d, square, 0, 0, stream)),
                new Row(invalid, "outside its allocation of 1000 bytes, at offset 768", new Product(lt, operation, one, a, square, b, square, zero, d, square, memory + 768, square, 0, 0, stream)),
                new Row(invalid, "in no allocation", new Product(lt, operation, one, out, square, b, square, zero, d, square, d, square, 0, 0, stream)),
                new Row(invalid, "is not aligned to its type's 4 bytes", new Product(lt, operation, one, a + 2, square, b + 16, square, zero, d, square, d, square, 0, 0, stream)),
                new Row(invalid, "b, 256 bytes at 0x" + Long.toHexString(b) + ", overlaps d", new Product(lt, operation, one, a, square, b, square, zero, d, square, b + 64, square, 0, 0, stream)),
                new Row(invalid, "a workspace of 64 bytes at null", new Product(lt, operation, one, a, square, b, square, zero, d, square, d, square, 0, 64, stream)),
                new Row(CublasLtFunctions.EXECUTION_FAILED, "no stream but an event", new Product(lt, operation, one, a, square, b, square, zero, d, square, d, square, 0, 0, event)))) {
            Product p = row.p;
            refused(row.code, "the status", row.says, "cublasLtMatmul", p.lt, p.operation, p.alpha, p.a, p.la, p.b, p.lb, p.beta, p.c, p.lc, p.d, p.ld, 0, p.workspace, p.bytes, p.stream);
        }
        ok("cublasLtMatmul", lt, operation, one, a, square, b, square, zero, d, square, d, square, 0, 0, 0, stream);
        refused(unsupported, "NOT_SUPPORTED", "compute type 64", "cublasLtMatmulDescCreate", out, 64, 0);
        refused(invalid, "INVALID_VALUE", "is null", "cublasLtMatmulDescCreate", 0, 68, 0);
        refused(invalid, "INVALID_VALUE", "the attribute has 8 bytes, given are 4", "cublasLtMatrixLayoutSetAttribute", square, 2, number, 4);
        refused(invalid, "INVALID_VALUE", "value is null", "cublasLtMatrixLayoutSetAttribute", square, 2, 0, 8);
        refused(invalid, "INVALID_VALUE", "layout attribute 50", "cublasLtMatrixLayoutSetAttribute", square, 50, number, 4);
        refused(invalid, "INVALID_VALUE", "matmul attribute 99", "cublasLtMatmulDescSetAttribute", operation, 99, number, 4);
        refused(invalid, "INVALID_VALUE", "preference attribute 77", "cublasLtMatmulPreferenceSetAttribute", preference, 77, number, 4);
        refused(invalid, "INVALID_VALUE", "room for 0 results", "cublasLtMatmulAlgoGetHeuristic", lt, operation, square, square, square, square, preference, 0, out, number);
        ok("cublasLtMatrixLayoutDestroy", square);
        refused(invalid, "INVALID_VALUE", "no matrix layout: it was given back", "cublasLtMatrixLayoutDestroy", square);
        ok("cublasLtDestroy", lt);
        refused(uninitialised, "NOT_INITIALIZED", "no cuBLASLt library: it was given back", "cublasLtDestroy", lt);
        ok("cuStreamSynchronize", stream);
    }

    private long host(Runnable work) {
        try {
            var handle = MethodHandles.insertArguments(MethodHandles.lookup().findStatic(MisuseTest.class, "run", MethodType.methodType(void.class, Runnable.class, MemorySegment.class)), 0, work);
            return Linker.nativeLinker().upcallStub(handle, FunctionDescriptor.ofVoid(ADDRESS), arena).address();
        } catch (ReflectiveOperationException e) {
            throw new IllegalStateException(e);
        }
    }

    private static void run(Runnable work, MemorySegment data) {
        work.run();
    }

    private static void await(CountDownLatch latch) {
        try {
            assertTrue(latch.await(20, java.util.concurrent.TimeUnit.SECONDS));
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }
}
