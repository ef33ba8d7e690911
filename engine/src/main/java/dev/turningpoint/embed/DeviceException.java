package dev.turningpoint.embed;

/** The device failed; the session serves nothing any more. Close it, and after a failed kernel the process too. The cause says what happened. */
public final class DeviceException extends CallException {
    private static final long serialVersionUID = 1;

    DeviceException(String message, Throwable cause) {
        super(message, cause);
    }
}
