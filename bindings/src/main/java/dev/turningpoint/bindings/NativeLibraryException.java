package dev.turningpoint.bindings;

/** A native library cannot be used; the message says which, why, and what to do about it. */
public final class NativeLibraryException extends RuntimeException {

    private static final long serialVersionUID = 1;

    public NativeLibraryException(String message) {
        super(message);
    }

    public NativeLibraryException(String message, Throwable cause) {
        super(message, cause);
    }
}
