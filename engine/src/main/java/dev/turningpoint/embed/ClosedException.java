package dev.turningpoint.embed;

/** The session was closed before it could serve the call. */
public final class ClosedException extends CallException {
    private static final long serialVersionUID = 1;

    ClosedException(String message) {
        super(message, null);
    }
}
