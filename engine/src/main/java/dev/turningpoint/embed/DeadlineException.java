package dev.turningpoint.embed;

/** The call's time was over before its result was there; nothing was written to its memory. */
public final class DeadlineException extends CallException {
    private static final long serialVersionUID = 1;

    DeadlineException(String message) {
        super(message, null);
    }
}
