package dev.turningpoint.embed;

/** Somebody cancelled the call, or interrupted the thread that waited for it; nothing was written to its memory. */
public final class CancelledException extends CallException {
    private static final long serialVersionUID = 1;

    CancelledException(String message) {
        super(message, null);
    }
}
