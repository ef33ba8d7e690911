package dev.turningpoint.embed;

/** The session's queue was full and the call does not wait for room: shed load, or try again later. */
public final class RefusedException extends CallException {
    private static final long serialVersionUID = 1;

    RefusedException(String message) {
        super(message, null);
    }
}
