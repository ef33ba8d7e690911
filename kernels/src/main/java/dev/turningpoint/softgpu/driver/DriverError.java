package dev.turningpoint.softgpu.driver;

/** A call that fails with a CUresult or cublasStatus_t; the message says why, for the log. Thrown inside a call, never out of it. */
final class DriverError extends RuntimeException {
    private static final long serialVersionUID = 1;
    final int code;

    DriverError(int code, String message) {
        super(message, null, false, false);
        this.code = code;
    }

    DriverError(int code, String message, Throwable cause) {
        super(message, cause);
        this.code = code;
    }
}
