package dev.turningpoint.gpu;

import dev.turningpoint.bindings.cublaslt.CublasLt;
import dev.turningpoint.bindings.cuda.Cuda;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** A driver or library call that failed: what was asked, the error by name, and what to do about it. */
public class GpuException extends RuntimeException {

    private static final long serialVersionUID = 1;

    /** As much as the driver keeps. */
    private static final int LOG_BYTES = 25600;
    private static String lastLogLine = "";

    private final String error;

    public GpuException(String message) {
        this(message, (Throwable) null);
    }

    public GpuException(String message, Throwable cause) {
        super(message, cause);
        error = "";
    }

    private GpuException(String message, String error) {
        super(message);
        this.error = error;
    }

    /** The error's name, as {@code CUDA_ERROR_OUT_OF_MEMORY}; empty where no driver call failed. */
    public String error() {
        return error;
    }

    /** The same failure with more to do about it: for a caller who knows which setting made the call too large. */
    public GpuException withAdvice(String advice) {
        var more = new GpuException(getMessage() + "\n" + advice, error);
        more.initCause(this);
        return more;
    }

    /** The failure of a CUDA call. */
    static GpuException driver(int result, String call) {
        return driver(result, call, "");
    }

    static GpuException driver(int result, String call, String details) {
        try (var arena = Arena.ofConfined()) {
            MemorySegment text = arena.allocate(ValueLayout.ADDRESS);
            String name = Cuda.cuGetErrorName(result, text) == 0 ? string(text) : "CUresult " + result;
            String meaning = Cuda.cuGetErrorString(result, text) == 0 ? string(text) : "";
            var why = details.isEmpty() ? driverLog(arena) : details;
            return new GpuException(call + " failed: " + name + " (" + result + ")" + (why.isEmpty() ? "" : "; " + why) + (why.endsWith(".") ? "" : ".") + advice(result, meaning), name);
        }
    }

    /** What the driver's own log says of the failure, if it has said something new. */
    private static synchronized String driverLog(Arena arena) {
        MemorySegment size = arena.allocate(ValueLayout.JAVA_LONG), text = arena.allocate(LOG_BYTES);
        size.set(ValueLayout.JAVA_LONG, 0, LOG_BYTES);
        if (Cuda.cuLogsDumpToMemory(MemorySegment.NULL, text, size, 0) != 0) return "";
        var lines = text.getString(0).strip();
        var last = lines.substring(lines.lastIndexOf('\n') + 1).strip();
        // A line of NVIDIA's driver has its time in it: the same line again belongs to an older failure.
        if (last.equals(lastLogLine) && !Device.isSoftware()) return "";
        lastLogLine = last;
        return last;
    }

    /** The failure of a cuBLASLt call. */
    static GpuException cublas(int status, String call) {
        var name = CublasLt.cublasLtGetStatusName(status);
        var text = name.address() == 0 ? "cublasStatus " + status : name.reinterpret(Long.MAX_VALUE).getString(0);
        return new GpuException(call + " failed: " + text + " (" + status + ").", text);
    }

    private static String string(MemorySegment pointer) {
        var text = pointer.get(ValueLayout.ADDRESS, 0);
        return text.address() == 0 ? "" : text.reinterpret(Long.MAX_VALUE).getString(0);
    }

    private static String advice(int result, String meaning) {
        if (result == Cuda.CUDA_ERROR_OUT_OF_MEMORY()) return "";
        if (result == Cuda.CUDA_ERROR_INVALID_CONTEXT()) return "\nEach thread that calls the device first calls Device.attach().";
        if (result == Cuda.CUDA_ERROR_DEINITIALIZED()) return "\nThe driver is shutting down.";
        boolean sticky = result == Cuda.CUDA_ERROR_ILLEGAL_ADDRESS() || result == Cuda.CUDA_ERROR_MISALIGNED_ADDRESS() || result == Cuda.CUDA_ERROR_LAUNCH_FAILED()
                || result == Cuda.CUDA_ERROR_ILLEGAL_INSTRUCTION() || result == Cuda.CUDA_ERROR_HARDWARE_STACK_ERROR() || result == Cuda.CUDA_ERROR_INVALID_PC()
                || result == Cuda.CUDA_ERROR_ASSERT();
        return (meaning.isEmpty() ? "" : "\n" + meaning) + (sticky ? "\nA kernel launched earlier failed; nothing else will run in this process." : "");
    }
}
