package dev.turningpoint.gpu;

/** A driver or library call that failed: what was asked, the error by name, and what to do about it. */
public class GpuException extends RuntimeException {
    public GpuException(String message) {
        super(message);
    }

    public GpuException(String message, Throwable cause) {
        super(message, cause);
    }
}
