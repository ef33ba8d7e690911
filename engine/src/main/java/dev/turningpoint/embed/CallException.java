package dev.turningpoint.embed;

/** Why a call was not served. One subclass for each thing that a caller handles differently. */
public abstract sealed class CallException extends RuntimeException permits RefusedException, CancelledException, DeadlineException, ClosedException, DeviceException {
    private static final long serialVersionUID = 1;

    CallException(String message, Throwable cause) {
        super(message, cause);
    }
}
